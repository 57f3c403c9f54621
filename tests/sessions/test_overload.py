"""Beyond the admission bound a caller is told when to come back; what is under way ends."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from actrio import Agent, Limits, Settings, open_runtime
from actrio.errors import Overloaded

SLOW = Agent("slow", model="scripted:tokens?tokens=10&itl=100ms")


async def test_overload_tells_when_to_come_back_and_harms_nobody(autojump_clock):
    """One slot, two in line: the fourth is refused at once; who waits as told gets through."""
    settings = Settings(limits=Limits(turns=1, turns_waiting=2))
    async with open_runtime(settings, env={}) as runtime, trio.open_nursery() as nursery:
        ended: list[str] = []

        async def one(name: str) -> None:
            async with runtime.session(SLOW) as session:
                ended.append(f"{name} {(await session.ask('go')).outcome}")

        async with runtime.session(SLOW) as warm:  # so that a rate is known
            await warm.ask("go")
            await warm.ask("go")
        for name in ("a", "b", "c"):
            nursery.start_soon(one, name)
            await trio.testing.wait_all_tasks_blocked(0.01)
        began = trio.current_time()
        async with runtime.session(SLOW) as late:
            with pytest.raises(Overloaded) as caught:
                await late.ask("go")
            assert trio.current_time() - began < 0.1
            told = caught.value.retry_after_seconds
            assert told == pytest.approx(2 * 1.0, rel=0.2)  # two in line, a second each
            assert runtime.statistics().turns_refused == 1
            await trio.sleep(told)
            assert (await late.ask("go")).outcome == "completed"
        assert late.id
    assert sorted(ended) == ["a completed", "b completed", "c completed"]
