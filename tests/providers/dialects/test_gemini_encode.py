from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
from actrio.providers.dialects import Gemini

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = ToolSpec("weather", "Tells the weather.", SCHEMA)
HI = (user_message("Hi"),)


def encoded(call: ModelInput) -> dict[str, Any]:
    return json.loads(Gemini().request(call).body)


def model_parts(*parts: Any, model: str = "gemini-2.5-flash") -> list[Any]:
    contents = encoded(ModelInput(model, (*HI, AssistantMessage(parts))))["contents"]
    return contents[1]["parts"] if len(contents) > 1 else []


def config(options: ModelOptions, model: str = "gemini-2.5-flash") -> dict[str, Any]:
    return encoded(ModelInput(model, HI, options=options)).get("generationConfig", {})


def test_a_plain_call() -> None:
    """Instructions stand beside the conversation; nothing is sent that nobody asked for."""
    assert encoded(ModelInput("gemini-2.5-flash", HI, instructions="Be brief.")) == {
        "contents": [{"role": "user", "parts": [{"text": "Hi"}]}],
        "systemInstruction": {"parts": [{"text": "Be brief."}]},
    }


@pytest.mark.parametrize(
    ("model", "stream", "path"),
    [
        ("gemini-x", True, "/models/gemini-x:streamGenerateContent?alt=sse"),
        ("gemini-x", False, "/models/gemini-x:generateContent"),
        ("tunedModels/mine-1", False, "/tunedModels/mine-1:generateContent"),
        ("a?b#c:d e", False, "/models/a%3Fb%23c%3Ad%20e:generateContent"),
    ],
)
def test_the_path_holds_model_and_verb(model: str, stream: bool, path: str) -> None:
    """A model's name never reaches another part of the URL."""
    assert Gemini().request(ModelInput(model, HI, stream=stream)).path == path


@pytest.mark.parametrize("model", ["", "../x", "a//b", "models/."])
def test_a_name_that_leads_elsewhere_is_refused(model: str) -> None:
    """It is the caller's mistake, told before anything is sent."""
    with pytest.raises(InvalidRequest, match="no model name"):
        Gemini().request(ModelInput(model, HI))


def test_the_key_travels_in_a_header() -> None:
    """In the URL it would reach logs."""
    assert Gemini().key_headers("k") == {"x-goog-api-key": "k"}


def test_one_request_with_everything() -> None:
    """Image, document, tools, results, reasoning history and structured output in one call."""
    call = ModelInput(
        "gemini-3-pro-preview",
        (
            UserMessage((Text("Look:"), Image(data=b"\x89PNG"), Document(data=b"%PDF"))),
            AssistantMessage(
                (
                    Thinking("Hm."),
                    Text("Let me see.", ""),
                    ToolCall("x1", "weather", '{"city" : "Oslo"}', "c2ln"),
                    ToolCall("noid_R1_1", "weather", '{"city":"Rome"}'),
                )
            ),
            ToolMessage(
                (ToolResult("x1", "weather", '{"sky":"blue"}'), ToolResult("noid_R1_1", "", "rain"))
            ),
            AssistantMessage((Text("Blue", ""), Text("", "c2ln"))),
            user_message("And now as JSON."),
        ),
        tools=(WEATHER,),
        options=ModelOptions(response_schema=SCHEMA, tool_choice="required", reasoning="high"),
    )
    assert encoded(call) == {
        "contents": [
            {
                "role": "user",
                "parts": [
                    {"text": "Look:"},
                    {"inlineData": {"mimeType": "image/png", "data": "iVBORw=="}},
                    {"inlineData": {"mimeType": "application/pdf", "data": "JVBERg=="}},
                ],
            },
            {
                "role": "model",
                "parts": [
                    {"text": "Hm.", "thought": True},
                    {"text": "Let me see."},
                    {
                        "functionCall": {"id": "x1", "name": "weather", "args": {"city": "Oslo"}},
                        "thoughtSignature": "c2ln",
                    },
                    {"functionCall": {"name": "weather", "args": {"city": "Rome"}}},
                ],
            },
            {
                "role": "user",
                "parts": [
                    {
                        "functionResponse": {
                            "id": "x1",
                            "name": "weather",
                            "response": {"sky": "blue"},
                        }
                    },
                    {"functionResponse": {"name": "weather", "response": {"output": "rain"}}},
                ],
            },
            {
                "role": "model",
                "parts": [{"text": "Blue"}, {"text": "", "thoughtSignature": "c2ln"}],
            },
            {"role": "user", "parts": [{"text": "And now as JSON."}]},
        ],
        "tools": [
            {
                "functionDeclarations": [
                    {
                        "name": "weather",
                        "description": "Tells the weather.",
                        "parametersJsonSchema": SCHEMA,
                    }
                ]
            }
        ],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY"}},
        "generationConfig": {
            "responseMimeType": "application/json",
            "responseJsonSchema": SCHEMA,
            "thinkingConfig": {"thinkingLevel": "high", "includeThoughts": True},
        },
    }


