"""Whole turns over real sockets: cancellation, many sessions, faults, nothing left behind."""

from __future__ import annotations

import pytest
import trio

from actrio import (
    Agent,
    ProviderSettings,
    Settings,
    TurnCompleted,
    before_model,
    open_runtime,
    tool,
)
from actrio.errors import ProviderError, StreamTruncated
from actrio.testing import cancel_at_each_step, history_problems, live_tasks


@tool
async def weather(city: str) -> str:
    """Current weather in a city."""
    await trio.lowlevel.checkpoint()
    return f"rain in {city}"


@pytest.mark.parametrize("http", ["httpx", "httpx2"])
async def test_a_tool_turn_over_http(world, http):
    """The agent that runs in process runs over a socket without change."""
    async with world(http=http) as (runtime, server):
        async with runtime.session(Agent("a", model="loop:demo", tools=[weather])) as session:
            async with session.turn("weather in Oslo?") as turn:
                events = [event async for event in turn]
            assert isinstance(events[-1], TurnCompleted)
            assert "rain in" in turn.result.text
            assert turn.result.usage.input_tokens > 0
        assert server.statistics().requests == 2


@pytest.mark.parametrize("http", ["httpx", "httpx2"])
async def test_cancelling_at_every_schedule_point_leaves_no_connection_in_use(world, http, until):
    """The sweep over real sockets: no task, no open stream, a history the provider accepts."""
    agent = Agent("swept", model="loop:demo", tools=[weather])
    async with world(http=http, max_connections=10) as (runtime, server):
        async with runtime.session(agent, id="swept") as session:
            await session.ask("warm up")
            before = live_tasks_of_runtime()

            async def turn():
                async with session.turn("weather in Oslo?") as turn:
                    async for _ in turn:
                        pass

            async def check():
                assert history_problems(session.history) == []
                assert live_tasks_of_runtime() == before
                assert runtime.statistics().turns_running == 0
                lanes = runtime.connections.statistics()["loop"]
                assert lanes.calls_in_work == 0

            runs = await cancel_at_each_step(turn, check=check)
            assert runs > 10
            await until(lambda: server.statistics().streams_open == 0)
            assert (await session.ask("still there?")).outcome == "completed"
            assert server.statistics().connections_open <= 10
        assert runtime.statistics().dead_letters == {}
        assert runtime.statistics().restarts == 0


def live_tasks_of_runtime():
    """Tasks but the server's connections, which end when they notice that the client left."""
    return [
        name
        for name in live_tasks()
        if "server" not in name.lower() and "handler" not in name.lower()
    ]


async def test_a_hundred_sessions_at_once_leave_nothing(world, until):
    """No error, no dead letter, no task; connections stay within the pool's limit."""
    agent = Agent("crowd", model="loop:tokens?tokens=20&ttft=5ms&itl=1ms")
    before = live_tasks()
    async with world(max_connections=100) as (runtime, server):
        outcomes = []

        async def one():
            async with runtime.session(agent) as session:
                for _ in range(3):
                    outcomes.append((await session.ask("go")).outcome)

        async with trio.open_nursery() as nursery:
            for _ in range(100):
                nursery.start_soon(one)
        assert outcomes == ["completed"] * 300
        assert runtime.statistics().dead_letters == {}
        assert runtime.statistics().restarts == 0
        assert server.statistics().connections_peak <= 100
        assert server.statistics().streams_open == 0
    await until(lambda: live_tasks() == before)


async def test_more_sessions_than_connections_wait_their_turn(world):
    """The pool's bound holds and everybody is served."""
    agent = Agent("crowd", model="loop:tokens?tokens=5")
    async with world(max_connections=7) as (runtime, server), trio.open_nursery() as nursery:

        async def one():
            async with runtime.session(agent) as session:
                assert (await session.ask("go")).outcome == "completed"

        for _ in range(60):
            nursery.start_soon(one)
    assert server.statistics().connections_peak <= 7


@pytest.mark.parametrize(
    ("fault", "error", "category"),
    [
        ("cut@3", StreamTruncated, "network"),
        ("reset@3", ProviderError, "network"),
        ("status500", ProviderError, "server"),
        ("status429", ProviderError, "rate_limit"),
        ("status401", ProviderError, "auth"),
    ],
)
async def test_faults_of_the_provider_are_results(world, fault, error, category):
    """Each has its category; the session beside it never notices and this one goes on."""
    async with world() as (runtime, _server):
        bad = Agent("bad", model=f"loop:demo?fault={fault}")
        good = Agent("good", model="loop:demo")
        async with runtime.session(bad) as session, runtime.session(good) as other:
            async with session.turn("hello") as turn:
                async for _ in turn:
                    pass
            assert isinstance(turn.result.error, error)
            assert turn.result.error.category == category
            assert (await other.ask("hello")).outcome == "completed"
            assert history_problems(session.history) == []
        assert runtime.statistics().restarts == 0


async def test_an_unreachable_host_is_named():
    """Nobody listens there: the error says where and what to do."""
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    await listeners[0].aclose()
    gone = ProviderSettings(base_url=f"http://127.0.0.1:{port}/v1")
    async with open_runtime(Settings(providers={"gone": gone}), env={}) as runtime:
        async with runtime.session(Agent("a", model="gone:x")) as session:
            with pytest.raises(ProviderError, match=str(port)) as caught:
                await session.ask("hi")
            assert caught.value.category == "network"
            assert caught.value.remedy


async def test_a_session_is_the_caller_of_its_model_calls(world):
    """So that a connection can serve sessions in turns."""
    callers = []

    @before_model
    async def note(payload):
        callers.append(payload.caller)
        return payload

    agent = Agent("named", model="loop:demo", tools=[weather], filters=[note])
    async with world() as (runtime, _server):
        async with runtime.session(agent, id="s_one") as session:
            await session.ask("weather in Oslo?")
    assert callers == ["s_one", "s_one"]
