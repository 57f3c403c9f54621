from __future__ import annotations

import json
from typing import Any

import pytest

from actrio.errors import InvalidRequest, NotSupported
from actrio.messages import (
    AssistantMessage,
    Document,
    EmbedInput,
    Image,
    ModelInput,
    ModelOptions,
    Refusal,
    Text,
    Thinking,
    ToolCall,
    ToolMessage,
    ToolResult,
    ToolSpec,
    UserMessage,
    VendorItem,
    user_message,
)
from actrio.providers.dialects import OllamaChat

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
HI = (user_message("Hi"),)


def encoded(call: ModelInput) -> dict[str, Any]:
    wire = OllamaChat().request(call)
    assert wire.path == "/api/chat"
    return json.loads(wire.body)


def with_options(model: str = "small", **options: Any) -> dict[str, Any]:
    return encoded(ModelInput(model, HI, options=ModelOptions(**options)))


@pytest.mark.parametrize("stream", [True, False])
def test_a_plain_call(stream: bool) -> None:
    """Instructions come first, and the server is always told whether to stream."""
    call = ModelInput("small", HI, instructions="Be brief.", stream=stream)
    assert encoded(call) == {
        "model": "small",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Hi"},
        ],
        "stream": stream,
    }


def test_one_call_with_all_that_ollama_can_carry() -> None:
    """Image, tools, results, thinking and a schema each have their place."""
    call = ModelInput(
        "small",
        (
            UserMessage((Text("What is "), Image(data=b"\x89PNG"), Text("this?"))),
            AssistantMessage(
                (
                    Thinking("Hm."),
                    Thinking("signed by another", signature="x"),
                    VendorItem("anthropic", "redacted_thinking", "{}"),
                    Text("I look."),
                    ToolCall("c1", "look", '{"deep" : 1.0}'),
                )
            ),
            ToolMessage((ToolResult("c1", "look", "a gem"), ToolResult("c2", "now", "noon"))),
        ),
        tools=(ToolSpec("look", "Looks.", SCHEMA),),
        options=ModelOptions(response_schema=SCHEMA, reasoning="high"),
    )
    wire = OllamaChat().request(call)
    body = json.loads(wire.body)
    assert body["messages"] == [
        {"role": "user", "content": "What is this?", "images": ["iVBORw=="]},
        {
            "role": "assistant",
            "content": "I look.",
            "thinking": "Hm.",
            "tool_calls": [{"function": {"name": "look", "arguments": {"deep": 1.0}}}],
        },
        {"role": "tool", "tool_name": "look", "content": "a gem"},
        {"role": "tool", "tool_name": "now", "content": "noon"},
    ]
    function = {"name": "look", "description": "Looks.", "parameters": SCHEMA}
    assert body["tools"] == [{"type": "function", "function": function}]
    assert (body["format"], body["think"]) == (SCHEMA, True)
    assert b'{"deep" : 1.0}' in wire.body


@pytest.mark.parametrize(
    ("written", "sent"),
    [("null", {}), ('{"a":', {"arguments": '{"a":'}), ("[1]", {"arguments": [1]}), ("{}", {})],
)
def test_arguments_are_always_an_object(written: str, sent: Any) -> None:
    """Ollama takes nothing else, and the model still sees what it wrote."""
    message = AssistantMessage((ToolCall("c", "f", written),))
    calls = encoded(ModelInput("small", (message,)))["messages"][0]["tool_calls"]
    assert calls[0]["function"]["arguments"] == sent


def test_a_refusal_goes_back_as_what_was_said() -> None:
    """Another vendor's refusal is text here."""
    body = encoded(ModelInput("small", (AssistantMessage((Refusal("No."),)),)))
    assert body["messages"] == [{"role": "assistant", "content": "No."}]


def test_options() -> None:
    """Each option has its place among Ollama's own, and the vendor's members join them."""
    body = with_options(
        temperature=0.5,
        top_p=0.9,
        max_tokens=7,
        stop=("END",),
        seed=3,
        cache_prompt=True,
        vendor={"options": {"num_ctx": 8192, "seed": 4}, "keep_alive": "5m"},
    )
    assert body["options"] == {
        "temperature": 0.5,
        "top_p": 0.9,
        "num_predict": 7,
        "stop": ["END"],
        "seed": 4,
        "num_ctx": 8192,
    }
    assert body["keep_alive"] == "5m"


@pytest.mark.parametrize(
    ("model", "reasoning", "think"),
    [
        ("qwen3:4b", "off", False),
        ("qwen3:4b", "low", True),
        ("gpt-oss:20b", "low", "low"),
        ("gpt-oss:20b", "high", "high"),
    ],
)
def test_levels_of_thinking_go_only_to_the_model_that_takes_them(
    model: str, reasoning: Any, think: Any
) -> None:
    """Other models answer a level with 400."""
    assert with_options(model, reasoning=reasoning)["think"] is think or think == reasoning


def test_tools_may_be_left_out() -> None:
    """There is no tool_choice; asking for no tool sends none."""
    tools = (ToolSpec("look", "Looks.", SCHEMA),)
    call = ModelInput("small", HI, tools=tools, options=ModelOptions(tool_choice="none"))
    assert "tools" not in encoded(call)


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (ModelInput("small", (UserMessage((Image(url="https://e.org/a.png"),)),)), r"a\.png"),
        (ModelInput("small", (UserMessage((Document(name="a.pdf", data=b"%PDF"),)),)), r"a\.pdf"),
        (
            ModelInput(
                "small",
                HI,
                tools=(ToolSpec("f", "", {}),),
                options=ModelOptions(tool_choice="required"),
            ),
            "tool_choice",
        ),
        (ModelInput("m", HI, options=ModelOptions(reasoning_tokens=9)), "reasoning_tokens"),
        (ModelInput("gpt-oss", HI, options=ModelOptions(reasoning="off")), "always thinks"),
    ],
)
def test_what_cannot_be_carried_is_named(call: ModelInput, named: str) -> None:
    """A refusal names the part and says what to do instead."""
    with pytest.raises(NotSupported, match=named) as caught:
        encoded(call)
    assert caught.value.remedy


def test_a_lone_surrogate_is_an_invalid_request() -> None:
    """Text that is no Unicode is the caller's mistake, not a crash."""
    with pytest.raises(InvalidRequest, match="surrogates"):
        encoded(ModelInput("small", (user_message("a\ud800b"),)))
    with pytest.raises(InvalidRequest, match="surrogates"):
        OllamaChat().embed_request(EmbedInput("small", ("a\ud800b",)))


def test_embedding_calls() -> None:
    """Texts go as one list, with the length of the vectors where one is asked for."""
    dialect = OllamaChat()
    wire = dialect.embed_request(EmbedInput("small", ("a", "b"), dimensions=4, purpose="query"))
    assert wire.path == "/api/embed"
    assert json.loads(wire.body) == {"model": "small", "input": ["a", "b"], "dimensions": 4}
    assert "dimensions" not in json.loads(dialect.embed_request(EmbedInput("m", ("a",))).body)
    assert dialect.embed_batch_max > 1


def test_the_key_is_for_the_cloud_only() -> None:
    """A local server is sent none."""
    assert OllamaChat().key_headers("") == {}
    assert OllamaChat().key_headers("k") == {"authorization": "Bearer k"}
