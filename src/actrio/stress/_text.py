"""A report as text: the table for a terminal, the CSV for a spreadsheet, units for people. Pure."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any, Final

from actrio.stress._compare import Comparison

__all__ = [
    "amount",
    "comparison_text",
    "headline",
    "report_text",
    "series_csv",
    "size",
    "span",
    "value_text",
]

NOTHING: Final = "–"

_LATENCIES: Final = (
    ("ttft", "time to first token"),
    ("itl", "between pieces"),
    ("tpot", "per output token"),
    ("e2e", "turn (service)"),
    ("effective", "turn (effective)"),
    ("wait", "wait to begin"),
    ("loop_lag", "event loop late"),
)
_STATISTICS: Final = ("min", "mean", "p50", "p90", "p95", "p99", "p99.9", "max")


def span(seconds: float | None) -> str:
    """Return a time for people: ``1.2 ms``, ``340 ms``, ``2.1 s``."""
    if seconds is None:
        return NOTHING
    if seconds < 0.0001:
        return f"{seconds * 1e6:.0f} µs"
    if seconds < 0.01:
        return f"{seconds * 1e3:.2f} ms"
    if seconds < 1:
        return f"{seconds * 1e3:.0f} ms"
    return f"{seconds:.2f} s" if seconds < 100 else f"{seconds:,.0f} s"


def size(count: float | None) -> str:
    """Return bytes for people."""
    if count is None:
        return NOTHING
    return f"{count / 1e6:,.1f} MB" if abs(count) < 1e9 else f"{count / 1e9:,.2f} GB"


def amount(value: float | None) -> str:
    """Return a count or rate for people."""
    if value is None:
        return NOTHING
    if isinstance(value, int) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 1 or not value else f"{value:.3g}"


def percent(share: float | None) -> str:
    """Return a share for people."""
    return NOTHING if share is None else f"{share:.2%}" if 0 < share < 0.1 else f"{share:.1%}"


def value_text(value: float | None, unit: str) -> str:
    """Return a metric's value in its unit."""
    match unit:
        case "s":
            return span(value)
        case "B":
            return size(value)
        case "B/min":
            return NOTHING if value is None else f"{size(value)}/min"
        case "%":
            return percent(value)
        case "/s":
            return NOTHING if value is None else f"{amount(value)}/s"
        case _:
            return amount(int(value) if value is not None and value == int(value) else value)


# -- the terminal ----------------------------------------------------------------------------------


def headline(report: Mapping[str, Any]) -> str:
    """Return what was done, in one line."""
    plan = report["plan"]
    stages = plan["stages"]
    sessions = max((stage["sessions"] for stage in stages), default=None)
    rate = next((s["offered_per_second"] for s in stages if s["offered_per_second"]), None)
    load = f"{sessions} sessions"
    if plan["knee"] is not None:
        load = f"a search from {plan['knee']['start']:g} to {plan['knee']['most']:g}"
    elif rate:
        load = f"{rate:g} turns/s offered"
    return f"{plan['profile']}: {load} for {report['seconds']:.1f} s on {report['target']['name']}"


def report_text(report: Mapping[str, Any]) -> str:
    """Return the report for a terminal of 80 columns."""
    lines = [headline(report), f"model {report['plan']['model']}", ""]
    lines += _facts(report)
    lines += ["", *_latency_lines(report)]
    lines += _stage_lines(report)
    lines += _error_lines(report)
    lines += _verdict_lines(report)
    return "\n".join(lines) + "\n"


def _facts(report: Mapping[str, Any]) -> list[str]:
    turns, rates, memory, cpu = (report[name] for name in ("turns", "rates", "memory", "cpu"))
    good, actors, overload = report["goodput"], report["actors"], report["overload"]
    journal = report["journal"]
    ends = [f"{turns[name]:,} {name}" for name in _ENDS if turns[name]]
    rows = [
        ("turns", f"{turns['ok']:,} ok" + (", " + ", ".join(ends) if ends else "")),
        ("lost, truncated", f"{turns['lost']}, {turns['truncated']} (must be 0)"),
        (
            "throughput",
            (
                f"{amount(rates['turns_per_second'])} turns/s, "
                f"{amount(rates['tokens_per_second'])} tokens/s"
            ),
        ),
        (
            "goodput",
            (
                f"{percent(good['share'])} ({good['good']:,} of {good['of']:,}; "
                f"95 %: {percent(good['low'])} to {percent(good['high'])})"
            ),
        ),
        (
            "processor",
            (
                f"{percent(cpu['share'])} of a core, {span(cpu['seconds_per_turn'])} per turn"
                f"{_starved(cpu['starved_share'])}"
            ),
        ),
        (
            "memory",
            (
                f"{size(memory['peak_bytes'])} peak, {size(memory['steady_bytes'])} steady, "
                f"{_slope(memory['slope_bytes_per_minute'])}"
            ),
        ),
    ]
    if journal["bytes"] is not None:
        rows.append(("store", _store(journal)))
    if turns["rejected"]:
        told = f"{overload['with_retry_after']:,} told when to come back"
        after = span(overload["retry_after"]["p50"])
        rows.append(("overload", f"{turns['rejected']:,} refused, {told} (p50 {after})"))
    if actors["restarts"] is not None:
        rows.append(
            ("actors", f"{actors['restarts']} restarts, {actors['killed']} killed on purpose")
        )
    left = [f"{count} {name}" for name, count in report["left"].items() if count]
    if left:
        rows.append(("left behind", ", ".join(left)))
    waiting = (actors["turns_waiting_peak"], report["provider"]["waiting_peak"])
    if any(waiting):
        rows.append(("waited at peak", f"{waiting[0] or 0} turns, {waiting[1] or 0} calls"))
    return [f"  {name:<16}{value}" for name, value in rows]


