"""The report in its forms: JSON, CSV, text, and the one page that needs nothing else."""

from __future__ import annotations

import copy
import csv
import io
import json
import re
from html.parser import HTMLParser

import attrs
import pytest
import trio

from actrio.errors import InvalidRequest
from actrio.stress import (
    SCHEMA,
    Objective,
    StressPlan,
    closed,
    compare,
    comparison_text,
    live_json,
    panel,
    read_report,
    report_html,
    report_text,
    series_csv,
    stress,
    sweep,
    tuning_hints,
)
from actrio.stress._html_plots import PLOTS
from actrio.stress._live import PANEL_LINES, sparkline
from actrio.stress._plots import Curve, columns_plot, distribution_plot, lines_plot, ticks
from actrio.stress._series import Point
from actrio.stress._text import span
from actrio.stress._watch import Live
from actrio.wire import json_line

VOID = {"meta", "line", "rect", "circle", "polyline", "br"}


class Page(HTMLParser):
    """Reads a page strictly: every tag is closed where it was opened."""

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.tags, self.links, self.text = [], [], set(), [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.tags.add(tag)
        self.ids += [given["id"]] if "id" in given else []
        self.links += [given[name] for name in ("src", "href", "action") if name in given]
        assert not [name for name in given if name.startswith("on")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture(scope="module")
def measured():
    """The report of one short run, for all tests of its forms."""
    objectives = (Objective.parse("ttft.p95<10s"), Objective.parse("lost==0"))
    model = "scripted:tokens?ttft=10ms&itl=2ms&tokens=20"
    plan = StressPlan(model=model, stages=closed(5, 1.5), objectives=objectives)

    async def run():
        async with stress(plan) as opened:
            return await opened.run()

    return trio.run(run)


@pytest.fixture
def report(measured):
    """A copy that a test may change."""
    return copy.deepcopy(measured)


def test_the_page_is_well_formed_alone_and_whole(report):
    """Every plot is in it; no script, no link, no request; also after a trip through JSON."""
    text = report_html(json.loads(json_line(report)))
    page = Page(text)
    assert [f"plot-{name}" for name in PLOTS] == [one for one in page.ids if "plot-" in one]
    assert page.links == []
    assert not page.tags & {"script", "iframe", "img", "link", "object", "embed", "form", "base"}
    assert not re.search(r"url\(|@import|https?://", text)
    assert "default-src 'none'" in text
    assert "prefers-color-scheme: dark" in text
    assert text.count("<svg") == len(PLOTS)
    assert "nan" not in text.lower().replace("finance", "")
    assert "not measured" not in "".join(page.text)


def test_the_page_escapes_what_it_is_told(report):
    """A target's words stay words."""
    evil = "<script>alert(1)</script>\"'&"
    report["target"]["name"] = evil
    report["plan"]["model"] = evil
    report["errors"] = [{"label": evil, "count": 3, "example": evil}]
    report["actors"]["mailboxes"][evil] = {"actors": 1, "peak_depth": 1, "capacity": 1}
    report["verdict"]["reasons"] = [evil]
    report["tuning"] = [evil]
    report["slos"][0]["text"] = evil
    page = Page(report_html(report))
    assert "script" not in page.tags
    assert "".join(page.text).count("<script>alert(1)</script>") >= 6


async def test_stages_have_plots_of_their_own(run_plan):
    """A sweep shows what happens over load."""
    report = await run_plan(stages=sweep([1, 3], 0.4, sessions=3, rates=False))
    page = Page(report_html(report))
    assert {"plot-stages-latency", "plot-stages-throughput"} <= set(page.ids)
    assert "3 sessions" in report_text(report)


def test_a_run_that_measured_nothing_has_a_page_too(report):
    """Each plot says that there is nothing to see."""
    report["series"] = {name: [] for name in report["series"]}
    report["histograms"] = {
        name: {**each, "buckets": [], "count": 0, "total": 0.0}
        for name, each in report["histograms"].items()
    }
    page = Page(report_html(report))
    assert "".join(page.text).count("not measured") == len(PLOTS)


def test_the_table_fits_a_terminal_and_tells_the_verdict(report):
    """Eighty columns for all but long explanations."""
    text = report_text(report)
    assert "verdict: passed" in text
    assert "✓ ttft.p95<10s" in text
    figures = text.partition("event loop late")[0]
    assert max(len(line) for line in figures.splitlines()) <= 80


def test_the_csv_has_a_line_per_point(report):
    """A spreadsheet reads it as it is."""
    rows = list(csv.DictReader(io.StringIO(series_csv(report))))
    assert len(rows) == len(report["series"]["at"])
    assert sum(int(row["ok"]) for row in rows) == report["turns"]["ok"]


def test_a_report_is_read_again(report):
    """And what is none is refused."""
    assert report["schema"] == SCHEMA
    again = read_report(json_line(report), source="x")
    assert again["turns"] == report["turns"]
    for content in (b"", b"[]", b'{"schema": "other/1"}'):
        with pytest.raises(InvalidRequest):
            read_report(content, source="x")


# -- comparing -------------------------------------------------------------------------------------


def changed(report, **factors):
    """Return a copy with some metrics multiplied; names as paths with underscores doubled."""
    other = json.loads(json.dumps(report))
    for path, factor in factors.items():
        *heads, last = path.split("__")
        place = other
        for head in heads:
            place = place[head]
        place[last] = factor(place[last]) if callable(factor) else factor
    return other


def test_a_report_compared_with_itself_is_the_same(report):
    """Every ratio is one, nothing is to be tuned, and what is asserted as a factor holds."""
    found = compare(report, report, [Objective.parse("p95<=1x", relative=True)])
    assert found.holds
    assert {row.ratio for row in found.rows} <= {None, 1.0}
    assert found.remarks == found.hints == ()
    assert not compare(report, report, [Objective.parse("p95<1x", relative=True)]).holds
    assert "✓ p95<=1x" in comparison_text(found)


def test_a_slower_run_names_what_to_tune(report):
    """Where tokens per second fell by more than a tenth, causes that were measured are named."""
    slower = changed(
        report,
        rates__tokens_per_second=lambda value: value * 0.8,
        cpu__seconds_per_turn=lambda value: value * 1.5,
        actors__turns_waiting_peak=7,
    )
    hints = " ".join(tuning_hints(slower, report))
    assert "-20%" in hints
    assert "limits.turns" in hints
    assert "cpu_per_turn is 1.50 times" in hints
    assert tuning_hints(changed(report, rates__tokens_per_second=lambda v: v * 0.95), report) == []


def test_different_loads_are_told_and_not_explained(report):
    """Between two models a change of tokens per second means nothing."""
    other = changed(
        report, plan__model="scripted:demo", rates__tokens_per_second=lambda value: value * 0.5
    )
    found = compare(report, other)
    assert any("model differs" in remark for remark in found.remarks)
    assert found.hints == ()


# -- pieces ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("most", [1e-6, 0.3, 1, 7, 99, 1234567])
def test_ticks_are_round_and_reach_the_top(most):
    """From nought to at least the greatest value, at most nine of them."""
    found = ticks(most)
    assert found[0] == 0
    assert most <= found[-1] * (1 + 1e-9)
    assert 2 <= len(found) <= 9


def test_plots_take_gaps_single_points_and_nothing():
    """No data is a word, one value is a dot, a gap is a gap."""
    assert "not measured" in lines_plot("t", [], [], y=str, x=str)
    assert "not measured" in distribution_plot("t", [], [], x=str)
    assert "not measured" in columns_plot("t", [], [Curve("a", [], "c1")], y=str, x=str)
    assert "<circle" in lines_plot("t", [1.0], [Curve("a", [2.0], "c1")], y=str, x=str)
    gap = lines_plot("t", [0, 1, 2, 3, 4.0], [Curve("a", [1, 2, None, 2, 1.0], "c1")], y=str, x=str)
    assert gap.count("<polyline") == 2
    assert "none at all" in columns_plot("t", [0.0, 1.0], [Curve("a", [0, 0], "c1")], y=str, x=str)


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(None, "–"), (0.00002, "20 µs"), (0.0012, "1.20 ms"), (0.34, "340 ms"), (2.1, "2.10 s")],
)
def test_times_are_written_for_people(seconds, told):
    """Three digits and a unit."""
    assert span(seconds) == told


def test_the_panel_keeps_its_height():
    """Each frame overwrites the last, so each has as many lines."""
    live = Live(
        elapsed_seconds=3.0,
        stage="hold",
        point=Point(at=2.0, seconds=1.0, ok=5),
        counts={"ok": 5, "failed": 1},
        tokens=100,
    )
    plain, colored = panel(live, [1, 5.0], color=False), panel(live, [], color=True)
    assert len(plain) == len(colored) == PANEL_LINES
    assert not any("\x1b" in line for line in plain)
    assert "1 errors" in plain[-1]
    assert json.loads(json_line(live_json(live)))["second"]["ok"] == 5
    assert sparkline([0, 1, 2.0]) == "▁▄█"
    assert attrs.fields(Live)
