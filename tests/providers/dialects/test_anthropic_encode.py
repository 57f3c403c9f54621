from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from actrio.errors import InvalidRequest, NotSupported
from actrio.messages import (
    AssistantMessage,
    Citation,
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
    user_message,
)
from actrio.providers.dialects import AnthropicMessages

MODEL = "claude-small-5"
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = ToolSpec("weather", "Tells the weather.", SCHEMA)


def encoded(call: ModelInput) -> dict[str, Any]:
    return json.loads(AnthropicMessages().request(call).body)


def asked(model: str = MODEL, stream: bool = True, **options: Any) -> dict[str, Any]:
    chosen = ModelOptions(**options)
    return encoded(ModelInput(model, (user_message("Hi"),), options=chosen, stream=stream))


def said(*parts: Any) -> list[dict[str, Any]]:
    """What an assistant's message of these parts becomes, between two of a user."""
    history = (user_message("Hi"), AssistantMessage(parts), user_message("And?"))
    return encoded(ModelInput(MODEL, history))["messages"][1]["content"]


def test_a_plain_call() -> None:
    """Instructions stand at the top, and the bound on output that the format demands is there."""
    call = ModelInput(MODEL, (user_message("Hi"),), instructions="Be brief.")
    request = AnthropicMessages().request(call)
    assert request.path == "/v1/messages"
    assert request.headers == {"anthropic-version": "2023-06-01"}
    assert json.loads(request.body) == {
        "model": MODEL,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}],
        "system": "Be brief.",
        "max_tokens": 32_000,
        "stream": True,
    }


def test_the_key_travels_as_the_endpoint_wants_it() -> None:
    """Keys of the vendor in its own header, tokens and imitations as a bearer."""
    assert AnthropicMessages().key_headers("k") == {"x-api-key": "k"}
    bearer = AnthropicMessages("mine", key_as="bearer").key_headers("k")
    assert bearer == {"authorization": "Bearer k"}


def test_tools_and_their_results() -> None:
    """Results are blocks of a user message, and what the user says next joins them."""
    history = (
        user_message("Weather?"),
        AssistantMessage((Text("Let me see."), ToolCall("c1", "weather", '{"city" :"Oslo"}'))),
        ToolMessage((ToolResult("c1", "weather", "sunny"), ToolResult("c2", "x", "", "error"))),
        user_message("Thanks"),
    )
    options = ModelOptions(tool_choice="required")
    call = ModelInput(MODEL, history, tools=(WEATHER,), options=options)
    assert b'"input":{"city" :"Oslo"}' in AnthropicMessages().request(call).body
    body = encoded(call)
    assert body["messages"][1:] == [
        {
            "role": "assistant",
            "content": [
                {"type": "text", "text": "Let me see."},
                {"type": "tool_use", "id": "c1", "name": "weather", "input": {"city": "Oslo"}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "c1", "content": "sunny"},
                {"type": "tool_result", "tool_use_id": "c2", "content": "", "is_error": True},
                {"type": "text", "text": "Thanks"},
            ],
        },
    ]
    assert body["tools"] == [
        {"name": "weather", "description": "Tells the weather.", "input_schema": SCHEMA}
    ]
    assert body["tool_choice"] == {"type": "any"}


@pytest.mark.parametrize(
    ("choice", "sent"), [("auto", None), ("none", {"type": "none"}), ("required", {"type": "any"})]
)
def test_tool_choice(choice: Any, sent: Any) -> None:
    """Each choice has its type; without tools there is nothing to choose."""
    options = ModelOptions(tool_choice=choice)
    call = ModelInput(MODEL, (user_message("Hi"),), tools=(WEATHER,), options=options)
    assert encoded(call).get("tool_choice") == sent
    assert "tool_choice" not in asked(tool_choice=choice)


@pytest.mark.parametrize(
    ("arguments", "sent"),
    [
        ("", {}),
        ("null", {}),
        ('{"city": "Os', {"unreadable_arguments": '{"city": "Os'}),
        ("[1]", {"unreadable_arguments": "[1]"}),
    ],
)
def test_arguments_are_always_an_object(arguments: str, sent: dict[str, Any]) -> None:
    """The vendor takes nothing else; what a model wrote otherwise is still told."""
    assert said(ToolCall("c1", "weather", arguments))[0]["input"] == sent


def test_ids_of_other_vendors_are_made_fit() -> None:
    """A call and its result keep the same id, without what the vendor refuses in one."""
    history = (
        user_message("Hi"),
        AssistantMessage((ToolCall("functions.now:0", "now"),)),
        ToolMessage((ToolResult("functions.now:0", "now", "noon"),)),
    )
    messages = encoded(ModelInput(MODEL, history))["messages"]
    assert messages[1]["content"][0]["id"] == "functions_now_0"
    assert messages[2]["content"][0]["tool_use_id"] == "functions_now_0"


