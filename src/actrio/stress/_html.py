"""The report as one HTML file that needs nothing else: no script, no font, no network. Pure.

Whatever comes from outside (names, messages of errors, prompts) is escaped; what is a number is
written by us.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any, Final

from actrio.stress._histogram import PERCENTILES
from actrio.stress._html_plots import level_of, plots_of, stage_plots
from actrio.stress._style import STYLE
from actrio.stress._text import NOTHING, amount, headline, percent, size, span, value_text

__all__ = ["report_html"]


def report_html(report: Mapping[str, Any]) -> str:
    """Return the page."""
    title = f"actrio stress: {headline(report)}"
    body = [
        _header(report),
        *_notes(report),
        _tiles(report),
        "<h2>Over time</h2>",
        f'<div class="plots">{"".join(plots_of(report))}</div>',
        *_stages(report),
        "<h2>Latency</h2>",
        _latencies(report),
        *_objectives(report),
        *_errors(report),
        "<h2>The target and the machine</h2>",
        f'<div class="two">{_mailboxes(report)}{_facts(report)}</div>',
        _footer(report),
    ]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "style-src 'unsafe-inline'\">\n"
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(body)
        + "\n</main>\n</body>\n</html>\n"
    )


# -- the head --------------------------------------------------------------------------------------


def _header(report: Mapping[str, Any]) -> str:
    verdict = report["verdict"]
    state = "good" if verdict["passed"] else "bad"
    word = "passed" if report["slos"] else "finished"
    word = word if verdict["passed"] else "did not pass"
    if report["interrupted"]:
        state, word = "warn", "interrupted"
    elif verdict["saturated"]:
        state, word = "warn", "generator saturated"
    plan = report["plan"]
    return (
        f"<header><div><h1>{escape(headline(report))}</h1>"
        f"<p>{escape(plan['model'])} · {escape(report['created'])} · plan {escape(plan['digest'])}</p>"
        f'</div><div class="badge {state}">{escape(word)}</div></header>'
    )


def _notes(report: Mapping[str, Any]) -> Iterator[str]:
    for reason in report["verdict"]["reasons"]:
        yield f'<p class="note bad">{escape(reason)}</p>'
    if report["generator"]["state"] != "fit":
        yield f'<p class="note">{escape(report["generator"]["text"])}</p>'
    for hint in report.get("tuning") or ():
        yield f'<p class="note">{escape(hint)}</p>'


def _tiles(report: Mapping[str, Any]) -> str:
    turns, rates, latency = report["turns"], report["rates"], report["latency"]
    memory, cpu, good = report["memory"], report["cpu"], report["goodput"]
    slope = memory["slope_bytes_per_minute"]
    growth = "" if slope is None else f", {slope / 1e6:+.2f} MB/min"
    wrong = turns["failed"] + turns["lost"] + turns["truncated"]
    ends = [
        f"{turns[name]:,} {name}" for name in ("rejected", "cancelled", "injected") if turns[name]
    ]
    tiles = [
        ("turns per second", amount(rates["turns_per_second"]), f"{turns['ok']:,} turns ok"),
        (
            "tokens per second",
            amount(rates["tokens_per_second"]),
            f"{report['plan']['session_turns']} turns a conversation",
        ),
        (
            "first token, p95",
            span(latency["ttft"]["p95"]),
            f"p50 {span(latency['ttft']['p50'])}",
        ),
        ("turn, p95", span(latency["e2e"]["p95"]), f"p50 {span(latency['e2e']['p50'])}"),
        (
            "goodput",
            percent(good["share"]),
            f"95 % sure: {percent(good['low'])} to {percent(good['high'])}",
        ),
        ("errors", f"{wrong:,}", ", ".join(ends) or "none refused, none cancelled"),
        (
            "processor per turn",
            span(cpu["seconds_per_turn"]),
            f"{percent(cpu['share'])} of a core",
        ),
        (
            "peak memory",
            size(memory["peak_bytes"]),
            f"steady {size(memory['steady_bytes'])}{growth}",
        ),
    ]
    return (
        '<div class="tiles">'
        + "".join(
            f'<div class="tile"><span>{escape(name)}</span><b>{escape(value)}</b>'
            f"<span>{escape(about)}</span></div>"
            for name, value, about in tiles
        )
        + "</div>"
    )


# -- tables ----------------------------------------------------------------------------------------


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], *, text_last: bool = False) -> str:
    """Return a table; cells that begin with ``<`` are ours and stay as they are."""
    cells = [f"<th>{escape(cell)}</th>" for cell in head]
    if text_last:
        cells[-1] = f'<th class="text">{escape(head[-1])}</th>'
    top = "".join(cells)
    body = []
    for row in rows:
        cells = [
            f'<td class="text">{escape(cell)}</td>'
            if text_last and index == len(row) - 1
            else f"<td>{cell if cell.startswith(_OURS) else escape(cell)}</td>"
            for index, cell in enumerate(row)
        ]
        body.append(f"<tr>{''.join(cells)}</tr>")
    return (
        f'<div class="scroll"><table><thead><tr>{top}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )


_YES: Final = '<span class="yes">✓ kept</span>'
_NO: Final = '<span class="no">✗ missed</span>'
_OURS: Final = (_YES, _NO)

_TITLES: Final = {
    "ttft": "time to first token",
    "itl": "between two pieces",
    "tpot": "per output token",
    "e2e": "turn, service",
    "effective": "turn, effective",
    "wait": "wait to begin",
    "loop_lag": "event loop late",
}


def _latencies(report: Mapping[str, Any]) -> str:
    names = ("min", "mean", *PERCENTILES, "max")
    rows = [
        [title, f"{summary['count']:,}", *(span(summary[name]) for name in names)]
        for key, title in _TITLES.items()
        if (summary := report["latency"][key])
    ]
    return _table(["", "count", *names], rows)


def _stages(report: Mapping[str, Any]) -> Iterator[str]:
    measured = [stage for stage in report["stages"] if stage["measured"]]
    if not measured:
        return
    yield "<h2>Stages</h2>"
    if report["knee"] is not None:
        level = report["knee"]["level"]
        told = "Not even the lowest load kept the objectives."
        if level is not None:
            told = f"The knee: {level:g} {report['knee']['unit']} kept the objectives."
        yield f'<p class="note">{escape(told)}</p>'
    ordered = sorted(measured, key=level_of)
    yield from stage_plots(ordered)
    rows = [
        [
            stage["name"],
            amount(stage["rates"]["turns_per_second"]),
            span(stage["latency"]["ttft"]["p95"]),
            span(stage["latency"]["e2e"]["p95"]),
            span(stage["latency"]["effective"]["p99"]),
            percent(stage["rates"]["error_rate"]),
            percent(stage["rates"]["overload_rate"]),
            percent(stage["goodput"]["share"]),
            percent(stage["cpu"]["share"]),
        ]
        for stage in ordered
    ]
    head = [
        "load",
        "turns/s",
        "ttft p95",
        "turn p95",
        "effective p99",
        "errors",
        "refused",
        "good",
        "cpu",
    ]
    yield _table(head, rows)


def _objectives(report: Mapping[str, Any]) -> Iterator[str]:
    if report["slos"]:
        yield "<h2>Objectives</h2>"
        rows = [
            [
                each["text"],
                value_text(each["value"], each["unit"]),
                _YES if each["holds"] else _NO,
            ]
            for each in report["slos"]
        ]
        yield _table(["objective", "measured", ""], rows)


def _errors(report: Mapping[str, Any]) -> Iterator[str]:
    if report["errors"]:
        yield "<h2>Failures and refusals</h2>"
        rows = [[each["label"], f"{each['count']:,}", each["example"]] for each in report["errors"]]
        yield _table(["what", "count", "for example"], rows, text_last=True)


def _mailboxes(report: Mapping[str, Any]) -> str:
    actors = report["actors"]
    rows = [
        [kind, f"{box['actors']:,}", f"{box['peak_depth']:,}", f"{box['capacity']:,}"]
        for kind, box in actors["mailboxes"].items()
    ]
    if not rows:
        rows = [["this target does not tell", NOTHING, NOTHING, NOTHING]]
    return _table(["mailboxes of", "actors", "peak", "bound"], rows)


def _facts(report: Mapping[str, Any]) -> str:
    environment, turns, actors = report["environment"], report["turns"], report["actors"]
    good, memory = report["goodput"], report["memory"]
    rows = [
        ["turns", ", ".join(f"{count:,} {name}" for name, count in turns.items() if count)],
        ["goodput, 95 % sure", f"{percent(good['low'])} to {percent(good['high'])}"],
        ["restarts", f"{amount(actors['restarts'])} ({actors['killed']} killed on purpose)"],
        [
            "dead letters",
            ", ".join(f"{n} {k}" for k, n in actors["dead_letters"].items()) or "none",
        ],
        [
            "tasks, files at peak",
            f"{amount(memory['tasks_peak'])}, {amount(memory['descriptors_peak'])}",
        ],
        [
            "machine",
            f"{environment['system']} {environment['machine']}, {environment['cores_usable']} cores",
        ],
        [
            "software",
            f"actrio {environment['actrio']}, Python {environment['python']}, trio {environment['trio']}",
        ],
        ["revision, settings", _revision(environment)],
        ["store", _store(report["journal"])],
    ]
    body = "".join(
        f'<tr><td>{escape(name)}</td><td class="text">{escape(value)}</td></tr>'
        for name, value in rows
    )
    return f'<div class="scroll"><table><tbody>{body}</tbody></table></div>'


def _revision(environment: Mapping[str, Any]) -> str:
    revision = (environment["revision"] or "unknown")[:12]
    return f"{revision}{' with changes' if environment['changed'] else ''}, {environment['config']}"


def _store(journal: Mapping[str, Any]) -> str:
    if journal["bytes"] is None:
        return journal["store"] or NOTHING
    told = f"{journal['store']}, {size(journal['bytes'])}, {amount(journal['bytes_per_turn'])} B per turn"
    return (
        told if not journal["problems"] else f"{told}, {journal['problems']} records do not check"
    )


def _footer(report: Mapping[str, Any]) -> str:
    chaos = report["plan"]["chaos"]
    told = ", ".join(f"{name} {value:g}" for name, value in chaos.items()) or "none"
    return (
        f'<p class="fine" style="margin-top:28px">Chaos: {escape(told)}. Latencies are of turns that '
        "ended well and were left in peace; percentiles are exact to 0.05 %. A point that spans "
        "several seconds shows the worst of them. Schema "
        f"{escape(report['schema'])}.</p>"
    )
