"""From OpenAI's response items and options to ours. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from actrio.http._openai_read import EFFORTS, Asked, invalid, media_of
from actrio.http._responses_types import (
    ResponseFunctionTool,
    ResponseItem,
    ResponsePart,
    ResponseRequest,
)
from actrio.messages import (
    AssistantMessage,
    Document,
    Image,
    Message,
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

__all__ = ["read_response"]


def read_response(request: ResponseRequest, before: tuple[Message, ...]) -> Asked:
    """Return what a request asks for.

    Args:
        request: The request.
        before: The conversation of the response that it goes on from.

    Raises:
        InvalidRequest: A member cannot be served, or the items are no conversation.
    """
    for param in ("background", "conversation", "prompt"):
        if getattr(request, param):
            raise invalid(f"{param} cannot be served here.", param, "Leave it out.")
    given = request.input
    items = [ResponseItem(role="user", content=given)] if isinstance(given, str) else given
    messages, told = _messages(items, list(before))
    instructions = [request.instructions or "", *told]
    prompt: UserMessage | None = None
    if messages and isinstance(messages[-1], UserMessage):
        prompt = messages[-1]
        messages.pop()
    elif not messages or not isinstance(messages[-1], ToolMessage):
        raise invalid(
            "The last item is neither the user's nor a function's output.",
            "input",
            "End with what the model shall answer to.",
        )
    options, tools = _options(request, _tools(request.tools or ()))
    return Asked(
        history=tuple(messages),
        prompt=prompt,
        instructions="\n\n".join(part for part in instructions if part),
        tools=tools,
        options=options,
        one_call=request.parallel_tool_calls is False,
    )


def _tools(given: Sequence[ResponseFunctionTool]) -> tuple[ToolSpec, ...]:
    specs = []
    for each in given:
        if each.type != "function" or each.name is None:
            raise invalid(
                f"A tool of type {each.type[:40]!r} is not here.",
                "tools",
                "Send tools of type function with a name.",
            )
        parameters = each.parameters or {"type": "object", "properties": {}}
        specs.append(ToolSpec(each.name, each.description or "", parameters))
    if len({spec.name for spec in specs}) < len(specs):
        raise invalid("Two tools have one name.", "tools", "Give each a name of its own.")
    return tuple(specs)


def _options(
    request: ResponseRequest, tools: tuple[ToolSpec, ...]
) -> tuple[dict[str, Any], tuple[ToolSpec, ...]]:
    choice = request.tool_choice
    named: ToolChoice | None
    if choice is None or isinstance(choice, str):
        named = choice
    else:
        tools = tuple(tool for tool in tools if tool.name == choice.name)
        if not tools:
            raise invalid(f"There is no tool {choice.name!r}.", "tool_choice", "Name one of tools.")
        named = "required"
    form = request.text.format if request.text is not None else None
    schema: dict[str, Any] | None = None
    if form is not None and form.type == "json_schema":
        if form.schema is None:
            raise invalid("A JSON schema is missing.", "text.format", "Send text.format.schema.")
        schema = form.schema
    elif form is not None and form.type == "json_object":
        schema = {"type": "object"}
    effort = request.reasoning.effort if request.reasoning is not None else None
    found = {
        "temperature": request.temperature,
        "top_p": request.top_p,
        "max_tokens": request.max_output_tokens,
        "tool_choice": named,
        "response_schema": schema,
        "reasoning": EFFORTS.get(effort or ""),
    }
    return {name: value for name, value in found.items() if value is not None}, tools


def _messages(
    items: Sequence[ResponseItem], messages: list[Message]
) -> tuple[list[Message], list[str]]:
    instructions: list[str] = []
    outputs: dict[str, str] = {}
    for position, item in enumerate(items):
        where = f"input.{position}"
        if item.type == "function_call_output":
            outputs[item.call_id or ""] = _text(item.output, where)
        elif item.type == "function_call":
            _add_call(messages, item, where)
        elif item.type == "message":
            _close_calls(messages, outputs, where)
            if item.role in {"system", "developer"}:
                instructions.append(_text(item.content, where))
            elif item.role == "assistant":
                messages.append(AssistantMessage((Text(_text(item.content, where)),)))
            else:
                messages.append(user_message([*_parts(item.content, where)]))
    _close_calls(messages, outputs, f"input.{len(items) - 1}")
    if outputs:
        raise invalid(f"No call {next(iter(outputs))[:100]!r} was made.", "input", "Check call_id.")
    return messages, instructions


def _add_call(messages: list[Message], item: ResponseItem, where: str) -> None:
    if not item.call_id or not item.name:
        raise invalid("A function call needs call_id and name.", where, "Send both.")
    call = ToolCall(item.call_id, item.name, item.arguments or "{}")
    last = messages[-1] if messages else None
    if isinstance(last, AssistantMessage):
        messages[-1] = AssistantMessage((*last.parts, call), last.vendor)
    else:
        messages.append(AssistantMessage((call,)))


def _close_calls(messages: list[Message], outputs: dict[str, str], where: str) -> None:
    """Put the results of the last message's calls behind it, in call order."""
    last = messages[-1] if messages else None
    if not isinstance(last, AssistantMessage) or not last.tool_calls:
        return
    missing = [call.id for call in last.tool_calls if call.id not in outputs]
    if missing:
        raise invalid(
            f"The call {missing[0][:100]!r} has no output.",
            where,
            "Send a function_call_output for each call.",
        )
    results = tuple(
        ToolResult(call.id, call.name, outputs.pop(call.id)) for call in last.tool_calls
    )
    messages.append(ToolMessage(results))


def _text(content: str | list[ResponsePart] | None, where: str) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    if any(part.type not in {"input_text", "output_text", "refusal"} for part in content):
        raise invalid("Only text can stand there.", where, "Send text parts.")
    return "".join(part.text or part.refusal or "" for part in content)


def _parts(
    content: str | list[ResponsePart] | None, where: str
) -> list[Text | Image | Document | Refusal]:
    if content is None or isinstance(content, str):
        return [Text(content or "")]
    found: list[Text | Image | Document | Refusal] = []
    for part in content:
        if part.type in {"input_text", "output_text"}:
            found.append(Text(part.text or ""))
        elif part.type == "input_image" and part.image_url:
            media_type, data = media_of(part.image_url, where)
            url = None if data is not None else part.image_url
            found.append(Image(media_type or "image/png", data, url))
        elif part.type == "input_file" and part.file_data:
            media_type, data = media_of(part.file_data, where)
            found.append(Document(media_type or "application/pdf", part.filename, data or b""))
        else:
            raise invalid(
                f"A part of type {part.type[:40]!r} cannot be served.",
                where,
                "Send input_text, input_image or input_file with file_data.",
            )
    return found
