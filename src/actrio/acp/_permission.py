"""What a turn needs a person for, asked of the client's user."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, Literal

import trio

from actrio.acp._updates import Toolbox
from actrio.errors import ActrioError, Conflict, NotFound, PeerError
from actrio.messages import ApprovalRequested, ToolCall
from actrio.rpc import Connection
from actrio.runtime import Session
from actrio.telemetry import RoomLog

__all__ = ["Permissions"]

_log = RoomLog("actrio.acp")

_OPTIONS: Final = (
    {"optionId": "allow_once", "name": "Allow", "kind": "allow_once"},
    {"optionId": "allow_always", "name": "Always allow", "kind": "allow_always"},
    {"optionId": "reject_once", "name": "Reject", "kind": "reject_once"},
    {"optionId": "reject_always", "name": "Always reject", "kind": "reject_always"},
)

_Verdict = Literal["approved", "denied"]

_VERDICTS: Final[Mapping[str, _Verdict]] = MappingProxyType(
    {
        "allow_once": "approved",
        "allow_always": "approved",
        "reject_once": "denied",
        "reject_always": "denied",
    }
)

UNASKED: Final = "The client of this session takes no questions, so nobody could be asked."


class Permissions:
    """Asks one client, and hands its user's decisions to the sessions.

    Args:
        connection: The client.

    Attributes:
        by: Who decides, in the record.
        takes_questions: Whether a tool's own questions can be asked (``elicitation/create``).
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._always: dict[tuple[str, str], _Verdict] = {}
        self.by = "acp"
        self.takes_questions = False

    def forget(self, session: str) -> None:
        """Ask again about everything of a session."""
        for key in [key for key in self._always if key[0] == session]:
            del self._always[key]

    async def ask(self, session: Session, event: ApprovalRequested, tools: Toolbox) -> bool:
        """Have the user decide; false where the client says that the turn is cancelled.

        *Cancellation*: the question is withdrawn from the client; the session keeps it open.
        """
        try:
            if event.about == "question":
                return await self._question(session, event)
            return await self._call(session, event, tools)
        except (NotFound, Conflict):
            return True  # it was decided elsewhere, or its turn has ended
        except trio.BrokenResourceError:
            return False  # nobody is there any more
        except ActrioError as error:
            _log.error("acp.decision_not_kept", approval=event.approval, exc_info=error)
            return False

    async def _call(self, session: Session, event: ApprovalRequested, tools: Toolbox) -> bool:
        call = event.call or ToolCall("", "a tool")
        known = self._always.get((session.id, call.name))
        if known is not None:
            by = f"{self.by}, for all calls of {call.name}"
            await session.answer(event.approval, known, by=by)
            return True
        params = {
            "sessionId": session.id,
            "toolCall": {**tools.shown(event.item, call), "status": "pending"},
            "options": list(_OPTIONS),
        }
        try:
            outcome = _member(
                await self._connection.request(
                    "session/request_permission", params, channel=session.id
                ),
                "outcome",
            )
        except PeerError as error:
            await session.answer(event.approval, "denied", by=self.by, note=_unable(error))
            return True
        option = _member(outcome, "optionId")
        if not isinstance(option, str) or option not in _VERDICTS:
            return False
        if option.endswith("_always"):
            self._always[session.id, call.name] = _VERDICTS[option]
        await session.answer(event.approval, _VERDICTS[option], by=self.by)
        return True

    async def _question(self, session: Session, event: ApprovalRequested) -> bool:
        if not self.takes_questions:
            await session.answer(event.approval, "denied", by=self.by, note=UNASKED)
            return True
        answer: dict[str, Any] = {"type": "string", "title": "Answer"}
        if event.choices:
            answer["enum"] = list(event.choices)
        params = {
            "mode": "form",
            "sessionId": session.id,
            "toolCallId": event.item,
            "message": event.question,
            "requestedSchema": {
                "type": "object",
                "properties": {"answer": answer},
                "required": ["answer"],
            },
        }
        try:
            told = await self._connection.request("elicitation/create", params, channel=session.id)
        except PeerError as error:
            await session.answer(event.approval, "denied", by=self.by, note=_unable(error))
            return True
        said = _member(_member(told, "content"), "answer")
        if _member(told, "action") == "accept" and isinstance(said, str):
            await session.answer(event.approval, "answered", answer=said, by=self.by)
        else:
            note = "The person gave no answer."
            await session.answer(event.approval, "denied", by=self.by, note=note)
        return True


def _unable(error: PeerError) -> str:
    return f"The client could not ask: {error.data['message']}"


def _member(value: Any, name: str) -> Any:
    """Return a member of what a client answered, ``None`` where it is not of that shape."""
    return value.get(name) if isinstance(value, dict) else None
