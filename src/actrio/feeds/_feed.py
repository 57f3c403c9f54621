"""How a turn's events get their numbers and reach the turn's owner.

``seq`` counts a session's recorded events and never has a gap; it is the bookmark. A live-only
event carries the last ``seq`` and a counter ``n`` that starts again after each recorded event, so
``(seq, n)`` orders everything a client saw.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

import attrs

from actrio.messages import Event, ItemDelta

__all__ = ["MERGED_TEXT_MAX", "Numbering", "TurnFeed", "merge_deltas"]

MERGED_TEXT_MAX: Final = 64 * 1024
"""Characters one merged delta may reach. Beyond it the reader's slowness reaches the provider."""


class Numbering:
    """The counters of one session; they outlive its turns and restarts."""

    __slots__ = ("n", "seq")

    def __init__(self) -> None:
        self.seq = 0
        self.n = 0


class TurnFeed:
    """Numbers one turn's events and hands them on, in order.

    Args:
        session: Its id.
        turn: The turn's id.
        numbering: The session's counters.
        send: Takes an event; waiting here is what paces the turn. None: nobody listens.
        clock: Seconds since the epoch.
    """

    __slots__ = ("_clock", "_envelope", "_numbering", "_send")

    def __init__(
        self,
        *,
        session: str,
        turn: str,
        numbering: Numbering,
        send: Callable[[Event], Awaitable[None]] | None,
        clock: Callable[[], float],
    ) -> None:
        self._envelope = {"session": session, "turn": turn}
        self._numbering = numbering
        self._send = send
        self._clock = clock

    @property
    def live(self) -> bool:
        """Whether anybody listens; if not, live-only events need not be made."""
        return self._send is not None

    async def tell(self, event_type: type[Event], /, **body: Any) -> None:
        """Number an event of ``event_type`` and hand it on.

        *Backpressure*: waits while the turn's owner has no room.
        """
        numbering = self._numbering
        if event_type.recorded:
            numbering.seq += 1
            numbering.n = 0
            number: int | None = None
        else:
            numbering.n += 1
            number = numbering.n
        if self._send is not None:
            await self._send(
                event_type(seq=numbering.seq, ts=self._clock(), n=number, **self._envelope, **body)
            )


def merge_deltas(waiting: Any, event: Any) -> Any | None:
    """Return one event in place of two adjacent deltas of the same item, or None.

    Nothing is lost: the text is joined, the later counter stands.
    """
    if (
        isinstance(waiting, ItemDelta)
        and isinstance(event, ItemDelta)
        and waiting.item == event.item
        and waiting.kind == event.kind
        and waiting.attempt == event.attempt
        and len(waiting.text) + len(event.text) <= MERGED_TEXT_MAX
    ):
        return attrs.evolve(event, text=waiting.text + event.text)
    return None
