"""Native routes: agents."""

from __future__ import annotations

from typing import Final

import msgspec

from actrio.agents import Agent
from actrio.errors import InvalidRequest
from actrio.http._agents import AgentDirectory, ServedAgent
from actrio.http._call import Answer, Call, json_answer
from actrio.http._native_types import AgentBody, AgentShown, ToolBody, ToolShown
from actrio.http._operations import Operation, Reply
from actrio.tools import Tool

__all__ = ["NATIVE_AGENTS", "switch_tool", "tools_named"]

_AGENT: Final = msgspec.json.Decoder(AgentBody)
_TOOL: Final = msgspec.json.Decoder(ToolBody)


def _shown(served: ServedAgent) -> AgentShown:
    agent = served.agent
    tools = [
        ToolShown(
            tool.name,
            tool.spec.description,
            dict(tool.spec.parameters),
            tool.name not in served.tools_off,
        )
        for tool in agent.tools
    ]
    return AgentShown(
        agent.name, agent.model, agent.instructions, tools, agent.steps_max, agent.if_busy
    )


def tools_named(names: list[str], agents: AgentDirectory) -> tuple[Tool, ...]:
    """Return the tools of those names. A client can only choose among what is here already.

    Raises:
        InvalidRequest: There is none of a name.
    """
    known = agents.tools()
    missing = [name for name in names if name not in known]
    if missing:
        raise InvalidRequest(
            f"No tool here is called {missing[0][:100]!r}.",
            remedy=f"There are {', '.join(sorted(known)) or 'none'}; code cannot be sent.",
            data={"param": "tools"},
        )
    return tuple(known[name] for name in dict.fromkeys(names))


async def _list(call: Call) -> Answer:
    return json_answer({"agents": [_shown(each) for each in call.desk.agents.all()]})


async def _get(call: Call) -> Answer:
    return json_answer(_shown(call.desk.agents.get(call.path["agent"])))


async def _create(call: Call) -> Answer:
    body: AgentBody = await call.read(_AGENT)
    agents = call.desk.agents
    agent = Agent(
        body.name,
        model=body.model or agents.default_model,
        instructions=body.instructions,
        tools=tools_named(body.tools, agents),
        steps_max=body.steps_max,
        if_busy=body.if_busy,
    )
    call.desk.check_model(agent.model)
    made = agents.create(agent)
    location = (b"location", f"/v1/agents/{made.agent.name}".encode())
    return json_answer(_shown(made), 201, (location,))


async def switch_tool(call: Call, served: ServedAgent, name: str, *, enabled: bool) -> None:
    """Switch a tool of an agent, from the next turn on.

    Raises:
        NotFound: It has no such tool.
    """
    await call.desk.runtime.set_tool(served.agent, name, enabled=enabled)
    call.desk.agents.switch(served, name, enabled=enabled)


async def _switch(call: Call) -> Answer:
    served = call.desk.agents.get(call.path["agent"])
    body: ToolBody = await call.read(_TOOL)
    await switch_tool(call, served, call.path["tool"], enabled=body.enabled)
    return json_answer(_shown(call.desk.agents.get(served.id)))


class AgentsShown(msgspec.Struct, frozen=True):
    agents: list[AgentShown]


NATIVE_AGENTS = (
    Operation(
        id="listAgents",
        method="GET",
        path="/v1/agents",
        summary="All agents.",
        tag="agents",
        endpoint=_list,
        replies={200: Reply("The agents.", AgentsShown)},
    ),
    Operation(
        id="createAgentNative",
        method="POST",
        path="/v1/agents",
        summary="Make an agent of what is here.",
        tag="agents",
        endpoint=_create,
        body=AgentBody,
        replies={201: Reply("The agent.", AgentShown)},
        fails=(404, 409),
    ),
    Operation(
        id="getAgentNative",
        method="GET",
        path="/v1/agents/{agent}",
        summary="One agent.",
        tag="agents",
        endpoint=_get,
        replies={200: Reply("The agent.", AgentShown)},
        fails=(404,),
    ),
    Operation(
        id="switchToolNative",
        method="PATCH",
        path="/v1/agents/{agent}/tools/{tool}",
        summary="Switch a tool on or off, from the next turn on.",
        tag="agents",
        endpoint=_switch,
        body=ToolBody,
        replies={200: Reply("The agent.", AgentShown)},
        fails=(404, 409),
    ),
)
