"""Every error actrio raises, in one tree drawn by *who must act*, and the one table of their kinds.

::

    ActrioError
    ├── CallerError            you called it wrong, or asked for what cannot be
    │   ├── InvalidRequest     the request itself is malformed
    │   ├── NotFound           no such agent, session, turn, tool, file
    │   ├── NotSupported       true of this provider or version; says what to do instead
    │   ├── Conflict           the state does not allow it now (session busy, name taken)
    │   │   ├── DeadlockError  waiting here could never end
    │   │   ├── SessionOwned   another process or owner writes this session
    │   │   └── SessionFenced  somebody else claimed the session since; this claim is over
    │   └── LimitExceeded      larger than a stated bound
    │       ├── ContextWindowExceeded
    │       └── StepLimitExceeded
    ├── OperatorError          whoever runs the program must configure or install something
    │   ├── ConfigError
    │   └── NotConfigured
    ├── PeerError              the other side failed
    │   ├── ProviderError
    │   │   ├── ProviderUnreachable
    │   │   ├── ProviderProtocolError
    │   │   │   └── StreamTruncated
    │   ├── ToolFailed
    │   └── OutputInvalid      the model's answer never matched the agent's output type
    ├── BusyError              not now: wait, or send less
    │   ├── Overloaded
    │   │   └── MailboxFull
    │   └── ActorStopped       the address is gone or going
    ├── StorageError           what is kept, or the disk beneath it, needs a person
    │   ├── StorageDamaged     something stored does not check; says where; nothing was altered
    │   ├── StorageFull        no room is left; nothing acknowledged is lost
    │   └── StorageUnavailable the disk refuses: no permission, read-only, input/output error
    ├── TurnAborted          somebody asked for the end, and got it
    ├── DeadlineExceeded
    └── BugError               our mistake, or yours inside a callback
        ├── ActorFailed
        ├── FilterFailed
        ├── HandlerStuck
        └── RestartBudgetExceeded

An error carries facts as attributes and its wording in one place: ``message`` says what and
where, ``remedy`` says what to do. ``kind`` is the stable outward name; ``KINDS`` maps it to a
JSON-RPC code, an HTTP status and an exit code for every front end.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Final, Literal

import attrs

__all__ = [
    "KINDS",
    "ActorFailed",
    "ActorStopped",
    "ActrioError",
    "BugError",
    "BusyError",
    "CallerError",
    "ConfigError",
    "Conflict",
    "ContextWindowExceeded",
    "DeadlineExceeded",
    "DeadlockError",
    "ErrorCategory",
    "FilterFailed",
    "HandlerStuck",
    "InvalidRequest",
    "KindCodes",
    "LimitExceeded",
    "MailboxFull",
    "NotConfigured",
    "NotFound",
    "NotSupported",
    "OperatorError",
    "OutputInvalid",
    "Overloaded",
    "PeerError",
    "ProviderError",
    "ProviderProtocolError",
    "ProviderUnreachable",
    "RestartBudgetExceeded",
    "SessionFenced",
    "SessionOwned",
    "StepLimitExceeded",
    "StorageDamaged",
    "StorageError",
    "StorageFull",
    "StorageUnavailable",
    "StreamTruncated",
    "ToolFailed",
    "TurnAborted",
    "codes_for",
]


@attrs.frozen(slots=True)
class KindCodes:
    """How one ``kind`` is told in each outward protocol."""

    jsonrpc: int
    http: int
    exit: int


KINDS: Final[Mapping[str, KindCodes]] = MappingProxyType(
    {
        "parse": KindCodes(-32700, 400, 65),
        "invalid_request": KindCodes(-32600, 400, 2),
        "method_not_found": KindCodes(-32601, 404, 2),
        "invalid_params": KindCodes(-32602, 422, 2),
        "internal": KindCodes(-32603, 500, 1),
        "unauthorized": KindCodes(-32000, 401, 77),
        "overloaded": KindCodes(-32001, 503, 75),
        "not_found": KindCodes(-32002, 404, 66),
        "provider_error": KindCodes(-32003, 502, 69),
        "conflict": KindCodes(-32004, 409, 75),
        "not_initialized": KindCodes(-32005, 409, 2),
        "not_supported": KindCodes(-32006, 501, 78),
        "limit_exceeded": KindCodes(-32007, 422, 1),
        "deadline_exceeded": KindCodes(-32008, 504, 75),
        "denied": KindCodes(-32009, 403, 77),
        "not_configured": KindCodes(-32010, 503, 78),
        "storage": KindCodes(-32011, 507, 74),
        "cancelled": KindCodes(-32800, 499, 130),
    }
)
"""The one error table. Codes below -32000 follow LSP, ACP and codex where they have one."""

ErrorCategory = Literal[
    "auth",
    "quota",
    "rate_limit",
    "context_length",
    "content_filter",
    "invalid_request",
    "not_found",
    "overloaded",
    "timeout",
    "server",
    "network",
    "protocol",
]


class ActrioError(Exception):
    """The root of the tree.

    Args:
        message: What happened and where, in one sentence, without secrets.
        remedy: What the reader can do about it, or ``None`` where nothing can be done.
        data: Further facts for programs; values must be JSON.
    """

    kind: ClassVar[str] = "internal"

    def __init__(
        self, message: str, *, remedy: str | None = None, data: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.data: Mapping[str, Any] = dict(data) if data else {}

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}" if self.remedy else self.message

    @property
    def retryable(self) -> bool:
        """Whether the same call may succeed later without anybody changing anything."""
        return False


def codes_for(error: BaseException) -> KindCodes:
    """Return the outward codes of ``error``; a foreign exception counts as ``internal``."""
    if isinstance(error, ActrioError):
        codes = KINDS[error.kind]
        if error.kind == "provider_error" and error.retryable:
            return attrs.evolve(codes, exit=75)
        return codes
    return KINDS["internal"]


class CallerError(ActrioError):
    """The caller must change the call."""

    kind = "invalid_params"


class InvalidRequest(CallerError):
    """The request itself is malformed."""

    kind = "invalid_params"


class NotFound(CallerError):
    """There is no such thing; the remedy lists what there is."""

    kind = "not_found"


class NotSupported(CallerError):
    """This cannot be done here; the remedy names what to do instead."""

    kind = "not_supported"


class Conflict(CallerError):
    """The present state does not allow the call (busy, taken, already closed)."""

    kind = "conflict"


class DeadlockError(Conflict):
    """Waiting here could never end: the waits form a cycle."""


class SessionOwned(Conflict):
    """Another owner writes this session; ``owner`` says who."""

    def __init__(self, message: str, *, owner: str = "", remedy: str | None = None) -> None:
        super().__init__(message, remedy=remedy, data={"owner": owner})
        self.owner = owner


class SessionFenced(Conflict):
    """The session was claimed by somebody else since, so this claim writes no more."""


class LimitExceeded(CallerError):
    """Something is larger than its stated bound."""

    kind = "limit_exceeded"


class ContextWindowExceeded(LimitExceeded):
    """The conversation no longer fits the model's context window."""


