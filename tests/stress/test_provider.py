"""The scripted provider's own process, asked for what it has seen when the load is over."""

from __future__ import annotations

from collections.abc import Mapping

import httpx
import trio

from actrio.stress import scripted_process


async def seen_in_the_middle_of(model: str) -> Mapping[str, int]:
    """Return what the provider tells of an answer that was on its way when it was asked."""
    body = {"model": model, "stream": True, "messages": [{"role": "user", "content": "x"}]}
    async with scripted_process() as provider, trio.open_nursery() as nursery:
        async with httpx.AsyncClient(base_url=provider.base_url) as client:
            nursery.start_soon(lambda: client.post("chat/completions", json=body))
            while not (await provider.statistics())["streams_open"]:
                await trio.sleep(0.005)
            told = await provider.settled()
            nursery.cancel_scope.cancel()
        return told


async def test_an_answer_that_is_just_ending_was_not_left_behind() -> None:
    """The provider is asked again: it hears of an end a moment after who reads the answer."""
    seen = await seen_in_the_middle_of("tokens?ttft=300ms&tokens=4")
    assert (seen["requests"], seen["streams_open"]) == (1, 0)


async def test_an_answer_that_does_not_end_was_left_behind() -> None:
    """It is told after some seconds."""
    seen = await seen_in_the_middle_of("tokens?ttft=60s")
    assert (seen["requests"], seen["streams_open"]) == (1, 1)
