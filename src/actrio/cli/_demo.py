"""``actrio demo``, which is what ``make run`` shows: the main job in under a minute.

First a real model on this machine uses a tool and streams its answer; then many sessions talk to
the scripted provider, which runs in a process of its own, over real loopback HTTP. A report ends
it, and the exit code is 0 only where nothing failed and nothing was left behind.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Final

import attrs
import trio
from rich.console import Console
from rich.table import Table

from actrio.agents import Agent
from actrio.cli._crowd import Crowd, Tally, peak_memory_bytes, percentile, tasks_alive
from actrio.cli._interrupt import Interruption, until_interrupted
from actrio.cli._outlet import Outlet
from actrio.cli._run import load, play
from actrio.cli._who import LOCAL_MODEL, local_is_ready
from actrio.providers import ProviderSettings
from actrio.runtime import LoadedSettings, RuntimeStatistics, open_runtime, tune_collector
from actrio.stress import scripted_process
from actrio.tools import tool

if TYPE_CHECKING:
    from actrio.cli._app import Common

__all__ = ["demonstrate"]

QUESTION: Final = "What is the weather in Paris?"

CROWD_MODEL: Final = "demo:tokens?ttft=50ms&itl=5ms&tokens=64"

_WITHOUT_KEY: Final = frozenset({"local", "scripted", "ollama"})
"""Providers that count as usable by themselves: naming them would tell nothing."""


@tool(read_only=True)
async def weather(city: str) -> str:
    """Tell the weather in a city. (Canned data: it is always the same.)

    Args:
        city: The city's name.
    """
    return f"In {city} it is 18 °C and sunny."


async def demonstrate(*, seconds: float, sessions: int, common: Common) -> int:
    """Show both parts; 0 where both are without fault."""
    return await until_interrupted(
        partial(_demonstrate, Outlet(), seconds=seconds, sessions=sessions, common=common)
    )


async def _demonstrate(
    outlet: Outlet,
    interruption: Interruption,
    *,
    seconds: float,
    sessions: int,
    common: Common,
) -> int:
    loaded = load(None, common)
    answered = await _one_turn(outlet, interruption, loaded)
    if interruption.signal is not None:
        return 1  # the signal's own code takes its place
    report = await _many_turns(outlet, loaded, sessions=sessions, seconds=seconds)
    await outlet.answer(_table(report))
    await _say_what_could_be_used(outlet, loaded)
    for failure in report.tally.failures[:3]:
        await outlet.complain(f"error: {failure}")
    return 0 if answered and report.faultless else 1


# -- one turn on a real model --------------------------------------------------------------------


async def _one_turn(outlet: Outlet, interruption: Interruption, loaded: LoadedSettings) -> bool:
    """Return whether the turn completed; where there is no local model it is skipped."""
    await outlet.answer(f"1. A real model on this machine ({LOCAL_MODEL}) uses a tool.\n")
    if not local_is_ready(loaded.env):
        await outlet.answer(
            "   skipped: it is not installed. pip install 'actrio[local]', then "
            "actrio model install smollm2\n\n"
        )
        return True
    await outlet.answer(
        f"   The tool's data is canned: the weather is always the same.\n\n   {QUESTION}\n\n"
    )
    agent = Agent("weather", model=LOCAL_MODEL, tools=(weather,), steps_max=4)
    begun = trio.current_time()
    async with (
        open_runtime(loaded.settings, env=loaded.env) as runtime,
        runtime.session(agent) as session,
    ):
        result = await play(session, QUESTION, outlet, interruption, as_json=False)
    if result.error is not None:
        await outlet.complain(f"error: {result.error}")
        return False
    await outlet.answer(
        f"\n   {result.steps} steps, {result.usage.output_tokens} tokens, "
        f"{trio.current_time() - begun:.1f} s with the start and end of its process\n\n"
    )
    return True


# -- many sessions -------------------------------------------------------------------------------


@attrs.frozen(slots=True, kw_only=True)
class _Report:
    tally: Tally
    sessions: int
    elapsed_seconds: float
    statistics: RuntimeStatistics
    server: Mapping[str, int]
    leftover_tasks: int

    @property
    def dead_letters(self) -> int:
        return sum(self.statistics.dead_letters.values())

    @property
    def faultless(self) -> bool:
        return self.tally.turns > 0 and not (
            self.tally.failures or self.dead_letters or self.leftover_tasks
        )


async def _many_turns(
    outlet: Outlet, loaded: LoadedSettings, *, sessions: int, seconds: float
) -> _Report:
    await outlet.answer(
        f"2. {sessions} sessions at once, for {seconds:g} s, over HTTP on loopback. The model is a "
        "script in a process\n   of its own: 50 ms to the first token, then one every 5 ms, 64 in "
        "all.\n\n"
    )
    before = tasks_alive()
    async with scripted_process() as process:
        provider = ProviderSettings(base_url=process.base_url, max_connections=sessions)
        settings = attrs.evolve(
            loaded.settings, providers={**loaded.settings.providers, "demo": provider}
        )
        agent = Agent("crowd", model=CROWD_MODEL)
        async with open_runtime(settings, env=loaded.env) as runtime:
            tune_collector()
            crowd = Crowd(runtime, agent, sessions=sessions, seconds=seconds)
            await crowd.run(partial(_show, outlet, _Pace()))
        statistics = runtime.statistics()  # after the end, so that the end counts too
        server = await process.settled(closed=True)
    if outlet.err_is_tty:
        await outlet.remark("")
    return _Report(
        tally=crowd.tally,
        sessions=sessions,
        elapsed_seconds=crowd.elapsed_seconds,
        statistics=statistics,
        server=server,
        leftover_tasks=tasks_alive() - before,
    )


@attrs.define(slots=True)
class _Pace:
    """When the last line was printed, for output that cannot be overwritten."""

    printed: float = 0.0


async def _show(outlet: Outlet, pace: _Pace, tally: Tally, elapsed: float) -> None:
    line = (
        f"   {elapsed:4.0f} s  {tally.running} sessions  {tally.turns} turns  "
        f"{tally.tokens / elapsed:,.0f} tokens/s  {len(tally.failures)} errors"
    )
    if outlet.err_is_tty:
        await outlet.progress(line)
    elif elapsed - pace.printed >= 0.99:
        pace.printed = elapsed
        await outlet.remark(line)


# -- the report ----------------------------------------------------------------------------------


def _table(report: _Report) -> str:
    tally = report.tally
    latency, first = tally.latency_seconds, tally.first_token_seconds
    rows = [
        ("turns completed", f"{tally.turns}, {tally.turns / report.elapsed_seconds:.0f}/s"),
        ("tokens", f"{tally.tokens:,}, {tally.tokens / report.elapsed_seconds:,.0f}/s"),
        ("turn latency", _pair(latency)),
        ("time to first token", _pair(first)),
        ("errors", str(len(tally.failures))),
        ("peak memory", f"{peak_memory_bytes() / 1e6:.0f} MB, this process"),
        ("restarts", str(report.statistics.restarts)),
        ("dead letters", str(report.dead_letters)),
        ("leftover tasks", str(report.leftover_tasks)),
        (
            "connections",
            "{connections_peak} at peak, {connections_open} after".format(**report.server),
        ),
    ]
    table = Table(title=f"{report.sessions} sessions, {report.elapsed_seconds:.1f} s")
    table.add_column("measure")
    table.add_column("value")
    for row in rows:
        table.add_row(*row)
    written = io.StringIO()
    Console(file=written, width=72, no_color=True).print(table)
    return written.getvalue()


def _pair(values: list[float]) -> str:
    middle, high = percentile(values, 0.5), percentile(values, 0.95)
    return f"p50 {middle * 1000:.0f} ms, p95 {high * 1000:.0f} ms"


async def _say_what_could_be_used(outlet: Outlet, loaded: LoadedSettings) -> None:
    """Name the providers whose key is here, and how to use them; never the key."""
    async with open_runtime(loaded.settings, env=loaded.env) as runtime:
        statuses = {status.name: status.state for status in runtime.connections.status()}
    for name, state in statuses.items():
        chosen = name not in _WITHOUT_KEY or name in loaded.settings.providers
        if state == "available" and chosen:
            await outlet.answer(
                f'{name} is configured and could be used: actrio run -m {name}:MODEL "{QUESTION}"\n'
            )
