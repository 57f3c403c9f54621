from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from actrio.errors import InvalidRequest, NotSupported
from actrio.messages import (
    AssistantMessage,
    Document,
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
    fold,
    user_message,
)
from actrio.providers.dialects import OpenAiResponses

FIXTURES = Path(__file__).parents[3] / "fixtures" / "openai_responses"
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
HI = (user_message("Hi"),)
OPENAI = OpenAiResponses("openai")
ROUTER = OpenAiResponses("openrouter", host="openrouter")


def encoded(call: ModelInput, dialect: OpenAiResponses = OPENAI) -> dict[str, Any]:
    wire = dialect.request(call)
    assert wire.path == "/responses"
    return json.loads(wire.body)


def with_options(model: str = "gpt-5.1", **options: Any) -> dict[str, Any]:
    return encoded(ModelInput(model, HI, options=ModelOptions(**options)))


def input_of(*parts: Any, dialect: OpenAiResponses = OPENAI) -> list[Any]:
    return encoded(ModelInput("gpt-5", (AssistantMessage(parts),)), dialect)["input"]


def reasoning(number: int, vendor: str = "openai.responses") -> VendorItem:
    item = {"type": "reasoning", "id": f"rs_{number}", "summary": [], "encrypted_content": "x"}
    return VendorItem(vendor, "reasoning", json.dumps(item))


def test_a_plain_call() -> None:
    """The server keeps nothing, and a model that reasons sends its reasoning along."""
    assert encoded(ModelInput("gpt-5", HI, instructions="Be brief.")) == {
        "model": "gpt-5",
        "input": [{"role": "user", "content": "Hi"}],
        "store": False,
        "instructions": "Be brief.",
        "include": ["reasoning.encrypted_content"],
        "stream": True,
    }
    assert encoded(ModelInput("gpt-4o", HI, stream=False)).keys() == {"model", "input", "store"}


@pytest.mark.parametrize(
    ("model", "asked"),
    [
        ("o4-mini", True),
        ("gpt-5-nano", True),
        ("gpt-5.6-sol", True),
        ("openai/gpt-5-nano", True),
        ("ft:o4-mini:us::1", True),
        ("codex-mini-latest", True),
        ("gpt-5-chat-latest", False),
        ("gpt-4.1", False),
        ("gpt-4o-mini", False),
        ("google/gemini-3-flash", False),
    ],
)
def test_encrypted_reasoning_is_asked_of_models_that_reason(model: str, asked: bool) -> None:
    """The others answer 400 to the question."""
    assert ("include" in encoded(ModelInput(model, HI))) is asked


def test_one_call_with_all_that_the_format_can_carry() -> None:
    """Image, file, tools, results, reasoning history and a schema each have their place."""
    look = ToolCall("c1", "look", '{"deep" :true}')
    call = ModelInput(
        "gpt-5",
        (
            UserMessage(
                (
                    Text("Look:"),
                    Image(data=b"\x89PNG"),
                    Image(url="https://e.org/a.png"),
                    Document(name="a.pdf", data=b"%PDF"),
                    Document(url="https://e.org/b.pdf"),
                )
            ),
            AssistantMessage((Thinking("Hm."), reasoning(1), Text("I look."), look)),
            ToolMessage((ToolResult("c1", "look", "a gem"),)),
            AssistantMessage((Refusal("No."),)),
        ),
        tools=(ToolSpec("look", "Looks.", SCHEMA),),
        options=ModelOptions(response_schema=SCHEMA, tool_choice="required"),
    )
    body = encoded(call)
    content = [
        {"type": "input_text", "text": "Look:"},
        {"type": "input_image", "image_url": "data:image/png;base64,iVBORw=="},
        {"type": "input_image", "image_url": "https://e.org/a.png"},
        {
            "type": "input_file",
            "filename": "a.pdf",
            "file_data": "data:application/pdf;base64,JVBERg==",
        },
        {"type": "input_file", "file_url": "https://e.org/b.pdf"},
    ]
    assert body["input"] == [
        {"role": "user", "content": content},
        json.loads(reasoning(1).data),
        said("I look."),
        {"type": "function_call", "call_id": "c1", "name": "look", "arguments": look.arguments},
        {"type": "function_call_output", "call_id": "c1", "output": "a gem"},
        {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "refusal", "refusal": "No."}],
        },
    ]
    function = {"name": "look", "description": "Looks.", "parameters": SCHEMA, "strict": False}
    assert body["tools"] == [{"type": "function", **function}]
    assert body["tool_choice"] == "required"


