"""LangChain's agent on LangGraph: one graph for all sessions, no checkpointer, tracing off."""

from __future__ import annotations

import os
from typing import Any

from bench.peers.harness import Heard, Meter
from bench.peers.work import MODEL, get_weather, prompt

os.environ["LANGSMITH_TRACING"] = os.environ["LANGCHAIN_TRACING_V2"] = "false"
meter = Meter("langgraph", "langgraph", "langchain", "langchain-openai", "openai", "pydantic")
with meter.importing():
    from langchain.agents import create_agent
    from langchain_openai import ChatOpenAI


async def setup() -> Any:
    model = ChatOpenAI(
        model=MODEL,
        base_url=meter.load["url"],
        api_key="none",
        streaming=True,
        stream_usage=True,
        use_responses_api=False,
    )
    return create_agent(model, tools=[get_weather] if meter.load["tools"] else [])


async def turn(graph: Any, number: int, heard: Heard) -> None:
    asked = {"messages": [{"role": "user", "content": prompt(number)}]}
    async for message, _ in graph.astream(asked, stream_mode="messages"):
        if message.content and type(message).__name__ == "AIMessageChunk":
            heard(message.content)


if __name__ == "__main__":
    meter.run_asyncio(setup, turn)
