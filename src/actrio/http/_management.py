"""The older management contract, below ``/v1/runtime/actrio``, as far as it means something here.

Agents and sessions are those of the other routes, told in its words. What compares runtimes of
several languages, and what would need an index of all events, is answered 501 with what to do.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import attrs
import msgspec

from actrio.agents import Agent
from actrio.errors import Conflict, NotSupported
from actrio.http._call import Answer, Call, json_answer
from actrio.http._management_types import (
    AgentRuntime,
    Envelope,
    EnvelopesPage,
    RunMessage,
    SessionRecord,
    SessionSummary,
    ToolOutput,
)
from actrio.http._native_agents import tools_named
from actrio.http._operations import Operation, Parameter, Reply
from actrio.http._seed import address_of
from actrio.http._seed_types import Degraded
from actrio.http._values import event_as_told
from actrio.messages import Message, SessionView, ToolMessage, TurnEvent
from actrio.wire import event_to_dict, plain

__all__ = ["MANAGEMENT"]

_ROOT: Final = "/v1/runtime/actrio"

_AGENT: Final = msgspec.json.Decoder(AgentRuntime)

_PAGE_MAX: Final = 1000


# -- agents ------------------------------------------------------------------------------------------


async def _register(call: Call) -> Answer:
    body: AgentRuntime = await call.read(_AGENT)
    desk = call.desk
    desk.check_model(body.model_ref)
    tools = tools_named(body.toolkits, desk.agents)
    timeouts = body.timeouts
    if timeouts is not None and timeouts.tool_call_ms is not None:
        seconds = timeouts.tool_call_ms / 1000
        tools = tuple(attrs.evolve(tool, timeout_seconds=seconds) for tool in tools)
    told = {"runtime": body, "timeout_ms": timeouts.run_ms if timeouts is not None else None}
    agent = Agent(address_of(body.id), model=body.model_ref, tools=tools)
    try:
        made = desk.agents.create(agent, told=told)
    except Conflict:
        made = desk.agents.get(agent.name)
        if made.told.get("runtime") != body:
            raise
    location = (b"location", f"/v1/agents/{made.agent.name}".encode())
    return json_answer(msgspec.structs.replace(body, degraded=_degraded(body)), 201, (location,))


def _degraded(body: AgentRuntime) -> list[Degraded]:
    found = []
    if body.hooks:
        found.append(Degraded("hooks", "code cannot be sent; filters belong to the program"))
    memory, session = body.memory_policy, body.session_policy
    if memory is not None and (memory.window_size or memory.sensitive_filtering):
        found.append(Degraded("memoryPolicy", "the window and redaction are in the settings"))
    if session is not None and (session.overwrite_db_session_state or session.enable_agentic_state):
        found.append(Degraded("sessionPolicy", "a session's state is changed by its own route"))
    return found


# -- sessions ----------------------------------------------------------------------------------------


async def _session(call: Call) -> Answer:
    return json_answer(_record(await call.desk.runtime.view(call.path["sessionId"])))


def _record(view: SessionView) -> SessionRecord:
    usage = view.metrics.usage
    metrics: dict[str, float] = {
        "runs": view.metrics.runs,
        "toolCalls": view.metrics.tool_calls,
        "promptTokens": usage.input_tokens,
        "completionTokens": usage.output_tokens,
        "totalTokens": usage.total_tokens,
        "latencyMs": round(view.metrics.run_seconds * 1000),
    }
    summary = None
    if view.summary:
        summary = SessionSummary(view.summary, str(view.summary_version))
    return SessionRecord(
        session_id=view.session,
        user_id=view.user,
        state_blob=plain(view.state),
        history=[_message(each) for each in view.history],
        metrics=metrics,
        summary=summary,
        created_at=_time(view.created_at),
        updated_at=_time(view.updated_at),
    )


def _message(message: Message) -> RunMessage:
    if isinstance(message, ToolMessage):
        results = [
            ToolOutput(each.name, {"state": each.state, "output": each.text})
            for each in message.results
        ]
        return RunMessage(message.role, tool_results=results)
    return RunMessage(message.role, message.text)


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


# -- telemetry ---------------------------------------------------------------------------------------


async def _telemetry(call: Call) -> Answer:
    _check_runtime(call)
    session = call.query("sessionId")
    unknown = next((name for name in ("workflowRunId", "agentId") if call.query(name)), "")
    if session is None or unknown or call.wants_events:
        raise NotSupported(
            "Recorded events can be asked for by their session only, and as a page.",
            remedy="Send sessionId; GET /v1/sessions/{session}/events is the same live, "
            "/metrics and /v1/runtime/tree show the runtime as a whole.",
        )
    runtime = call.desk.runtime
    view = await runtime.view(session)
    limit = call.count("limit", 100, most=_PAGE_MAX)
    kind = call.query("eventType")
    found: list[TurnEvent] = []
    position = 0
    while len(found) < limit:
        page = await runtime.events(session, from_seq=position, limit=_PAGE_MAX)
        found += [each for each in page if kind is None or each.type == kind]
        if len(page) < _PAGE_MAX:
            break
        position = page[-1].seq
    return json_answer(EnvelopesPage([_envelope(each, view.agent) for each in found[:limit]]))


def _envelope(event: TurnEvent, agent: str) -> Envelope:
    return Envelope(
        event_id=f"{event.session}:{event.seq}",
        timestamp=_time(event.ts),
        runtime="actrio",
        event_type=event.type,
        session_id=event.session,
        agent_id=agent,
        payload=event_to_dict(event_as_told(event)),
        correlation_ids=[event.turn] if event.turn else [],
    )


def _check_runtime(call: Call) -> None:
    runtime = call.query("runtime")
    if runtime not in {None, "actrio"}:
        raise NotSupported(
            "There is no other runtime behind this service.",
            remedy="Leave runtime out, or send runtime=actrio.",
        )


# -- what is not here ---------------------------------------------------------------------------------


_ABSENT: Final[Mapping[tuple[str, str], tuple[str, str, str]]] = {
    ("POST", "/workflows/{workflowId}:run"): (
        "runWorkflow",
        "Workflows cannot be sent over HTTP.",
        "Run them in a program of yours; a single agent runs by POST /v1/sessions/{session}/turns.",
    ),
    ("POST", "/benchmarks"): (
        "recordBenchmarks",
        "Measurements of other runtimes are not kept here.",
        "Run `actrio stress`, or python -m bench.http in the repository, and keep their output.",
    ),
    ("POST", "/parity-tests:run"): (
        "runParityFixture",
        "There is no second runtime to compare with.",
        "Get /contracts/fixtures/{fixtureId}, send its request to both, and compare.",
    ),
    ("GET", "/support-matrix"): (
        "getSupportMatrix",
        "There is no table of several runtimes.",
        "GET /openapi.json has every operation, GET /health every provider.",
    ),
}


def _absent(method: Any, path: str, id: str, message: str, remedy: str) -> Operation:
    async def refuse(_call: Call) -> Answer:
        raise NotSupported(message, remedy=remedy)

    return Operation(
        id=id,
        method=method,
        path=_ROOT + path,
        summary=f"Answered 501: {message}",
        tag="management",
        endpoint=refuse,
        fails=(501,),
    )


MANAGEMENT = (
    Operation(
        id="registerAgentRuntime",
        method="POST",
        path=f"{_ROOT}/agents",
        summary="Register an agent; the same one again is answered alike.",
        tag="management",
        endpoint=_register,
        body=AgentRuntime,
        replies={201: Reply("The agent, and what could not be had.", AgentRuntime)},
        fails=(404, 409),
    ),
    Operation(
        id="getSessionRecord",
        method="GET",
        path=f"{_ROOT}/sessions/{{sessionId}}",
        summary="A session in the management contract's words.",
        tag="management",
        endpoint=_session,
        replies={200: Reply("The session.", SessionRecord)},
        fails=(404, 422, 507),
    ),
    Operation(
        id="listTelemetryEvents",
        method="GET",
        path=f"{_ROOT}/telemetry/events",
        summary="A session's recorded events as telemetry envelopes.",
        tag="management",
        endpoint=_telemetry,
        parameters=(
            Parameter("sessionId", "Whose events."),
            Parameter("eventType", "Only of this type."),
            Parameter("runtime", "actrio; others are 501."),
            Parameter(
                "limit",
                "Most events.",
                schema={"type": "integer", "minimum": 1, "maximum": _PAGE_MAX},
            ),
        ),
        replies={200: Reply("The events.", EnvelopesPage)},
        fails=(404, 422, 501, 507),
    ),
    *(_absent(method, path, *told) for (method, path), told in _ABSENT.items()),
)
