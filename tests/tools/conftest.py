from __future__ import annotations

import pytest
import trio

from actrio.messages import ToolCall
from actrio.tools import ToolBox, run_calls


@pytest.fixture
def run():
    """Run calls given as (name, arguments) pairs, tools or a box, and return their results."""

    async def run(tools, *calls, **options):
        box = tools if isinstance(tools, ToolBox) else ToolBox(tools)
        made = [ToolCall(f"c{i}", name, text) for i, (name, text) in enumerate(calls)]
        return await run_calls(made, box, session="s", turn="t", agent="a", **options)

    return run


class Desk:
    """A turn's desk in memory: people answer through `answer`, by the call's position."""

    def __init__(self, **answers):
        self.heard = []
        self.withdrawn = []
        self._answers = {int(key.removeprefix("call")): each for key, each in answers.items()}
        self._answered = {}
        self._state = {}
        self.changed_by = []

    def answer(self, index, answer):
        self._answers[index] = answer
        self._answered.setdefault(index, trio.Event()).set()

    async def begun(self, index, call, tool):
        await trio.lowlevel.checkpoint()
        self.heard.append(("begun", index, tool.name))

    async def permit(self, index, call, tool):
        self.heard.append(("permit", index, call.arguments))
        return await self._wait(index)

    async def ask_person(self, index, call, question, choices):
        self.heard.append(("ask", index, question, choices))
        return await self._wait(index)

    async def _wait(self, index):
        await trio.lowlevel.checkpoint()
        try:
            if index not in self._answers:
                await self._answered.setdefault(index, trio.Event()).wait()
        except trio.Cancelled:
            self.withdrawn.append(index)
            raise
        answer = self._answers[index]
        if isinstance(answer, Exception):
            raise answer
        return answer

    @property
    def state(self):
        return self._state

    async def change_state(self, values, *, remove=(), by):
        await trio.lowlevel.checkpoint()
        kept = {key: value for key, value in self._state.items() if key not in remove}
        self._state = {**kept, **values}
        self.changed_by.append(by)
        return self._state


@pytest.fixture
def make_desk():
    """Return the class of desks: ``make_desk(call0=Leave(True))`` has the answer for call 0."""
    return Desk
