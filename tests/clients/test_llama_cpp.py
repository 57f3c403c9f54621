"""llama.cpp, a server that nobody here wrote, through the connection that programs use."""

from __future__ import annotations

import importlib.util
import json
import math

import pytest

from actrio.actors import open_actor_system
from actrio.messages import (
    EmbedInput,
    ModelInput,
    ModelOptions,
    TextDelta,
    ToolSpec,
    fold,
    user_message,
)
from actrio.providers import Connections
from actrio.providers.local import LocalSettings, installed_models

pytestmark = pytest.mark.local

MODEL = "local:smollm2"
SETTINGS = LocalSettings(context_tokens=1024, parallel=1, threads=1)
CALM = ModelOptions(temperature=0, max_tokens=64)
FRANCE = user_message("What is the capital of France?")

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 20}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}


@pytest.fixture
async def llama():
    """A connection to the model, and the model's name in requests."""
    if importlib.util.find_spec("xllamacpp") is None or not installed_models():
        pytest.skip("needs the extra actrio[local] and the model: actrio model install smollm2")
    async with open_actor_system() as system:
        connections = Connections(system, settings={}, env={}, local=SETTINGS)
        yield await connections.open(MODEL)


async def test_a_whole_answer(llama):
    """Not streamed: text, a reason to stop, usage."""
    ref, name = llama
    output = await ref.ask(ModelInput(name, (FRANCE,), options=CALM, stream=False))
    assert "Paris" in output.message.text
    assert output.finish_reason == "stop"
    assert output.usage.output_tokens > 0


async def test_a_streamed_answer(llama):
    """Streamed: several deltas, which fold into the result."""
    ref, name = llama
    seen = []
    async with ref.stream(ModelInput(name, (FRANCE,), options=CALM)) as stream:
        async for deltas in stream:
            seen.extend(deltas)
    assert "Paris" in stream.result.message.text
    assert fold(seen).message == stream.result.message
    assert sum(isinstance(delta, TextDelta) for delta in seen) > 3
    assert stream.result.usage.total_tokens > 0


async def test_a_tool_call(llama):
    """A required call is one, with arguments of the schema."""
    ref, name = llama
    tool = ToolSpec(
        "get_weather",
        "Get the current weather for a city.",
        {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    )
    options = ModelOptions(temperature=0, max_tokens=64, tool_choice="required")
    question = user_message("What is the weather in Paris?")
    output = await ref.ask(ModelInput(name, (question,), tools=(tool,), options=options))
    (call,) = output.message.tool_calls
    assert (output.finish_reason, call.name) == ("tool_calls", "get_weather")
    assert isinstance(json.loads(call.arguments)["city"], str)


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_in_a_given_shape(llama, stream):
    """The server's grammar keeps even a small model to the schema."""
    ref, name = llama
    options = ModelOptions(temperature=0, max_tokens=128, response_schema=PERSON)
    question = user_message("Invent a person.")
    output = await ref.ask(ModelInput(name, (question,), options=options, stream=stream))
    person = json.loads(output.message.text)
    assert set(person) == {"name", "age"}
    assert isinstance(person["age"], int)


async def test_embeddings(llama):
    """Equal texts are equal vectors, others are not, and the order is kept."""
    ref, name = llama
    output = await ref.ask(EmbedInput(name, ("a red apple", "stock prices fell", "a red apple")))
    first, other, again = output.vectors
    assert math.dist(first, again) < 0.01 * math.hypot(*first)
    assert math.dist(first, other) > 0.01 * math.hypot(*first)
