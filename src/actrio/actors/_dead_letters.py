"""What could not be handled is a dead letter, not a log line."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import Any

from actrio.actors._values import DeadLetter, DeadLetterReason
from actrio.errors import ActorStopped, BusyError, LimitExceeded

__all__ = ["DeadLetters"]


class DeadLetters:
    """A bounded ring of the latest dead letters, and a count of all of them by reason.

    Args:
        keep_max: How many are kept to look at. They hold their messages, so this bounds memory.
        clock: Trio time in seconds.
    """

    def __init__(self, *, keep_max: int, clock: Callable[[], float]) -> None:
        self._ring: deque[DeadLetter] = deque(maxlen=keep_max)
        self._counts: Counter[DeadLetterReason] = Counter()
        self._clock = clock
        self._subscribers: list[Callable[[DeadLetter], None]] = []

    def subscribe(self, told: Callable[[DeadLetter], None]) -> Callable[[], None]:
        """Call ``told`` (plain, quick, not raising) at each dead letter; call the result to end."""
        self._subscribers.append(told)
        return lambda: self._subscribers.remove(told)

    def add(self, path: str, message: Any, reason: DeadLetterReason, detail: str = "") -> None:
        self._counts[reason] += 1
        letter = DeadLetter(path, message, reason, self._clock(), detail)
        self._ring.append(letter)
        for told in self._subscribers:
            told(letter)

    def add_refused(self, path: str, message: Any, error: Exception) -> None:
        """Add what was not accepted where nobody can be told: from a timer or another thread."""
        reason: DeadLetterReason = "filtered"
        if isinstance(error, ActorStopped):
            reason = "stopped"
        elif isinstance(error, BusyError | LimitExceeded):
            reason = "dropped"
        self.add(path, message, reason, str(error))

    def __len__(self) -> int:
        """How many there were, kept or not."""
        return self._counts.total()

    @property
    def counts(self) -> Mapping[DeadLetterReason, int]:
        return dict(self._counts)

    def latest(self) -> tuple[DeadLetter, ...]:
        """Return those still kept, oldest first."""
        return tuple(self._ring)
