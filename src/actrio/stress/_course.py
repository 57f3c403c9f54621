"""Which stage comes next: a fixed list, or a search that depends on what the last one gave. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, Protocol

import attrs

from actrio.stress._arrivals import Stage, sweep

__all__ = ["Course", "Fixed", "Knee"]

RATIO_ENOUGH: Final = 1.1
"""The knee is known well enough when the best and the worst level are this near: a second run
of the same load differs by as much."""

STEPS_MAX: Final = 20
"""Stages of a search: enough to go from one session to a thousand and halve the rest six times."""


class Course(Protocol):
    """Gives stages, and is told how each went."""

    def next(self) -> Stage | None:
        """Return the next stage; None at the end."""

    def note(self, passed: bool) -> None:
        """The last one kept its objectives, or did not."""


class Fixed:
    """The stages of a list."""

    def __init__(self, stages: Sequence[Stage]) -> None:
        self._left: Iterator[Stage] = iter(stages)

    def next(self) -> Stage | None:
        return next(self._left, None)

    def note(self, passed: bool) -> None:
        """A list does not care."""


@attrs.define(slots=True)
class Knee:
    """Looks for the highest load that keeps the objectives: doubles it, then halves the gap.

    Args:
        level: Where to begin, in sessions or turns per second.
        most: Never beyond this.
        seconds: How long each level lasts.
        sessions: Turns at work at once, where levels are rates.
        rates: Whether they are.

    Attributes:
        best: The highest level that passed, so far.
        worst: The lowest that did not.
    """

    level: float
    most: float
    seconds: float
    sessions: int
    rates: bool
    best: float | None = None
    worst: float | None = None
    _steps: int = 0

    def next(self) -> Stage | None:
        if self._steps >= STEPS_MAX or not self._open():
            return None
        self._steps += 1
        stage = sweep([self.level], self.seconds, sessions=self.sessions, rates=self.rates)[0]
        return attrs.evolve(stage, seed=self._steps)

    def _open(self) -> bool:
        if self.best is None or self.worst is None:
            return self.level > 0 and self.best != self.most
        if not self.rates and self.worst - self.best <= 1:
            return False
        return self.worst / self.best > RATIO_ENOUGH

    def note(self, passed: bool) -> None:
        if passed:
            self.best = self.level
        else:
            self.worst = self.level
        if self.worst is None:
            self.level = min(self.most, self._whole(self.level * 2))
        elif self.best is None:
            self.level = self._whole(self.level / 2) if self._divisible() else 0
        else:
            self.level = self._whole((self.best + self.worst) / 2)

    def _divisible(self) -> bool:
        return self.level >= (0.02 if self.rates else 2)

    def _whole(self, level: float) -> float:
        return level if self.rates else float(int(level))
