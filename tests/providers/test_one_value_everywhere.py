"""One conversation with all that a conversation can hold, for every provider of the catalog."""

from __future__ import annotations

import base64
import json
from typing import Any

import attrs
import pytest

from actrio.errors import NotSupported
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
    VendorItem,
)
from actrio.providers import ProviderSettings
from actrio.providers._catalog import CATALOG, resolve

PICTURE = b"\x89PNG\r\n\x1a\nthe bytes of a picture"
PAPER = b"%PDF-1.7 the bytes of a paper"
SIGNATURE = base64.b64encode(b"a signature of some length").decode()

TOOL = ToolSpec(
    "look_up_tides",
    "Tells the tides at a harbour.",
    {"type": "object", "properties": {"harbour": {"type": "string"}}, "required": ["harbour"]},
)
THOUGHT = "They ask about the tide."
SCHEMA = {
    "type": "object",
    "properties": {"metres_above_datum": {"type": "number"}},
    "required": ["metres_above_datum"],
    "additionalProperties": False,
}

MODELS = {
    "openai": "gpt-5",
    "anthropic": "claude-sonnet-4-5",
    "gemini": "gemini-2.5-flash",
    "groq": "openai/gpt-oss-120b",
    "openrouter": "anthropic/claude-sonnet-4.5",
    "ollama": "qwen3",
    "cerebras": "gpt-oss-120b",
    "glm4": "glm-4.6",
    "siliconflow": "Qwen/Qwen3-8B",
    "modelscope": "Qwen/Qwen3-8B",
}

IMAGE = Image("image/png", data=PICTURE)
DOCUMENT = Document("application/pdf", name="paper.pdf", data=PAPER)

WAYS = [(name, dialect) for name, vendor in CATALOG.items() for dialect in vendor.dialects]
"""Each provider, over each of the wire formats that it speaks."""

TAKES_NO_DOCUMENT = {
    "groq", "ollama", "cerebras", "glm4", "siliconflow", "modelscope",
}  # fmt: skip
COMPATIBLE_ONLY = {("anthropic", "openai"), ("gemini", "openai")}
"""Vendors whose second format, an imitation of OpenAI's, takes less than their own."""


def conversation(provider: str, *files: Image | Document) -> ModelInput:
    """Return the one value; ``provider`` is who signed the reasoning, so it may go back."""
    call = ToolCall("call_1", TOOL.name, '{"harbour": "Dover"}', signature=SIGNATURE)
    return ModelInput(
        MODELS[provider],
        (
            UserMessage((Text("How high is the water here?"), *files)),
            AssistantMessage(
                (Thinking(THOUGHT, SIGNATURE), Text("I look it up."), call),
                vendor=provider,
            ),
            ToolMessage((ToolResult("call_1", TOOL.name, "4.2 m at 11:30"),)),
        ),
        instructions="You are a harbour master.",
        tools=(TOOL,),
        options=ModelOptions(response_schema=SCHEMA),
    )


def encoded(provider: str, dialect: str, call: ModelInput) -> tuple[dict[str, Any], str]:
    """Return the body that ``call`` is sent as, and the same as text."""
    settings = {provider: ProviderSettings(dialect=dialect)}
    access = resolve(provider, settings, {CATALOG[provider].key_env[0]: "key-of-some-length"})
    body = json.loads(access.dialect.request(call).body)
    return body, json.dumps(body, ensure_ascii=False)


@pytest.mark.parametrize(("provider", "dialect"), WAYS)
def test_all_but_a_document(provider, dialect):
    """Tool, call, result, picture, schema and reasoning: every provider is sent all of them."""
    body, text = encoded(provider, dialect, conversation(provider, IMAGE))
    assert isinstance(body, dict)
    assert base64.b64encode(PICTURE).decode() in text
    assert TOOL.name in json.dumps(body["tools"])
    assert "harbour" in json.dumps(body["tools"])
    for words in (
        "You are a harbour master.",
        "How high is the water here?",
        "I look it up.",
        "Dover",
        "4.2 m at 11:30",
        "metres_above_datum",
    ):
        assert words in text


