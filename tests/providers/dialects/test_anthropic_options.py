from __future__ import annotations

import json
from typing import Any

import pytest

from actrio.errors import InvalidRequest, NotSupported
from actrio.messages import (
    AssistantMessage,
    ModelInput,
    ModelOptions,
    Text,
    ToolCall,
    ToolMessage,
    ToolResult,
    ToolSpec,
    user_message,
)
from actrio.providers.dialects import AnthropicMessages

MODEL = "claude-small-5"
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = ToolSpec("weather", "Tells the weather.", SCHEMA)
MARK = {"type": "ephemeral"}


def encoded(call: ModelInput) -> dict[str, Any]:
    return json.loads(AnthropicMessages().request(call).body)


def asked(model: str = MODEL, stream: bool = True, **options: Any) -> dict[str, Any]:
    chosen = ModelOptions(**options)
    return encoded(ModelInput(model, (user_message("Hi"),), options=chosen, stream=stream))


def test_options() -> None:
    """Each option has its place."""
    body = asked(temperature=0.5, top_p=0.9, max_tokens=7, stop=("END",))
    expected = {"temperature": 0.5, "top_p": 0.9, "max_tokens": 7, "stop_sequences": ["END"]}
    assert {name: body[name] for name in expected} == expected


def test_a_seed_is_refused() -> None:
    """The vendor has none, and says nothing about what comes near."""
    with pytest.raises(NotSupported, match=r"options\.seed"):
        asked(seed=3)


@pytest.mark.parametrize(
    ("model", "stream", "bound"),
    [
        ("claude-3-haiku-20240307", True, 4_096),
        ("claude-3-5-haiku-latest", True, 8_192),
        ("claude-3-7-sonnet-20250219", True, 32_000),
        ("claude-opus-4@20250514", True, 32_000),
        ("claude-opus-4-1-20250805", False, 16_000),
        ("claude-mythos-preview", True, 32_000),
        ("someone-elses-model-3", True, 8_192),
    ],
)
def test_the_default_bound_on_output(model: str, stream: bool, bound: int) -> None:
    """Each model takes its default, and an answer that is not streamed stays short enough."""
    assert asked(model, stream)["max_tokens"] == bound


@pytest.mark.parametrize(
    ("model", "options", "thinking", "effort"),
    [
        (MODEL, {"reasoning": "off"}, {"type": "disabled"}, None),
        (MODEL, {"reasoning": "low"}, {"type": "adaptive"}, "low"),
        ("claude-opus-4-6", {"reasoning": "high"}, {"type": "adaptive"}, "high"),
        ("claude-sonnet-4-5-20250929", {"reasoning": "medium"}, 8_192, None),
        ("claude-opus-4-20250514", {"reasoning": "high"}, 24_000, None),
        ("claude-3-7-sonnet-latest", {"reasoning": "low"}, 2_048, None),
        ("claude-haiku-4-5", {"reasoning": "high", "max_tokens": 4_000}, 2_000, None),
        (MODEL, {"reasoning_tokens": 5_000}, 5_000, None),
        (MODEL, {"reasoning_tokens": 60_000}, 60_000, None),
        ("claude-3-5-haiku-latest", {"reasoning": "off"}, None, None),
        (MODEL, {}, None, None),
    ],
)
def test_reasoning(
    model: str, options: dict[str, Any], thinking: dict[str, Any] | int | None, effort: str | None
) -> None:
    """New models take an effort, older ones a budget, which always leaves room for an answer."""
    body = asked(model, **options)
    if isinstance(thinking, int):
        assert body["max_tokens"] > thinking
        thinking = {"type": "enabled", "budget_tokens": thinking}
    assert body.get("thinking") == thinking
    assert body.get("output_config", {}).get("effort") == effort


@pytest.mark.parametrize(
    ("model", "options", "error", "told"),
    [
        ("claude-3-5-haiku-latest", {"reasoning": "low"}, NotSupported, "does not reason"),
        ("claude-haiku-4-5", {"reasoning": "low", "max_tokens": 500}, InvalidRequest, "1024"),
        (MODEL, {"reasoning_tokens": 100}, InvalidRequest, "1024"),
        (MODEL, {"reasoning_tokens": 4_000, "max_tokens": 4_000}, InvalidRequest, "4000"),
    ],
)
def test_reasoning_that_cannot_be(
    model: str, options: dict[str, Any], error: type[Exception], told: str
) -> None:
    """What the vendor would refuse is refused at once, with what to change."""
    with pytest.raises(error, match=told):
        asked(model, **options)


