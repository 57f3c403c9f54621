from __future__ import annotations

import subprocess
import sys

import pytest
import trio

from actrio.actors import open_actor_system
from actrio.errors import InvalidRequest, NotConfigured, NotFound
from actrio.messages import ModelInput, user_message
from actrio.providers import Connections, ProviderSettings, load_http
from actrio.providers._catalog import CATALOG


def connections(system, **settings) -> Connections:
    return Connections(system, settings=settings, env={})


async def test_one_connection_per_provider():
    """Every model of a provider, and every opener, shares one actor below /providers."""
    async with open_actor_system() as system:
        opened = connections(system)
        found = []

        async def one(model: str) -> None:
            found.append(await opened.open(model))

        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(one, f"scripted:tokens?tokens={number}")
        assert len({ref for ref, _ in found}) == 1
        assert found[0][0].path == "/providers/scripted"
        assert min(name for _, name in found) == "tokens?tokens=0"


@pytest.mark.parametrize("model", ["", "gpt-4o", "openai:", ":gpt-4o"])
async def test_a_model_is_written_with_its_provider(model):
    """Anything else is refused with examples."""
    async with open_actor_system() as system:
        with pytest.raises(InvalidRequest, match="provider:name"):
            await connections(system).open(model)


async def test_what_cannot_be_opened_leaves_nothing():
    """An unknown provider and a missing key are told, and stop nobody else."""
    async with open_actor_system() as system:
        opened = connections(system, scripted=ProviderSettings(enabled=True))
        with pytest.raises(NotFound, match=r"actrio\.toml"):
            await opened.open("nope:x")
        with pytest.raises(NotConfigured, match="OPENAI_API_KEY"):
            await opened.open("openai:gpt-4o")
        ref, name = await opened.open("scripted:tokens?tokens=1")
        output = await ref.ask(ModelInput(name, (user_message("Hi"),)))
        assert output.message.text == "w1"


async def test_disabled_is_disabled_for_scripted_too():
    """A provider that is switched off is not opened, also one that needs nothing."""
    async with open_actor_system() as system:
        opened = connections(system, scripted=ProviderSettings(enabled=False))
        with pytest.raises(NotConfigured, match="disabled"):
            await opened.open("scripted:demo")


async def test_the_status_lists_every_provider():
    """Known, built in and configured ones, by name."""
    async with open_actor_system() as system:
        opened = connections(system, here=ProviderSettings(base_url="http://127.0.0.1:1/v1"))
        states = {status.name: status for status in opened.status()}
    assert list(states) == sorted({*CATALOG, "here", "local", "scripted"})
    assert states["here"].state == states["scripted"].state == "available"
    assert states["openai"].missing_env == "OPENAI_API_KEY"


async def test_scripted_timing_is_exact(autojump_clock):
    """In process, delays are Trio's own time and do not drift."""
    async with open_actor_system() as system:
        ref, name = await connections(system).open("scripted:tokens?ttft=80ms&itl=12ms&tokens=11")
        started = trio.current_time()
        async with ref.stream(ModelInput(name, (user_message("Hi"),))) as stream:
            sizes = [len(deltas) async for deltas in stream]
        assert trio.current_time() - started == pytest.approx(0.08 + 10 * 0.012)
        assert sizes == [*[1] * 10, 3]


async def test_deltas_without_delays_travel_together():
    """Sixteen to a tuple, as one read of a socket would bring them."""
    async with open_actor_system() as system:
        ref, name = await connections(system).open("scripted:tokens?tokens=40")
        async with ref.stream(ModelInput(name, (user_message("Hi"),))) as stream:
            sizes = [len(deltas) async for deltas in stream]
    assert sizes == [16, 16, 10]


async def test_thousands_of_scripted_calls_at_once(autojump_clock):
    """Calls are timers, so two thousand take as long as one."""
    async with open_actor_system() as system:
        ref, name = await connections(system).open("scripted:tokens?ttft=1s&tokens=1")
        done = []

        async def one() -> None:
            done.append(await ref.ask(ModelInput(name, (user_message("Hi"),))))

        started = trio.current_time()
        async with trio.open_nursery() as nursery:
            for _ in range(2000):
                nursery.start_soon(one)
        assert len(done) == 2000
        assert trio.current_time() - started == pytest.approx(1.0)


@pytest.mark.parametrize(("choice", "name"), [("auto", "httpx2"), ("httpx", "httpx")])
def test_the_http_library_is_chosen(choice, name):
    """httpx2 where it is installed, or what the settings say."""
    assert load_http(choice).name == name


def test_the_door_loads_no_http_library_and_no_local_model():
    """Whoever only talks to scripted models pays for nothing else."""
    code = (
        "import sys, actrio.providers, actrio.providers.scripted;"
        "print([m for m in ('httpx', 'httpx2', 'actrio.providers.local', 'openai')"
        " if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stdout.strip() == "[]"
