"""autogen: an agent for each turn, because it keeps its conversation; one client for all."""

from __future__ import annotations

import logging
from typing import Any

from bench.peers.harness import Heard, Meter
from bench.peers.work import MODEL, get_weather, prompt

meter = Meter("autogen", "autogen-agentchat", "autogen-ext", "openai", "pydantic")
with meter.importing():
    from autogen_agentchat.agents import AssistantAgent
    from autogen_agentchat.messages import ModelClientStreamingChunkEvent
    from autogen_ext.models.openai import OpenAIChatCompletionClient

ABILITIES = {
    "vision": False,
    "function_calling": True,
    "json_output": False,
    "family": "unknown",
    "structured_output": False,
}


async def setup() -> Any:
    logging.getLogger("autogen_core").setLevel(logging.ERROR)
    return OpenAIChatCompletionClient(
        model=MODEL,
        base_url=meter.load["url"],
        api_key="none",
        include_name_in_message=False,
        model_info=ABILITIES,
    )


async def turn(client: Any, number: int, heard: Heard) -> None:
    tools = meter.load["tools"]
    agent = AssistantAgent(
        "bench",
        client,
        model_client_stream=True,
        tools=[get_weather] if tools else None,
        reflect_on_tool_use=tools,
    )
    async for event in agent.run_stream(task=prompt(number)):
        if isinstance(event, ModelClientStreamingChunkEvent) and event.content:
            heard(event.content)


if __name__ == "__main__":
    meter.run_asyncio(setup, turn)
