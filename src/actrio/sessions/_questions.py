"""What the turns of one session ask people, and what they are answered."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from actrio.errors import InvalidRequest
from actrio.journal import ApprovalAsked, ApprovalDecided
from actrio.messages import Decision, ToolCall
from actrio.sessions._line import TurnInLine
from actrio.sessions._state import OpenCall
from actrio.tools import Leave

if TYPE_CHECKING:
    from actrio.sessions._turns import SessionTurns

__all__ = ["Questions"]


class Questions:
    """Asks, waits a while in memory, and puts a turn aside that only a person can move.

    It is told each time whose ``turns`` they are: two that know each other would wait for the
    collector when the session leaves memory.

    Args:
        approval_seconds: How long a turn that waits for a person stays in memory.
    """

    def __init__(self, approval_seconds: float) -> None:
        self._approval_seconds = approval_seconds
        # What waiting calls and tools are woken by, and the answers to tools' questions.
        self._asking: dict[str, trio.Event] = {}
        self._answers: dict[str, tuple[Decision, str]] = {}

    async def permit(
        self, turns: SessionTurns, turn: TurnInLine, step: int, position: int, call: ToolCall
    ) -> Leave:
        """Ask a person whether a call may run, or return what was decided already."""

        def shown() -> OpenCall:
            # Looked up each time: a checkpoint puts equal ones in the place of all.
            return turns.state.open[turn.id].calls[position]

        # After a restart a changed filter may want to run something else than was shown.
        if not shown().approval or shown().asked != call:
            await self._ask(
                turns,
                turn,
                ApprovalAsked(
                    turn=turn.id,
                    approval=turns.new_id("a"),
                    step=step,
                    position=position,
                    question=f"May the agent run {call.name}?",
                    call=call,
                ),
            )
        while shown().leave is None:
            await self._heard(turns, turn, shown().approval)
        return Leave(shown().leave == "approved", by=shown().by, note=shown().note)

    async def ask_person(self, turns: SessionTurns, turn: TurnInLine, asked: ApprovalAsked) -> str:
        """Ask a person a tool's question and return the answer."""
        approval = asked.approval
        await self._ask(turns, turn, asked)
        while approval not in self._answers:
            await self._heard(turns, turn, approval)
        decision, answer = self._answers.pop(approval)
        if decision != "answered":
            raise InvalidRequest(
                f"The person did not answer ({decision}).", remedy="Go on without."
            )
        return answer

    async def _ask(self, turns: SessionTurns, turn: TurnInLine, record: ApprovalAsked) -> None:
        # Told to nobody before it is certain to be found again.
        await turns.write(record, sync=True)
        await turns.settle(turn.id)

    async def _heard(self, turns: SessionTurns, turn: TurnInLine, approval: str) -> None:
        """Wait for a decision; put the turn aside where only a person can move it for a while."""
        event = self._asking.setdefault(approval, trio.Event())
        with trio.move_on_after(self._approval_seconds):
            await event.wait()
            return
        calls = turns.state.open[turn.id].calls
        # One that is decided is on its way: it must not be stopped between record and run.
        stands = (call.result is not None or (call.waits and call.leave is None) for call in calls)
        if not turn.owned and all(stands):
            turn.suspended = True
            turn.scope.cancel(reason="waits for a person")
            await trio.lowlevel.checkpoint()

    async def decide(self, turns: SessionTurns, record: ApprovalDecided) -> bool:
        """Write a person's decision and wake who waits for it; False if it came too late."""
        about = turns.state.pending[record.approval].about
        if about == "question":
            self._answers[record.approval] = (record.decision, record.answer)
        try:
            written = await turns.write_made(
                lambda: (record,) if record.approval in turns.state.pending else (), sync=True
            )
        except BaseException:
            self._answers.pop(record.approval, None)
            raise
        if not written:
            self._answers.pop(record.approval, None)
        if (event := self._asking.pop(record.approval, None)) is not None:
            event.set()
        return written
