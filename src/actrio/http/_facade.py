"""Turns of clients that keep the conversation themselves, as OpenAI's do.

A session of ours has its history; such a client sends all of it each time. So each request gets a
session of its own, and a filter on the model path that shows the model the client's history, tools
and options. A call of a client's tool ends the turn: it goes back to the client, who sends the
result with its next request::

    client's messages ──► session (new, not kept) ──► turn ──► filter ──► model
                                                        ◄── client's tool calls are taken out

Only ``/v1/responses`` lets a client leave the conversation here. Where it can, that conversation is
a kept session, and the filter brings no history: the session has it; see `actrio.http._lineage`.

The agent's own tools run here as ever. Where one step calls both sorts, only the client's calls
count: the model sees their results next time and may call its own again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import TYPE_CHECKING, Final

import attrs
import trio

from actrio.agents import Agent
from actrio.errors import NotFound, SessionOwned
from actrio.filters import Filter, ModelProceed, around_model
from actrio.http._lineage import LABEL, Place, goes_on, new_line, new_turn, response_id
from actrio.http._openai_read import CONTINUE, Asked, merged
from actrio.messages import (
    AssistantMessage,
    ModelInput,
    ModelOutput,
    ToolCall,
    UserMessage,
    user_message,
)
from actrio.sessions import Session, Turn

if TYPE_CHECKING:
    from actrio.http._desk import Desk

__all__ = ["Facade", "FacadeTurn", "ServedModel", "is_derived"]

_SUFFIX: Final = ".openai"

_DERIVED_MAX: Final = 256
"""Agents derived for the façade that are remembered; one is made again in microseconds."""

_CLOSE_SECONDS: Final = 5.0
"""For letting go of a session whose client has left: its turn has ended, a claim is given back."""


@attrs.define(slots=True, eq=False)
class FacadeTurn:
    """One turn on a client's behalf.

    Attributes:
        asked: What the client asks for.
        turn: The turn itself.
        calls: Calls of the client's tools, once the turn has ended.
        steps: Model calls so far.
        response: Its id as a response of ``/v1/responses``.
    """

    asked: Asked
    turn: Turn
    response: str
    calls: tuple[ToolCall, ...] = ()
    steps: int = 0


@attrs.frozen(slots=True)
class ServedModel:
    """What a model name of the façade means: an agent, or a model that none stands for."""

    id: str
    agent: Agent


def is_derived(agent: Agent) -> bool:
    """Whether an agent was made by the façade, and is nobody's to ask for by name."""
    return agent.name.endswith(_SUFFIX)


