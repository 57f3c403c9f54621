"""``actrio stress``: run a plan, show how it goes, and leave a report."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from actrio.cli._interrupt import Interruption, until_interrupted
from actrio.cli._outlet import Outlet, wants_color
from actrio.cli._run import load as load_and_log
from actrio.cli._stress_plan import plan_of
from actrio.errors import ConfigError, NotFound
from actrio.runtime import tune_collector
from actrio.stress import (
    Histogram,
    Live,
    Objective,
    compare,
    comparison_text,
    live_json,
    panel,
    read_report,
    report_html,
    report_text,
    series_csv,
    stress,
    tuning_hints,
)
from actrio.telemetry import configure_logging
from actrio.wire import json_line

if TYPE_CHECKING:
    from actrio.cli._app import Common
    from actrio.cli._stress import Load, Outcome

__all__ = ["compare_reports", "run_stress"]

EXIT_MISSED = 99

RATES_KEPT = 40
"""Seconds that the panel draws."""


async def run_stress(load: Load, outcome: Outcome, common: Common) -> int:
    """Run what the flags ask for; the exit code is the report's verdict."""
    tune_collector()
    return await until_interrupted(
        partial(_run, Outlet(), load=load, outcome=outcome, common=common)
    )


async def _run(
    outlet: Outlet, interruption: Interruption, *, load: Load, outcome: Outcome, common: Common
) -> int:
    loaded = load_and_log(None, common)
    plan = plan_of(load, slos=outcome.slo, allow_saturated=outcome.allow_saturated)
    baseline = read_report_file(outcome.baseline) if outcome.baseline else None
    _check_places(outcome)
    if plan.chaos.kill_actor:
        # Crashes are wanted here, and each would be told with its traceback.
        configure_logging(json=loaded.settings.log.json, level="critical", env=loaded.env)
    shown = _Shown(outlet, as_json=outcome.json)
    async with stress(
        plan,
        settings=loaded.settings,
        env=loaded.env,
        show=shown.second,
        turns_file=outcome.turns_file,
    ) as run:
        interruption.gently = run.interrupt
        report = await run.run()
        interruption.gently = None
    await shown.end()
    if baseline is not None:
        report["tuning"] = tuning_hints(report, baseline)
    written = await trio.to_thread.run_sync(_write, report, outcome)
    if outcome.turns_file is not None:
        written.append(outcome.turns_file)
    if outcome.json:
        await outlet.raw(json_line({"type": "stress.report", **report}))
    else:
        await outlet.answer(report_text(report))
        await outlet.answer("".join(f"  wrote {path}\n" for path in written))
    code: int = report["verdict"]["exit"]
    return code


# -- while it goes ---------------------------------------------------------------------------------


class _Shown:
    """Shows each second: a panel on a terminal, a line of JSON where asked for, else nothing."""

    def __init__(self, outlet: Outlet, *, as_json: bool) -> None:
        self._outlet = outlet
        self._as_json = as_json
        self._panel = outlet.err_is_tty and not as_json and os.environ.get("TERM") != "dumb"
        self._color = wants_color(tty=outlet.err_is_tty, env=os.environ)
        self._rates: list[float] = []
        self._lines = 0

    async def second(self, live: Live) -> None:
        """Show one second."""
        if self._as_json:
            await self._outlet.raw(json_line(live_json(live)))
        elif self._panel:
            point = live.point
            self._rates = [*self._rates, point.ok / (point.seconds or 1.0)][-RATES_KEPT:]
            await self._draw(panel(live, self._rates, color=self._color))

    async def end(self) -> None:
        """Take the panel away: the report has all of it."""
        if self._lines:
            await self._draw([])

    async def _draw(self, lines: list[str]) -> None:
        up = f"\x1b[{self._lines}A" if self._lines else ""
        text = f"{up}\r\x1b[J" + "".join(f"{line}\n" for line in lines)
        self._lines = len(lines)
        with contextlib.suppress(OSError):  # a terminal that went away does not end the run
            await trio.to_thread.run_sync(
                os.write, 2, text.encode("utf-8", "replace"), abandon_on_cancel=True
            )


# -- files -----------------------------------------------------------------------------------------


def _check_places(outcome: Outcome) -> None:
    """Find out before the run, and not after it, that its report cannot be written."""
    files = filter(None, (outcome.html, outcome.turns_file))
    for folder in filter(None, (outcome.out, *(file.parent for file in files))):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"{folder} cannot be made: {error.strerror}.", remedy="Choose another folder."
            ) from error


def _write(report: Mapping[str, Any], outcome: Outcome) -> list[Path]:
    files: dict[Path, bytes] = {}
    if outcome.out is not None:
        service = Histogram.from_dict(report["histograms"]["e2e"])
        files[outcome.out / "report.json"] = json_line(report)
        files[outcome.out / "report.html"] = report_html(report).encode()
        files[outcome.out / "series.csv"] = series_csv(report).encode()
        files[outcome.out / "latency.hgrm"] = service.hdr_text().encode()
    if outcome.html is not None:
        files[outcome.html] = report_html(report).encode()
    for path, content in files.items():
        try:
            path.write_bytes(content)
        except OSError as error:
            raise ConfigError(
                f"{path} cannot be written: {error.strerror}.", remedy="Choose another place."
            ) from error
    return list(files)


def read_report_file(path: Path) -> dict[str, Any]:
    """Return the report in a file.

    Raises:
        NotFound: The file cannot be read.
        InvalidRequest: It is no report.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise NotFound(
            f"{path} cannot be read: {error.strerror}.", remedy="Check the path."
        ) from error
    return read_report(content, source=str(path))


async def compare_reports(
    first: Path, second: Path, assertions: tuple[str, ...], *, as_json: bool
) -> int:
    """Compare two reports; 99 where an assertion does not hold."""
    outlet = Outlet()
    asserted = [Objective.parse(text, relative=True) for text in assertions]
    found = compare(read_report_file(first), read_report_file(second), asserted)
    if as_json:
        rows = [
            {"metric": row.metric, "first": row.first, "second": row.second, "ratio": row.ratio}
            for row in found.rows
        ]
        told = {
            "rows": rows,
            "assertions": [each.told() for each in found.judged],
            "remarks": found.remarks,
            "hints": found.hints,
        }
        await outlet.raw(json_line(told))
    else:
        await outlet.answer(comparison_text(found))
    return 0 if found.holds else EXIT_MISSED