def test_arguments_and_items_go_back_as_the_text_that_came() -> None:
    """Numbers, spaces and member order are the vendor's own; no reader of ours rewrites them."""
    item = VendorItem("gemini", "executableCode", '{"executableCode": {"code":"1e3"},  "x": 1.50}')
    call = ToolCall("a", "f", '{"n": 1.0e2,  "m": 12345678901234567890123}')
    body = Gemini().request(ModelInput("m", (AssistantMessage((item, call)),))).body.decode()
    assert item.data in body
    assert call.arguments in body


def test_what_other_vendors_signed_stays_away() -> None:
    """Their items, their signed thoughts and what is empty are left out; words are kept."""
    parts = model_parts(
        VendorItem("anthropic", "redacted_thinking", '{"data":"x"}'),
        Thinking("Theirs.", "EqQBCkYIARgC"),
        Thinking("Ours.", "gemini:dGg="),
        Thinking(""),
        Text(""),
        Refusal("No."),
    )
    assert parts == [
        {"text": "Ours.", "thought": True, "thoughtSignature": "dGg="},
        {"text": "No."},
    ]


def test_a_message_without_parts_is_left_out() -> None:
    """Gemini refuses a message that says nothing."""
    assert model_parts(Text("")) == []


@pytest.mark.parametrize(
    ("arguments", "sent"),
    [
        ("", {}),
        ("null", {}),
        ('{"a": [1]}', {"a": [1]}),
        ('{"a": ', {"arguments": '{"a": '}),
        ("[1]", {"arguments": "[1]"}),
        ('{"a":' * 5000, {"arguments": '{"a":' * 5000}),
    ],
)
def test_arguments_are_always_an_object(arguments: str, sent: object) -> None:
    """Another model's arguments may be cut or no object; its call is still told."""
    (part,) = model_parts(ToolCall("a", "f", arguments))
    assert part["functionCall"]["args"] == sent


def test_a_failed_call_tells_its_error() -> None:
    """Gemini reads ``error`` as a failure, whatever the text looks like."""
    result = ToolResult("a", "f", '{"boom":1}', state="timeout")
    (content,) = encoded(ModelInput("m", (ToolMessage((result,)),)))["contents"]
    (part,) = content["parts"]
    assert part["functionResponse"]["response"] == {"error": '{"boom":1}'}


def test_gemini_3_takes_unsigned_calls_of_this_turn_with_googles_word_for_them() -> None:
    """Calls that another model made have no signature; only the first of a step needs one."""
    step = AssistantMessage((Text("So:"), ToolCall("a", "f"), ToolCall("b", "f")))
    results = ToolMessage((ToolResult("a", "f", "1"), ToolResult("b", "f", "2")))
    messages = (*HI, step, results, *HI, step, results)
    calls = {
        model: [
            part.get("thoughtSignature")
            for content in encoded(ModelInput(model, messages))["contents"]
            for part in content["parts"]
            if "functionCall" in part
        ]
        for model in ("gemini-2.5-pro", "gemini-3-flash-preview")
    }
    assert calls == {
        "gemini-2.5-pro": [None] * 4,
        "gemini-3-flash-preview": [None, None, "skip_thought_signature_validator", None],
    }


def test_links_and_data_urls() -> None:
    """A link stays one; a data URL is the data it holds."""
    parts = UserMessage(
        (
            Image("image/jpeg", url="https://example.org/a.jpg"),
            Image(url="data:image/gif;base64,R0lG"),
            Document("text/plain", url="data:,a%20b"),
        )
    )
    assert encoded(ModelInput("m", (parts,)))["contents"][0]["parts"] == [
        {"fileData": {"mimeType": "image/jpeg", "fileUri": "https://example.org/a.jpg"}},
        {"inlineData": {"mimeType": "image/gif", "data": "R0lG"}},
        {"inlineData": {"mimeType": "text/plain", "data": "YSBi"}},
    ]


def test_a_broken_data_url_is_refused_by_name() -> None:
    """The text says which part and what to do instead."""
    message = UserMessage((Image(url="data:image/gif;base64,R0l"),))
    with pytest.raises(InvalidRequest, match=r"Image part.*data="):
        encoded(ModelInput("m", (message,)))


def test_sampling_options() -> None:
    """Each option has its place."""
    options = ModelOptions(temperature=0.5, top_p=0.9, max_tokens=7, stop=("END",), seed=3)
    assert config(options) == {
        "temperature": 0.5,
        "topP": 0.9,
        "maxOutputTokens": 7,
        "stopSequences": ["END"],
        "seed": 3,
    }


