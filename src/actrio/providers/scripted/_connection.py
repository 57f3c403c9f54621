"""The scripted provider as an actor in this process: no socket, no key, no intelligence."""

from __future__ import annotations

from typing import Any, Final, NoReturn

import trio

from actrio.actors import Actor, Context
from actrio.errors import ProviderUnreachable
from actrio.messages import Delta, EmbedInput, Fold, ModelInput, ModelOutput
from actrio.providers.dialects import OpenAiChat
from actrio.providers.scripted._embed import scripted_vectors
from actrio.providers.scripted._faults import REFUSALS
from actrio.providers.scripted._script import Fault, script
from actrio.providers.scripted._spec import ScriptSpec
from actrio.sansio import SseEvent

__all__ = ["ScriptedConnection"]

DELTAS_PER_EMIT: Final = 16
"""Deltas without a delay between them that travel together, as one socket read would bring them."""


class ScriptedConnection(Actor[Any]):
    """Answers model calls by script; its faults raise what the same faults raise over HTTP.

    Args:
        idle_seconds: How long a stalled answer stays silent until it counts as dead.
    """

    def __init__(self, *, idle_seconds: float = 120.0) -> None:
        self._idle_seconds = idle_seconds
        self._dialect = OpenAiChat("scripted")

    async def receive(self, message: ModelInput | EmbedInput, ctx: Context) -> Any:
        if isinstance(message, EmbedInput):
            return scripted_vectors(message)
        return ctx.defer(self._serve, message, ctx)

    async def _serve(self, call: ModelInput, ctx: Context) -> ModelOutput:
        spec = ScriptSpec.parse(call.model)
        folded = Fold()
        batch: list[Delta] = []
        due = trio.current_time()
        begun = False
        for timed in script(spec, call):
            if timed.delay_seconds > 0:
                await _emit(batch, ctx)
                due += timed.delay_seconds
                await trio.sleep_until(due)
            if isinstance(timed.item, Fault):
                await _emit(batch, ctx)
                await self._misbehave(timed.item, call.model, in_stream=begun)
            else:
                begun = True
                folded.add(timed.item)
                batch.append(timed.item)
                if len(batch) >= DELTAS_PER_EMIT:
                    await _emit(batch, ctx)
        await _emit(batch, ctx)
        return folded.output(model=call.model)

    async def _misbehave(self, fault: Fault, model: str, *, in_stream: bool) -> NoReturn:
        if (answer := REFUSALS.get(fault.kind)) is not None:
            raise self._dialect.error_from(answer.status, answer.headers, answer.body, model=model)
        decoder = self._dialect.decoder(model)
        if fault.kind == "badjson":
            decoder.feed(SseEvent("message", '{"choices": [{"index": 0, "delta": {"con'))
        if fault.kind == "stall":
            await trio.sleep(self._idle_seconds)
            raise ProviderUnreachable(
                f"scripted sent nothing for {self._idle_seconds:g} s.",
                provider="scripted",
                category="timeout",
                in_stream=in_stream,
                remedy="That is what fault=stall does.",
            )
        if fault.kind == "reset" and not in_stream:
            raise ProviderUnreachable(
                "scripted broke the connection off.",
                provider="scripted",
                category="network",
                remedy="That is what fault=reset does.",
            )
        raise decoder.truncated("was cut off")


async def _emit(batch: list[Delta], ctx: Context) -> None:
    if not batch:
        return
    deltas = tuple(batch)
    batch.clear()
    if ctx.is_stream:
        await ctx.emit(deltas)
    else:
        await trio.lowlevel.checkpoint()
