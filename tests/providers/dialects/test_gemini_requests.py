"""Recorded requests to Gemini as our values, and back: a vendor must see the same request.

Written the same way on both sides before they are compared, because it says nothing: members that
are null or false by default, the role of instructions, empty text, mode AUTO, snake_case, the
order of tools; and schemas under the name for JSON Schema, which takes what the older one takes.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from actrio.messages import (
    AssistantMessage,
    Document,
    Image,
    Message,
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
from actrio.providers.dialects import Gemini

RECORDINGS = Path(__file__).parents[4] / "shared" / "recordings"
Json = dict[str, Any]
SCHEMAS = {"responseSchema", "responseJsonSchema", "parameters", "parametersJsonSchema"}
VERBATIM = SCHEMAS | {"args", "response"}


def listed() -> list[Any]:
    path = RECORDINGS / "list.json"
    if not path.exists():
        skip = pytest.mark.skip(reason=f"no recordings at {path.parent}")
        return [pytest.param({}, marks=skip, id="absent")]
    return [
        pytest.param(entry, id=entry["id"])
        for entry in json.loads(path.read_text(encoding="utf-8"))["exchanges"]
        if entry["api"] == "gemini.generate"
    ]


def camel(name: str) -> str:
    head, *tail = name.split("_")
    return head + "".join(piece.title() for piece in tail)


def plain(value: Any) -> Any:
    """Write ``value`` in the one way in which both sides are compared."""
    if isinstance(value, list):
        return [plain(item) for item in value]
    if not isinstance(value, dict):
        return value
    members: Json = {}
    for name, member in value.items():
        name = camel(name)
        if member is None or (name == "thought" and member is False):
            continue
        if isinstance(member, str) and member.startswith("<elided"):
            member = base64.b64encode(member.encode()).decode()
        members[name] = member if name in VERBATIM else plain(member)
    for old, new in (
        ("parameters", "parametersJsonSchema"),
        ("responseSchema", "responseJsonSchema"),
    ):
        if old in members:
            members[new] = members.pop(old)
    return members


def compared(body: Json) -> Json:
    body = plain(body)
    body.get("systemInstruction", {}).pop("role", None)
    for content in body["contents"]:
        content["parts"] = [part for part in content["parts"] if part != {"text": ""}]
    if body.get("toolConfig") == {"functionCallingConfig": {"mode": "AUTO"}}:
        del body["toolConfig"]
    config = body.setdefault("generationConfig", {})
    thinking = {"includeThoughts": False, **config.get("thinkingConfig", {})}
    if "thinkingLevel" in thinking:
        thinking["thinkingLevel"] = thinking["thinkingLevel"].lower()
    config["thinkingConfig"] = thinking
    for tool in body.get("tools", []):
        for each in tool.get("functionDeclarations", []):
            each.setdefault("description", "")
    body["tools"] = sorted(body.get("tools", []), key=str)
    return body


# -- a recorded body as our values -----------------------------------------------------------------


class Conversation:
    """Reads contents; gives each call without an id one of the kind that a reader invents."""

    def __init__(self, contents: list[Json]) -> None:
        self._unanswered: list[tuple[str, str]] = []
        self._count = 0
        self.messages = tuple(self._message(content) for content in contents)

    def _message(self, content: Json) -> Message:
        parts = content["parts"]
        if content["role"] == "model":
            return AssistantMessage(tuple(self._model_part(part) for part in parts))
        if any("functionResponse" in part for part in parts):
            return ToolMessage(tuple(self._result(part["functionResponse"]) for part in parts))
        return UserMessage(tuple(user_part(part) for part in parts))

    def _model_part(self, part: Json) -> Any:
        signature = part.get("thoughtSignature")
        if "functionCall" in part:
            call = part["functionCall"]
            call_id = call.get("id") or f"noid_recorded_{self._count}"
            self._count += 1
            self._unanswered.append((call["name"], call_id))
            return ToolCall(call_id, call["name"], json.dumps(call["args"]), signature)
        if "text" not in part:
            kind = next(name for name in part if name != "thoughtSignature")
            return VendorItem("gemini", kind, json.dumps(part))
        if part.get("thought"):
            return Thinking(part["text"], signature and f"gemini:{signature}")
        return Text(part["text"], signature)

    def _result(self, told: Json) -> ToolResult:
        answered = next(
            each
            for each in self._unanswered
            if (each[1] == told["id"] if "id" in told else each[0] == told["name"])
        )
        self._unanswered.remove(answered)
        return ToolResult(answered[1], told["name"], json.dumps(told["response"]))


def user_part(part: Json) -> Text | Image | Document:
    if "text" in part:
        return Text(part["text"])
    media_type = part["inlineData"]["mimeType"]
    data = base64.b64decode(part["inlineData"]["data"])
    if media_type.startswith("image/"):
        return Image(media_type, data)
    return Document(media_type, data=data)


def options_of(body: Json) -> tuple[ModelOptions, tuple[ToolSpec, ...]]:
    config = dict(body.pop("generationConfig", {}))
    tools: list[ToolSpec] = []
    server_tools = []
    for tool in body.pop("tools", []):
        for each in tool.pop("functionDeclarations", []):
            schema = each.get("parametersJsonSchema", {})
            tools.append(ToolSpec(each["name"], each.get("description", ""), schema))
        if tool:
            server_tools.append(tool)
    mode = body.get("toolConfig", {}).pop("functionCallingConfig", {}).get("mode", "AUTO")
    thinking = config.pop("thinkingConfig", {})
    level = thinking.pop("thinkingLevel", None)
    config.pop("responseMimeType", None)
    known = {
        "temperature": config.pop("temperature", None),
        "top_p": config.pop("topP", None),
        "max_tokens": config.pop("maxOutputTokens", None),
        "stop": tuple(config.pop("stopSequences", ())),
        "seed": config.pop("seed", None),
        "response_schema": config.pop("responseJsonSchema", None),
        "tool_choice": {"AUTO": "auto", "NONE": "none", "ANY": "required"}[mode],
        "reasoning": level and level.lower(),
        "reasoning_tokens": thinking.pop("thinkingBudget", None),
    }
    vendor = {name: member for name, member in body.items() if member}
    thinking.setdefault("includeThoughts", False)
    vendor["generationConfig"] = {**config, "thinkingConfig": thinking}
    if server_tools:
        vendor["tools"] = server_tools
    return ModelOptions(**known, vendor=vendor), tuple(tools)


def call_of(request: Json) -> ModelInput:
    body = plain(request["body"])
    contents = body.pop("contents")
    instructions = body.pop("systemInstruction", {"parts": [{"text": ""}]})
    options, tools = options_of(body)
    model = request["url"].partition("/models/")[2].partition(":")[0]
    return ModelInput(
        model,
        Conversation(contents).messages,
        "".join(part["text"] for part in instructions["parts"]),
        tools,
        options,
        stream=request["stream"],
    )


@pytest.mark.parametrize("entry", listed())
def test_a_recorded_request_is_built_again(entry: dict[str, Any]) -> None:
    """Messages, tools, options, path: what we send for the same conversation says the same."""
    exchange = json.loads((RECORDINGS / entry["file"]).read_text(encoding="utf-8"))
    request = exchange["request"]
    sent = Gemini().request(call_of(request))
    assert request["url"].endswith("/v1beta" + sent.path)
    assert compared(json.loads(sent.body)) == compared(request["body"])
