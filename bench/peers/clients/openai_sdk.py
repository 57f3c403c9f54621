"""The OpenAI SDK alone, on asyncio, with the loop around its tool calls written by hand."""

from __future__ import annotations

import json
from typing import Any

from bench.peers.harness import Heard, Meter
from bench.peers.work import MODEL, TOOL, prompt, weather

meter = Meter("openai SDK", "openai", "httpx2", "pydantic")
with meter.importing():
    from openai import AsyncOpenAI


async def setup() -> AsyncOpenAI:
    return AsyncOpenAI(base_url=meter.load["url"], api_key="none", max_retries=0)


async def turn(client: AsyncOpenAI, number: int, heard: Heard) -> None:
    messages: list[dict[str, Any]] = [{"role": "user", "content": prompt(number)}]
    offered = {"tools": [TOOL]} if meter.load["tools"] else {}
    while True:
        calls: dict[int, dict[str, str]] = {}
        stream = await client.chat.completions.create(
            model=MODEL,
            messages=messages,
            stream=True,
            stream_options={"include_usage": True},
            **offered,
        )
        async for chunk in stream:
            if not chunk.choices:
                continue
            delta = chunk.choices[0].delta
            if delta.content:
                heard(delta.content)
            for part in delta.tool_calls or ():
                call = calls.setdefault(part.index, {"id": "", "name": "", "arguments": ""})
                call["id"] = part.id or call["id"]
                call["name"] = part.function.name or call["name"]
                call["arguments"] += part.function.arguments or ""
        if not calls:
            return
        messages += after_tools(list(calls.values()))


def after_tools(calls: list[dict[str, str]]) -> list[dict[str, Any]]:
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
            "content": weather(**json.loads(call["arguments"])),
        }
        for call in calls
    ]
    return [{"role": "assistant", "content": None, "tool_calls": asked}, *results]


if __name__ == "__main__":
    meter.run_asyncio(setup, turn)
