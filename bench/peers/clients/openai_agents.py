"""openai-agents: one agent for all sessions, chat completions, tracing off, no session store."""

from __future__ import annotations

from bench.peers.harness import Heard, Meter
from bench.peers.work import MODEL, get_weather, prompt

meter = Meter("openai-agents", "openai-agents", "openai", "httpx2", "pydantic")
with meter.importing():
    from openai import AsyncOpenAI

    from agents import (
        Agent,
        ModelSettings,
        OpenAIChatCompletionsModel,
        Runner,
        function_tool,
        set_tracing_disabled,
    )


async def setup() -> Agent:
    set_tracing_disabled(disabled=True)
    client = AsyncOpenAI(base_url=meter.load["url"], api_key="none")
    return Agent(
        name="bench",
        model=OpenAIChatCompletionsModel(MODEL, client),
        tools=[function_tool(get_weather)] if meter.load["tools"] else [],
        model_settings=ModelSettings(include_usage=True),
    )


async def turn(agent: Agent, number: int, heard: Heard) -> None:
    async for event in Runner.run_streamed(agent, prompt(number)).stream_events():
        if event.type == "raw_response_event" and event.data.type == "response.output_text.delta":
            heard(event.data.delta)


if __name__ == "__main__":
    meter.run_asyncio(setup, turn)
