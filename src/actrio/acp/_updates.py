"""A turn's events as ``session/update``; pure.

==========================  ====================================================
event                       update
==========================  ====================================================
item.delta (message)        agent_message_chunk
item.delta (thinking)       agent_thought_chunk
item.started (tool_call)    tool_call: pending where it needs leave, else in_progress
approval.resolved           tool_call_update: in_progress, where it was approved
item.completed (tool_call)  tool_call_update: completed or failed
item.completed (others)     what the deltas had not, if anything
a terminal event            the answer to ``session/prompt``, see `STOP_REASONS`
==========================  ====================================================
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Any, Final

from actrio.acp._content import text_block
from actrio.messages import (
    TERMINAL_EVENTS,
    ApprovalRequested,
    ApprovalResolved,
    Event,
    ItemCompleted,
    ItemDelta,
    ItemKind,
    ItemStarted,
    StopReason,
    ToolCall,
    ToolResult,
)
from actrio.tools import Tool

__all__ = [
    "CHUNK_CHARACTERS_MAX",
    "READ_FILE",
    "STOP_REASONS",
    "WRITE_FILE",
    "Toolbox",
    "TurnUpdates",
    "call_ended",
    "chunks",
]

STOP_REASONS: Final[Mapping[StopReason, str]] = MappingProxyType(
    {
        "end_turn": "end_turn",
        "short_circuit": "end_turn",
        "max_tokens": "max_tokens",
        "max_steps": "max_turn_requests",
        "refusal": "refusal",
        "cancelled": "cancelled",
    }
)
"""Ours to the protocol's. ``error`` has none: the request answers with the error."""

CHUNK_CHARACTERS_MAX: Final = 64 * 1024
"""Characters of one chunk: a long answer that comes at once leaves as several lines."""

READ_FILE: Final = "read_file"
WRITE_FILE: Final = "write_file"

_CHUNKS: Final[Mapping[ItemKind, str]] = MappingProxyType(
    {"message": "agent_message_chunk", "thinking": "agent_thought_chunk"}
)


class Toolbox:
    """What a client is shown of a session's tools.

    Args:
        tools: The agent's.
        cwd: The session's folder, from which relative paths count.
        lent: Names of those that work on the client's own files.
    """

    def __init__(self, tools: tuple[Tool, ...], cwd: str, lent: frozenset[str]) -> None:
        self._tools = {each.name: each for each in tools}
        self._cwd = cwd
        self._lent = lent

    def needs_leave(self, name: str) -> bool:
        """Whether a person is asked before a call of this tool."""
        found = self._tools.get(name)
        return found is not None and found.approval == "ask"

    def shown(self, item: str, call: ToolCall) -> dict[str, Any]:
        """Return a call without its status."""
        given = _arguments(call)
        told: dict[str, Any] = {
            "toolCallId": item,
            "title": call.name,
            "kind": "other",
            "rawInput": given,
        }
        found = self._tools.get(call.name)
        if found is not None and found.read_only:
            told["kind"] = "read"
        if call.name in self._lent and isinstance(given, dict):
            told |= self._file(call.name, given)
        return told

    def _file(self, name: str, given: dict[str, Any]) -> dict[str, Any]:
        path = str(PurePosixPath(self._cwd) / str(given.get("path", "")))
        if name == READ_FILE:
            return {"title": f"Read {path}", "kind": "read", "locations": [{"path": path}]}
        diff = {"type": "diff", "path": path, "newText": str(given.get("content", ""))}
        return {
            "title": f"Write {path}",
            "kind": "edit",
            "locations": [{"path": path}],
            "content": [diff],
        }


class TurnUpdates:
    """What a client is told of one turn.

    Args:
        tools: The session's tools.
    """

    def __init__(self, tools: Toolbox) -> None:
        self._tools = tools
        # Characters of each item that the client has.
        self._sent: dict[str, int] = {}
        self._asked: dict[str, str] = {}
        self._said = False

    def of(self, event: Event) -> Iterator[dict[str, Any]]:
        """Yield the updates of one event, in order."""
        match event:
            case ItemDelta(item=item, kind=kind, text=text):
                yield from self._say(kind, text, item)
            case ItemStarted(item=item, kind="tool_call", call=ToolCall() as call):
                yield self._begun(item, call)
            case ItemCompleted(item=item, kind="tool_call", call=call, result=result):
                if item not in self._sent and call is not None:
                    yield self._begun(item, call)
                yield call_ended(item, result, completed=event.status == "completed")
            case ItemCompleted(item=item, kind=kind, status=status, text=text):
                if status != "superseded":
                    yield from self._say(kind, text[self._sent.get(item, 0) :], item)
            case ApprovalRequested(approval=approval, item=item, about="call"):
                self._asked[approval] = item
            case ApprovalResolved(approval=approval, decision="approved"):
                if (begun := self._asked.pop(approval, None)) is not None:
                    yield {
                        "sessionUpdate": "tool_call_update",
                        "toolCallId": begun,
                        "status": "in_progress",
                    }
            case _ if isinstance(event, TERMINAL_EVENTS) and not self._said:
                # A filter answered in the model's place.
                yield from self._say("message", event.result.text, f"{event.turn}.m")

    def _say(self, kind: ItemKind, text: str, item: str) -> Iterator[dict[str, Any]]:
        if text:
            self._sent[item] = self._sent.get(item, 0) + len(text)
            self._said = self._said or kind == "message"
            yield from chunks(kind, text, item)

    def _begun(self, item: str, call: ToolCall) -> dict[str, Any]:
        self._sent[item] = 0
        status = "pending" if self._tools.needs_leave(call.name) else "in_progress"
        return {"sessionUpdate": "tool_call", **self._tools.shown(item, call), "status": status}


def chunks(kind: ItemKind, text: str, item: str) -> Iterator[dict[str, Any]]:
    """Yield what a model says as updates that are not too long."""
    for start in range(0, len(text), CHUNK_CHARACTERS_MAX):
        yield {
            "sessionUpdate": _CHUNKS[kind],
            "content": text_block(text[start : start + CHUNK_CHARACTERS_MAX]),
            "messageId": item,
        }


def call_ended(item: str, result: ToolResult | None, *, completed: bool) -> dict[str, Any]:
    """Return how a call ended."""
    told: dict[str, Any] = {
        "sessionUpdate": "tool_call_update",
        "toolCallId": item,
        "status": "completed" if completed else "failed",
    }
    if result is not None:
        told["content"] = [{"type": "content", "content": text_block(result.text)}]
    return told


def _arguments(call: ToolCall) -> Any:
    try:
        return json.loads(call.arguments)
    except ValueError:  # as a model wrote it; the call will fail and say so
        return call.arguments
