"""The older contract's routes: agents, sessions, tools, fixtures. Messages are in their own file."""

from __future__ import annotations

import importlib.resources
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import attrs
import msgspec

from actrio.agents import Agent
from actrio.errors import InvalidRequest, NotFound
from actrio.http._agents import ServedAgent
from actrio.http._call import Answer, Call, json_answer
from actrio.http._native_agents import switch_tool, tools_named
from actrio.http._operations import Operation, Reply
from actrio.http._seed_types import (
    AgentCreateRequest,
    AgentMade,
    AgentSeed,
    AgentsSeed,
    Degraded,
    Fixture,
    MemoryConfig,
    ModelConfig,
    SessionCreateRequest,
    SessionSeed,
    SessionState,
    ToolConfig,
    ToolSwitch,
    ToolSwitched,
)
from actrio.messages import ModelOptions, SessionView

__all__ = ["SEED", "address_of", "degraded_of", "session_of", "session_state"]

_AGENT: Final = msgspec.json.Decoder(AgentCreateRequest)
_SESSION: Final = msgspec.json.Decoder(SessionCreateRequest)
_SWITCH: Final = msgspec.json.Decoder(ToolSwitch)
_FIXTURE: Final = msgspec.json.Decoder(Fixture)

_STATES: Final[Mapping[str, SessionState]] = {
    "completed": "completed",
    "failed": "errored",
    "cancelled": "cancelled",
}
_METADATA: Final = "metadata"


# -- agents ------------------------------------------------------------------------------------------


async def _create(call: Call) -> Answer:
    body: AgentCreateRequest = await call.read(_AGENT)
    desk = call.desk
    model = f"{body.model.provider}:{body.model.model_id}"
    desk.check_model(model)
    tools = body.tools or ToolConfig()
    enabled = tools.registered if tools.enabled is None else tools.enabled
    if not set(enabled) <= set(tools.registered):
        raise InvalidRequest(
            "tools.enabled names a tool that tools.registered does not.",
            remedy="Register what you enable.",
            data={"pointer": "/tools/enabled"},
        )
    found = tools_named(tools.registered, desk.agents)
    if tools.tool_timeout_ms is not None:
        seconds = tools.tool_timeout_ms / 1000
        found = tuple(attrs.evolve(tool, timeout_seconds=seconds) for tool in found)
    agent = Agent(
        address_of(body.name),
        model=model,
        instructions=body.instructions,
        tools=found,
        options=ModelOptions(temperature=body.model.temperature, max_tokens=body.model.max_tokens),
    )
    served = desk.agents.create(agent, told={"seed": body, "timeout_ms": body.model.timeout_ms})
    for tool in found:
        if tool.name not in enabled:
            await switch_tool(call, served, tool.name, enabled=False)
    location = (b"location", f"/agents/{served.id}".encode())
    return json_answer(AgentMade(served.id, list(degraded_of(served))), 201, (location,))


