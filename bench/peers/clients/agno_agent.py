"""Agno: one agent for all sessions, no database, telemetry off; each turn a session id of its own."""

from __future__ import annotations

import os

from bench.peers.harness import Heard, Meter
from bench.peers.work import MODEL, get_weather, prompt

os.environ["AGNO_TELEMETRY"] = "false"
meter = Meter("Agno", "agno", "openai", "httpx", "pydantic")
with meter.importing():
    from agno.agent import Agent
    from agno.models.openai.like import OpenAILike


async def setup() -> Agent:
    model = OpenAILike(id=MODEL, base_url=meter.load["url"], api_key="none")
    return Agent(model=model, telemetry=False, tools=[get_weather] if meter.load["tools"] else None)


async def turn(agent: Agent, number: int, heard: Heard) -> None:
    events = agent.arun(prompt(number), stream=True, session_id=f"s{number}", user_id="bench")
    async for event in events:
        if event.event == "RunContent" and event.content:
            heard(event.content)
        elif event.event == "RunError":
            raise RuntimeError(str(event.content))


if __name__ == "__main__":
    meter.run_asyncio(setup, turn)
