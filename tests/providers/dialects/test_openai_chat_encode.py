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
from actrio.providers._catalog import make_dialect
from actrio.providers.dialects import Deviations, OpenAiChat

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


def encoded(request: ModelInput, dialect: OpenAiChat | None = None) -> dict[str, Any]:
    return json.loads((dialect or vendor("openai")).request(request).body)


def vendor(name: str) -> Any:
    return make_dialect("openai", name, vendor=name)


def asked(**options: Any) -> ModelInput:
    return ModelInput("small", (user_message("Hi"),), options=ModelOptions(**options))


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
        OpenAiChat("x", Deviations(max_tokens_field=field)),
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


# -- the vendors' own --------------------------------------------------------------------------------

VENDORS = (
    "openai", "gemini", "groq", "openrouter", "ollama", "cerebras", "glm4", "siliconflow",
    "modelscope",
)  # fmt: skip


@pytest.mark.parametrize("name", VENDORS)
@pytest.mark.parametrize("with_file", [False, True])
def test_one_request_for_every_vendor(name: str, with_file: bool) -> None:
    """Image, tools, reasoning history and structure are carried by all, a file by some only."""
    look = [Text("Look:"), Image(data=b"\x89PNG")]
    if with_file:
        look.append(Document(name="a.pdf", data=b"%PDF"))
    detail = '{"type":"reasoning.encrypted","data":"ZW5j","index":0}'
    request = ModelInput(
        "glm-5",
        (
            UserMessage(tuple(look)),
            AssistantMessage(
                (
                    Thinking("hm"),
                    Thinking("theirs", signature="another-vendors"),
                    VendorItem("openrouter", "reasoning.encrypted", detail),
                    VendorItem("anthropic", "redacted_thinking", "{}"),
                    ToolCall("c1", "weather", "{}", signature="c2ln"),
                )
            ),
            ToolMessage((ToolResult("c1", "weather", "sunny"),)),
        ),
        tools=(ToolSpec("weather", "Tells the weather.", SCHEMA),),
        options=ModelOptions(response_schema=SCHEMA, reasoning="high", cache_prompt=True),
    )
    if with_file and name not in {"openai", "openrouter"}:
        with pytest.raises(NotSupported, match=rf"a\.pdf.*{name} takes no files.*openai"):
            encoded(request, vendor(name))
        return
    body = encoded(request, vendor(name))
    past = body["messages"][-2]
    assert "another-vendors" not in json.dumps(body)
    assert "redacted" not in json.dumps(body)
    assert past.get("reasoning") == ("hm" if name in {"ollama", "cerebras"} else None)
    assert past.get("reasoning_content") == ("hm" if name == "glm4" else None)
    details = [json.loads(detail)] if name == "openrouter" else None
    assert past.get("reasoning_details") == details
    signed = {"google": {"thought_signature": "c2ln"}} if name == "gemini" else None
    assert past["tool_calls"][0].get("extra_content") == signed
    assert ("json_schema" in json.dumps(body["response_format"])) == (name != "glm4")


@pytest.mark.parametrize(
    ("name", "options", "members"),
    [
        ("openai", {"reasoning": "low"}, {"reasoning_effort": "low"}),
        ("openai", {"reasoning": "off"}, {"reasoning_effort": "none"}),
        ("gemini", {"reasoning": "high"}, {"reasoning_effort": "high"}),
        ("glm4", {"reasoning": "low"}, {"thinking": {"type": "enabled"}}),
        ("glm4", {"reasoning": "off"}, {"thinking": {"type": "disabled"}}),
        ("siliconflow", {"reasoning": "off"}, {"enable_thinking": False}),
        (
            "siliconflow",
            {"reasoning_tokens": 1024},
            {"enable_thinking": True, "thinking_budget": 1024},
        ),
        ("modelscope", {"reasoning": "low"}, {"enable_thinking": True}),
        ("openrouter", {"reasoning": "medium"}, {"reasoning": {"effort": "medium"}}),
        ("openrouter", {"reasoning_tokens": 2000}, {"reasoning": {"max_tokens": 2000}}),
        ("openrouter", {"reasoning": "off"}, {"reasoning": {"enabled": False}}),
    ],
)
def test_how_reasoning_is_asked_for(name: str, options: Any, members: Any) -> None:
    """Each vendor is asked in its own words."""
    plain = encoded(asked(), vendor(name))
    assert encoded(asked(**options), vendor(name)) == {**plain, **members}


def test_newer_glm_models_take_an_effort_as_well() -> None:
    """The older ones know only whether to think."""
    request = ModelInput("glm-5.2", (user_message("Hi"),), options=ModelOptions(reasoning="high"))
    assert encoded(request, vendor("glm4"))["reasoning_effort"] == "high"


