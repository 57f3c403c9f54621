"""From OpenAI's messages and options to ours. Pure."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Sequence
from typing import Any, Final

import attrs

from actrio.errors import InvalidRequest
from actrio.http._openai_types import ChatMessage, ChatRequest, ContentPart, FunctionTool
from actrio.messages import (
    AssistantMessage,
    Document,
    Image,
    Message,
    ModelOptions,
    ReasoningEffort,
    Refusal,
    Text,
    ToolCall,
    ToolChoice,
    ToolMessage,
    ToolResult,
    ToolSpec,
    UserMessage,
    user_message,
)

__all__ = [
    "CONTINUE",
    "EFFORTS",
    "Asked",
    "invalid",
    "media_of",
    "merged",
    "read_chat",
    "tool_specs",
]

CONTINUE: Final = "(go on)"
"""Stands for a user message where a request ends with tool results; no model is shown it."""

EFFORTS: Final[dict[str, ReasoningEffort]] = {
    "none": "off",
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "high",
}


@attrs.frozen(slots=True, kw_only=True)
class Asked:
    """What a client of the façade asks for, in our words.

    Attributes:
        history: What was said before ``prompt``.
        prompt: The new user message; ``None`` where the last thing said is a tool's result.
        instructions: The client's system text, beside the agent's own.
        tools: Tools that the client runs itself.
        options: What the client sets; what it leaves open is the agent's.
        one_call: Whether at most one tool call may come back.
    """

    history: tuple[Message, ...] = ()
    prompt: UserMessage | None = None
    instructions: str = ""
    tools: tuple[ToolSpec, ...] = ()
    options: dict[str, Any] = attrs.field(factory=dict, hash=False)
    one_call: bool = False


def invalid(message: str, param: str, remedy: str) -> InvalidRequest:
    """Return the error of a member that cannot be served."""
    return InvalidRequest(message, remedy=remedy, data={"param": param})


def read_chat(request: ChatRequest) -> Asked:
    """Return what a chat request asks for.

    Raises:
        InvalidRequest: A member cannot be served, or the messages are no conversation.
    """
    for param in ("logprobs", "audio", "functions", "web_search_options"):
        if getattr(request, param):
            raise invalid(f"{param} cannot be served here.", param, "Leave it out.")
    if (request.n or 1) > 1:
        raise invalid("Only one choice can be made.", "n", "Send n=1, several times.")
    messages, instructions = _read_messages(request.messages)
    prompt: UserMessage | None = None
    if messages and isinstance(messages[-1], UserMessage):
        prompt = messages[-1]
        messages.pop()
    elif not messages or not isinstance(messages[-1], ToolMessage):
        raise invalid(
            "The last message is neither the user's nor a tool's.",
            "messages",
            "End with what the model shall answer to.",
        )
    tools = tool_specs(request.tools or ())
    options, tools = _read_options(request, tools)
    return Asked(
        history=tuple(messages),
        prompt=prompt,
        instructions=instructions,
        tools=tools,
        options=options,
        one_call=request.parallel_tool_calls is False,
    )


def tool_specs(tools: Iterable[FunctionTool]) -> tuple[ToolSpec, ...]:
    """Return the client's tools as a model sees them.

    Raises:
        InvalidRequest: Two have one name.
    """
    specs = tuple(
        ToolSpec(
            each.function.name,
            each.function.description or "",
            each.function.parameters or {"type": "object", "properties": {}},
        )
        for each in tools
    )
    if len({spec.name for spec in specs}) < len(specs):
        raise invalid("Two tools have one name.", "tools", "Give each a name of its own.")
    return specs


def _read_options(
    request: ChatRequest, tools: tuple[ToolSpec, ...]
) -> tuple[dict[str, Any], tuple[ToolSpec, ...]]:
    choice = request.tool_choice
    named: ToolChoice | None
    if choice is None or isinstance(choice, str):
        named = choice
    else:
        wanted = choice.function.name
        tools = tuple(tool for tool in tools if tool.name == wanted)
        if not tools:
            raise invalid(f"There is no tool {wanted!r}.", "tool_choice", "Name one of tools.")
        named = "required"
    stop = (request.stop,) if isinstance(request.stop, str) else tuple(request.stop or ())
    found = {
        "temperature": request.temperature,
        "top_p": request.top_p,
        "max_tokens": request.max_completion_tokens or request.max_tokens,
        "stop": stop or None,
        "seed": request.seed,
        "tool_choice": named,
        "response_schema": _schema_of(request),
        "reasoning": EFFORTS.get(request.reasoning_effort or ""),
    }
    return {name: value for name, value in found.items() if value is not None}, tools


def _schema_of(request: ChatRequest) -> dict[str, Any] | None:
    wanted = request.response_format
    if wanted is None or wanted.type == "text":
        return None
    if wanted.type == "json_object":
        return {"type": "object"}
    if wanted.json_schema is None or wanted.json_schema.schema is None:
        raise invalid("A JSON schema is missing.", "response_format", "Send json_schema.schema.")
    return wanted.json_schema.schema


def merged(own: ModelOptions, asked: Asked) -> ModelOptions:
    """Return the agent's options with the client's over them."""
    return attrs.evolve(own, **asked.options) if asked.options else own


# -- messages --------------------------------------------------------------------------------------


def _read_messages(given: Sequence[ChatMessage]) -> tuple[list[Message], str]:
    messages: list[Message] = []
    instructions: list[str] = []
    position = 0
    while position < len(given):
        message = given[position]
        where = f"messages.{position}"
        position += 1
        if message.role in {"system", "developer"}:
            instructions.append(_text_of(message, where))
        elif message.role == "user":
            messages.append(user_message([*_parts(message.content, where)] or ""))
        elif message.role == "assistant":
            answer = _assistant(message, where)
            messages.append(answer)
            if answer.tool_calls:
                count = _results(given[position:])
                messages.append(
                    _tool_message(answer.tool_calls, given[position : position + count], where)
                )
                position += count
        else:
            raise invalid(
                "A tool message answers no call.", where, "Put it behind the assistant's call."
            )
    return messages, "\n\n".join(part for part in instructions if part)


def _results(given: Sequence[ChatMessage]) -> int:
    count = 0
    while count < len(given) and given[count].role == "tool":
        count += 1
    return count


def _tool_message(
    calls: tuple[ToolCall, ...], given: Sequence[ChatMessage], where: str
) -> ToolMessage:
    by_id = {message.tool_call_id: message for message in given}
    if by_id.keys() != {call.id for call in calls} or len(given) != len(calls):
        raise invalid(
            "Each tool call needs exactly one tool message right behind it.",
            where,
            "Answer every tool_call_id once.",
        )
    return ToolMessage(
        tuple(ToolResult(call.id, call.name, _text_of(by_id[call.id], where)) for call in calls)
    )


def _assistant(message: ChatMessage, where: str) -> AssistantMessage:
    parts: list[Text | Refusal | ToolCall] = []
    content = message.content
    if isinstance(content, str) and content:
        parts.append(Text(content))
    elif isinstance(content, list):
        for part in content:
            if part.type == "refusal":
                parts.append(Refusal(part.refusal or ""))
            elif part.type == "text":
                parts.append(Text(part.text or ""))
            else:
                raise invalid(f"An assistant cannot say {part.type!r}.", where, "Send text.")
    if message.refusal:
        parts.append(Refusal(message.refusal))
    parts += [
        ToolCall(call.id, call.function.name, call.function.arguments or "{}")
        for call in message.tool_calls or ()
    ]
    if not parts:
        parts.append(Text(""))
    return AssistantMessage(tuple(parts))


def _text_of(message: ChatMessage, where: str) -> str:
    content = message.content
    if content is None or isinstance(content, str):
        return content or ""
    if any(part.type != "text" for part in content):
        raise invalid("Only text can stand there.", where, "Send text parts.")
    return "".join(part.text or "" for part in content)


def _parts(content: str | list[ContentPart] | None, where: str) -> list[Text | Image | Document]:
    if content is None or isinstance(content, str):
        return [Text(content or "")]
    found: list[Text | Image | Document] = []
    for part in content:
        if part.type == "text":
            found.append(Text(part.text or ""))
        elif part.type == "image_url" and part.image_url is not None:
            media_type, data = media_of(part.image_url.url, where)
            url = None if data is not None else part.image_url.url
            found.append(Image(media_type or "image/png", data, url))
        elif part.type == "file" and part.file is not None and part.file.file_data:
            media_type, data = media_of(part.file.file_data, where)
            found.append(Document(media_type or "application/pdf", part.file.filename, data or b""))
        else:
            raise invalid(
                f"A part of type {part.type[:40]!r} cannot be served.",
                where,
                "Send text, image_url or file with file_data.",
            )
    return found


def media_of(url: str, where: str) -> tuple[str, bytes | None]:
    """Return media type and bytes of a ``data:`` URL; no bytes where it is a link.

    Raises:
        InvalidRequest: It is neither.
    """
    if url.startswith(("http://", "https://")):
        return "", None
    head, comma, data = url.partition(",")
    if not comma or not head.startswith("data:") or not head.endswith(";base64"):
        raise invalid("That is no link and no data: URL.", where, "Send data:TYPE;base64,….")
    try:
        return head[5:].partition(";")[0], base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise invalid("The data: URL is not base64.", where, "Encode it again.") from error
