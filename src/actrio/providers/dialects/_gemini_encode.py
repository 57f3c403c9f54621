"""A model call as the body of ``generateContent`` and ``streamGenerateContent``.

What the vendor sent goes back as it was: arguments and vendor items as the very text that came,
each signature on its own part, an id only where the vendor gave one. Calls and results that have
none are matched by name and order, which is how models before Gemini 3 do it.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote, unquote_to_bytes

import msgspec

from actrio.errors import InvalidRequest, NotSupported
from actrio.messages import (
    AssistantMessage,
    Document,
    Image,
    Message,
    ModelInput,
    ModelOptions,
    Refusal,
    Text,
    Thinking,
    ToolCall,
    ToolMessage,
    ToolResult,
    UserMessage,
    VendorItem,
)
from actrio.providers.dialects._gemini_wire import THINKING_MARK, VENDOR, is_invented

__all__ = ["as_json", "encode_request", "model_path"]

UNSIGNED_CALL: Final = "skip_thought_signature_validator"
"""Google's own word for a call that another model made: Gemini 3 refuses the present turn if the
first call of a step has no signature, and this lifts that check."""

STOP_SEQUENCES_MAX: Final = 5  # Gemini refuses more

_BUDGETS: Final = {"low": 1024, "medium": 8192, "high": 24576}
"""Thinking tokens by effort, as Google maps them for its OpenAI-compatible endpoint."""

_CHOICES: Final = {"none": "NONE", "required": "ANY"}
_GENERATION: Final = re.compile(r"gemini-(\d{1,3})")

_Json = dict[str, Any]
_decode_object: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def encode_request(call: ModelInput) -> bytes:
    """Return the request body.

    Raises:
        NotSupported: An option that this wire format cannot carry; it is named.
        InvalidRequest: Text that is no Unicode, or values that are no JSON.
    """
    return as_json(lambda: _body(call), call.model)


def as_json(build: Any, model: str) -> bytes:
    """Return what ``build()`` returns as JSON, or say why it cannot be written.

    Raises:
        InvalidRequest: Text that is no Unicode, or values that are no JSON.
    """
    try:
        return msgspec.json.encode(build())
    except (UnicodeEncodeError, TypeError, ValueError, RecursionError) as error:
        raise InvalidRequest(
            f"The request to model {model!r} cannot be written as JSON: {error}.",
            remedy="Remove lone surrogates from the text, and values that are no JSON.",
        ) from error


def model_path(model: str) -> str:
    """Return the resource name of a model, safe inside a URL: ``models/gemini-2.5-flash``.

    Raises:
        InvalidRequest: The name would lead elsewhere.
    """
    pieces = model.split("/")
    if any(piece in {"", ".", ".."} for piece in pieces):
        raise InvalidRequest(
            f"{model!r} is no model name.", remedy="Use a name like gemini-2.5-flash."
        )
    path = "/".join(quote(piece, safe="@~", errors="replace") for piece in pieces)
    return path if len(pieces) > 1 else f"models/{path}"


def _body(call: ModelInput) -> _Json:
    body: _Json = {"contents": _contents(call)}
    if call.instructions:
        body["systemInstruction"] = {"parts": [{"text": call.instructions}]}
    if call.tools:
        body["tools"] = [{"functionDeclarations": [_declaration(tool) for tool in call.tools]}]
        mode = _CHOICES.get(call.options.tool_choice)
        if mode is not None:
            body["toolConfig"] = {"functionCallingConfig": {"mode": mode}}
    config = _generation_config(call.options, call.model)
    if config:
        body["generationConfig"] = config
    return _merged(body, call.options.vendor)


def _merged(own: Mapping[str, Any], extra: Mapping[str, Any]) -> _Json:
    """Return ``own`` with the members of ``extra``: objects merge, tools are added, the rest wins.

    So ``{"generationConfig": {"topK": 5}}`` keeps the temperature, and a server tool stands
    beside the agent's own tools.
    """
    merged = dict(own)
    for name, value in extra.items():
        present = merged.get(name)
        if isinstance(present, Mapping) and isinstance(value, Mapping):
            merged[name] = _merged(present, value)
        elif name == "tools" and isinstance(present, list) and isinstance(value, (list, tuple)):
            merged[name] = [*present, *value]
        else:
            merged[name] = value
    return merged


def _declaration(tool: Any) -> _Json:
    return {
        "name": tool.name,
        "description": tool.description,
        "parametersJsonSchema": tool.parameters,
    }


# -- options ---------------------------------------------------------------------------------------


def _generation_config(options: ModelOptions, model: str) -> _Json:
    if len(options.stop) > STOP_SEQUENCES_MAX:
        raise NotSupported(
            f"Option stop: Gemini takes at most {STOP_SEQUENCES_MAX} stop sequences, "
            f"not {len(options.stop)}.",
            remedy="Give fewer, or cut the answer in a filter.",
        )
    fields = {
        "temperature": options.temperature,
        "topP": options.top_p,
        "maxOutputTokens": options.max_tokens,
        "stopSequences": list(options.stop) or None,
        "seed": options.seed,
        "responseMimeType": None if options.response_schema is None else "application/json",
        "responseJsonSchema": options.response_schema,
        "thinkingConfig": _thinking_config(options, model),
    }
    return {name: value for name, value in fields.items() if value is not None}


def _thinking_config(options: ModelOptions, model: str) -> _Json | None:
    """Return how much to think: Gemini 3 knows levels, what came before only budgets.

    A name that tells no generation gets a budget, because Gemini 3 still understands that.
    """
    effort, found = options.reasoning, _GENERATION.search(model)
    generation = int(found[1]) if found else None
    if effort == "off":
        return _no_thinking(model, generation)
    if options.reasoning_tokens is not None:
        return _budget(options.reasoning_tokens)
    if effort is None:
        return None
    if generation is not None and generation >= 3:
        return {"thinkingLevel": effort, "includeThoughts": True}
    return _budget(_BUDGETS[effort])


def _no_thinking(model: str, generation: int | None) -> _Json | None:
    if (generation is not None and generation < 2) or "gemini-2.0" in model:
        return None  # these never think, and refuse to be asked about it
    if "-pro" in model:
        raise NotSupported(
            f"Option reasoning='off': {model!r} cannot answer without thinking.",
            remedy='Use reasoning="low", or a flash model.',
        )
    if generation is not None and generation >= 3:
        return {"thinkingLevel": "minimal"}
    return {"thinkingBudget": 0}


def _budget(tokens: int) -> _Json:
    return {"thinkingBudget": tokens, **({"includeThoughts": True} if tokens else {})}


# -- messages --------------------------------------------------------------------------------------


def _contents(call: ModelInput) -> list[_Json]:
    names: dict[str, str] = {}
    turn_begin = max(
        (at for at, message in enumerate(call.messages) if isinstance(message, UserMessage)),
        default=-1,
    )
    found = _GENERATION.search(call.model)
    checked = found is not None and int(found[1]) >= 3
    contents: list[_Json] = []
    for at, message in enumerate(call.messages):
        if isinstance(message, AssistantMessage):
            names.update((each.id, each.name) for each in message.tool_calls)
        parts = _parts(message, names)
        if checked and at > turn_begin and isinstance(message, AssistantMessage):
            _sign_first_call(parts)
        if parts:  # Gemini refuses a message without any
            role = "model" if isinstance(message, AssistantMessage) else "user"
            contents.append({"role": role, "parts": parts})
    return contents


def _sign_first_call(parts: list[Any]) -> None:
    first = next((part for part in parts if isinstance(part, dict) and "functionCall" in part), {})
    if first:
        first.setdefault("thoughtSignature", UNSIGNED_CALL)


def _parts(message: Message, names: Mapping[str, str]) -> list[Any]:
    match message:
        case UserMessage():
            return [_user_part(part) for part in message.parts]
        case AssistantMessage():
            return [told for part in message.parts if (told := _model_part(part)) is not None]
        case ToolMessage(results):
            return [_function_response(result, names) for result in results]


def _user_part(part: Text | Image | Document) -> _Json:
    match part:
        case Text(text):
            return {"text": text}
        case Image() | Document():
            return _medium(part)


def _medium(part: Image | Document) -> _Json:
    if part.url is None:
        return _inline(part.media_type, part.data or b"")
    if not part.url.startswith("data:"):
        return {"fileData": {"mimeType": part.media_type, "fileUri": part.url}}
    head, _, content = part.url.removeprefix("data:").partition(",")
    media_type, _, form = head.partition(";")
    try:
        data = unquote_to_bytes(content)
        data = base64.b64decode(data, validate=True) if form.endswith("base64") else data
    except binascii.Error as error:
        raise InvalidRequest(
            f"{type(part).__name__} part: its data URL is not base64 ({error}).",
            remedy="Pass the bytes as data=… instead.",
        ) from error
    return _inline(media_type or part.media_type, data)


def _inline(media_type: str, data: bytes) -> _Json:
    encoded = base64.b64encode(data).decode("ascii")
    return {"inlineData": {"mimeType": media_type, "data": encoded}}


def _model_part(part: Text | Thinking | Refusal | ToolCall | VendorItem) -> Any:
    match part:
        case Text(text, signature):
            return _signed({"text": text}, signature) if text or signature else None
        case Thinking():
            return _thought(part)
        case Refusal(text):
            return {"text": text} if text else None
        case ToolCall():
            return _function_call(part)
        case VendorItem(vendor, _, data):
            return _verbatim(data) if vendor == VENDOR else None


def _signed(part: _Json, signature: str | None) -> _Json:
    return {**part, "thoughtSignature": signature} if signature else part


def _thought(part: Thinking) -> _Json | None:
    told = {"text": part.text, "thought": True}
    if part.signature and not part.signature.startswith(THINKING_MARK):
        return None  # signed by another vendor
    signature = (part.signature or "").removeprefix(THINKING_MARK)
    return _signed(told, signature) if part.text or signature else None


def _function_call(part: ToolCall) -> _Json:
    call: _Json = {"name": part.name, "args": _arguments(part.arguments)}
    if not is_invented(part.id):
        call["id"] = part.id
    return _signed({"functionCall": call}, part.signature)


def _arguments(text: str) -> Any:
    """Return arguments as Gemini wants them, an object, whoever wrote them.

    Another model's arguments may be cut or no object; its call is still told, in its words.
    """
    if text.strip() in {"", "null"}:
        return {}
    as_object = _object(text)
    return {"arguments": text} if as_object is None else as_object


def _function_response(result: ToolResult, names: Mapping[str, str]) -> _Json:
    response: _Json = {"name": result.name or names.get(result.call_id, "")}
    if not is_invented(result.call_id):
        response["id"] = result.call_id
    if result.is_error:
        response["response"] = {"error": result.text}
    else:
        as_object = _object(result.text)
        response["response"] = {"output": result.text} if as_object is None else as_object
    return {"functionResponse": response}


def _object(text: str) -> msgspec.Raw | None:
    """Return ``text`` as it is where it is a JSON object."""
    if text.lstrip()[:1] != "{":
        return None
    data = text.encode()
    try:
        _decode_object(data)
    except (msgspec.DecodeError, RecursionError):
        return None
    return msgspec.Raw(data)


def _verbatim(data: str) -> msgspec.Raw:
    as_object = _object(data)
    if as_object is None:
        raise InvalidRequest(
            "A vendor item of gemini holds no JSON object.",
            remedy="Pass vendor items on as they came.",
        )
    return as_object
