"""The turn's desk as one call sees it: bound to the call, its place, and the line of its thread."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, TypeVar

from actrio.errors import Conflict, InvalidRequest, LimitExceeded
from actrio.messages import ToolCall
from actrio.tools._desk import TurnDesk
from actrio.tools._place import Place
from actrio.tools._thread_line import ThreadLine

__all__ = ["OpenDesk"]

QUESTION_BYTES_MAX: Final = 16 * 1024
"""Largest question with its choices: four pages, which is more than anybody reads before a yes."""

CHOICES_MAX: Final = 32
"""Most answers to choose from; a list that is longer needs a search, not a question."""

T = TypeVar("T")


class OpenDesk:
    """The desk of one call (`CallDesk`); open while its function runs."""

    __slots__ = ("_call", "_desk", "_index", "_line", "_place")

    def __init__(
        self, desk: TurnDesk, index: int, call: ToolCall, place: Place, line: ThreadLine | None
    ) -> None:
        self._desk = desk
        self._index = index
        self._call = call
        self._place = place
        self._line = line

    async def ask_person(self, question: str, choices: Sequence[str]) -> str:
        self._check_open()
        offered = _checked_question(question, choices)
        ask = functools.partial(self._desk.ask_person, self._index, self._call, question, offered)
        return await self._place.aside(ask)

    def ask_person_sync(self, question: str, choices: Sequence[str]) -> str:
        return self._by_line(functools.partial(self.ask_person, question, choices))

    @property
    def state(self) -> Mapping[str, Any]:
        return MappingProxyType(self._desk.state)

    async def change_state(
        self, values: Mapping[str, Any], remove: Sequence[str]
    ) -> Mapping[str, Any]:
        self._check_open()
        if isinstance(remove, str):
            raise InvalidRequest("`remove` is one text.", remedy="Give a list of keys.")
        by = f"tool {self._call.name}"
        return await self._desk.change_state(values, remove=tuple(remove), by=by)

    def change_state_sync(
        self, values: Mapping[str, Any], remove: Sequence[str]
    ) -> Mapping[str, Any]:
        return self._by_line(functools.partial(self.change_state, values, remove))

    def _by_line(self, asked: Callable[[], Awaitable[T]]) -> T:
        if self._line is None:
            raise InvalidRequest(
                f"The tool {self._call.name!r} is async, but asked with a call that blocks.",
                remedy="Await the form without _sync; from a thread that the tool started, use "
                "trio.from_thread.run.",
            )
        return self._line.wait_for(asked)

    def _check_open(self) -> None:
        if self._place.over:
            raise Conflict(
                f"The call {self._call.id!r} of {self._call.name!r} has ended.",
                remedy="Use a ToolContext only while its tool runs.",
            )


def _checked_question(question: str, choices: Sequence[str]) -> tuple[str, ...]:
    if not question.strip():
        raise InvalidRequest("A person was asked nothing.", remedy="Write the question.")
    if isinstance(choices, str) or not all(isinstance(each, str) for each in choices):
        raise InvalidRequest(
            "`choices` is not a sequence of texts.", remedy='Write choices=["yes", "no"].'
        )
    offered = tuple(choices)
    size = sum(len(each.encode(errors="replace")) for each in (question, *offered))
    if size > QUESTION_BYTES_MAX or len(offered) > CHOICES_MAX:
        raise LimitExceeded(
            f"A question has {size} bytes and {len(offered)} choices; allowed are "
            f"{QUESTION_BYTES_MAX} bytes and {CHOICES_MAX} choices.",
            remedy="Ask shorter, or for a free answer.",
        )
    return offered