def test_a_cached_prompt_is_marked() -> None:
    """One mark after tools and instructions, one on each of the last two messages of the user."""
    history = (
        user_message("One"),
        AssistantMessage((Text("1"),)),
        user_message("Two"),
        AssistantMessage((ToolCall("c1", "weather"),)),
        ToolMessage((ToolResult("c1", "weather", "sunny"),)),
    )
    options = ModelOptions(cache_prompt=True)
    call = ModelInput(MODEL, history, "Be brief.", (WEATHER,), options)
    body = encoded(call)
    assert body["system"] == [{"type": "text", "text": "Be brief.", "cache_control": MARK}]
    marked = [
        number
        for number, message in enumerate(body["messages"])
        if "cache_control" in message["content"][-1]
    ]
    assert marked == [2, 4]
    assert json.dumps(body).count("cache_control") == 3
    body = encoded(ModelInput(MODEL, history, "", (WEATHER,), options))
    assert body["tools"][-1]["cache_control"] == MARK


def test_a_response_schema_is_closed() -> None:
    """Objects are closed, and what cannot be enforced is told to the model in words."""
    schema = {
        "$ref": "#/$defs/Trip",
        "$defs": {
            "Trip": {
                "title": "Trip",
                "type": "object",
                "properties": {
                    "days": {"type": "integer", "minimum": 1, "description": "How long."},
                    "cities": {"type": "array", "items": {"type": "string"}, "maxItems": 3},
                    "by": {"oneOf": [{"const": "car"}, {"type": "null"}]},
                    "start": {"type": "string", "format": "date"},
                    "minimum": {"type": "string", "format": "roman"},
                },
                "required": ["days"],
            }
        },
    }
    body = asked(response_schema=schema, reasoning="low")
    assert body["output_config"]["effort"] == "low"
    assert body["output_config"]["format"]["type"] == "json_schema"
    assert body["output_config"]["format"]["schema"]["$defs"]["Trip"] == {
        "title": "Trip",
        "type": "object",
        "properties": {
            "days": {"type": "integer", "description": 'How long.\n\n{"minimum":1}'},
            "cities": {
                "type": "array",
                "items": {"type": "string"},
                "description": '{"maxItems":3}',
            },
            "by": {"anyOf": [{"const": "car"}, {"type": "null"}]},
            "start": {"type": "string", "format": "date"},
            "minimum": {"type": "string", "description": '{"format":"roman"}'},
        },
        "required": ["days"],
        "additionalProperties": False,
    }


def test_a_response_schema_with_free_names_is_refused() -> None:
    """An open object would come back empty, so the place is named instead."""
    schema = {"type": "object", "properties": {"a": {"type": "object"}}}
    schema["properties"]["a"]["additionalProperties"] = {"type": "integer"}
    with pytest.raises(NotSupported, match=r"response_schema: the object at \$\.a"):
        asked(response_schema=schema)


def test_a_response_schema_that_never_ends_is_refused() -> None:
    """A value that holds itself does not overflow."""
    schema: dict[str, Any] = {"type": "array"}
    schema["items"] = schema
    with pytest.raises(InvalidRequest, match="nested"):
        asked(response_schema=schema)


def test_members_of_the_vendor_come_last() -> None:
    """They win; tools are added, and an object without a type says more about what is there."""
    search = {"type": "web_search_20250305", "name": "web_search"}
    options = ModelOptions(
        reasoning="high",
        vendor={
            "tools": [search],
            "tool_choice": {"disable_parallel_tool_use": True},
            "thinking": {"type": "enabled", "budget_tokens": 2_000},
            "output_config": {"effort": "max"},
            "max_tokens": 9_000,
            "metadata": {"user_id": "u"},
        },
    )
    body = encoded(ModelInput(MODEL, (user_message("Hi"),), "", (WEATHER,), options))
    assert [tool["name"] for tool in body["tools"]] == ["weather", "web_search"]
    assert body["tool_choice"] == {"type": "auto", "disable_parallel_tool_use": True}
    assert body["thinking"] == {"type": "enabled", "budget_tokens": 2_000}
    assert body["output_config"] == {"effort": "max"}
    assert body["max_tokens"] == 9_000
    assert body["metadata"] == {"user_id": "u"}
