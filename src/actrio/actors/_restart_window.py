"""When a crashed child may come back: pure decisions, no clock of their own.

Two questions, kept apart. *May* it restart: at most ``intensity`` restarts within any
``period_seconds`` (OTP's rule, counted per child here, so that one poisoned session cannot use up
the budget of the others). *When*: exponential backoff with jitter, forgotten after the child has
stayed up for ``reset_after_seconds``.
"""

from __future__ import annotations

import random
from collections import deque

import attrs

__all__ = ["Backoff", "RestartWindow"]


@attrs.frozen(slots=True)
class Backoff:
    """How long to wait before restart number n: ``initial × factor^n``, at most ``maximum``.

    ``jitter`` is the share by which a delay is randomly shortened, so that children which
    crashed together do not come back together.
    """

    initial_seconds: float = attrs.field(default=0.1, validator=attrs.validators.ge(0))
    maximum_seconds: float = attrs.field(default=30.0, validator=attrs.validators.ge(0))
    factor: float = attrs.field(default=2.0, validator=attrs.validators.ge(1))
    jitter: float = attrs.field(
        default=0.2, validator=[attrs.validators.ge(0), attrs.validators.le(1)]
    )
    reset_after_seconds: float = 60.0

    def delay_seconds(self, attempt: int, rng: random.Random) -> float:
        """Return the delay before restart ``attempt`` (0 is the first)."""
        # The exponent is capped: 2.0 ** 2000 overflows, and the maximum was reached long before.
        whole = min(self.initial_seconds * self.factor ** min(attempt, 64), self.maximum_seconds)
        return whole * (1.0 - self.jitter * rng.random())


class RestartWindow:
    """Counts restarts in a sliding window."""

    __slots__ = ("_intensity", "_period_seconds", "_times")

    def __init__(self, intensity: int, period_seconds: float) -> None:
        self._intensity = intensity
        self._period_seconds = period_seconds
        # Times of the restarts still inside the window, oldest first; never longer than intensity.
        self._times: deque[float] = deque()

    def allow(self, now: float) -> bool:
        """Record a restart at ``now`` and return True, or return False if the budget is used up."""
        while self._times and self._times[0] <= now - self._period_seconds:
            self._times.popleft()
        if len(self._times) >= self._intensity:
            return False
        self._times.append(now)
        return True
