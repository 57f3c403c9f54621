"""``actrio demo``, which is what ``make run`` shows: the main job in under a minute.

First a real model on this machine uses a tool and streams its answer; then many sessions talk to
the scripted provider, which runs in a process of its own, over real loopback HTTP. A report ends
it, and the exit code is 0 only where nothing failed and nothing was left behind.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final

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
from actrio.errors import ActrioError, PeerError
from actrio.providers import ProviderSettings
from actrio.runtime import LoadedSettings, RuntimeStatistics, open_runtime
from actrio.tools import tool

if TYPE_CHECKING:
    from actrio.cli._app import Common

__all__ = ["demonstrate"]

QUESTION: Final = "What is the weather in Paris?"

CROWD_MODEL: Final = "demo:tokens?ttft=50ms&itl=5ms&tokens=64"

START_SECONDS: Final = 30.0
"""How long the scripted provider's process may take to tell its port, on a loaded machine."""

_WITHOUT_KEY: Final = frozenset({"local", "scripted", "ollama"})
"""Providers that count as usable by themselves: naming them would tell nothing."""

CLOSE_SECONDS: Final = 3.0
"""How long the server may take to notice that its last connections were closed."""


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
    async with _scripted_process() as process:
        provider = ProviderSettings(base_url=process.base_url, max_connections=sessions)
        settings = attrs.evolve(
            loaded.settings, providers={**loaded.settings.providers, "demo": provider}
        )
        agent = Agent("crowd", model=CROWD_MODEL)
        async with open_runtime(settings, env=loaded.env) as runtime:
            crowd = Crowd(runtime, agent, sessions=sessions, seconds=seconds)
            await crowd.run(partial(_show, outlet, _Pace()))
        statistics = runtime.statistics()  # after the end, so that the end counts too
        server = await process.statistics()
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


class _ScriptedProcess:
    """The scripted provider's process: its address, and what it has seen."""

    def __init__(self, process: trio.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._stdin = process.stdin
        self._stdout = process.stdout
        self._buffer = bytearray()
        self.base_url = ""

    async def start(self) -> None:
        self.base_url = f"http://127.0.0.1:{(await self._told())['port']}/v1"

    async def statistics(self) -> Mapping[str, int]:
        """Return statistics, asked for again and again until every connection is closed."""
        deadline = trio.current_time() + CLOSE_SECONDS
        while True:
            await self._stdin.send_all(b"\n")
            told: Mapping[str, int] = await self._told()
            if not told["connections_open"] or trio.current_time() > deadline:
                return told
            await trio.sleep(0.02)

    async def _told(self) -> Any:
        while b"\n" not in self._buffer:
            piece = await self._stdout.receive_some(65536)
            if not piece:
                raise _no_provider()
            self._buffer += piece
        line, _, rest = bytes(self._buffer).partition(b"\n")
        self._buffer = bytearray(rest)
        return json.loads(line)


@asynccontextmanager
async def _scripted_process() -> AsyncIterator[_ScriptedProcess]:
    """Run the scripted provider; it ends when its standard input does, whoever closes that."""
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", "actrio.cli._scripted_child"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        # Ctrl-C is for us; we end it by closing its input.
        start_new_session=True,
        env={**os.environ},
    )
    scripted = _ScriptedProcess(process)
    try:
        with trio.move_on_after(START_SECONDS) as starting:
            await scripted.start()
        if starting.cancelled_caught:
            raise _no_provider()
        yield scripted
    finally:
        with trio.CancelScope(shield=True) as ending:
            ending.deadline = trio.current_time() + CLOSE_SECONDS
            await process.stdin.aclose()  # type: ignore[union-attr]
            await process.wait()
        if process.returncode is None:
            process.kill()
        await trio.aclose_forcefully(process.stdout)  # type: ignore[arg-type]


def _no_provider() -> ActrioError:
    return PeerError(
        "The scripted provider's process ended, or told no port.",
        remedy="Run python -m actrio.cli._scripted_child to see why.",
    )


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
