from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import attrs
import httpx
import pytest
import trio

from actrio.actors import ChildSpec, RestartWindow, open_actor_system
from actrio.errors import InvalidRequest, NotConfigured, ProviderUnreachable
from actrio.messages import (
    ModelInput,
    ModelOptions,
    ToolMessage,
    ToolResult,
    ToolSpec,
    user_message,
)
from actrio.providers.local import LocalSettings, open_local
from actrio.providers.local._server import RESTART

pytestmark = [pytest.mark.local, pytest.mark.usefixtures("smollm2")]

SETTINGS = LocalSettings(context_tokens=1024, parallel=1, threads=1)

WEATHER = ToolSpec(
    "get_weather",
    "Get the current weather for a city.",
    {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
)


async def test_it_knows_the_capital_of_france(chat):
    """A real model answers, over a real socket, in words."""
    async with open_actor_system() as system:
        model = await open_local(system, "smollm2", SETTINGS)
        question = user_message("What is the capital of France?")
        output = await chat(model, ModelInput(model.model, (question,), tools=(WEATHER,)))
    assert output.message.text == "The capital of France is Paris."
    assert output.finish_reason == "stop"


async def test_it_calls_a_tool_and_uses_its_result(chat):
    """A whole tool round: a well-formed call, then an answer that holds the result."""
    async with open_actor_system() as system:
        model = await open_local(system, "smollm2", SETTINGS)
        question = user_message("What is the weather in Paris?")
        request = ModelInput(model.model, (question,), tools=(WEATHER,))
        output = await chat(model, request)
        (call,) = output.message.tool_calls
        assert (output.finish_reason, call.id, call.name) == (
            "tool_calls",
            "call_0",
            "get_weather",
        )
        assert "".join(call.arguments.split()) == '{"city":"Paris"}'
        result = ToolMessage((ToolResult(call.id, call.name, "14°C, light rain"),))
        messages = (question, output.message, result)
        answer = await chat(model, attrs.evolve(request, messages=messages))
    assert answer.finish_reason == "stop"
    assert "light rain" in answer.message.text


async def test_the_server_takes_schemas_with_references(chat):
    """A moved $ref is understood by the real server, and a required call is a call."""
    place = {"type": "object", "properties": {"city": {"const": "Oslo"}}, "required": ["city"]}
    tool = ToolSpec(
        "travel",
        "Travel to a place.",
        {
            "type": "object",
            "properties": {"to": {"$ref": "#/$defs/Place"}},
            "required": ["to"],
            "$defs": {"Place": place},
        },
    )
    async with open_actor_system() as system:
        model = await open_local(system, "smollm2", SETTINGS)
        options = ModelOptions(tool_choice="required")
        asked = ModelInput(model.model, (user_message("Go!"),), tools=(tool,), options=options)
        output = await chat(model, asked)
    (call,) = output.message.tool_calls
    assert "".join(call.arguments.split()) == '{"to":{"city":"Oslo"}}'


async def test_a_second_open_finds_the_first(server_pids):
    """One model is one process, however often it is opened; it ends with the system."""
    async with open_actor_system() as system:
        first = await open_local(system, "smollm2", SETTINGS)
        second = await open_local(system, "smollm2", SETTINGS)
        assert second.server.path == first.server.path
        pid = (await second.facts()).pid
        assert server_pids() == {pid}
    assert server_pids() == set()


async def test_openers_at_the_same_time_share_one_server(server_pids):
    """A race to open ends in one process."""
    async with open_actor_system() as system:
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(open_local, system, "smollm2", SETTINGS)
        assert len(server_pids()) == 1


async def test_a_path_is_a_model_too(smollm2, tmp_path, chat):
    """Any GGUF file runs; without a tool template its tools are constrained, all of them."""
    link = tmp_path / "my model.gguf"
    link.symlink_to(smollm2)
    async with open_actor_system() as system:
        model = await open_local(system, str(link), SETTINGS)
        assert model.model == "my model"
        request = ModelInput(
            model.model,
            (user_message("Hello"),),
            instructions="You are a helpful assistant.",
            tools=(WEATHER,),
            options=ModelOptions(temperature=0, max_tokens=64, tool_choice="required"),
        )
        output = await chat(model, request)
    assert output.message.tool_calls[0].name == "get_weather"


async def test_a_killed_server_comes_back(gone, kill):
    """The process dies, the next ask waits for its successor, which has another pid."""
    async with open_actor_system() as system:
        model = await open_local(system, "smollm2", SETTINGS)
        before = await model.facts()
        kill(before.pid)
        await gone(before.pid)
        with trio.fail_after(20):
            after = await model.facts()
            while after.pid == before.pid:  # its end may be noticed only now
                after = await model.facts()
        assert after.endpoint.api_key != before.endpoint.api_key
        assert (await ask_models(after.endpoint, after.endpoint.api_key)) == 200


async def test_the_key_is_needed_and_hidden(server_pids):
    """Nobody else on the machine can use the server or read its key from the process."""
    async with open_actor_system() as system:
        model = await open_local(system, "smollm2", SETTINGS)
        facts = await model.facts()
        endpoint = facts.endpoint
        assert endpoint.base_url.startswith("http://127.0.0.1:")
        assert await ask_chat(endpoint, "wrong") == 401
        assert endpoint.api_key not in repr(facts)
        assert server_pids() == {facts.pid}
        for place in ("cmdline", "environ"):
            assert endpoint.api_key.encode() not in Path(f"/proc/{facts.pid}/{place}").read_bytes()


@pytest.mark.parametrize("seconds", [0.0, 0.02, 0.1, 0.25])
async def test_a_cancelled_start_leaves_no_process(seconds, server_pids):
    """Cancelled before, while or after the process starts: none stays, and no actor."""
    async with open_actor_system() as system:
        with trio.move_on_after(seconds):
            await open_local(system, "smollm2", SETTINGS)
            await trio.sleep_forever()
        for ref in filter(None, [system.whereis("/local-smollm2")]):
            await system.stop(ref)
        assert server_pids() == set()


async def test_a_start_that_takes_too_long_is_a_result(server_pids):
    """The bound on the start is told, the process is gone, the system lives on."""
    async with open_actor_system() as system:
        with pytest.raises(ProviderUnreachable, match="did not answer within"):
            await open_local(system, "smollm2", LocalSettings(start_seconds=0.001))
        assert system.whereis("/local-smollm2") is None
        assert server_pids() == set()
        await open_local(system, "smollm2", SETTINGS)


async def test_a_broken_model_file_is_a_clear_error(smollm2, tmp_path, server_pids):
    """A file that begins like a model and is none names the loader's own reason."""
    broken = tmp_path / "broken.gguf"
    with smollm2.open("rb") as file:
        broken.write_bytes(file.read(3_000_000))
    async with open_actor_system() as system:
        with pytest.raises(InvalidRequest, match="corrupted or incomplete") as caught:
            await open_local(system, str(broken), SETTINGS)
        assert str(broken) in caught.value.message
        assert server_pids() == set()


async def test_a_missing_extra_is_a_result(tmp_path, monkeypatch):
    """Without xllamacpp the remedy is the command that installs it."""
    without = [path for path in sys.path if not (Path(path) / "xllamacpp").exists()]
    monkeypatch.setattr(sys, "path", without)
    async with open_actor_system() as system:
        with pytest.raises(NotConfigured) as caught:
            await open_local(system, "smollm2", SETTINGS)
    assert "pip install 'actrio[local]'" in str(caught.value)


async def test_a_frozen_server_is_killed_at_stop(server_pids):
    """A process that no longer reacts is gone after its two seconds all the same."""
    async with open_actor_system() as system:
        model = await open_local(system, "smollm2", SETTINGS)
        os.kill((await model.facts()).pid, signal.SIGSTOP)
        with trio.fail_after(5):
            await system.stop(model.server)
        assert server_pids() == set()


def test_restarts_stay_below_the_budget():
    """Even a server that dies at once, each time, never exhausts its supervisor's patience."""
    spec = ChildSpec("local", lambda: None, backoff=RESTART)
    window = RestartWindow(intensity=spec.intensity, period_seconds=spec.period_seconds)
    now = 0.0
    for attempt in range(50):
        assert window.allow(now)
        now += RESTART.delay_seconds(attempt, _Longest())


class _Longest(random.Random):
    def random(self) -> float:
        return 1.0  # the most that jitter may shorten a delay


PARENT = """
import sys, trio
from pathlib import Path
from actrio.actors import ChildSpec, RestartWindow, open_actor_system
from actrio.providers.local import LocalSettings, open_local
from actrio.providers.local._process import Launch, ServerProcess

async def serving():
    async with open_actor_system() as system:
        model = await open_local(system, "smollm2")
        print((await model.facts()).pid, flush=True)
        await trio.sleep_forever()

async def before_the_config():
    process = await ServerProcess.open(Launch(Path("none.gguf"), "none", LocalSettings()))
    print(process.pid, flush=True)
    await trio.sleep_forever()

async def while_loading():
    process = await ServerProcess.open(Launch(Path(sys.argv[2]), "smollm2", LocalSettings()))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(process.drain)
        nursery.start_soon(process.ready)
        await trio.sleep(0.15)
        print(process.pid, flush=True)

trio.run(globals()[sys.argv[1]])
"""


@pytest.mark.parametrize("moment", ["serving", "before_the_config", "while_loading"])
async def test_a_killed_parent_leaves_no_server(moment, smollm2, gone, kill):
    """SIGKILL gives the parent no chance to clean up; its server is gone within two seconds."""
    command = [sys.executable, "-c", PARENT, moment, str(smollm2)]
    parent = await trio.lowlevel.open_process(command, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    async with parent.stdout:
        with trio.fail_after(20):
            pid = int(await parent.stdout.receive_some())
        kill(parent.pid)
        await parent.wait()
        await gone(pid)


async def ask_models(endpoint, key) -> int:
    async with httpx.AsyncClient(trust_env=False) as client:
        headers = {"Authorization": f"Bearer {key}"}
        return (await client.get(f"{endpoint.base_url}/models", headers=headers)).status_code


async def ask_chat(endpoint, key) -> int:
    async with httpx.AsyncClient(trust_env=False) as client:
        url = f"{endpoint.base_url}/chat/completions"
        headers = {"Authorization": f"Bearer {key}"}
        body = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}
        return (await client.post(url, headers=headers, json=body)).status_code
