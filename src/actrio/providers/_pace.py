"""How often the streams of a runtime are read.

A slow model gives a token at a time, and each wakes the loop: the kernel is asked, a task runs, an
event goes up to its listener. That is 20 to 40 µs, so a thousand streams of fifty tokens a second
are more than a core has. A loop that is late does not only tell its tokens late: whatever has
several steps (a turn's beginning, a person's cancel) waits for all streams at each of them.

What a network card does about too many interrupts helps here too. While a pass of the loop takes
too long, a stream that was read *rests* for a while, and then gives all that came meanwhile as one
read. So the loop is measured, not the load: as long as it keeps up nobody rests, however much is
read, and a rest that leaves the loop idle gets shorter. At a thousand streams of fifty tokens a
second the reads become fewer and larger, and a turn begins and ends in milliseconds instead of
almost a second (``python -m bench.peers --only S4``).
"""

from __future__ import annotations

from typing import Final

import trio

__all__ = ["COALESCED_BYTES", "PASS_MAX", "PERIOD_MAX", "ReadPace"]

PASS_MAX: Final = 0.0025
"""Seconds for a pass of the loop: with longer ones the dozen steps in which a turn begins are felt
by a person."""

PERIOD_MIN: Final = 0.01
"""Below this a rest is more work than the reads that it saves."""

PERIOD_MAX: Final = 0.1
"""Text that comes ten times a second still looks like writing to a person."""

LOOK_SECONDS: Final = 0.05
"""From one look at the loop to the next, while anything is read: a load is met within a quarter of
a second, and a look costs one pass of one task."""

COALESCED_BYTES: Final = 16 * 1024
"""A read that gave so much is worth its wake-up; the next one is not put off."""

_SLOT_SECONDS: Final = 0.01  # those whose rest ends within one are woken by one timer
_CROWD: Final = 48  # woken by one timer; with more of them a pass is too long
_EARLIER: Final = 0.25  # of a rest: what it may be shorter by, to keep out of a crowd
_CALM: Final = 0.35  # of `PASS_MAX`: below it rests get shorter


class ReadPace:
    """Lets the streams of one runtime rest while its loop is late.

    *Cancellation*: a rest is left at once; those whose timer it kept read a little early.

    Attributes:
        period: How long a stream rests, in seconds, at most; 0 while nobody rests.
        pass_seconds: How long a pass of the loop took at the last looks.
        rests: How often a stream rested.
    """

    __slots__ = ("_look_at", "_slots", "pass_seconds", "period", "rests")

    def __init__(self) -> None:
        self.period = 0.0
        self.pass_seconds = 0.0
        self.rests = 0
        self._look_at = 0.0
        # By the number of the time slot in which a rest ends; at most `PERIOD_MAX` of them.
        self._slots: dict[int, trio.lowlevel.ParkingLot] = {}

    def wants_rest(self, now: float, size: int) -> bool:
        """Whether whoever has read ``size`` bytes at ``now`` is to call `rest` before it reads on."""
        return now >= self._look_at or (self.period > 0 and size < COALESCED_BYTES)

    async def rest(self, now: float) -> None:
        """Wait until the stream that was read at ``now`` may be read again."""
        if now >= self._look_at:
            self._look_at = now + LOOK_SECONDS
            began = trio.current_time()
            await trio.lowlevel.checkpoint()
            self.note(trio.current_time() - began)
        if not self.period:
            return
        self.rests += 1
        number = self._slot_before(now + self.period)
        if (slot := self._slots.get(number)) is not None:
            await slot.park()
            return
        slot = self._slots[number] = trio.lowlevel.ParkingLot()
        try:
            await trio.sleep_until(number * _SLOT_SECONDS)
        finally:
            del self._slots[number]
            slot.unpark_all()

    def _slot_before(self, end: float) -> int:
        """Return the slot that ends by ``end``; an emptier one shortly before it, if it is crowded.

        Streams that began together would be read in the same pass for ever.
        """
        slots = self._slots
        last = int(end / _SLOT_SECONDS)
        if last not in slots or len(slots[last]) < _CROWD:
            return last
        first = last - int(self.period * _EARLIER / _SLOT_SECONDS)
        return min(range(last, first - 1, -1), key=lambda each: len(slots.get(each, ())))

    def note(self, seconds: float) -> None:
        """Take in how long a pass of the loop took."""
        # Half of it is the present: one hiccup is no load, and a load is not overlooked for long.
        self.pass_seconds = (self.pass_seconds + seconds) / 2
        if self.pass_seconds > PASS_MAX:
            self.period = min(max(self.period * 1.5, PERIOD_MIN), PERIOD_MAX)
        elif self.pass_seconds < PASS_MAX * _CALM:
            shorter = self.period / 1.25
            self.period = shorter if shorter >= PERIOD_MIN else 0.0