def test_images_and_documents() -> None:
    """Bytes travel as base64 or as text, links stay links, names become titles."""
    parts = (
        Text("Look:"),
        Image("image/png", data=b"\x89PNG"),
        Image(url="https://example.org/a.png"),
        Document(name="a.pdf", data=b"%PDF"),
        Document(url="https://example.org/a.pdf"),
        Document("text/markdown", data="# Ä".encode()),
    )
    content = encoded(ModelInput(MODEL, (UserMessage(parts),)))["messages"][0]["content"]

    def base64_source(media_type: str, data: bytes) -> dict[str, str]:
        encoded = base64.b64encode(data).decode()
        return {"type": "base64", "media_type": media_type, "data": encoded}

    assert content[1:] == [
        {"type": "image", "source": base64_source("image/png", b"\x89PNG")},
        {"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}},
        {
            "type": "document",
            "source": base64_source("application/pdf", b"%PDF"),
            "title": "a.pdf",
        },
        {"type": "document", "source": {"type": "url", "url": "https://example.org/a.pdf"}},
        {
            "type": "document",
            "source": {"type": "text", "media_type": "text/plain", "data": "# Ä"},
        },
    ]


@pytest.mark.parametrize(
    ("part", "error", "told"),
    [
        (Document("application/msword", "a.doc", b"x"), NotSupported, r"a\.doc.*PDF or to text"),
        (Document("text/plain", url="https://example.org/a"), NotSupported, r"Document\(data="),
        (Document("text/plain", "a.txt", b"\xff"), InvalidRequest, "UTF-8"),
    ],
)
def test_documents_it_cannot_read_are_refused_by_name(
    part: Document, error: type[Exception], told: str
) -> None:
    """The text says what to do instead."""
    with pytest.raises(error, match=told):
        encoded(ModelInput(MODEL, (UserMessage((part,)),)))


def test_the_history_of_this_vendor_goes_back_unchanged() -> None:
    """Reasoning with its signature, encrypted items and citations are sent as they came."""
    redacted = '{"type":"redacted_thinking","data":"c2VjcmV0"}'
    result = '{"type": "web_search_tool_result",  "tool_use_id":"s1","content":[]}'
    place = {"type": "web_search_result_location", "url": "u", "encrypted_index": "aWR4"}
    parts = (
        Thinking("First then.", "c2ln"),
        Thinking("", "b25l"),
        VendorItem("anthropic", "redacted_thinking", redacted),
        VendorItem("anthropic", "web_search_tool_result", result),
        Text("It rains.", None, (Citation("u", vendor=json.dumps(place)),)),
    )
    assert said(*parts) == [
        {"type": "thinking", "thinking": "First then.", "signature": "c2ln"},
        {"type": "thinking", "thinking": "", "signature": "b25l"},
        json.loads(redacted),
        json.loads(result),
        {"type": "text", "text": "It rains.", "citations": [place]},
    ]
    call = ModelInput(MODEL, (AssistantMessage(parts),))
    assert result.encode() in AnthropicMessages().request(call).body


def test_the_history_of_other_vendors_is_left_out() -> None:
    """Unsigned reasoning, foreign items, citations and signatures would be refused."""
    parts = (
        Thinking("Hm."),
        VendorItem("openai", "reasoning", "{}"),
        Text(" \n"),
        Text("Yes.", "Z2VtaW5p", (Citation("u", vendor='{"type":"url_citation"}'), Citation("v"))),
        Refusal("Not that."),
        ToolCall("c1", "now", "{}", "Z2VtaW5p"),
    )
    assert said(*parts) == [
        {"type": "text", "text": "Yes."},
        {"type": "text", "text": "Not that."},
        {"type": "tool_use", "id": "c1", "name": "now", "input": {}},
    ]


def test_neighbours_of_one_role_are_one_message() -> None:
    """A message of which nothing is left disappears, and its neighbours join."""
    history = (user_message("Hi"), AssistantMessage((Thinking("Hm."),)), user_message("And?"))
    (message,) = encoded(ModelInput(MODEL, history))["messages"]
    assert [block["text"] for block in message["content"]] == ["Hi", "And?"]


def test_a_paused_answer_is_the_last_message() -> None:
    """To go on after a pause, the answer so far goes back as it is."""
    item = VendorItem("anthropic", "server_tool_use", '{"type":"server_tool_use","id":"s1"}')
    history = (user_message("Hi"), AssistantMessage((item,)))
    assert encoded(ModelInput(MODEL, history))["messages"][-1] == {
        "role": "assistant",
        "content": [{"type": "server_tool_use", "id": "s1"}],
    }


@pytest.mark.parametrize(
    "part",
    [
        Text("a\ud800b"),
        ToolCall("c1", "now", '{"a":"\ud800"}'),
        VendorItem("anthropic", "redacted_thinking", "no JSON"),
    ],
)
def test_what_cannot_be_written_is_an_invalid_request(part: Any) -> None:
    """Text that is no Unicode, or a broken item, is the caller's mistake, not a crash."""
    with pytest.raises(InvalidRequest):
        said(part)
