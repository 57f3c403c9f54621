from __future__ import annotations

import json
from typing import Any

import pytest

from actrio.errors import InvalidRequest, NotSupported
from actrio.messages import (
    AssistantMessage,
    Document,
    Image,
    ModelInput,
    ModelOptions,
    Text,
    Thinking,
    ToolCall,
    ToolMessage,
    ToolResult,
    ToolSpec,
    UserMessage,
    user_message,
)
from actrio.providers.dialects import OpenAiChat

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


def encoded(request: ModelInput, dialect: OpenAiChat | None = None) -> dict[str, Any]:
    return json.loads((dialect or OpenAiChat("openai")).encode(request))


def test_a_plain_call() -> None:
    """Instructions come first, text is a plain string, and a stream asks for its usage."""
    request = ModelInput("small", (user_message("Hi"),), instructions="Be brief.")
    assert encoded(request) == {
        "model": "small",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Hi"},
        ],
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_a_call_that_is_not_streamed_asks_for_nothing_of_a_stream() -> None:
    """Without a stream there is neither ``stream`` nor its options."""
    assert encoded(ModelInput("small", (user_message("Hi"),), stream=False)).keys() == {
        "model",
        "messages",
    }


def test_tools_and_their_results() -> None:
    """Calls go back exactly as the model wrote them, each result under its call's id."""
    request = ModelInput(
        "small",
        (
            user_message("Weather?"),
            AssistantMessage(
                (Thinking("hm"), Text("Let me see."), ToolCall("c1", "weather", '{"city" :"Oslo"}'))
            ),
            ToolMessage((ToolResult("c1", "weather", "sunny"), ToolResult("c2", "time", "noon"))),
        ),
        tools=(ToolSpec("weather", "Tells the weather.", SCHEMA),),
        options=ModelOptions(tool_choice="required"),
    )
    body = encoded(request)
    assert body["messages"][1:] == [
        {
            "role": "assistant",
            "content": "Let me see.",
            "tool_calls": [
                {
                    "id": "c1",
                    "type": "function",
                    "function": {"name": "weather", "arguments": '{"city" :"Oslo"}'},
                }
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "sunny"},
        {"role": "tool", "tool_call_id": "c2", "content": "noon"},
    ]
    assert body["tools"] == [
        {
            "type": "function",
            "function": {
                "name": "weather",
                "description": "Tells the weather.",
                "parameters": SCHEMA,
            },
        }
    ]
    assert body["tool_choice"] == "required"


def test_images_and_files_travel_as_data() -> None:
    """Bytes become data URIs, links stay links."""
    message = UserMessage(
        (
            Text("Look:"),
            Image("image/png", data=b"\x89PNG"),
            Image(url="https://example.org/a.png"),
            Document(name="a.pdf", data=b"%PDF"),
        )
    )
    assert encoded(ModelInput("small", (message,)))["messages"][0]["content"] == [
        {"type": "text", "text": "Look:"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw=="}},
        {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}},
        {
            "type": "file",
            "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERg=="},
        },
    ]


def test_a_linked_document_is_refused_by_name() -> None:
    """The wire format has no place for it, and the text says what to do instead."""
    message = UserMessage((Document(name="a.pdf", url="https://example.org/a.pdf"),))
    with pytest.raises(NotSupported, match=r"a\.pdf.*Document\(data="):
        encoded(ModelInput("small", (message,)))


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
def test_options(field: Any) -> None:
    """Each option has its place; the bound on output has the name its provider knows."""
    options = ModelOptions(temperature=0.5, top_p=0.9, max_tokens=7, stop=("END",), seed=3)
    body = encoded(
        ModelInput("small", (user_message("Hi"),), options=options),
        OpenAiChat("x", max_tokens_field=field),
    )
    expected = {"temperature": 0.5, "top_p": 0.9, field: 7, "stop": ["END"], "seed": 3}
    assert {name: body[name] for name in expected} == expected


@pytest.mark.parametrize("closed", [True, False])
def test_a_response_schema_is_strict_where_it_can_be(closed: bool) -> None:
    """Strict mode is asked for exactly when the schema meets its rules."""
    schema = {**SCHEMA, "title": "Where to?", **({"additionalProperties": False} if closed else {})}
    options = ModelOptions(response_schema=schema)
    body = encoded(ModelInput("small", (user_message("Hi"),), options=options))
    shape = {"name": "Where_to_", "schema": schema, **({"strict": True} if closed else {})}
    assert body["response_format"] == {"type": "json_schema", "json_schema": shape}


def test_an_answer_without_words_goes_back_as_an_empty_one() -> None:
    """An assistant message without text and calls stays valid."""
    request = ModelInput("small", (AssistantMessage((Thinking("hm"),)),))
    assert encoded(request)["messages"] == [{"role": "assistant", "content": ""}]


def test_a_lone_surrogate_is_an_invalid_request() -> None:
    """Text that is no Unicode is the caller's mistake, not a crash."""
    with pytest.raises(InvalidRequest, match="surrogates"):
        encoded(ModelInput("small", (user_message("a\ud800b"),)))
