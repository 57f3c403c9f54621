"""Which agent a session gets, and ``agent/*``: those of the settings, and those a client defines."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import attrs
import msgspec

from actrio.errors import ActrioError, NotFound
from actrio.rpc import Call
from actrio.runtime import Agent, AgentSettings, Runtime, build_agent
from actrio.stdio import _params as p
from actrio.stdio import _results as r
from actrio.stdio._client_tools import ClientTools, is_client_tool
from actrio.stdio._read import read_params
from actrio.tools import Tool

__all__ = ["MODEL_WITHOUT_SETTINGS", "AgentChoice"]

MODEL_WITHOUT_SETTINGS: Final = "scripted:demo"
"""What answers where nothing names a model: it needs no key and says that it is a script."""


class AgentChoice:
    """The agents that one connection's sessions can have.

    Args:
        runtime: Where agents are found by name.
        tools: Makes tools that the client runs.
    """

    def __init__(self, runtime: Runtime, tools: ClientTools) -> None:
        self._runtime = runtime
        self._settings = runtime.settings
        self._tools = tools
        # By name in the settings. Built once: a runtime wants one definition per name, and tools
        # imported twice are two definitions.
        self._built: dict[str | None, Agent] = {}

    @property
    def default_model(self) -> str:
        """The model of agents that name none."""
        return self._settings.model or MODEL_WITHOUT_SETTINGS

    def names(self) -> list[str]:
        """Return the names of the agents there are."""
        return sorted({*self._settings.agents, *(each.name for each in self._runtime.agents())})

    def register_all(self) -> None:
        """Let kept sessions find the agents of the settings.

        One that cannot be made is told about when it is asked for.
        """
        for name in (None, *self._settings.agents):
            try:
                self._runtime.register(self.named(name))
            except ActrioError:
                continue

    def choose(self, params: p.SessionCreate) -> Agent:
        """Return the agent that a session is created with.

        What the request says beats the agent's own settings, which beat those for all agents. A
        changed agent gets a name of its own; the same changes give the same name.

        Raises:
            NotFound: There is no agent of that name, or a tool of it does not exist.
            ConfigError: A tool of it cannot be imported.
            InvalidRequest: A value of it is out of bounds.
        """
        agent = self.named(params.agent)
        if params.model is None and params.instructions is None and not params.tools:
            return agent
        said = msgspec.to_builtins((params.model, params.instructions, params.tools))
        changes = msgspec.json.encode(said, order="deterministic")
        mark = hashlib.sha256(changes).hexdigest()[:12]
        return attrs.evolve(
            agent,
            name=f"{agent.name[:51]}.{mark}",
            model=params.model or agent.model,
            instructions=(
                agent.instructions if params.instructions is None else params.instructions
            ),
            tools=(*agent.tools, *map(self._tools.make, params.tools)),
        )

    def named(self, name: str | None) -> Agent:
        """Return an agent of the settings, or one that was registered.

        Raises:
            NotFound: There is none of that name.
            ActrioError: It cannot be made.
        """
        agent = self._built.get(name)
        if agent is None:
            if name is not None and name not in self._settings.agents:
                return self._registered(name)
            agent = self._built[name] = self._build(name)
        return agent

    def _registered(self, name: str) -> Agent:
        try:
            return self._runtime.agent(name)
        except NotFound as error:
            known = ", ".join(self.names()) or "none"
            raise NotFound(
                f"There is no agent {name[:100]!r}.",
                remedy=f"Name one of them ({known}), register it, or leave agent out.",
            ) from error

    def _build(self, name: str | None) -> Agent:
        if name is None:
            found = AgentSettings(name="assistant")
        else:
            found = self._settings.agents[name]
            found = attrs.evolve(found, name=found.name or name)
        return build_agent(found, found.model or self.default_model, self._settings.limits)

    # agent/*

    def calls(self) -> Mapping[str, Callable[[Call], Awaitable[Any]]]:
        return {
            "agent/list": self._list,
            "agent/get": self._get,
            "agent/register": self._register,
            "agent/set_tool": self._set_tool,
        }

    async def _list(self, call: Call) -> Any:
        read_params(call.method, call.params, p.Nothing)
        return r.told(r.AgentList(agents=[self._entry(name) for name in self.names()]))

    def _entry(self, name: str) -> r.AgentEntry:
        try:
            agent = self.named(name)
        except ActrioError as error:
            return r.AgentEntry(name=name, model="", tools=[], problem=str(error))
        tools = [each.name for each in agent.tools]
        return r.AgentEntry(name=name, model=agent.model, tools=tools)

    async def _get(self, call: Call) -> Any:
        wanted = read_params(call.method, call.params, p.AgentNamed)
        return r.told(_info(self.named(wanted.agent)))

    def _register(self, call: Call) -> Awaitable[Any]:
        params = read_params(call.method, call.params, p.AgentRegister)
        limits = self._settings.limits
        agent = Agent(
            name=params.name,
            model=params.model or self.default_model,
            instructions=params.instructions,
            tools=tuple(self._tools.make(each) for each in params.tools),
            steps_max=params.steps_max or limits.steps,
            if_busy=params.if_busy,
            queue_max=limits.queue_turns if params.queue_max is None else params.queue_max,
        )
        # Here, not in a task: the next line may name it.
        self._runtime.register(agent)
        self._built.pop(params.name, None)

        async def told() -> Any:
            return r.told(_info(agent))

        return told()

    async def _set_tool(self, call: Call) -> Any:
        params = read_params(call.method, call.params, p.AgentSetTool)
        agent = self.named(params.agent)
        await self._runtime.set_tool(agent, params.tool, enabled=params.enabled)
        return r.told(r.Done())


def _info(agent: Agent) -> r.AgentInfo:
    return r.AgentInfo(
        name=agent.name,
        model=agent.model,
        instructions=agent.instructions,
        tools=[_tool_info(each) for each in agent.tools],
        steps_max=agent.steps_max,
        if_busy=agent.if_busy,
        queue_max=agent.queue_max,
    )


def _tool_info(given: Tool) -> r.ToolInfo:
    return r.ToolInfo(
        name=given.name,
        description=given.spec.description,
        parameters=given.spec.parameters,
        approval=given.approval,
        read_only=given.read_only,
        client=is_client_tool(given),
    )
