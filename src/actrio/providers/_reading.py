"""Reads one answer and passes it on to the asker, as it comes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from typing import Final

import trio

from actrio.actors import Context
from actrio.errors import LimitExceeded
from actrio.messages import AttemptSuperseded, Delta, Fold
from actrio.providers._pace import ReadPace
from actrio.providers._phases import Phases
from actrio.providers.dialects import AnswerReader

__all__ = ["ANSWER_CHARACTERS_MAX", "ERROR_BODY_BYTES_MAX", "Outlet", "read_answer", "read_body"]

DRAIN_SECONDS: Final = 0.25
"""After the last delta, how long to wait for the end of the body so that the connection can be
used again. Well-behaved servers send both together; a new connection costs less than waiting."""

ERROR_BODY_BYTES_MAX: Final = 64 * 1024
"""Read of an answer with an error status: the longest recorded one has 2 KiB, the rest is HTML."""


ANSWER_CHARACTERS_MAX: Final = 8 * 1024 * 1024
"""Of one answer, with its thinking and its tool calls. The longest that models of 2026 give are
128,000 tokens, half a million characters; one that goes on for more has lost its way."""

_LOOK_BYTES: Final = 1024 * 1024  # from one look at an answer's size to the next


class Outlet:
    """Where the deltas of one call go: to its asker, and into the fold of its answer.

    Attributes:
        shown: Whether the asker has seen a delta of the attempt in work.
        fold: What the attempt in work amounts to so far.
    """

    __slots__ = ("_ctx", "fold", "shown")

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self.shown = False
        self.fold = Fold()

    @property
    def wanted(self) -> bool:
        """Whether the asker wants deltas, or only the end."""
        return self._ctx.is_stream

    async def emit(self, deltas: tuple[Delta, ...]) -> None:
        """Take in ``deltas``, and give them to an asker who wants them."""
        self.fold.extend(deltas)
        if self._ctx.is_stream:
            self.shown = True
            await self._ctx.emit(deltas)

    def check_size(self) -> None:
        """End an answer that would fill the memory.

        Raises:
            LimitExceeded: The attempt in work gave more than `ANSWER_CHARACTERS_MAX`.
        """
        if self.fold.size > ANSWER_CHARACTERS_MAX:
            raise LimitExceeded(
                f"The model's answer is longer than {ANSWER_CHARACTERS_MAX:,} characters.",
                remedy="Give the agent max_tokens, or ask for less in one answer.",
                data={"limit": ANSWER_CHARACTERS_MAX},
            )

    async def begin_again(self, attempt: int) -> None:
        """A further attempt begins: what was shown is superseded."""
        self.fold = Fold()
        if self.shown:
            self.shown = False
            await self._ctx.emit((AttemptSuperseded(attempt),))


async def read_answer(
    pieces: AsyncIterator[bytes],
    reader: AnswerReader,
    *,
    phases: Phases,
    pace: ReadPace,
    accepted: Callable[[], None],
    rewrite: Callable[[Iterable[Delta]], list[Delta]],
    outlet: Outlet,
) -> None:
    """Read the body of an answer with a success status to its end.

    Args:
        pieces: The body.
        reader: Makes deltas of it.
        phases: Told of each read.
        pace: Lets it rest between two reads.
        accepted: Told of each part of the answer.
        rewrite: What becomes of the deltas of one read.
        outlet: Where they go.

    Raises:
        LimitExceeded: The answer is longer than any model's.
    """
    look_in = _LOOK_BYTES
    async for data in pieces:
        deltas = reader.feed(data)
        look_in -= len(data)
        if look_in < 0:
            look_in = _LOOK_BYTES
            outlet.check_size()
        if deltas:
            accepted()
            if rewritten := rewrite(deltas):
                await phases.pass_on(outlet.emit(tuple(rewritten)))
        now = phases.read(progress=bool(deltas))
        if reader.done:
            break
        # Never before the first delta, which a person waits for.
        if deltas and pace.wants_rest(now, len(data)):
            await pace.rest(now)
    last = reader.close()
    accepted()
    if last and (rewritten := rewrite(last)):
        await phases.pass_on(outlet.emit(tuple(rewritten)))
    phases.over()
    with trio.move_on_after(DRAIN_SECONDS):
        async for _ in pieces:
            pass


async def read_body(
    pieces: AsyncIterator[bytes], *, seconds: float, bytes_max: int
) -> tuple[bytes, bool]:
    """Return as much of a body as comes in time and fits, and whether that was all of it."""
    body = bytearray()
    with trio.move_on_after(seconds):
        async for data in pieces:
            body += data
            if len(body) > bytes_max:
                break
        else:
            return bytes(body), True
    return bytes(body[:bytes_max]), False
