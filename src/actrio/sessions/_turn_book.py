"""What a turn that runs may do to its session (`TurnBook` of the agents room)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from actrio.journal import ApprovalAsked, Record, StepBegun
from actrio.messages import ToolCall, ToolMessage, ToolResult, UserMessage
from actrio.sessions._line import TurnInLine
from actrio.sessions._state import OpenTurn
from actrio.tools import Leave

if TYPE_CHECKING:
    from actrio.sessions._turns import SessionTurns

__all__ = ["Book"]


class Book:
    """One turn's way to its session."""

    __slots__ = ("_turn", "_turns")

    def __init__(self, turns: SessionTurns, turn: TurnInLine) -> None:
        self._turns = turns
        self._turn = turn

    async def write(self, *records: Record, sync: bool = False) -> None:
        await self._turns.write(*records, sync=sync)

    async def settle(self) -> None:
        await self._turns.settle(self._turn.id)

    async def begin_step(self, before: Sequence[Record], step: StepBegun) -> Sequence[UserMessage]:
        taken: list[OpenTurn] = []

        def records() -> Sequence[Record]:
            taken[:] = self._turns.state.steering(self._turn.id)
            names = tuple(each.id for each in taken)
            return (*before, attrs.evolve(step, taken=names))

        await self._turns.write_made(records)
        return [each.message for each in taken if each.message is not None]

    def kept(self, results: tuple[ToolResult, ...]) -> tuple[ToolResult, ...]:
        added = self._turns.state.open[self._turn.id].added
        last = added[-1] if added else None
        return last.results if isinstance(last, ToolMessage) else results

    @property
    def steered(self) -> bool:
        return bool(self._turns.state.steering(self._turn.id))

    async def permit(self, step: int, position: int, call: ToolCall) -> Leave:
        return await self._turns.questions.permit(self._turns, self._turn, step, position, call)

    async def ask_person(
        self,
        step: int,
        position: int,
        call: ToolCall,
        question: str,
        choices: tuple[str, ...],
    ) -> str:
        asked = ApprovalAsked(
            turn=self._turn.id,
            approval=self._turns.new_id("a"),
            step=step,
            position=position,
            about="question",
            question=question,
            choices=choices,
            call=call,
        )
        return await self._turns.questions.ask_person(self._turns, self._turn, asked)

    @property
    def state(self) -> Mapping[str, Any]:
        return dict(self._turns.state.values)

    async def change_state(
        self, values: Mapping[str, Any], *, remove: Sequence[str] = (), by: str
    ) -> Mapping[str, Any]:
        return await self._turns.change_state(values, remove=remove, by=by)
