"""The circuit breaker: when a provider only fails, it is left alone for a while. Pure.

States and what leads from one to the next::

    closed ──(many failures, at least half of all answers)──► open
    open ──(its time has passed)──► half_open
    half_open ──(the one probe got an answer)──► closed
    half_open ──(the probe failed)──► open, for twice as long
    half_open ──(the probe's asker left)──► half_open: the next call is the probe

An answer counts only for a call of the present *generation*, which begins anew whenever the circuit
opens or closes: what was sent before the provider fell ill says nothing of how it is now. Refusals
of any kind are answers; only silence, broken connections and server errors are failures.
"""

from __future__ import annotations

from typing import Final, Literal

__all__ = ["Circuit", "CircuitState"]

CircuitState = Literal["closed", "open", "half_open"]

WINDOW_SECONDS: Final = 30.0
"""How far back answers count: long enough for a slow trickle of calls, short enough to forget."""

SLOTS: Final = 10
"""Parts of the window: answers are counted, not kept, so a busy provider costs no more memory."""

OPEN_SECONDS_MAX: Final = 60.0
JITTER: Final = 0.2
"""Of the time it stays open, added at random: other programs see the same provider come back."""


class _Window:
    """Answers of the last 30 seconds, counted in slots of three."""

    __slots__ = ("_slots",)

    def __init__(self) -> None:
        self._slots: dict[int, list[int]] = {}

    def add(self, now: float, *, good: bool) -> None:
        slot = int(now // (WINDOW_SECONDS / SLOTS))
        for old in [one for one in self._slots if one <= slot - SLOTS]:
            del self._slots[old]
        self._slots.setdefault(slot, [0, 0])[good] += 1

    def counts(self) -> tuple[int, int]:
        """Return bad and good answers, as of the last `add`."""
        return (
            sum(slot[0] for slot in self._slots.values()),
            sum(slot[1] for slot in self._slots.values()),
        )


class Circuit:
    """The state of one provider's circuit.

    Attributes:
        generation: Give it to `succeeded` and `failed` as it was when the call began.
        opened: How often it opened.
    """

    __slots__ = (
        "_failures",
        "_open_seconds",
        "_probing",
        "_tripped",
        "_until",
        "_window",
        "generation",
        "opened",
    )

    def __init__(self, failures: int, open_seconds: float) -> None:
        self._failures = failures
        self._open_seconds = open_seconds
        self._window = _Window()
        self._tripped = 0  # in a row, without having closed
        self._until = 0.0
        self._probing = False
        self.generation = 0
        self.opened = 0

    def state(self, now: float) -> CircuitState:
        if not self._tripped:
            return "closed"
        return "open" if now < self._until else "half_open"

    def remaining(self, now: float) -> float:
        """Return the seconds it stays open."""
        return max(0.0, self._until - now) if self._tripped else 0.0

    def may_begin(self, now: float) -> bool:
        """Return whether a call may begin now."""
        state = self.state(now)
        return state == "closed" or (state == "half_open" and not self._probing)

    def begin(self, now: float) -> bool:
        """A call begins; return whether it is the probe."""
        assert self.may_begin(now)
        self._probing = self.state(now) == "half_open"
        return self._probing

    def succeeded(self, now: float, generation: int) -> bool:
        """An answer came; return whether that closed the circuit."""
        if generation != self.generation:
            return False
        if not self._tripped:
            self._window.add(now, good=True)
            return False
        self._tripped = 0
        self._begin_generation()
        return True

    def failed(self, now: float, generation: int, chance: float) -> bool:
        """No answer came; return whether that opened the circuit.

        Args:
            now: The time.
            generation: That of the call.
            chance: From 0 to 1, lengthens the time it stays open.
        """
        if generation != self.generation:
            return False
        if not self._tripped:
            self._window.add(now, good=False)
            bad, good = self._window.counts()
            if bad < self._failures or bad < good:
                return False
        self._tripped += 1
        self.opened += 1
        seconds = min(self._open_seconds * 2.0 ** min(self._tripped - 1, 16), OPEN_SECONDS_MAX)
        self._until = now + max(seconds, self._open_seconds) * (1 + JITTER * chance)
        self._begin_generation()
        return True

    def given_up(self, generation: int) -> None:
        """The probe ended without an answer of either sort: its asker left."""
        if generation == self.generation:
            self._probing = False

    def _begin_generation(self) -> None:
        self.generation += 1
        self._probing = False
        self._window = _Window()
