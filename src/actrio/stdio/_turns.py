"""A client's turns: which there are, and when each has ended for the client.

A turn has ended for the client when its last event is queued; where the client does not get the
session's events, when the session says so.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

import attrs
import trio

from actrio.errors import NotFound
from actrio.messages import TERMINAL_EVENTS, Event, TurnStarted

if TYPE_CHECKING:
    from actrio.stdio._sessions import ClientSession

__all__ = ["ENDED_TURNS_MAX", "ClientTurn", "ClientTurns"]

ENDED_TURNS_MAX: Final = 4096
"""Ended turns whose session is remembered, so that `turn/wait` needs no session. An entry has some
hundred bytes; the results themselves are the session's to keep."""


@attrs.define(slots=True, eq=False)
class ClientTurn:
    """One turn that this client has begun.

    Attributes:
        id: Its id.
        session: Where it runs.
        answered: Set when the client knows that it was accepted, or that it was not.
        ended: Set when it has ended for the client.
    """

    id: str
    session: ClientSession
    answered: trio.Event = attrs.field(factory=trio.Event)
    ended: trio.Event = attrs.field(factory=trio.Event)


class ClientTurns:
    """The turns of one connection."""

    def __init__(self) -> None:
        # Oldest first; ended ones are forgotten from the front.
        self._turns: OrderedDict[str, ClientTurn] = OrderedDict()
        self._unended: dict[str, ClientTurn] = {}
        self._changed = trio.lowlevel.ParkingLot()
        self._starting = 0

    @property
    def running(self) -> int:
        """Turns that have not ended for the client."""
        return len(self._unended)

    def unended(self, session: ClientSession | None = None) -> list[ClientTurn]:
        """Return those that have not ended, of one session or of all."""
        return [
            turn for turn in self._unended.values() if session is None or turn.session is session
        ]

    def begin(self, id: str, session: ClientSession) -> ClientTurn:
        """Expect a turn that is about to be accepted."""
        turn = self._turns[id] = self._unended[id] = ClientTurn(id, session)
        ended = len(self._turns) - len(self._unended)
        for name in list(self._turns) if ended > ENDED_TURNS_MAX else ():
            if name not in self._unended:
                del self._turns[name]
                break
        return turn

    def refused(self, turn: ClientTurn) -> None:
        """Forget a turn that was not accepted."""
        self._turns.pop(turn.id, None)
        self.end(turn)

    def end(self, turn: ClientTurn) -> None:
        """Note that a turn has ended for the client."""
        turn.answered.set()
        turn.ended.set()
        self._unended.pop(turn.id, None)
        self._changed.unpark_all()

    def find(self, id: str) -> ClientTurn | None:
        """Return a turn of this client, or ``None``."""
        return self._turns.get(id)

    def unknown(self, id: str) -> NotFound:
        """Return the error for a turn that is not this client's, or that ended long ago."""
        return NotFound(
            f"This client has begun no turn {id[:100]!r}.",
            remedy="Name its session too, where another client or process has begun it.",
        )

    # What the pumps tell

    async def before(self, event: Event) -> None:
        """Let a turn begin for the client only when it knows the turn."""
        if isinstance(event, TurnStarted):
            turn = self._unended.get(event.turn)
            if turn is not None:
                await turn.answered.wait()

    def after(self, event: Event) -> None:
        """Note a turn's last event."""
        if isinstance(event, TERMINAL_EVENTS):
            turn = self._unended.get(event.turn)
            if turn is not None:
                self.end(turn)

    # For an orderly end

    def starting(self, change: int) -> None:
        """Count requests that may still begin a turn."""
        self._starting += change
        self._changed.unpark_all()

    async def all_ended(self) -> None:
        """Wait until no turn runs and none is about to."""
        while self._unended or self._starting:
            await self._changed.park()
