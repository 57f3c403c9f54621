"""``actrio stress`` as a person sees it: the flags, and the plan that they amount to.

The flags are read here, so that what they mean can be tested without running anything; the room
`actrio.stress` is imported only when the command is called.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import attrs
import cyclopts
from cyclopts import App, Parameter

from actrio.cli._app import Common

__all__ = ["Load", "make_stress_app"]

EPILOGUE = """\
Examples:
  actrio stress
  actrio stress --sessions 500 --duration 30s --out run/
  actrio stress --rate 50/s --arrival poisson --slo 'ttft.p95<300ms'
  actrio stress --profile knee --slo 'e2e.p95<1s'
  actrio stress --profile chaos --duration 1m
  actrio stress --target openai:http://127.0.0.1:8000/v1 --model my-model
  actrio stress --target stdio: --sessions 200
  actrio stress --target http: --store embedded
  actrio stress --target http://127.0.0.1:8080 --model agent:assistant
  actrio stress compare base/report.json new/report.json --assert 'p95<=0.7x'

Exit codes: 0 passed, 1 nothing was measured or the generator was saturated,
75 the target is not there, 99 an objective was missed, 130 interrupted (the
report is written all the same).
"""

COMPARE_EPILOGUE = """\
Examples:
  actrio stress compare base.json new.json
  actrio stress compare base.json new.json --assert 'p95<=0.7x' --assert 'rss<=0.75x'
  actrio stress compare base.json new.json --assert 'ttft.p99<500ms'
"""

_COMMON = Common()


@Parameter(name="*")
@attrs.frozen
class Load:
    """What load, and on what."""

    target: str = "inproc"
    """What is put under load: inproc, stdio:COMMAND, http:URL (both start actrio serve where
    nothing is named), openai:URL."""

    model: Annotated[str | None, Parameter(name=["--model", "-m"])] = None
    """The model; a scripted: one answers from a process of its own and needs no key. At http:URL
    also agent:NAME, an agent of that server."""

    profile: Literal["closed", "open", "ramp", "sweep", "knee", "soak", "chaos"] | None = None
    """The shape of the load; closed, or with --rate or --replay open."""

    sessions: Annotated[
        int | None, Parameter(validator=cyclopts.validators.Number(gte=1, lte=100_000))
    ] = None
    """Sessions at once (100); in an open run turns at once (500)."""

    rate: str | None = None
    """Turns that begin per second, as 200/s, whether or not the last ones have ended."""

    arrival: Literal["constant", "poisson", "burst"] = "constant"
    """How the turns of an open run are spread."""

    replay: Path | None = None
    """A file of times at which turns begin: seconds, or {"at": 1.5, "prompt": "…"}, on each line."""

    duration: str | None = None
    """How long, as 10s, 5m or 1h (10s; soak 10m); of a sweep or knee each level (5s)."""

    ramp: str | None = None
    """How long the load rises before, as 30s."""

    stages: str | None = None
    """The levels of a ramp or sweep, as 10@5s,50@5s (sessions) or 20/s@5s (turns per second)."""

    turns: Annotated[int, Parameter(validator=cyclopts.validators.Number(gte=1))] = 5
    """Turns of one conversation, before its session is closed and a new one begins."""

    warmup: str | None = None
    """How long nothing counts at the beginning; a tenth of the duration, at most 5s."""

    chaos: str | None = None
    """What goes wrong: provider_5xx=1%,stall=0.5%,kill_actor=1/s,slow_client=5%,cancel=10%."""

    connections: Annotated[
        int | None, Parameter(validator=cyclopts.validators.Number(gte=1, lte=10_000))
    ] = None
    """Calls to the scripted provider at once; as many as sessions."""

    queue: Annotated[int, Parameter(validator=cyclopts.validators.Number(gte=1))] = 2000
    """Calls that may wait for a connection; beyond it turns are refused."""

    store: Literal["memory", "embedded"] | None = None
    """Where sessions are kept: memory, or embedded, in files that are removed afterwards."""

    key_env: Annotated[str | None, Parameter(name="--key-env")] = None
    """The variable with the key for http:URL or openai:URL (ACTRIO_STRESS_API_KEY)."""

    prompt: str | None = None
    """What is said; {turn} in it is replaced by a number."""

    seed: int = 1
    """Of everything that is drawn by chance."""


@Parameter(name="*")
@attrs.frozen
class Outcome:
    """What has to come of it, and where it goes."""

    slo: tuple[str, ...] = ()
    """What has to be reached, as 'ttft.p95<300ms' or 'error_rate<0.1%'; can be repeated."""

    baseline: Path | None = None
    """A report to compare tokens per second with."""

    out: Path | None = None
    """A folder for report.json, report.html, series.csv and latency.hgrm."""

    html: Path | None = None
    """A file for the report as one HTML page."""

    turns_file: Path | None = None
    """A file for each turn as a line of JSON, a million at most."""

    json: bool = False
    """Write one JSON line per second, and the report as the last one."""

    allow_saturated: bool = False
    """Take the numbers although the generator had no time to spare."""


_LOAD = Load()
_OUTCOME = Outcome()


async def stress(
    *, load: Load = _LOAD, outcome: Outcome = _OUTCOME, common: Common = _COMMON
) -> int:
    """Put load on a runtime, a stdio server or an OpenAI-compatible URL, and report what came of it."""
    from actrio.cli._stress_run import run_stress

    return await run_stress(load, outcome, common)


async def compare(
    first: Path,
    second: Path,
    /,
    *,
    assertion: Annotated[tuple[str, ...], Parameter(name="--assert", negative="")] = (),
    json: bool = False,
    common: Common = _COMMON,  # noqa: ARG001 - read at the edge
) -> int:
    """Compare two reports of actrio stress.

    Parameters
    ----------
    first
        The report.json that is compared with.
    second
        The report.json that is judged.
    assertion
        What must hold of the second, as 'p95<=0.7x' (of the first's) or 'ttft.p95<300ms'; can be
        repeated. Exit code 99 where one does not.
    json
        Write one JSON object instead of text.
    """
    from actrio.cli._stress_run import compare_reports

    return await compare_reports(first, second, assertion, as_json=json)


def make_stress_app() -> App:
    """Return the grammar of ``actrio stress``."""
    app = App(
        name="stress",
        help="Put load on a target and report what came of it.",
        help_epilogue=EPILOGUE,
        default_parameter=Parameter(negative=""),
    )
    app.default(stress)
    app.command(compare, help_epilogue=COMPARE_EPILOGUE)
    return app