class StepLimitExceeded(LimitExceeded):
    """The agent used up its steps without giving an answer."""


class OperatorError(ActrioError):
    """Whoever runs the program must configure or install something."""

    kind = "not_configured"


class ConfigError(OperatorError):
    """A configuration file, flag or variable is wrong; names file, key, problem and remedy."""


class NotConfigured(OperatorError):
    """Something needed is missing (a key, a model file, an extra); names it."""


class PeerError(ActrioError):
    """The other side failed."""

    kind = "provider_error"


class ProviderError(PeerError):
    """A model provider refused, failed or could not be reached.

    Args:
        message: What happened, with provider and model named.
        provider: The provider's name.
        category: Which sort of failure, see `ErrorCategory`.
        status: HTTP status, where there was an answer.
        request_id: The provider's own id of the request, for its support.
        retry_after_seconds: How long the provider asked to wait.
        in_stream: Whether it arrived after the stream had begun.
    """

    _RETRYABLE: ClassVar[frozenset[str]] = frozenset(
        {"rate_limit", "overloaded", "timeout", "server", "network"}
    )

    def __init__(
        self,
        message: str,
        *,
        provider: str,
        category: ErrorCategory,
        status: int | None = None,
        request_id: str | None = None,
        retry_after_seconds: float | None = None,
        in_stream: bool = False,
        remedy: str | None = None,
        data: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message, remedy=remedy, data=data)
        self.provider = provider
        self.category: ErrorCategory = category
        self.status = status
        self.request_id = request_id
        self.retry_after_seconds = retry_after_seconds
        self.in_stream = in_stream

    @property
    def retryable(self) -> bool:
        return self.category in self._RETRYABLE