@pytest.mark.parametrize("name", ["openai", "glm4", "groq"])
def test_a_bound_on_reasoning_that_nobody_takes_is_refused_by_name(name: str) -> None:
    """It says what to set instead, and is no reason to refuse where that is set too."""
    with pytest.raises(NotSupported, match=r"options\.reasoning_tokens.*options\.reasoning"):
        encoded(asked(reasoning_tokens=100), vendor(name))
    encoded(asked(reasoning_tokens=100, reasoning="low"), vendor(name))


def test_where_only_json_is_promised_the_shape_is_told_in_words() -> None:
    """GLM takes no schema, so it stands in the instructions."""
    body = encoded(asked(response_schema=SCHEMA), vendor("glm4"))
    assert body["response_format"] == {"type": "json_object"}
    assert body["messages"][0]["role"] == "system"
    assert json.dumps(SCHEMA, separators=(",", ":")) in body["messages"][0]["content"]


def test_a_cache_mark_stands_where_the_next_turn_begins() -> None:
    """Only where a vendor caches what is marked, and only when it is asked."""
    request = ModelInput(
        "anthropic/claude-haiku-4.5",
        (user_message("one"), AssistantMessage((Text("two"),)), user_message("three")),
        instructions="Be brief.",
        options=ModelOptions(cache_prompt=True),
    )
    marked = encoded(request, vendor("openrouter"))["messages"]
    assert ["cache_control" in json.dumps(one) for one in marked] == [True, False, False, True]
    assert "cache_control" not in json.dumps(encoded(request, vendor("openai")))


@pytest.mark.parametrize("name", ["gemini", "glm4"])
def test_what_another_vendor_said_goes_without_its_reasoning(name: str) -> None:
    """A session may change its model; signatures and thoughts stay behind, words and calls go."""
    parts = (Thinking("hm"), Text("Hello."), ToolCall("c", "now", "{}", signature="c2ln"))
    sent = [
        encoded(ModelInput("m", (AssistantMessage(parts, vendor=whose),)), vendor(name))
        for whose in (name, "anthropic")
    ]
    own, foreign = (body["messages"][0] for body in sent)
    assert ("hm" in json.dumps(own)) == (name == "glm4")
    assert ("c2ln" in json.dumps(own)) == (name == "gemini")
    assert foreign.keys() == {"role", "content", "tool_calls"}
    assert "c2ln" not in json.dumps(foreign)


def test_a_refusal_goes_back_as_what_was_said() -> None:
    """The member for it is OpenAI's alone."""
    request = ModelInput("small", (AssistantMessage((Refusal("No."),)),))
    assert encoded(request)["messages"] == [{"role": "assistant", "content": "No."}]


def test_members_of_the_vendor_come_last() -> None:
    """Tools are added, objects say more, None takes out, anything else takes the place of ours."""
    request = ModelInput(
        "small",
        (user_message("Hi"),),
        tools=(ToolSpec("weather", "", SCHEMA),),
        options=ModelOptions(
            temperature=0.5,
            reasoning="low",
            vendor={
                "temperature": 0.7,
                "tools": [{"type": "openrouter:web_search"}],
                "reasoning": {"exclude": True},
                "provider": {"order": ["OpenAI"]},
                "stream_options": None,
            },
        ),
    )
    body = encoded(request, vendor("openrouter"))
    assert body["temperature"] == 0.7
    assert [tool["type"] for tool in body["tools"]] == ["function", "openrouter:web_search"]
    assert body["reasoning"] == {"effort": "low", "exclude": True}
    assert body["provider"] == {"order": ["OpenAI"]}
    assert "stream_options" not in body


def test_a_broken_item_in_the_history_is_named() -> None:
    """What is no JSON any more cannot go back unchanged."""
    item = VendorItem("openrouter", "reasoning.encrypted", "{")
    request = ModelInput("small", (AssistantMessage((item,)),))
    with pytest.raises(InvalidRequest, match=r"reasoning\.encrypted"):
        encoded(request, vendor("openrouter"))


def test_a_link_to_a_file_goes_where_links_are_taken() -> None:
    """OpenRouter fetches it."""
    message = UserMessage((Document(name="a.pdf", url="https://example.org/a.pdf"),))
    body = encoded(ModelInput("small", (message,)), vendor("openrouter"))
    (part,) = body["messages"][0]["content"]
    assert part["file"]["file_data"] == "https://example.org/a.pdf"


def test_where_azure_has_its_deployments() -> None:
    """The dated interface has the model in the path and the key in a header of its own."""
    dialect = make_dialect("openai", "azure", api_version="2024-10-21")
    wire = dialect.request(ModelInput("my/model", (user_message("Hi"),)))
    assert wire.path == "/deployments/my%2Fmodel/chat/completions?api-version=2024-10-21"
    assert dialect.key_headers("k") == {"api-key": "k"}
    assert vendor("openai").key_headers("k") == {"authorization": "Bearer k"}