def test_a_sixth_stop_sequence_is_refused_by_name() -> None:
    """Gemini takes five; leaving one out in silence would let a model talk on."""
    with pytest.raises(NotSupported, match="stop"):
        config(ModelOptions(stop=tuple("abcdef")))


@pytest.mark.parametrize(
    ("model", "reasoning", "tokens", "sent"),
    [
        ("gemini-2.5-flash", None, None, None),
        ("gemini-2.5-flash", "low", None, {"thinkingBudget": 1024, "includeThoughts": True}),
        ("gemini-2.5-flash", "high", 99, {"thinkingBudget": 99, "includeThoughts": True}),
        ("gemini-2.5-flash", None, 0, {"thinkingBudget": 0}),
        ("gemini-2.5-flash", "off", None, {"thinkingBudget": 0}),
        ("gemini-2.0-flash", "off", None, None),
        ("gemini-1.5-pro", "off", None, None),
        ("gemini-3-flash-preview", "off", None, {"thinkingLevel": "minimal"}),
        ("gemini-3-pro", "medium", None, {"thinkingLevel": "medium", "includeThoughts": True}),
        ("gemini-3-pro", None, 512, {"thinkingBudget": 512, "includeThoughts": True}),
        ("gemini-flash-latest", "high", None, {"thinkingBudget": 24576, "includeThoughts": True}),
    ],
)
def test_how_much_to_think(model: str, reasoning: Any, tokens: int | None, sent: object) -> None:
    """Gemini 3 is told a level, what came before a budget; thoughts are shown where asked for."""
    options = ModelOptions(reasoning=reasoning, reasoning_tokens=tokens)
    assert config(options, model).get("thinkingConfig") == sent


@pytest.mark.parametrize("model", ["gemini-2.5-pro", "gemini-3-pro-preview"])
def test_a_model_that_cannot_but_think_says_so(model: str) -> None:
    """Thinking costs; to ask for none and pay for some would be a surprise."""
    with pytest.raises(NotSupported, match=r"reasoning='off'.*low"):
        config(ModelOptions(reasoning="off"), model)


@pytest.mark.parametrize(("choice", "mode"), [("none", "NONE"), ("required", "ANY")])
def test_tool_choice(choice: Any, mode: str) -> None:
    """The choice counts only where there are tools."""
    options = ModelOptions(tool_choice=choice)
    body = encoded(ModelInput("m", HI, tools=(WEATHER,), options=options))
    assert body["toolConfig"] == {"functionCallingConfig": {"mode": mode}}
    assert "toolConfig" not in encoded(ModelInput("m", HI, options=options))


def test_members_of_the_vendor_are_merged_last() -> None:
    """Objects merge, tools are added, everything else is replaced; no value of ours is changed."""
    vendor = {
        "generationConfig": {"topK": 5, "temperature": 1, "thinkingConfig": {"a": 1}},
        "tools": ({"googleSearch": {}},),
        "safetySettings": [],
    }
    options = ModelOptions(temperature=0.5, reasoning_tokens=7, max_tokens=3, vendor=vendor)
    call = ModelInput("m", HI, tools=(WEATHER,), options=options)
    body = encoded(call)
    assert body["generationConfig"] == {
        "temperature": 1,
        "maxOutputTokens": 3,
        "topK": 5,
        "thinkingConfig": {"thinkingBudget": 7, "includeThoughts": True, "a": 1},
    }
    assert [list(tool) for tool in body["tools"]] == [["functionDeclarations"], ["googleSearch"]]
    assert body["safetySettings"] == []
    assert encoded(call) == body


@pytest.mark.parametrize(
    "call",
    [
        ModelInput("m", (user_message("a\ud800b"),)),
        ModelInput("m", (AssistantMessage((ToolCall("a", "f", '{"a":"\ud800"}'),)),)),
        ModelInput("m", HI, options=ModelOptions(vendor={"a": object()})),
        ModelInput("m", (AssistantMessage((VendorItem("gemini", "x", "{"),)),)),
    ],
)
def test_what_is_no_json_is_an_invalid_request(call: ModelInput) -> None:
    """It is the caller's mistake, not a crash."""
    with pytest.raises(InvalidRequest):
        encoded(call)


@given(st.text(), st.text(), st.text())
def test_any_text_is_encoded_or_refused(arguments: str, result: str, item: str) -> None:
    """No arguments, result or vendor item can break the body that holds it."""
    call = ToolCall("a", "f", arguments)
    messages = (AssistantMessage((call,)), ToolMessage((ToolResult("a", "f", result),)))
    body = encoded(ModelInput("m", messages))
    assert isinstance(body["contents"][0]["parts"][0]["functionCall"]["args"], dict)
    try:
        encoded(ModelInput("m", (AssistantMessage((VendorItem("gemini", "x", item),)),)))
    except InvalidRequest:
        pass