def said(text: str, **more: Any) -> dict[str, Any]:
    content = [{"type": "output_text", "text": text}]
    return {"type": "message", "role": "assistant", "content": content, **more}


@pytest.mark.parametrize("name", ["encrypted_reasoning_then_calls", "web_search_with_citations"])
def test_an_answer_goes_back_item_by_item(name: str) -> None:
    """What the vendor made itself is sent as it came, between what is ours to write."""
    reader = OPENAI.reader(ModelInput("gpt-5", ()), "text/event-stream")
    message = fold(reader.feed((FIXTURES / f"{name}.sse").read_bytes())).message
    wire = OPENAI.request(ModelInput("gpt-5", (message,)))
    items = [part for part in message.parts if isinstance(part, VendorItem)]
    assert items
    assert all(item.data.encode() in wire.body for item in items)
    kinds = [item["type"] for item in json.loads(wire.body)["input"]]
    assert kinds[0] == "reasoning"
    assert len(kinds) == 3


def test_a_late_item_goes_back_where_it_began() -> None:
    """Reasoning that ended after the text is sent before it."""
    reader = ROUTER.reader(ModelInput("m", ()), "text/event-stream")
    body = (FIXTURES / "reasoning_ends_after_text.sse").read_bytes()
    message = fold(reader.feed(body)).message
    kinds = [item["type"] for item in input_of(*message.parts, dialect=ROUTER)]
    assert kinds == ["reasoning", "message"]


def test_phases_go_back_with_their_messages() -> None:
    """Two messages of one answer stay two, each with its phase."""
    reader = OPENAI.reader(ModelInput("gpt-5", ()), "text/event-stream")
    body = (FIXTURES / "two_messages_with_phases.sse").read_bytes()
    message = fold(reader.feed(body)).message
    assert input_of(*message.parts) == [
        said("I look.", phase="commentary"),
        said("Rain.", phase="final_answer"),
    ]


def test_what_others_made_is_left_out() -> None:
    """Encrypted for one provider, reasoning is of no use to another, nor is a signature."""
    parts = (
        reasoning(1, "openrouter.responses"),
        VendorItem("anthropic", "redacted_thinking", "{}"),
        Thinking("signed", signature="x"),
        Text("Hi"),
    )
    assert input_of(*parts) == [said("Hi")]


def test_reasoning_that_nothing_follows_is_left_out() -> None:
    """It is what a cut answer leaves behind, and OpenAI refuses it."""
    assert input_of(Text("Hi"), reasoning(1), reasoning(2)) == [said("Hi")]
    assert input_of(reasoning(1)) == []
    assert input_of(reasoning(1), dialect=ROUTER) == []
    # Through OpenRouter, Gemini's signature comes as reasoning after what it signs.
    vendor = "openrouter.responses"
    kinds = [one["type"] for one in input_of(Text("Hi"), reasoning(1, vendor), dialect=ROUTER)]
    assert kinds == ["message", "reasoning"]


def test_items_without_ids_are_not_taken_for_one() -> None:
    """Each stays in its own place."""
    bare = VendorItem("openai.responses", "reasoning", '{"type":"reasoning","summary":[]}')
    items = input_of(bare, ToolCall("a", "f"), bare, ToolCall("b", "f"))
    assert [item["type"] for item in items] == ["reasoning", "function_call"] * 2


def test_openrouter_wants_ids_on_what_the_assistant_said() -> None:
    """Made up, and different ones."""
    items = input_of(Text("a"), ToolCall("c", "f"), Text("b"), dialect=ROUTER)
    assert [items[0]["id"], items[2]["id"]] == ["msg_0", "msg_2"]
    assert items[0]["status"] == "completed"
    assert items[0]["content"][0]["annotations"] == []