class Facade:
    """Runs such turns.

    Args:
        desk: Where the runtime is.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._running: dict[str, FacadeTurn] = {}
        # Kept sessions that a turn of ours goes on in: a second one at the same time forks.
        self._lines: set[str] = set()
        self._derived: OrderedDict[str, Agent] = OrderedDict()
        self._filter: Filter = around_model(name="openai façade")(self._on_model)

    def models(self) -> list[str]:
        """Return the names of what can be asked, agents first."""
        served = [each.agent for each in self._desk.agents.all()]
        names = [f"agent:{agent.name}" for agent in served]
        if self._desk.settings.raw_models:
            names += sorted({agent.model for agent in served} | {"scripted:demo"})
        return names

    def resolve(self, name: str) -> ServedModel:
        """Return what ``name`` means: ``agent:NAME``, an agent's bare name, or a raw model.

        Raises:
            NotFound: Nothing.
        """
        known = {each.agent.name: each.agent for each in self._desk.agents.all()}
        bare = name.removeprefix("agent:")
        if bare in known:
            return ServedModel(f"agent:{bare}", known[bare])
        if not name.startswith("agent:") and ":" in name and self._desk.settings.raw_models:
            mark = sha256(name.encode()).hexdigest()[:16]
            return ServedModel(name, Agent(f"model.{mark}", model=name))
        raise NotFound(
            f"There is no model {name[:100]!r}.",
            remedy="GET /v1/models lists those there are.",
            data={"param": "model"},
        )

    @asynccontextmanager
    async def turn(self, served: ServedModel, asked: Asked) -> AsyncIterator[FacadeTurn]:
        """Run a turn for the length of a block; leaving it cancels the turn, to the provider.

        Raises:
            Overloaded: There are as many sessions as may be.
        """
        prompt = asked.prompt or user_message(CONTINUE)
        agent = self._with_filter(served.agent)
        async with self._desk.runtime.session(agent) as session:
            turn = session.turn(prompt)
            async with self._run(session, FacadeTurn(asked, turn, f"resp_{turn.id}")) as running:
                yield running

    @asynccontextmanager
    async def kept_turn(
        self, served: ServedModel, asked: Asked, after: Place | None
    ) -> AsyncIterator[FacadeTurn]:
        """Run a turn whose session is kept: a new one, or the one of the response ``after``.

        Leaving the block cancels the turn; what was recorded stays.

        Args:
            served: What answers; where ``after`` is given, the agent of its session.
            asked: What is asked; its history is the session's, so it brings none.
            after: The response that it goes on from.

        Raises:
            InvalidRequest: Nothing is said.
            NotFound: The response is no longer kept.
            Overloaded: There are as many sessions as may be.
            StorageError: The session cannot be read or written.
        """
        assert asked.prompt is not None
        runtime, prompt = (
            self._desk.runtime,
            user_message(asked.prompt),
        )  # before there is a session
        id, session = await self._line_after(served, after)
        try:
            turn_id = new_turn()
            turn = session.turn(prompt, if_busy="reject", id=turn_id)
            running = FacadeTurn(asked, turn, response_id(id, turn_id))
            async with self._run(session, running):
                yield running
        finally:
            self._lines.discard(id)
            with trio.CancelScope(shield=True, deadline=trio.current_time() + _CLOSE_SECONDS):
                await runtime.close_session(id, mode="detach")

    async def _line_after(self, served: ServedModel, after: Place | None) -> tuple[str, Session]:
        """Open the session that goes on: the response's own where it is the last, else a fork."""
        runtime, agent = self._desk.runtime, self._with_filter(served.agent)
        if after is not None and after.session not in self._lines:
            self._lines.add(after.session)
            session = None
            try:
                session = await runtime.open_session(agent, id=after.session)
                if goes_on(await session.view(), after):
                    return after.session, session
            except SessionOwned:
                pass  # another process has it open, perhaps to go on from it: a fork does not mind
            except BaseException:
                self._lines.discard(after.session)
                raise
            self._lines.discard(after.session)
            if session is not None:
                await runtime.close_session(after.session, mode="detach")
        id = new_line()
        if after is not None:
            await runtime.fork(after.session, at=after.seq, new_id=id)
        self._lines.add(id)
        try:
            return id, await runtime.open_session(agent, id=id, labels={LABEL: served.id})
        except BaseException:
            self._lines.discard(id)
            raise

    def is_of(self, served: ServedModel, place: Place) -> bool:
        """Whether ``served`` can go on in the session of a response."""
        return self._with_filter(served.agent).name == place.agent

    @asynccontextmanager
    async def _run(self, session: Session, running: FacadeTurn) -> AsyncIterator[FacadeTurn]:
        self._running[session.id] = running
        try:
            async with running.turn:
                yield running
        finally:
            del self._running[session.id]

    def _with_filter(self, agent: Agent) -> Agent:
        found = self._derived.get(agent.name)
        if found is None or found.model != agent.model:
            # A name of its own, because a runtime wants one definition for each.
            mark = sha256(agent.name.encode()).hexdigest()[:8]
            found = attrs.evolve(
                agent,
                name=f"{agent.name[:46]}.{mark}{_SUFFIX}",
                filters=(*agent.filters, self._filter),  # type: ignore[arg-type]  # its converter is `tuple`
            )
            self._derived[agent.name] = found
            if len(self._derived) > _DERIVED_MAX:
                self._derived.popitem(last=False)
        return found

    async def _on_model(self, payload: ModelInput, proceed: ModelProceed) -> ModelOutput:
        running = self._running.get(payload.caller)
        if running is None:
            return await proceed(payload)
        output = await proceed(_as_asked(payload, running))
        running.steps += 1
        names = {spec.name for spec in running.asked.tools}
        calls = tuple(call for call in output.message.tool_calls if call.name in names)
        if not calls:
            return output
        running.calls = calls[:1] if running.asked.one_call else calls
        kept = tuple(p for p in output.message.parts if not isinstance(p, ToolCall))
        message = AssistantMessage(kept, output.message.vendor)
        return attrs.evolve(output, message=message, finish_reason="stop")


def _as_asked(payload: ModelInput, running: FacadeTurn) -> ModelInput:
    asked = running.asked
    own = payload.messages
    if asked.prompt is None:
        assert isinstance(own[0], UserMessage), "the turn's own message comes first"
        own = own[1:]
    options = merged(payload.options, asked)
    if options.tool_choice == "required" and running.steps:
        # Required of the first step; of every one, the turn would never come to an answer.
        options = attrs.evolve(options, tool_choice="auto")
    names = {spec.name for spec in asked.tools}
    tools = tuple(spec for spec in payload.tools if spec.name not in names)
    if options.tool_choice == "required" and asked.tools:
        tools = ()
    instructions = "\n\n".join(part for part in (payload.instructions, asked.instructions) if part)
    return attrs.evolve(
        payload,
        messages=(*asked.history, *own),
        instructions=instructions,
        tools=(*tools, *asked.tools),
        options=options,
    )