_ENDS: Final = ("cancelled", "injected", "killed", "failed", "rejected", "unfinished", "dropped")


def _store(journal: Mapping[str, Any]) -> str:
    told = f"{size(journal['bytes'])} in files, {amount(journal['bytes_per_turn'])} B per turn"
    if journal["sessions"] is None:
        return told
    checked = "all checks" if not journal["problems"] else f"{journal['problems']} do not check"
    return f"{told}, {journal['sessions']:,} sessions, {checked}"


def _starved(share: float | None) -> str:
    return f"; {percent(share)} without a core" if share is not None and share >= 0.01 else ""


def _slope(slope: float | None) -> str:
    return "too short for a slope" if slope is None else f"{slope / 1e6:+.2f} MB/min"


def _latency_lines(report: Mapping[str, Any]) -> list[str]:
    names = ("min", "p50", "p95", "p99", "p99.9", "max")
    lines = ["  " + " " * 20 + "".join(f"{name:>9}" for name in names)]
    for key, title in _LATENCIES:
        summary = report["latency"][key]
        if summary["count"]:
            cells = "".join(f"{span(summary[name]):>9}" for name in names)
            lines.append(f"  {title:<20}{cells}")
    return lines


def _stage_lines(report: Mapping[str, Any]) -> list[str]:
    measured = [stage for stage in report["stages"] if stage["measured"]]
    if not measured:
        return []
    lines = [
        "",
        f"  {'stage':<16}{'turns/s':>10}{'ttft p95':>11}{'turn p95':>11}{'errors':>9}{'good':>9}",
    ]
    for stage in measured:
        rates, latency = stage["rates"], stage["latency"]
        lines.append(
            f"  {stage['name']:<16}{amount(rates['turns_per_second']):>10}"
            f"{span(latency['ttft']['p95']):>11}{span(latency['e2e']['p95']):>11}"
            f"{percent(rates['error_rate']):>9}{percent(stage['goodput']['share']):>9}"
        )
    knee = report["knee"]
    if knee is not None:
        told = "not even the lowest load kept the objectives"
        if knee["level"] is not None:
            told = f"{knee['level']:g} {knee['unit']} kept the objectives"
        lines.append(f"  knee: {told}")
    return lines


def _error_lines(report: Mapping[str, Any]) -> list[str]:
    if not report["errors"]:
        return []
    lines = [""]
    for error in report["errors"][:5]:
        lines.append(f"  {error['count']:>6} × {error['label']}")
        if error["example"]:
            lines.append(f"           {error['example'][:160]}")
    return lines


def _verdict_lines(report: Mapping[str, Any]) -> list[str]:
    lines = [""]
    lines += [
        f"  {'✓' if each['holds'] else '✗'} {each['text']}  (is {value_text(each['value'], each['unit'])})"
        for each in report["slos"]
    ]
    if report["generator"]["state"] != "fit":
        lines.append(f"  {report['generator']['text']}")
    lines += [f"  {hint}" for hint in report.get("tuning") or ()]
    verdict = report["verdict"]
    good = "passed" if report["slos"] else "finished; no objective was set (--slo)"
    told = good if verdict["passed"] else "; ".join(verdict["reasons"]) or "did not pass"
    return [*lines, f"  verdict: {told}"]


def comparison_text(comparison: Comparison) -> str:
    """Return a comparison for a terminal."""
    lines = [f"  {'metric':<20}{'first':>14}{'second':>14}{'ratio':>9}"]
    for row in comparison.rows:
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}x"
        first, second = value_text(row.first, row.unit), value_text(row.second, row.unit)
        lines.append(f"  {row.metric:<20}{first:>14}{second:>14}{ratio:>9}".rstrip())
    lines += [f"  beware: {remark}" for remark in comparison.remarks]
    lines += [f"  {hint}" for hint in comparison.hints]
    lines += [f"  {'✓' if each.holds else '✗'} {each.objective.text}" for each in comparison.judged]
    return "\n".join(lines) + "\n"


# -- CSV -------------------------------------------------------------------------------------------


def series_csv(report: Mapping[str, Any]) -> str:
    """Return the course of time, one line per point."""
    columns: Mapping[str, Sequence[Any]] = report["series"]
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return written.getvalue()