@pytest.mark.parametrize(("provider", "dialect"), WAYS)
def test_the_whole_value_or_a_refusal_that_names_the_part(provider, dialect):
    """With the document too: its bytes are in the body, or the error names it and a way out."""
    call = conversation(provider, IMAGE, DOCUMENT)
    if provider in TAKES_NO_DOCUMENT or (provider, dialect) in COMPATIBLE_ONLY:
        with pytest.raises(NotSupported, match=r"Document part 'paper\.pdf'") as caught:
            encoded(provider, dialect, call)
        assert caught.value.remedy
        return
    _, text = encoded(provider, dialect, call)
    assert base64.b64encode(PAPER).decode() in text
    assert base64.b64encode(PICTURE).decode() in text


@pytest.mark.parametrize(
    ("provider", "dialect"),
    [("anthropic", "anthropic"), ("gemini", "gemini"), ("gemini", "openai")],
)
def test_a_signature_goes_back_to_who_signed(provider, dialect):
    """Where the vendor asks for one it is in the body; what another signed is not."""
    call = conversation(provider)
    assert SIGNATURE in encoded(provider, dialect, call)[1]
    foreign = tuple(
        message.for_vendor("another") if isinstance(message, AssistantMessage) else message
        for message in call.messages
    )
    assert SIGNATURE not in encoded(provider, dialect, attrs.evolve(call, messages=foreign))[1]


@pytest.mark.parametrize(
    ("provider", "dialect"),
    [("ollama", "ollama"), ("ollama", "openai"), ("cerebras", "openai"), ("glm4", "openai")],
)
def test_reasoning_without_a_signature_goes_back_as_text(provider, dialect):
    """Where the vendor reads it again; signed reasoning is another's, and does not."""
    call = conversation(provider)
    assert THOUGHT not in encoded(provider, dialect, call)[1]
    question, said, *rest = call.messages
    bare = AssistantMessage(
        tuple(
            attrs.evolve(p, signature=None) if isinstance(p, Thinking) else p for p in said.parts
        ),
        vendor=provider,
    )
    call = attrs.evolve(call, messages=(question, bare, *rest))
    assert THOUGHT in encoded(provider, dialect, call)[1]


@pytest.mark.parametrize(
    ("provider", "dialect", "kind", "item"),
    [
        (
            "openai",
            "responses",
            "reasoning",
            {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": SIGNATURE},
        ),
        (
            "openrouter",
            "responses",
            "reasoning",
            {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": SIGNATURE},
        ),
        (
            "openrouter",
            "openai",
            "reasoning_details",
            {"type": "reasoning.encrypted", "data": SIGNATURE, "index": 0},
        ),
        (
            "anthropic",
            "anthropic",
            "redacted_thinking",
            {"type": "redacted_thinking", "data": SIGNATURE},
        ),
    ],
)
def test_sealed_reasoning_goes_back_to_who_sealed_it(provider, dialect, kind, item):
    """The vendor's own item is in the body as it came; another vendor's is left out."""
    call = conversation(provider)
    question, said, *rest = call.messages
    calls = tuple(attrs.evolve(call, signature=None) for call in said.tool_calls)
    maker = f"{provider}.responses" if dialect == "responses" else provider
    for vendor, sent in ((maker, True), ("another", False)):
        sealed = VendorItem(vendor, kind, json.dumps(item))
        answer = AssistantMessage((sealed, Text("I look it up."), *calls), vendor=provider)
        value = attrs.evolve(call, messages=(question, answer, *rest))
        assert (SIGNATURE in encoded(provider, dialect, value)[1]) is sent


@pytest.mark.parametrize(("provider", "dialect"), WAYS)
def test_a_schema_asks_for_an_answer_in_its_shape(provider, dialect):
    """The member that asks for it is not there without one."""
    call = conversation(provider)
    plain = attrs.evolve(call, options=ModelOptions())
    with_schema, _ = encoded(provider, dialect, call)
    without, text = encoded(provider, dialect, plain)
    assert with_schema != without
    assert "metres_above_datum" not in text


def test_every_provider_of_the_catalog_is_here():
    """A vendor that is added is tested with a model of its own."""
    assert set(MODELS) == set(CATALOG)
