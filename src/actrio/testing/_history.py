"""What makes a history one that every provider accepts."""

from __future__ import annotations

from collections.abc import Sequence

from actrio.messages import AssistantMessage, Message, ToolMessage, UserMessage

__all__ = ["history_problems"]


def history_problems(history: Sequence[Message]) -> list[str]:
    """Return what a provider would refuse in ``history``; empty where it is valid.

    The rules: it begins with the user; the calls of an assistant's message are answered by the
    message right after it, each exactly once and in order; results answer only such calls.
    """
    problems: list[str] = []
    if history and not isinstance(history[0], UserMessage):
        problems.append(f"message 0 is of role {history[0].role}, not user")
    for index, message in enumerate(history):
        before = history[index - 1] if index else None
        after = history[index + 1] if index + 1 < len(history) else None
        if isinstance(message, AssistantMessage) and message.tool_calls:
            wanted = [call.id for call in message.tool_calls]
            given = [r.call_id for r in after.results] if isinstance(after, ToolMessage) else []
            if wanted != given:
                problems.append(f"message {index} calls {wanted}, answered are {given}")
        if isinstance(message, ToolMessage) and not (
            isinstance(before, AssistantMessage) and before.tool_calls
        ):
            problems.append(f"message {index} has results, but nothing was called before it")
    return problems
