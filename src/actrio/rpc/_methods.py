"""What a front end gives a connection: its methods, and who may call what now."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal

import attrs
import trio

from actrio.rpc._faults import fault
from actrio.sansio import RequestId

__all__ = ["Call", "CancelMethod", "Methods", "Shrink"]

CancelMethod = Literal["$/cancelRequest", "$/cancel_request"]
"""How a request is taken back: ``{"id": …}`` as in LSP, or ``{"requestId": …}`` as in ACP."""

Shrink = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]
"""Makes a message shorter whose line would be too long."""


class Call:
    """One request while it runs.

    Attributes:
        id: The request's id.
        method: Its method.
        params: Its parameters by name.
        channel: Where the answer waits its turn. ``None`` lets it overtake every notification; a
            channel's name puts it behind all that was queued there before it.
        scope: Cancelled when the peer takes the request back.
        on_cancel: Called in that case instead, where a method ends in an orderly way by itself.
        cancel_asked: Whether the peer took the request back; the answer then says so.
        answered: Whether the answer is queued.
    """

    __slots__ = (
        "_respond",
        "answered",
        "cancel_asked",
        "channel",
        "id",
        "method",
        "on_cancel",
        "params",
        "scope",
    )

    def __init__(
        self,
        id: RequestId,
        method: str,
        params: Mapping[str, Any],
        *,
        respond: Callable[[Call, Any], None],
    ) -> None:
        self.id = id
        self.method = method
        self.params = params
        self.channel: str | None = None
        self.scope = trio.CancelScope()
        self.on_cancel: Callable[[], object] | None = None
        self.cancel_asked = False
        self.answered = False
        self._respond = respond

    def respond(self, result: Any) -> None:
        """Answer now, past everything queued, and go on; what the method returns is not sent.

        Raises:
            InvalidRequest: ``result`` has no JSON form.
        """
        self._respond(self, result)

    def cancel(self) -> None:
        """Take the request back."""
        self.cancel_asked = True
        if self.on_cancel is None:
            self.scope.cancel(reason="the peer cancelled the request")
        else:
            self.on_cancel()


def _everything(_method: str) -> dict[str, Any] | None:
    return None


def _unknown(method: str) -> dict[str, Any]:
    return fault("method_not_found", f"There is no method {method[:100]!r}.")


@attrs.frozen(slots=True, kw_only=True)
class Methods:
    """What a connection dispatches to.

    Attributes:
        calls: Each is called by the reader, in the order of the lines, and what it returns is
            awaited in a task of the connection; that gives the answer. Tasks start in no order,
            so a plain function that returns a coroutine is the place to stand in line.
        controls: Each is called by the reader itself, so it overtakes everything queued; plain
            functions, because they must not wait. They also work as notifications.
        urgent: Names of calls that are taken also where too many requests are in flight (within
            `ConnectionLimits.urgent_max` more), and while the connection finishes: what others
            wait for.
        admit: Says whether a method may be called now; an error object refuses it.
        unknown: The error object for a method that is in neither table.
        ended: Called at the end of input. The connection then stays until somebody calls
            `Connection.finish`; where nothing is given, it finishes by itself.
        cancel_method: How requests of ours are taken back.
        shrink: Called for a message whose line is longer than `ConnectionLimits` allows; where it
            is not given, or what it returns is still too long, the message becomes an error.
        stalled: Called with the seconds that a write has made no progress, and with 0 when it
            goes on.
    """

    calls: Mapping[str, Callable[[Call], Awaitable[Any]]] = attrs.field(factory=dict)
    controls: Mapping[str, Callable[[Mapping[str, Any]], Any]] = attrs.field(factory=dict)
    urgent: frozenset[str] = frozenset()
    admit: Callable[[str], dict[str, Any] | None] = _everything
    unknown: Callable[[str], dict[str, Any]] = _unknown
    ended: Callable[[], None] | None = None
    cancel_method: CancelMethod = "$/cancelRequest"
    shrink: Shrink | None = None
    stalled: Callable[[float], None] | None = None
