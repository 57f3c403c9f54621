"""pydantic-ai: one agent for all sessions, no history, each piece of text as it comes."""

from __future__ import annotations

from bench.peers.harness import Heard, Meter
from bench.peers.work import MODEL, get_weather, prompt

meter = Meter("pydantic-ai", "pydantic-ai-slim", "openai", "httpx2", "pydantic")
with meter.importing():
    from pydantic_ai import Agent
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider


async def setup() -> Agent:
    provider = OpenAIProvider(base_url=meter.load["url"], api_key="none")
    tools = [get_weather] if meter.load["tools"] else []
    return Agent(OpenAIChatModel(MODEL, provider=provider), tools=tools)


async def turn(agent: Agent, number: int, heard: Heard) -> None:
    async with agent.run_stream(prompt(number)) as answer:
        async for piece in answer.stream_text(delta=True, debounce_by=None):
            heard(piece)


if __name__ == "__main__":
    meter.run_asyncio(setup, turn)
