"""The connection that lives by admission's decisions, on virtual time and a network in memory."""

from __future__ import annotations

from collections import Counter

import pytest
import trio

from actrio.errors import Overloaded, ProviderError
from actrio.messages import ModelInput, user_message
from actrio.testing import MemoryNetwork, Reply


async def test_fifty_agents_and_one_refusal(autojump_clock, offline, stream_reply, gather):
    """Retry-After 30: no request for 30 seconds, then a ramp; everybody is answered, no herd."""

    def reply(request):
        if trio.current_time() - started < 1 and len(network.requests) == 10:
            return Reply(429, {"retry-after": "30"}, (b"{}",))
        return stream_reply("fine", delay_seconds=1.0)

    network = MemoryNetwork(reply)
    async with offline(network) as client:
        started = trio.current_time()
        agents = [lambda n=n: client.call("here:m", caller=f"s{n}") for n in range(50)]
        outputs = await gather(agents)
        assert [output.message.text for output in outputs] == ["fine"] * 50
        told = client.connections.statistics()["here"]
        times = [request.at - started for request in network.requests]
        assert len(times) == 51
        assert not [at for at in times if 0 < at < 30]
        after = Counter(round(at, 1) for at in times if at)
        assert 30 <= min(after) <= 33.1
        assert after[min(after)] <= 3
        assert max(after.values()) <= 25
        assert (told.pauses, told.retries, told.waiting) == (1, 1, 0)
        assert network.open == 0


async def test_after_a_pause_there_is_no_herd(autojump_clock, offline, stream_reply, gather):
    """Fifty are refused together: 30 seconds of silence, then ever more at a time, never all."""

    def reply(request):
        if request.at - started < 1:
            return Reply(429, {"retry-after": "30"}, (b"{}",), delay_seconds=0.5)
        return stream_reply("fine", delay_seconds=1.0)

    network = MemoryNetwork(reply)
    async with offline(network) as client:
        started = trio.current_time()
        await gather([lambda n=n: client.call("here:m", caller=f"s{n}") for n in range(50)])
        waves = Counter(round(r.at - started - 30.5, 1) for r in network.requests[50:])
        assert len(network.requests) == 100
        assert min(waves) >= 0
        sizes = [count for _, count in sorted(waves.items())]
        assert sizes[0] <= 50 // 8 + 1
        assert max(sizes) <= 25
        assert len(sizes) >= 4
        assert client.connections.statistics()["here"].pauses == 1


async def test_a_greedy_session_and_a_modest_one(autojump_clock, offline, stream_reply):
    """With one place in work, a thousand waiting calls of one caller cost another one turn."""
    network = MemoryNetwork(lambda _: stream_reply("fine", delay_seconds=1.0))
    done = []

    async def one(client, caller):
        await client.call("here:m", caller=caller)
        done.append(caller)

    async with offline(network, max_connections=1) as client:
        async with trio.open_nursery() as nursery:
            for _ in range(1000):
                nursery.start_soon(one, client, "greedy")
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(one, client, "modest")
            await trio.sleep(3.5)
            assert "modest" in done
            assert len(done) <= 4
            nursery.cancel_scope.cancel()
        told = client.connections.statistics()["here"]
        assert (told.waiting, told.calls_in_work, told.parked) == (0, 0, 0)
        assert network.open == 0


async def test_a_quota_of_requests_paces_the_calls(autojump_clock, offline, stream_reply, gather):
    """Sixty a minute: a first few at once, then one a second."""
    network = MemoryNetwork(lambda _: stream_reply("fine"))
    async with offline(network, limits={"requests_per_minute": 60}) as client:
        await gather([lambda: client.call("here:m")] * 100)
        times = [request.at for request in network.requests]
        for start in times:
            assert sum(start <= at < start + 60 - 1e-6 for at in times) <= 60


async def test_a_quota_of_tokens_paces_the_calls(autojump_clock, offline, stream_reply, gather):
    """What calls cost is known afterwards and waited for by those that follow."""
    network = MemoryNetwork(lambda _: stream_reply("fine", usage=(900, 100)))
    async with offline(network, max_connections=1, limits={"tokens_per_minute": 6000}) as client:
        began = trio.current_time()
        await gather([lambda: client.call("here:m")] * 20)
        told = client.connections.statistics()["here"]
        assert told.usage.total_tokens == 20_000
        assert 170 <= trio.current_time() - began <= 230


async def test_a_queue_that_is_full_refuses(autojump_clock, offline, stream_reply):
    """One call more than may wait is told so at once, and what to do."""
    network = MemoryNetwork(lambda _: stream_reply("fine", delay_seconds=10.0))
    async with offline(network, max_connections=1, limits={"queue_max": 3}) as client:
        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(client.call, "here:m")
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(Overloaded, match=r"limits\.queue_max"):
                await client.call("here:m")
            assert client.connections.statistics()["here"].waiting == 3


async def test_the_circuit_opens_and_closes(autojump_clock, offline, stream_reply):
    """Ten failures: calls fail at once without a request; after its time one call closes it."""
    ill = True
    network = MemoryNetwork(lambda _: Reply(500) if ill else stream_reply("fine"))
    async with offline(network, limits={"retries_max": 0}) as client:
        for _ in range(10):
            with pytest.raises(ProviderError, match="500"):
                await client.call("here:m")
        with pytest.raises(ProviderError, match="left alone") as caught:
            await client.call("here:m")
        assert caught.value.category == "overloaded"
        assert 4 < caught.value.retry_after_seconds <= 6
        assert client.connections.statistics()["here"].circuit == "open"
        assert len(network.requests) == 10
        ill = False
        await trio.sleep(6)
        assert client.connections.statistics()["here"].circuit == "half_open"
        assert (await client.call("here:m")).message.text == "fine"
        told = client.connections.statistics()["here"]
        assert (told.circuit, told.circuit_opened, told.failures) == ("closed", 1, {"server": 10})


async def test_whoever_leaves_the_queue_leaves_no_trace(autojump_clock, offline, stream_reply):
    """Cancelled while it waits, for a place or for a pause, a call gives its place up."""
    replies = [Reply(429, {"retry-after": "60"}, (b"{}",))]
    network = MemoryNetwork([*replies, stream_reply("fine")])
    async with offline(network, max_connections=1) as client:
        ref, name = await client.connections.open("here:m")
        for seconds in (0.1, 0.6, 5, 20):
            with trio.move_on_after(seconds):
                await ref.ask(ModelInput(name, (user_message("Hi"),)))
            told = client.connections.statistics()["here"]
            assert (told.waiting, told.calls_in_work, told.parked) == (0, 0, 0)
        assert len(network.requests) == 1
        assert (await client.call("here:m")).message.text == "fine"