class ProviderUnreachable(ProviderError):
    """No answer at all: refused, unresolvable, reset, timed out."""


class ProviderProtocolError(ProviderError):
    """The answer does not follow the wire format."""


class StreamTruncated(ProviderProtocolError):
    """The stream ended without its terminal event; what arrived is not a complete answer."""


class ToolFailed(PeerError):
    """A tool could not give a result (only where no model can be told instead)."""

    kind = "internal"


class OutputInvalid(PeerError):
    """The model's answer did not match the agent's output type, as often as it was asked."""

    kind = "provider_error"


class BusyError(ActrioError):
    """Not now."""

    kind = "overloaded"

    @property
    def retryable(self) -> bool:
        return True


class Overloaded(BusyError):
    """A bound on waiting work is reached; carries when to try again where that is known."""

    def __init__(
        self,
        message: str,
        *,
        retry_after_seconds: float | None = None,
        remedy: str | None = None,
        data: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message, remedy=remedy, data=data)
        self.retry_after_seconds = retry_after_seconds


class MailboxFull(Overloaded):
    """The receiver's mailbox has no room."""


class ActorStopped(BusyError):
    """The address has no actor any more; nothing sent to it will be handled."""

    kind = "not_found"

    @property
    def retryable(self) -> bool:
        return False


class StorageError(ActrioError):
    """What is kept, or the disk beneath it, does not allow the call; nothing was altered."""

    kind = "storage"


class StorageDamaged(StorageError):
    """Something stored does not check; it is never read as less than it was.

    Args:
        message: What does not check.
        file: The file's path within the store.
        offset: Where in it, in bytes.
        session: Whose record it is, where that is known.
    """

    def __init__(
        self,
        message: str,
        *,
        file: str = "",
        offset: int = 0,
        session: str | None = None,
        remedy: str | None = None,
    ) -> None:
        super().__init__(
            message, remedy=remedy, data={"file": file, "offset": offset, "session": session}
        )
        self.file = file
        self.offset = offset
        self.session = session


class StorageFull(StorageError):
    """No room is left on the disk; what was acknowledged is kept, nothing new is."""


class StorageUnavailable(StorageError):
    """The disk refuses to be read or written: no permission, read-only, input/output error."""


class TurnAborted(ActrioError):
    """The turn was cancelled; ``reason`` says by whom or why."""

    kind = "cancelled"

    def __init__(self, message: str, *, reason: str = "user", remedy: str | None = None) -> None:
        super().__init__(message, remedy=remedy, data={"reason": reason})
        self.reason = reason


class DeadlineExceeded(ActrioError):
    """A stated deadline passed."""

    kind = "deadline_exceeded"

    @property
    def retryable(self) -> bool:
        return True


class BugError(ActrioError):
    """A mistake in actrio or in code it calls for you; never the result of bad input."""


class ActorFailed(BugError):
    """The actor crashed while it worked on your message; the cause is chained."""


class FilterFailed(BugError):
    """A filter raised, or ran past its deadline; names the filter and its stage."""


class HandlerStuck(BugError):
    """A cancelled handler did not end within the grace period; names the handler."""


class RestartBudgetExceeded(BugError):
    """An actor crashed more often than its supervisor allows."""
