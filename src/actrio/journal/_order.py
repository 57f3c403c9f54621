"""Ids in their order, cheap to add to and to page through: pure.

A sorted list of a million ids would move megabytes for each new one, and sorting them for each page
of a list would hold the loop for a second. So they lie in short sorted pieces.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from typing import Final

__all__ = ["SortedIds"]

PIECE_MAX: Final = 2048
"""Ids in one piece: moving half of them takes less than a microsecond."""


class SortedIds:
    """A set of ids that is read in order."""

    __slots__ = ("_lasts", "_pieces")

    def __init__(self) -> None:
        # No piece is empty; `_lasts` has the last id of each.
        self._pieces: list[list[str]] = []
        self._lasts: list[str] = []

    def __len__(self) -> int:
        return sum(map(len, self._pieces))

    def __bool__(self) -> bool:
        return bool(self._pieces)

    def add(self, one: str) -> None:
        """Add ``one``, which is not there yet."""
        if not self._pieces:
            self._pieces, self._lasts = [[one]], [one]
            return
        number = min(bisect_left(self._lasts, one), len(self._lasts) - 1)
        piece = self._pieces[number]
        insort(piece, one)
        if len(piece) > PIECE_MAX:
            half = len(piece) // 2
            self._pieces[number : number + 1] = [piece[:half], piece[half:]]
            self._lasts[number : number + 1] = [piece[half - 1], piece[-1]]
        else:
            self._lasts[number] = piece[-1]

    def remove(self, one: str) -> None:
        """Remove ``one``, which is there."""
        number = bisect_left(self._lasts, one)
        piece = self._pieces[number]
        del piece[bisect_left(piece, one)]
        if piece:
            self._lasts[number] = piece[-1]
        else:
            del self._pieces[number], self._lasts[number]

    def after(self, one: str, limit: int) -> list[str]:
        """Return up to ``limit`` ids behind ``one``."""
        found: list[str] = []
        number = bisect_right(self._lasts, one)
        start = bisect_right(self._pieces[number], one) if number < len(self._pieces) else 0
        while number < len(self._pieces) and len(found) < limit:
            found += self._pieces[number][start : start + limit - len(found)]
            number, start = number + 1, 0
        return found
