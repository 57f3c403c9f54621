"""What a tool may know about the call it serves, and what it may ask of the turn around it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import attrs

from actrio.errors import NotSupported

__all__ = ["CallDesk", "ToolContext"]


class CallDesk(Protocol):
    """What the turn offers to one call while its function runs."""

    async def ask_person(self, question: str, choices: Sequence[str]) -> str: ...

    def ask_person_sync(self, question: str, choices: Sequence[str]) -> str: ...

    @property
    def state(self) -> Mapping[str, Any]: ...

    async def change_state(
        self, values: Mapping[str, Any], remove: Sequence[str]
    ) -> Mapping[str, Any]: ...

    def change_state_sync(
        self, values: Mapping[str, Any], remove: Sequence[str]
    ) -> Mapping[str, Any]: ...


@attrs.frozen(slots=True)
class ToolContext:
    """Injected into a parameter annotated with it; never part of the tool's schema.

    A tool that is ``async def`` awaits `ask_person` and `change_state`; a sync one, which runs in
    a thread of its own, calls `ask_person_sync` and `change_state_sync`.

    Attributes:
        session: The session's id.
        turn: The turn's id.
        agent: The agent's name.
        call_id: The call's id, as the model's provider gave it.
        tool: The tool's name.
        deadline: When the call is cut off, in Trio's clock (`trio.current_time`); ``inf`` where
            nothing limits it. It moves on by the time for which the call waits for a person.
    """

    session: str
    turn: str
    agent: str
    call_id: str
    tool: str
    deadline: float
    _desk: CallDesk | None = attrs.field(default=None, repr=False, eq=False)

    async def ask_person(self, question: str, choices: Sequence[str] = ()) -> str:
        """Ask a person, wait for the answer, and return it.

        The call gives its place among those that run to another meanwhile, and its deadline
        stands still, so an answer may take days.

        Args:
            question: What the person reads.
            choices: Answers to choose from; none for a free one.

        Raises:
            NotSupported: Nobody can be asked: the call runs outside of a session.
            InvalidRequest: There is no question, or ``choices`` is no sequence of texts.
            LimitExceeded: The question or the choices are too long.
            Conflict: The call has ended.

        *Backpressure*: with the answer, the call waits for a place again.

        *Cancellation*: the question is withdrawn. A tool that gives up waiting by a scope of its
        own goes on at once, also where no place is free.
        """
        return await self._desk_for("ask a person").ask_person(question, choices)

    def ask_person_sync(self, question: str, choices: Sequence[str] = ()) -> str:
        """Ask a person from a sync tool; see `ask_person`.

        Raises:
            InvalidRequest: As `ask_person`; or called from Trio's own thread, which it would stop.

        *Cancellation*: raises `trio.Cancelled` in the tool's thread, so that it ends too.
        """
        return self._desk_for("ask a person").ask_person_sync(question, choices)

    @property
    def state(self) -> Mapping[str, Any]:
        """What the session keeps beside its history, as it is now; a view, not to be written.

        Raises:
            NotSupported: The call runs outside of a session.
        """
        return self._desk_for("read the session's state").state

    async def change_state(
        self, values: Mapping[str, Any], remove: Sequence[str] = ()
    ) -> Mapping[str, Any]:
        """Set these keys of the session's state, remove those, and return the state.

        Args:
            values: JSON values, by key.
            remove: Keys to remove; one that is not there is no mistake.

        Raises:
            NotSupported: The call runs outside of a session.
            Conflict: The call has ended.
            ActrioError: The session refuses the change, or cannot record it.

        *Cancellation*: the change may have been made.
        """
        return await self._desk_for("change the session's state").change_state(values, remove)

    def change_state_sync(
        self, values: Mapping[str, Any], remove: Sequence[str] = ()
    ) -> Mapping[str, Any]:
        """Change the session's state from a sync tool; see `change_state`.

        Raises:
            InvalidRequest: Called from Trio's own thread, which it would stop.

        *Cancellation*: as `ask_person_sync`.
        """
        return self._desk_for("change the session's state").change_state_sync(values, remove)

    def _desk_for(self, purpose: str) -> CallDesk:
        if self._desk is None:
            raise NotSupported(
                f"The tool {self.tool!r} cannot {purpose}: its call runs outside of a session.",
                remedy="Call it in a turn of a session: `async with runtime.session(agent)`.",
            )
        return self._desk
