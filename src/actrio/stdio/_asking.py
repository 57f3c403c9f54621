"""What a turn needs a person for, asked of the client.

::

    approval.requested ──► the client declared `request`: approval/request or question/ask
                       ──► `event`: nothing; it answers by approval/resolve
                       ──► neither, and the turn is this client's: denied, and the model is told
    approval.resolved  ──► whoever decided, the open request is taken back

At the end of input nobody can answer any more: what this client's turns wait for is denied.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import trio

from actrio.errors import ActrioError, Conflict, NotFound, PeerError
from actrio.messages import ApprovalRequested, ApprovalResolved, Event
from actrio.rpc import Connection, Refused
from actrio.runtime import Runtime
from actrio.stdio._profile import ClientProfile
from actrio.stdio._read import read_params
from actrio.stdio._results import (
    ApprovalAnswer,
    ApprovalRequest,
    QuestionAnswer,
    QuestionAsk,
    call_told,
)
from actrio.stdio._turns import ClientTurns
from actrio.telemetry import RoomLog

__all__ = ["PersonAsked"]

_log = RoomLog("actrio.stdio")

UNDECLARED = "The client of this session takes no {what}, so nobody could be asked."
LEFT = "The client of this session has left, so nobody could be asked."


class PersonAsked:
    """Asks one client, and hands its decisions to the sessions.

    Args:
        connection: The client.
        runtime: Where the sessions live.
        profile: Returns what the client declared.
        turns: The client's turns.
    """

    def __init__(
        self,
        connection: Connection,
        runtime: Runtime,
        *,
        profile: Callable[[], ClientProfile],
        turns: ClientTurns,
    ) -> None:
        self._connection = connection
        self._runtime = runtime
        self._profile = profile
        self._turns = turns
        # Approvals that the client was told of and that are not resolved, by session and id.
        self._open: dict[tuple[str, str], ApprovalRequested] = {}
        self._asking: dict[tuple[str, str], trio.CancelScope] = {}
        self._tasks: trio.Nursery | None = None
        self._left = False

    def run_in(self, tasks: trio.Nursery) -> None:
        """Let questions wait in ``tasks``."""
        self._tasks = tasks

    def after(self, event: Event) -> None:
        """Hear of an event that is queued for the client."""
        if isinstance(event, ApprovalRequested):
            self._open[event.session, event.approval] = event
            self._begin(event)
        elif isinstance(event, ApprovalResolved):
            self._open.pop((event.session, event.approval), None)
            scope = self._asking.get((event.session, event.approval))
            if scope is not None:
                scope.cancel(reason="it was decided elsewhere")

    def client_left(self) -> None:
        """Deny what the client's turns wait for, now and later."""
        self._left = True
        for key, event in list(self._open.items()):
            if key not in self._asking:
                self._begin(event)

    def _begin(self, event: ApprovalRequested) -> None:
        assert self._tasks is not None
        self._tasks.start_soon(self._see_to, event)

    async def _see_to(self, event: ApprovalRequested) -> None:
        key = event.session, event.approval
        how = self._how(event)
        own = self._turns.find(event.turn) is not None
        if how == "event" or (how == "no" and not own):
            return
        with trio.CancelScope() as self._asking[key]:
            try:
                if own or await self._still_open(event):
                    await self._settle(event, how)
            except (NotFound, Conflict):
                pass  # decided by somebody else in the meantime, or its turn has ended
            except ActrioError as error:
                _log.error("stdio.decision_not_kept", approval=event.approval, exc_info=error)
        self._asking.pop(key, None)

    def _how(self, event: ApprovalRequested) -> str:
        if self._left:
            return "left"
        profile = self._profile()
        return profile.approval if event.about == "call" else profile.question

    async def _still_open(self, event: ApprovalRequested) -> bool:
        """Whether an event that may be a replayed one still asks."""
        view = await self._runtime.view(event.session)
        return any(each.approval == event.approval for each in view.approvals)

    async def _settle(self, event: ApprovalRequested, how: str) -> None:
        decision: dict[str, Any]
        if how == "request":
            decision = await self._asked(event)
        elif how == "left":
            decision = {"decision": "denied", "note": LEFT}
        else:
            what = "approvals" if event.about == "call" else "questions"
            decision = {"decision": "denied", "note": UNDECLARED.format(what=what)}
        decision.setdefault("by", self._profile().name)
        await self._runtime.answer(event.session, event.approval, **decision)

    async def _asked(self, event: ApprovalRequested) -> dict[str, Any]:
        """Ask the client and return its decision; one that cannot be had is a denial."""
        method = "approval/request" if event.about == "call" else "question/ask"
        params = _request(event)
        try:
            answer = await self._connection.request(
                method, attrs.asdict(params), channel=event.session
            )
            return _decision(method, answer)
        except trio.BrokenResourceError:
            note = LEFT
        except (PeerError, Refused) as error:
            note = f"The client could not answer: {error}"
        return {"decision": "denied", "note": note}


def _request(event: ApprovalRequested) -> ApprovalRequest | QuestionAsk:
    names = {"session": event.session, "turn": event.turn, "approval": event.approval}
    if event.about == "question":
        return QuestionAsk(question=event.question, choices=list(event.choices), **names)
    told = None if event.call is None else call_told(event.call)
    return ApprovalRequest(call=told, question=event.question, **names)


def _decision(method: str, answer: Any) -> dict[str, Any]:
    given = answer if isinstance(answer, dict) else {}
    if method == "approval/request":
        result = read_params(method, given, ApprovalAnswer)
        told = {"decision": result.decision, "note": result.note}
    else:
        reply = read_params(method, given, QuestionAnswer)
        result = reply  # type: ignore[assignment]  # only `by` is read below
        if reply.answer is None:
            told = {"decision": "denied", "note": "The person gave no answer."}
        else:
            told = {"decision": "answered", "answer": reply.answer}
    return {**told, **({"by": result.by} if result.by else {})}
