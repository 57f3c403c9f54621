"""Recorded Gemini requests as our own request values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from actrio.messages import (
    AssistantMessage,
    Document,
    EmbedInput,
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
    VendorItem,
)
from actrio.providers.contract._recorded import (
    as_text,
    count_of,
    file_of,
    json_text,
    mapping,
    number_of,
    objects,
    rest_of,
    spec_of,
    text_of,
    user,
)

__all__ = ["camel_members", "read_gemini", "read_gemini_embeddings"]

_SCHEMAS: Final = {"responseSchema", "responseJsonSchema", "parameters", "parametersJsonSchema"}
_VERBATIM: Final = _SCHEMAS | {"args", "response"}
_MODES: Final[Mapping[str, Any]] = {"AUTO": "auto", "NONE": "none", "ANY": "required"}
_LEVELS: Final = {"low", "medium", "high"}
_PURPOSES: Final[Mapping[str, Any]] = {
    "RETRIEVAL_QUERY": "query",
    "RETRIEVAL_DOCUMENT": "document",
}


def camel_members(value: Any) -> Any:
    """Return ``value`` with names in camelCase; the vendor takes both spellings."""
    if isinstance(value, list):
        return [camel_members(item) for item in value]
    if not isinstance(value, dict):
        return value
    members: dict[str, Any] = {}
    for name, member in value.items():
        head, *tail = name.split("_")
        camel = head + "".join(piece.title() for piece in tail)
        if member is not None:
            members[camel] = member if camel in _VERBATIM else camel_members(member)
    return members


def read_gemini(body: Mapping[str, Any], model: str, *, stream: bool) -> ModelInput:
    """Return a generateContent request as a call."""
    body = camel_members(dict(body))
    config = dict(mapping(body.get("generationConfig")))
    tools, served = _tools(objects(body.get("tools")))
    choice = mapping(mapping(body.get("toolConfig")).get("functionCallingConfig"))
    vendor = rest_of(body, ("contents", "systemInstruction", "generationConfig", "tools"))
    if choice.keys() <= {"mode"}:
        vendor.pop("toolConfig", None)
    options: Any = ModelOptions(
        temperature=number_of(config.pop("temperature", None)),
        top_p=number_of(config.pop("topP", None)),
        max_tokens=count_of(config.pop("maxOutputTokens", None)),
        stop=tuple(config.pop("stopSequences", None) or ()),
        seed=count_of(config.pop("seed", None)),
        tool_choice=_MODES.get(as_text(choice.get("mode")), "auto"),
        response_schema=_schema(config),
        **_thinking(config),
        vendor=vendor,
    )
    vendor.update({"tools": served} if served else {})
    vendor.update({"generationConfig": config} if config else {})
    told = text_of(mapping(body.get("systemInstruction")).get("parts"))
    return ModelInput(
        model,
        _Conversation(objects(body.get("contents"))).messages,
        instructions=told,
        tools=tuple(tools),
        options=options,
        stream=stream,
    )


def read_gemini_embeddings(body: Mapping[str, Any], model: str) -> EmbedInput:
    """Return a request for one vector or a batch as a call."""
    plain = camel_members(dict(body))
    requests = objects(plain.get("requests")) or [plain]
    first = requests[0]
    return EmbedInput(
        model,
        tuple(text_of(mapping(one.get("content")).get("parts")) for one in requests),
        dimensions=count_of(first.get("outputDimensionality")),
        purpose=_PURPOSES.get(as_text(first.get("taskType"))),
    )


def _tools(told: list[dict[str, Any]]) -> tuple[list[ToolSpec], list[dict[str, Any]]]:
    """Return the functions, and the tools that the vendor runs itself."""
    specs, served = [], []
    for tool in told:
        for one in objects(tool.get("functionDeclarations")):
            schema = "parameters" if "parameters" in one else "parametersJsonSchema"
            specs.append(spec_of(one, schema))
        rest = {name: value for name, value in tool.items() if name != "functionDeclarations"}
        if rest:
            served.append(rest)
    return specs, served


def _schema(config: dict[str, Any]) -> Mapping[str, Any] | None:
    for name in ("responseJsonSchema", "responseSchema"):
        if isinstance(config.get(name), dict):
            config.pop("responseMimeType", None)
            return mapping(config.pop(name))
    return None


def _thinking(config: dict[str, Any]) -> dict[str, Any]:
    thinking = dict(mapping(config.pop("thinkingConfig", None)))
    level = as_text(thinking.pop("thinkingLevel", None)).lower()
    tokens = count_of(thinking.pop("thinkingBudget", None))
    if thinking or level or tokens is not None:
        # Ours asks to be shown thoughts wherever it asks for them at all.
        config["thinkingConfig"] = {"includeThoughts": False, **thinking}
    if level and level not in _LEVELS:
        config["thinkingConfig"]["thinkingLevel"] = level
        level = ""
    return {"reasoning": level or None, "reasoning_tokens": tokens}


class _Conversation:
    """Reads contents; gives each call without an id one of the kind that a reader invents."""

    def __init__(self, contents: list[dict[str, Any]]) -> None:
        self._unanswered: list[tuple[str, str]] = []
        self._count = 0
        self.messages = tuple(self._message(content) for content in contents)

    def _message(self, content: dict[str, Any]) -> Message:
        parts = objects(content.get("parts"))
        if content.get("role") == "model":
            return AssistantMessage(tuple(self._model_part(part) for part in parts))
        results = [part["functionResponse"] for part in parts if "functionResponse" in part]
        if results:
            return ToolMessage(tuple(self._result(mapping(told)) for told in results))
        return user(_user_part(part) for part in parts)

    def _model_part(self, part: dict[str, Any]) -> Any:
        signature = part.get("thoughtSignature")
        if "functionCall" in part:
            call = mapping(part["functionCall"])
            name = as_text(call.get("name"))
            call_id = as_text(call.get("id")) or f"noid_recorded_{self._count}"
            self._count += 1
            self._unanswered.append((name, call_id))
            return ToolCall(call_id, name, json_text(call.get("args") or {}), signature)
        if "text" not in part:
            kind = next((name for name in part if name != "thoughtSignature"), "part")
            return VendorItem("gemini", kind, json_text(part))
        if part.get("thought"):
            return Thinking(as_text(part["text"]), signature and f"gemini:{signature}")
        return Text(as_text(part["text"]), signature)

    def _result(self, told: dict[str, Any]) -> ToolResult:
        call_id, name = as_text(told.get("id")), as_text(told.get("name"))
        for answered in self._unanswered:
            if call_id == answered[1] or (not call_id and name == answered[0]):
                self._unanswered.remove(answered)
                call_id = answered[1]
                break
        return ToolResult(call_id, name, json_text(told.get("response")))


def _user_part(part: dict[str, Any]) -> Text | Image | Document | None:
    if "text" in part:
        return Text(as_text(part["text"]))
    if "inlineData" in part:
        told = mapping(part["inlineData"])
        return file_of(told.get("mimeType"), told.get("data"))
    if "fileData" in part:
        told = mapping(part["fileData"])
        kind, url = as_text(told.get("mimeType")), as_text(told.get("fileUri"))
        if kind.startswith("image/"):
            return Image(kind, url=url)
        return Document(kind or "application/octet-stream", url=url)
    return None
