"""An embedding call of any length, as calls of the vendor's length."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import attrs
import trio

from actrio.errors import ActrioError
from actrio.messages import EmbedInput, EmbedOutput, Usage

__all__ = ["embed_in_batches"]

BATCHES_AT_ONCE: Final = 4
"""Of one call: enough to hide the network's delay, few enough to leave the provider to others."""


def batches_of(call: EmbedInput, batch_max: int) -> list[EmbedInput]:
    """Cut a call into calls of at most ``batch_max`` texts, in order."""
    if batch_max < 1 or len(call.texts) <= batch_max:
        return [call]  # no embeddings at all: the dialect says so, and who has them
    starts = range(0, len(call.texts), batch_max)
    return [attrs.evolve(call, texts=call.texts[at : at + batch_max]) for at in starts]


async def embed_in_batches(
    call: EmbedInput, batch_max: int, ask: Callable[[EmbedInput], Awaitable[EmbedOutput]]
) -> EmbedOutput:
    """Ask for each batch, some at a time, and put the vectors together in the texts' order.

    *Failure*: the first batch that fails ends the others.

    Args:
        call: What to embed.
        batch_max: Texts of one request.
        ask: Asks for one batch.
    """
    batches = batches_of(call, batch_max)
    if len(batches) == 1:
        return await ask(batches[0])
    outputs: list[EmbedOutput | None] = [None] * len(batches)
    waiting = iter(enumerate(batches))
    failures: list[ActrioError] = []

    async def work() -> None:
        for place, batch in waiting:
            try:
                outputs[place] = await ask(batch)
            except ActrioError as error:
                failures.append(error)
                nursery.cancel_scope.cancel(reason="another batch failed")
                return

    async with trio.open_nursery() as nursery:
        for _ in range(min(BATCHES_AT_ONCE, len(batches))):
            nursery.start_soon(work)
    if failures:
        raise failures[0]
    done = [output for output in outputs if output is not None]
    assert len(done) == len(batches)
    return EmbedOutput(
        vectors=tuple(vector for output in done for vector in output.vectors),
        usage=sum((output.usage for output in done), Usage()),
        model=done[0].model,
    )