def test_long_ids_of_others_are_shortened_alike() -> None:
    """A call and its result still name the same call."""
    long = "x" * 100
    messages = (AssistantMessage((ToolCall(long, "f"),)), ToolMessage((ToolResult(long, "f", ""),)))
    call, result = encoded(ModelInput("gpt-5", messages))["input"]
    assert call["call_id"] == result["call_id"]
    assert len(call["call_id"]) <= 64


def test_options() -> None:
    """Each option has its place, and the vendor's members join them."""
    tools = (ToolSpec("look", "Looks.", SCHEMA),)
    options = ModelOptions(
        temperature=0.5,
        top_p=0.9,
        max_tokens=7,
        reasoning="low",
        cache_prompt=True,
        vendor={
            "reasoning": {"summary": "auto"},
            "tools": [{"type": "web_search"}],
            "include": ["web_search_call.action.sources"],
            "prompt_cache_key": "k",
            "store": True,
        },
    )
    body = encoded(ModelInput("gpt-5.1", HI, tools=tools, options=options))
    assert (body["temperature"], body["top_p"], body["max_output_tokens"]) == (0.5, 0.9, 7)
    assert body["reasoning"] == {"effort": "low", "summary": "auto"}
    assert [tool["type"] for tool in body["tools"]] == ["function", "web_search"]
    assert body["include"] == ["reasoning.encrypted_content", "web_search_call.action.sources"]
    assert (body["prompt_cache_key"], body["store"]) == ("k", True)


@pytest.mark.parametrize("closed", [True, False])
def test_a_response_schema_is_strict_where_it_can_be(closed: bool) -> None:
    """Strict mode is asked for exactly when the schema meets its rules."""
    schema = {**SCHEMA, "title": "Where to?", **({"additionalProperties": False} if closed else {})}
    shape = {"type": "json_schema", "name": "Where_to_", "schema": schema, "strict": closed}
    assert with_options(response_schema=schema)["text"] == {"format": shape}


@pytest.mark.parametrize(
    ("model", "reasoning"),
    [
        ("gpt-5-nano", {"effort": "minimal"}),
        ("gpt-5.1", {"effort": "none"}),
        ("openai/gpt-5", {"effort": "minimal"}),
        ("google/gemini-3-flash", {"effort": "none"}),
        ("gpt-4o", None),
    ],
)
def test_no_reasoning_is_asked_for_in_each_models_words(model: str, reasoning: Any) -> None:
    """The least there is; a model that never reasons is not asked."""
    assert with_options(model, reasoning="off").get("reasoning") == reasoning


def test_a_bound_on_reasoning_is_openrouters() -> None:
    """OpenAI has none."""
    call = ModelInput("m", HI, options=ModelOptions(reasoning_tokens=9))
    assert encoded(call, ROUTER)["reasoning"] == {"max_tokens": 9}


@pytest.mark.parametrize(
    ("model", "options", "named"),
    [
        ("gpt-5", {"stop": ("END",)}, "Option stop"),
        ("gpt-5", {"seed": 0}, "Option seed"),
        ("gpt-5", {"reasoning_tokens": 9}, "reasoning_tokens"),
        ("o4-mini", {"reasoning": "off"}, "always reasons"),
    ],
)
def test_what_cannot_be_carried_is_named(model: str, options: Any, named: str) -> None:
    """A refusal names the option and says what to do instead."""
    with pytest.raises(NotSupported, match=named) as caught:
        with_options(model, **options)
    assert caught.value.remedy


def test_what_is_no_json_is_an_invalid_request() -> None:
    """Text that is no Unicode, or an item that was damaged, is the caller's mistake."""
    with pytest.raises(InvalidRequest, match="surrogates"):
        encoded(ModelInput("small", (user_message("a\ud800b"),)))
    for data in ("{", "\ud800"):
        with pytest.raises(InvalidRequest, match="web_search_call"):
            input_of(VendorItem("openai.responses", "web_search_call", data))


def test_the_key_is_a_bearer() -> None:
    """As for all of OpenAI's API."""
    assert OPENAI.key_headers("k") == {"authorization": "Bearer k"}
