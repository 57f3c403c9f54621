"""How the service is: for people, orchestrators and Prometheus."""

from __future__ import annotations

from typing import Any, Literal

import attrs
import msgspec

from actrio.http._call import Answer, Call, json_answer
from actrio.http._metrics import METRICS_TYPE, render_metrics
from actrio.http._operations import Operation, Reply
from actrio.http._version import VERSION

__all__ = ["HEALTH", "Health", "ProviderHealth"]


class ProviderHealth(msgspec.Struct, frozen=True, rename="camel"):
    """One provider, in the older contract's words."""

    provider: str
    status: Literal["available", "not-configured", "disabled"]
    capabilities: list[str]
    missing_env: list[str]
    remedy: str | None = None


class Health(msgspec.Struct, frozen=True, rename="camel"):
    """``ok``, or ``stopping``. A provider without its key stops nobody else."""

    status: Literal["ok", "stopping"]
    version: str
    providers: list[ProviderHealth]


class Alive(msgspec.Struct, frozen=True):
    status: str


async def _livez(_call: Call) -> Answer:
    return json_answer(Alive("alive"))


async def _readyz(call: Call) -> Answer:
    if call.desk.stops.begun:
        return json_answer(Alive("stopping"), 503)
    return json_answer(Alive("ready"))


async def _health(call: Call) -> Answer:
    found = [
        ProviderHealth(
            provider=status.name,
            status=status.state,
            capabilities=list(status.can),
            missing_env=[status.missing_env] if status.missing_env else [],
            remedy=status.remedy,
        )
        for status in call.desk.runtime.connections.status()
    ]
    state: Literal["ok", "stopping"] = "stopping" if call.desk.stops.begun else "ok"
    return json_answer(Health(state, VERSION, found))


async def _metrics(call: Call) -> Answer:
    return Answer(200, render_metrics(call.desk), METRICS_TYPE)


async def _tree(call: Call) -> Answer:
    return json_answer(attrs.asdict(call.desk.runtime.tree()))


async def _stats(call: Call) -> Answer:
    desk = call.desk
    http = {
        "calls": desk.calls,
        "peak_calls": desk.peak_calls,
        "calls_max": int(desk.settings.limits.calls),
        "streams": desk.stops.streams,
        "facade_turns": desk.facade_turns,
        "connections": dict(desk.connections),
        "refused": dict(desk.refused),
    }
    return json_answer({"runtime": attrs.asdict(desk.runtime.statistics()), "http": http})


HEALTH = (
    Operation(
        id="livez",
        method="GET",
        path="/livez",
        summary="Whether the process lives.",
        tag="health",
        endpoint=_livez,
        replies={200: Reply("It does.", Alive)},
    ),
    Operation(
        id="readyz",
        method="GET",
        path="/readyz",
        summary="Whether it takes requests.",
        tag="health",
        endpoint=_readyz,
        replies={200: Reply("It does.", Alive), 503: Reply("It is stopping.", Alive)},
    ),
    Operation(
        id="getHealth",
        method="GET",
        path="/health",
        summary="Every provider: available, not-configured or disabled, and what is missing.",
        tag="contract",
        endpoint=_health,
        replies={200: Reply("How it is.", Health)},
    ),
    Operation(
        id="getMetrics",
        method="GET",
        path="/metrics",
        summary="Prometheus text.",
        tag="health",
        endpoint=_metrics,
        replies={200: Reply("The metrics.", str, ("text/plain",))},
    ),
    Operation(
        id="getTree",
        method="GET",
        path="/v1/runtime/tree",
        summary="The live tree of actors.",
        tag="runtime",
        endpoint=_tree,
        replies={200: Reply("The tree.", dict[str, Any])},
    ),
    Operation(
        id="getStats",
        method="GET",
        path="/v1/runtime/stats",
        summary="What is used, and the bounds.",
        tag="runtime",
        endpoint=_stats,
        replies={200: Reply("The numbers.", dict[str, Any])},
    ),
)
