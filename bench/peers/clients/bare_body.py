"""What the bare loops share: request bodies, and events to text with orjson."""

from __future__ import annotations

from typing import Any

import orjson

from bench.peers.work import MODEL, TOOL, weather


def request_body(messages: list[dict[str, Any]], *, tools: bool) -> bytes:
    body = {
        "model": MODEL,
        "messages": messages,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if tools:
        body["tools"] = [TOOL]
    return orjson.dumps(body)


class Events:
    """Splits server-sent events and folds their deltas."""

    __slots__ = ("_rest", "calls", "done")

    def __init__(self) -> None:
        self._rest = b""
        self.calls: dict[int, dict[str, str]] = {}
        self.done = False

    def text(self, data: bytes) -> str:
        """Take what was read; return the text in it."""
        *events, self._rest = (self._rest + data).split(b"\n\n")
        found = []
        for event in events:
            if event == b"data: [DONE]":
                self.done = True
                continue
            choices = orjson.loads(event[6:])["choices"]
            if not choices:
                continue
            delta = choices[0]["delta"]
            if text := delta.get("content"):
                found.append(text)
            elif calls := delta.get("tool_calls"):
                self._fold(calls)
        return "".join(found)

    def _fold(self, parts: list[dict[str, Any]]) -> None:
        for part in parts:
            call = self.calls.setdefault(part["index"], {"id": "", "name": "", "arguments": ""})
            call["id"] = part.get("id") or call["id"]
            function = part.get("function") or {}
            call["name"] = function.get("name") or call["name"]
            call["arguments"] += function.get("arguments") or ""

    def messages_after_tools(self) -> list[dict[str, Any]]:
        """Run the tool for each call; return the messages to go on with."""
        calls = list(self.calls.values())
        asked = [
            {
                "id": call["id"],
                "type": "function",
                "function": {"name": call["name"], "arguments": call["arguments"]},
            }
            for call in calls
        ]
        results = [
            {
                "role": "tool",
                "tool_call_id": call["id"],
                "content": weather(**orjson.loads(call["arguments"])),
            }
            for call in calls
        ]
        return [{"role": "assistant", "content": None, "tool_calls": asked}, *results]
