"""What a turn offers to the calls of its steps: a journal, a person, the session's state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import attrs

from actrio.messages import ToolCall
from actrio.tools._tool import Tool

__all__ = ["Leave", "TurnDesk", "no_person_text", "refusal_text"]


@attrs.frozen(slots=True)
class Leave:
    """What a person decided about a call.

    Attributes:
        approved: Whether it may run.
        by: Who decided, as the model may read it.
        note: What they said about it, for the model.
    """

    approved: bool
    by: str = ""
    note: str = ""


class TurnDesk(Protocol):
    """What a turn offers to the calls of its steps; used by several calls at once.

    ``index`` is the call's position in the model's answer; ``call`` is the call as it will run,
    which a filter may have changed.
    """

    async def begun(self, index: int, call: ToolCall, tool: Tool, /) -> None:
        """Hear that the tool's function is about to run; it does not before this returns.

        *Failure*: whatever it raises ends the step, and the function has not run.
        """

    async def permit(self, index: int, call: ToolCall, tool: Tool, /) -> Leave:
        """Ask a person whether the call may run, and return what they decided.

        Called for tools with ``approval="ask"`` only, with arguments that match the schema. Where
        it was decided before (in a step that is resumed), it returns at once.

        *Cancellation*: the call is not run.

        *Failure*: whatever it raises ends the step.
        """

    async def ask_person(
        self, index: int, call: ToolCall, question: str, choices: tuple[str, ...], /
    ) -> str:
        """Ask a person what a running tool wants to know; what it raises, the tool gets."""

    @property
    def state(self) -> Mapping[str, Any]:
        """The session's state; a change replaces it, because sync tools read it from threads."""

    async def change_state(
        self, values: Mapping[str, Any], *, remove: Sequence[str] = (), by: str
    ) -> Mapping[str, Any]:
        """Change the session's state and return it; what it raises, the tool gets."""


def no_person_text(name: str) -> str:
    """Return the result of a call that needs a person where none can be asked."""
    return (
        f"Not run: {name!r} needs a person's approval, and nobody can be asked here. It had no "
        "effect. Do without it, or say what you would have done."
    )


def refusal_text(name: str, leave: Leave) -> str:
    """Return the result of a call that a person denied: who, and what they said about it."""
    who = f"was denied by {leave.by}" if leave.by else "was not approved"
    said = f", with the note: {leave.note}" if leave.note else "."
    return f"Not run: this call of {name!r} {who}{said}\nIt had no effect."
