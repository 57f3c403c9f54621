"""The same branches against every provider: always the scripted one behind a real socket, and with
LIVE_PROVIDERS=1 (``make providers-test``) each one of the catalog whose key is set. One that is not
is skipped, and the reason names what is missing.

LIVE_MODEL_GROQ=…, LIVE_EMBED_MODEL_GROQ=… choose other models. No key is printed: errors are redacted,
and each branch that fails at the provider checks it.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import attrs
import pytest
from dotenv import dotenv_values

from actrio.actors import open_actor_system
from actrio.errors import ActrioError, NotSupported, ProviderError
from actrio.messages import EmbedInput, ModelInput, ModelOptions, ToolSpec, fold, user_message
from actrio.providers import Connections, ProviderSettings
from actrio.providers._catalog import CATALOG, resolve

DOT_ENV = Path(__file__).parents[2] / ".env"
ENV = {**{k: v or "" for k, v in dotenv_values(DOT_ENV).items()}, **os.environ}

WEATHER = ToolSpec(
    "weather",
    "Tells the weather in a city. Always use it when asked for weather.",
    {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
)
NUMBER = {
    "type": "object",
    "properties": {"n": {"type": "integer"}},
    "required": ["n"],
    "additionalProperties": False,
}

CHEAP = {
    "openai": ("gpt-4o-mini", "text-embedding-3-small"),
    "anthropic": ("claude-haiku-4-5", None),
    "gemini": ("gemini-2.5-flash", "gemini-embedding-001"),
    "groq": ("llama-3.1-8b-instant", None),
    "cerebras": ("llama3.1-8b", None),
    "glm4": ("glm-4.5-flash", "embedding-3"),
    "openrouter": ("openai/gpt-4o-mini", "openai/text-embedding-3-small"),
    "siliconflow": ("Qwen/Qwen2.5-7B-Instruct", "BAAI/bge-m3"),
    "modelscope": ("Qwen/Qwen2.5-7B-Instruct", None),
    "ollama": ("llama3.2", "nomic-embed-text"),
}


@attrs.frozen
class Target:
    """One provider, and what to ask it for in each branch."""

    name: str
    connections: Connections = attrs.field(repr=False)
    key: str = attrs.field(repr=False)
    chat: str
    tools: str
    structured: str
    embed: str | None
    missing: str = "no-such-model-actrio"

    async def ask(self, model: str, prompt: str = "Say hello.", **more):
        ref, name = await self.connections.open(f"{self.name}:{model}")
        return await ref.ask(ModelInput(name, (user_message(prompt),), **more))

    def hides_its_key(self, error: ActrioError) -> bool:
        told = f"{error!r} {error} {error.data} {error.args} {error.remedy}"
        return not self.key or self.key not in told


def models_of(name: str) -> tuple[str | None, str | None]:
    """Return the models to chat and to embed with."""
    chat, embed = CHEAP.get(name, (None, None))
    word = name.upper()
    return (
        ENV.get(f"LIVE_MODEL_{word}", chat),
        ENV.get(f"LIVE_EMBED_MODEL_{word}", embed),
    )


def why_not(name: str) -> str | None:
    """Return why a provider cannot be asked here."""
    try:
        access = resolve(name, {}, ENV)
    except ActrioError as error:
        return f"{name}: {error}"
    if models_of(name)[0] is None:
        return f"{name}: set LIVE_MODEL_{name.upper()} to a model of it"
    if access.loopback:
        url = urlsplit(access.endpoint.base_url)
        with socket.socket() as probe:
            probe.settimeout(2)
            if probe.connect_ex((url.hostname, url.port or 80)):
                return f"{name}: nobody listens at {access.endpoint.base_url}"
    return None


def targets() -> list:
    """Return the scripted provider and, where asked for, all others, with why they are skipped."""
    live = sorted(CATALOG) if ENV.get("LIVE_PROVIDERS") else []
    reasons = {name: why_not(name) for name in live}
    return [
        "here",
        *(
            pytest.param(name, marks=pytest.mark.skip(reason=reason) if reason else ())
            for name, reason in reasons.items()
        ),
    ]


@asynccontextmanager
async def opened(
    name: str, settings: dict[str, ProviderSettings], env: dict[str, str], **models
) -> AsyncIterator[Target]:
    async with open_actor_system() as system:
        connections = Connections(system, settings=settings, env=env)
        key = resolve(name, settings, env).endpoint.api_key or ""
        yield Target(name, connections, key, **models)


@pytest.fixture(params=targets())
async def target(request, server):
    name = request.param
    if name == "here":
        models = {
            "chat": "tokens?tokens=5",
            "tools": "demo?tools=1",
            "structured": "json",
            "embed": None,
            "missing": "genius",
        }
        settings = {"here": ProviderSettings(base_url=server.base_url)}
        async with opened("here", settings, {}, **models) as here:
            yield here
        return
    chat, embed = models_of(name)
    models = {"chat": chat, "tools": chat, "structured": chat, "embed": embed}
    async with opened(name, {}, ENV, **models) as live:
        yield live


async def test_a_whole_answer(target):
    """Not streamed: text, a reason to stop, usage."""
    output = await target.ask(target.chat, stream=False)
    assert output.message.text
    assert output.finish_reason == "stop"
    assert output.usage.output_tokens > 0


async def test_a_streamed_answer(target):
    """Streamed: the deltas fold into the result."""
    ref, name = await target.connections.open(f"{target.name}:{target.chat}")
    seen = []
    async with ref.stream(ModelInput(name, (user_message("Count to ten."),))) as stream:
        async for deltas in stream:
            seen.extend(deltas)
    assert stream.result.message == fold(seen).message
    assert stream.result.message.text
    assert stream.result.usage.total_tokens > 0


async def test_a_tool_call(target):
    """The call has a name, an id and arguments that fit the schema."""
    options = ModelOptions(tool_choice="required" if target.name != "here" else "auto")
    output = await target.ask(
        target.tools, "What is the weather in Oslo?", tools=(WEATHER,), options=options
    )
    assert output.finish_reason == "tool_calls"
    call = output.message.tool_calls[0]
    assert (call.name, bool(call.id)) == ("weather", True)
    assert isinstance(json.loads(call.arguments)["city"], str)


async def test_a_structured_answer(target):
    """An instance of the schema; or the provider has no such thing and says so."""
    options = ModelOptions(response_schema=NUMBER)
    try:
        output = await target.ask(target.structured, "Give me n = 7 as JSON.", options=options)
    except NotSupported as error:
        if error.remedy is None:
            raise
        return
    assert isinstance(json.loads(output.message.text)["n"], int)


async def test_embeddings(target):
    """One vector per text, all of one length; or the alternative is named."""
    ref, _ = await target.connections.open(f"{target.name}:{target.embed or 'x'}")
    if target.embed is None:
        # The scripted server speaks a format that has embeddings, and has none.
        refusal = ProviderError if target.name == "here" else NotSupported
        with pytest.raises(refusal) as caught:
            await ref.ask(EmbedInput("x", ("a",)))
        assert caught.value.remedy
        return
    output = await ref.ask(EmbedInput(target.embed, ("a cat", "a dog", "tax law")))
    assert len({len(vector) for vector in output.vectors}) == 1
    assert len(output.vectors) == 3


async def test_an_unknown_model(target):
    """Refused as such, once, without the key."""
    with pytest.raises(ProviderError) as caught:
        await target.ask(target.missing)
    assert caught.value.category in {"not_found", "invalid_request", "auth"}
    assert caught.value.remedy
    assert target.hides_its_key(caught.value)
    assert target.connections.statistics()[target.name].retries == 0


async def test_a_wrong_key(target):
    """Refused as such, and the wrong key is not repeated either."""
    if target.name == "here":
        with pytest.raises(ProviderError) as caught:
            await target.ask("tokens?fault=status401")
        assert caught.value.category == "auth"
        return
    if not target.key:
        return  # it needs none
    wrong = target.key[:4] + "0" * 24
    settings = {target.name: ProviderSettings(api_key_env="WRONG_KEY")}
    env = {**ENV, "WRONG_KEY": wrong}
    models = {"chat": target.chat, "tools": "", "structured": "", "embed": None}
    async with opened(target.name, settings, env, **models) as other:
        with pytest.raises(ActrioError) as caught:
            await other.ask(target.chat)
    assert getattr(caught.value, "category", "") in {"auth", "invalid_request"}
    assert wrong not in f"{caught.value!r} {caught.value} {caught.value.data}"


async def test_a_stream_that_is_left(target):
    """Left after its first delta, nothing is in work, and the next call does well."""
    prompt = "Write a long story about a lighthouse."
    ref, name = await target.connections.open(f"{target.name}:{target.chat}")
    async with ref.stream(ModelInput(name, (user_message(prompt),)), credit=1) as stream:
        await anext(stream)
    told = target.connections.statistics()[target.name]
    assert (told.calls_in_work, told.waiting) == (0, 0)
    assert (await target.ask(target.chat)).message.text
