"""What a turn needs of the session that it belongs to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import attrs

from actrio.journal import Record, StepBegun
from actrio.messages import Message, ToolCall, ToolResult, Usage, UserMessage
from actrio.tools import Leave

__all__ = ["Interrupted", "TurnBook"]


class TurnBook(Protocol):
    """The session's side of a running turn: it writes, and it knows whom to ask."""

    async def write(self, *records: Record, sync: bool = False) -> None:
        """Add records to the journal, together; their events leave when they are there.

        *Cancellation*, *Failure*: where this raises, nothing was written.
        """
        ...

    async def begin_step(self, before: Sequence[Record], step: StepBegun) -> Sequence[UserMessage]:
        """Add ``before`` and the beginning of a step; return what came to steer the turn.

        What it takes in is decided when the record is written: an input may be cancelled while
        the step waits for its place in the journal.

        *Cancellation*, *Failure*: where this raises, nothing was written.
        """
        ...

    def kept(self, results: tuple[ToolResult, ...]) -> tuple[ToolResult, ...]:
        """Return the results of the step in work as they are on record: without secrets."""
        ...

    async def settle(self) -> None:
        """Wait while a pacing reader has no room for the events of what was written."""
        ...

    @property
    def steered(self) -> bool:
        """Whether there are inputs that the turn is to take in with its next step."""
        ...

    async def permit(self, step: int, position: int, call: ToolCall) -> Leave:
        """Ask a person whether a call may run, or return what was decided already."""
        ...

    async def ask_person(
        self, step: int, position: int, call: ToolCall, question: str, choices: tuple[str, ...]
    ) -> str:
        """Ask a person a tool's question."""
        ...

    @property
    def state(self) -> Mapping[str, Any]:
        """``session.state``, as it is now."""
        ...

    async def change_state(
        self, values: Mapping[str, Any], *, remove: Sequence[str] = (), by: str
    ) -> Mapping[str, Any]:
        """Change ``session.state`` and return it."""
        ...


@attrs.frozen(slots=True)
class Interrupted:
    """How far a turn had come when it was put aside to wait for a person.

    Attributes:
        added: What it adds to the history so far.
        calls: The calls of its last answer.
        results: Those that have a result, by position.
        corrections: Times that the model was told to answer again.
    """

    added: tuple[Message, ...]
    steps: int
    usage: Usage
    text: str
    calls: tuple[ToolCall, ...]
    results: Mapping[int, ToolResult] = attrs.field(factory=dict, hash=False)
    corrections: int = 0