def address_of(name: str) -> str:
    """Return a name that an agent can have."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", name.strip())[:64].strip("-") or "agent"


def degraded_of(served: ServedAgent) -> tuple[Degraded, ...]:
    """Return what was asked for with an agent and is not there, and what is switched off."""
    found = [Degraded(f"tool:{name}", "disabled") for name in sorted(served.tools_off)]
    body = served.told.get("seed")
    if isinstance(body, AgentCreateRequest):
        if body.memory is not None:
            reason = "there is no memory across sessions; a session keeps its own history"
            found.append(Degraded("memory", reason))
        if body.tools is not None and body.tools.mcp_endpoints:
            found.append(Degraded("mcpEndpoints", "MCP servers cannot be connected by clients"))
    return tuple(found)


def _shown(served: ServedAgent) -> AgentSeed:
    agent = served.agent
    degraded = list(degraded_of(served))
    body = served.told.get("seed")
    names = [tool.name for tool in agent.tools]
    enabled = [name for name in names if name not in served.tools_off]
    if isinstance(body, AgentCreateRequest):
        tools = msgspec.structs.replace(
            body.tools or ToolConfig(), registered=names, enabled=enabled
        )
        memory = body.memory or MemoryConfig()
        return AgentSeed(
            served.id, body.name, body.model, tools, memory, agent.instructions, degraded
        )
    provider, _, model_id = agent.model.partition(":")
    model = ModelConfig(
        provider,
        model_id,
        temperature=agent.options.temperature,
        max_tokens=agent.options.max_tokens,
    )
    tools = ToolConfig(names, enabled)
    return AgentSeed(
        served.id, agent.name, model, tools, MemoryConfig(), agent.instructions, degraded
    )


async def _list(call: Call) -> Answer:
    return json_answer(AgentsSeed([_shown(each) for each in call.desk.agents.all()]))


async def _get(call: Call) -> Answer:
    return json_answer(_shown(call.desk.agents.get(call.path["agentId"])))


async def _switch(call: Call) -> Answer:
    served = call.desk.agents.get(call.path["agentId"])
    body: ToolSwitch = await call.read(_SWITCH)
    name = call.path["toolName"]
    await switch_tool(call, served, name, enabled=body.enabled)
    return json_answer(ToolSwitched(name, body.enabled))


# -- sessions ----------------------------------------------------------------------------------------


async def _open(call: Call) -> Answer:
    served = call.desk.agents.get(call.path["agentId"])
    body: SessionCreateRequest = await call.read(_SESSION)
    labels = {}
    if body.metadata:
        labels[_METADATA] = msgspec.json.encode(body.metadata).decode()
    runtime = call.desk.runtime
    session = await runtime.open_session(served.agent, user=body.user_id, labels=labels)
    try:
        view = await session.view()
    finally:
        await runtime.close_session(session.id, mode="detach")
    location = f"/agents/{served.id}/sessions/{session.id}".encode()
    return json_answer(_session(view, served), 201, ((b"location", location),))


async def session_of(call: Call) -> tuple[SessionView, ServedAgent]:
    """Return the session and the agent that a path names.

    Raises:
        NotFound: There is none, or it is another agent's.
    """
    served = call.desk.agents.get(call.path["agentId"])
    view = await call.desk.runtime.view(call.path["sessionId"])
    if view.agent != served.agent.name:
        raise NotFound(
            f"Agent {served.id} has no session {view.session!r}.", remedy="Check both ids."
        )
    return view, served


def session_state(view: SessionView) -> SessionState:
    """Return a session's state in the contract's words."""
    if view.status != "idle":
        return "streaming"
    return _STATES.get(view.turns[-1].state, "streaming") if view.turns else "idle"


async def _session_get(call: Call) -> Answer:
    view, served = await session_of(call)
    return json_answer(_session(view, served))


def _session(view: SessionView, served: ServedAgent) -> SessionSeed:
    created = datetime.fromtimestamp(view.created_at, UTC).isoformat().replace("+00:00", "Z")
    metadata: dict[str, Any] = {}
    if (text := view.labels.get(_METADATA)) is not None:
        metadata = msgspec.json.decode(text)
    return SessionSeed(view.session, served.id, session_state(view), created, view.user, metadata)


# -- fixtures ------------------------------------------------------------------------------------------


async def _fixture(call: Call) -> Answer:
    name = call.path["fixtureId"]
    folder = importlib.resources.files("actrio.http") / "fixtures"
    known = sorted(each.name.removesuffix(".json") for each in folder.iterdir())
    if name not in known:
        raise NotFound(
            f"There is no fixture {name[:100]!r}.", remedy=f"There are {', '.join(known)}."
        )
    return json_answer(_FIXTURE.decode((folder / f"{name}.json").read_bytes()))


SEED = (
    Operation(
        id="createAgent",
        method="POST",
        path="/agents",
        summary="Create an agent.",
        tag="contract",
        endpoint=_create,
        body=AgentCreateRequest,
        replies={201: Reply("Its id, and what could not be had.", AgentMade)},
        fails=(404, 409),
        strict=True,
    ),
    Operation(
        id="listAgentsSeed",
        method="GET",
        path="/agents",
        summary="All agents.",
        tag="contract",
        endpoint=_list,
        replies={200: Reply("The agents.", AgentsSeed)},
        strict=True,
    ),
    Operation(
        id="getAgent",
        method="GET",
        path="/agents/{agentId}",
        summary="One agent, by its id or its name.",
        tag="contract",
        endpoint=_get,
        replies={200: Reply("The agent.", AgentSeed)},
        fails=(404,),
        strict=True,
    ),
    Operation(
        id="createSessionSeed",
        method="POST",
        path="/agents/{agentId}/sessions",
        summary="Open a session.",
        tag="contract",
        endpoint=_open,
        body=SessionCreateRequest,
        body_required=False,
        replies={201: Reply("The session.", SessionSeed)},
        fails=(404, 409, 507),
        strict=True,
    ),
    Operation(
        id="getSession",
        method="GET",
        path="/agents/{agentId}/sessions/{sessionId}",
        summary="A session's state.",
        tag="contract",
        endpoint=_session_get,
        replies={200: Reply("The session.", SessionSeed)},
        fails=(400, 404, 507),
        strict=True,
    ),
    Operation(
        id="setTool",
        method="PATCH",
        path="/agents/{agentId}/tools/{toolName}",
        summary="Switch a tool on or off, from the next message on.",
        tag="contract",
        endpoint=_switch,
        body=ToolSwitch,
        replies={200: Reply("What holds now.", ToolSwitched)},
        fails=(404, 409),
        strict=True,
    ),
    Operation(
        id="getFixture",
        method="GET",
        path="/contracts/fixtures/{fixtureId}",
        summary="A recorded exchange to check a client or a server by.",
        tag="contract",
        endpoint=_fixture,
        replies={200: Reply("The fixture.", Fixture)},
        fails=(404,),
        strict=True,
    ),
)
