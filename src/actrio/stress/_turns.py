"""One turn as the harness sees it: what is asked, what is heard, how it ended."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Literal, Protocol

import attrs
import trio

from actrio.errors import (
    ActorFailed,
    ActorStopped,
    ActrioError,
    BusyError,
    ProviderError,
    TurnAborted,
)
from actrio.stress._chaos import CALM, Fate
from actrio.stress._histogram import Histogram

__all__ = ["Asked", "Ending", "Listener", "ending_of_error", "unwrapped"]

SLOW_SECONDS: Final = 0.05
"""How long a slow client takes for each piece: five times what the default script does."""

EndingKind = Literal["completed", "cancelled", "failed", "rejected", "lost"]


@attrs.frozen(slots=True)
class Asked:
    """A turn to run.

    Attributes:
        prompt: What is said.
        intended: When it was to begin, in Trio time; it may begin later.
        fate: What happens to it.
        promised: Characters that its answer has, where that is known.
        counted: Whether its latency counts; not during the warm-up.
    """

    prompt: str
    intended: float
    fate: Fate = CALM
    promised: int | None = None
    counted: bool = True


@attrs.frozen(slots=True)
class Ending:
    """How a turn ended, as its client was told.

    Attributes:
        kind: ``lost`` is a turn that nobody told the end of.
        label: Which failure, in one word or two.
        detail: What the failure said.
        tokens: Tokens of the answer, as the target counted them.
        retry_after_seconds: When a refused client was asked to come back.
        crashed: Whether an actor of the target went down with it.
    """

    kind: EndingKind
    label: str = ""
    detail: str = ""
    tokens: int = 0
    retry_after_seconds: float | None = None
    crashed: bool = False


class CompletedItem(Protocol):
    """What is looked at of an item that has ended, from the wire or in this process."""

    @property
    def kind(self) -> str: ...
    @property
    def status(self) -> str: ...
    @property
    def text(self) -> str: ...


class Listener:
    """Hears one turn: notes when pieces of text come, and says when the client leaves.

    Args:
        asked: The turn.
        gaps: Where gaps between pieces are counted.
    """

    __slots__ = (
        "_gaps",
        "_leave_at",
        "_of_item",
        "begun",
        "chars",
        "first",
        "last",
        "pieces",
        "slow",
    )

    def __init__(self, asked: Asked, gaps: Histogram) -> None:
        self._gaps = gaps if asked.fate.unharmed and asked.counted else None
        self._leave_at = asked.fate.cancel_after
        self.slow = asked.fate.slow
        self.begun = asked.intended  # until it really begins
        self.first: float | None = None
        self.last = 0.0
        self.pieces = 0
        self.chars = 0
        self._of_item = 0  # characters of the item that is being told

    def begins(self) -> None:
        """The request is sent now."""
        self.begun = trio.current_time()

    def text(self, piece: str) -> None:
        """A piece of the answer has come."""
        now = trio.current_time()
        if self.first is None:
            self.first = now
        elif self._gaps is not None:
            self._gaps.record(now - self.last)
        self.last = now
        self.pieces += 1
        self.chars += len(piece)
        self._of_item += len(piece)

    def completed(self, item: CompletedItem) -> None:
        """An item has ended: what no piece told of a message comes with it.

        A reader that was behind gets whole items from the journal, in the place of their pieces.
        """
        if item.kind != "message":
            return
        if item.status != "superseded" and (rest := item.text[self._of_item :]):
            self.text(rest)
        self._of_item = 0

    @property
    def leaves(self) -> bool:
        """Whether the client leaves now."""
        return self._leave_at is not None and self.pieces >= self._leave_at

    async def pace(self) -> None:
        """Take the time that a slow client takes for a piece."""
        await trio.sleep(SLOW_SECONDS)


@contextmanager
def unwrapped() -> Iterator[None]:
    """Let the only error of a nursery pass as itself: the nursery is nobody's business outside."""
    try:
        yield
    except BaseExceptionGroup as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
            error = error.exceptions[0]
        raise error from error.__cause__


def ending_of_error(error: ActrioError) -> Ending:
    """Return how a turn ended that raised or told ``error``."""
    detail, label = error.message, type(error).__name__
    after: float | None = getattr(error, "retry_after_seconds", None)
    if isinstance(error, TurnAborted):
        return Ending("cancelled", error.reason, detail)
    if isinstance(error, (ActorStopped, ActorFailed)):
        return Ending("failed", label, detail, crashed=True)
    if isinstance(error, BusyError):
        return Ending("rejected", label, detail, retry_after_seconds=after)
    if isinstance(error, ProviderError):
        label = f"{label} ({error.category})"
        if error.category in {"overloaded", "rate_limit"}:
            return Ending("rejected", label, detail, retry_after_seconds=after)
    return Ending("failed", label, detail)
