"""Load on actrio's own HTTP interface: a service in this process, over real sockets."""

from __future__ import annotations

from contextlib import asynccontextmanager

import pytest
import trio

from actrio.agents import Agent
from actrio.errors import ProviderUnreachable
from actrio.http import HttpSettings, http_app, listen_http, serve_http
from actrio.runtime import Limits, Settings, open_runtime
from actrio.stress import Chaos, Histogram, StressPlan, closed, stress
from actrio.stress._http_wire import EventReading, Refused
from actrio.stress._stdio_wire import WireEvent
from actrio.stress._turns import Asked, Listener

MODEL = "scripted:tokens?ttft=10ms&itl=2ms&tokens=20"
TOKEN = "a-token-for-this-test-only"


@asynccontextmanager
async def service(*agents, env=None, settings=None):
    async with open_runtime(settings, env=env or {}) as runtime, trio.open_nursery() as nursery:
        app = http_app(runtime, HttpSettings(), agents=agents, env=env or {})
        server = await nursery.start(serve_http, app, await listen_http("127.0.0.1:0"))
        yield runtime, server.addresses[0]
        server.stop()


async def run_at(url, *, env=None, seconds=1.0, **parts):
    parts.setdefault("model", MODEL)
    plan = StressPlan(target=url, stages=closed(4, seconds), allow_saturated=True, **parts)
    async with stress(plan, env=env or {}) as opened:
        return await opened.run()


async def test_turns_at_a_service_that_runs_already():
    """Sessions are made, used for some turns and removed; figures are the service's own."""
    async with service() as (runtime, url):
        report = await run_at(url, session_turns=2)
        turns = report["turns"]
        assert turns["ok"] == turns["started"] > 8, report["errors"]
        assert report["verdict"]["exit"] == 0, report["verdict"]
        assert report["latency"]["ttft"]["p50"] < report["latency"]["e2e"]["p50"]
        assert report["actors"]["mailboxes"]["SessionActor"]["actors"] >= 1
        assert report["left"]["tasks"] == 0
        assert report["journal"]["store"] is None
        assert len(await runtime.sessions()) < turns["ok"] / 2 / 2  # of those that there were
        again = await run_at(url, seconds=0.4)  # its agent is there already
        assert again["turns"]["ok"] > 0


async def test_an_agent_of_the_service_is_asked_by_its_name():
    """Nothing is made at the service, and nothing is promised of the answer."""
    async with service(Agent("parrot", model="scripted:echo")) as (runtime, url):
        report = await run_at(url, model="agent:parrot", seconds=0.4)
        assert report["turns"]["ok"] == report["turns"]["started"] > 0
        assert runtime.statistics().turns_peak > 0


async def test_the_token_comes_from_the_variable_that_is_named():
    """Without it nothing is measured and the refusal is told, without a token in it."""
    env = {"ACTRIO_HTTP_TOKEN": TOKEN}
    async with service(env=env) as (_, url):
        report = await run_at(url, env={"MY_KEY": TOKEN}, key_variable="MY_KEY", seconds=0.4)
        assert report["turns"]["ok"] > 0
        assert TOKEN not in str(report)
        with pytest.raises(ProviderUnreachable, match="401") as caught:
            await run_at(url, env={"ACTRIO_STRESS_API_KEY": "wrong"})
        assert "wrong" not in str(caught.value)


async def test_chaos_over_http_leaves_no_turn_without_an_end():
    """Failing providers, leaving and slow clients: each turn has one terminal event."""
    async with service() as (runtime, url):
        report = await run_at(
            url,
            seconds=2.0,
            chaos=Chaos.parse("provider_5xx=10%,slow_client=10%,cancel=25%"),
        )
        turns = report["turns"]
        wrong = {name: turns[name] for name in ("lost", "truncated", "unfinished", "failed")}
        assert not any(wrong.values()), (wrong, report["errors"])
        ended = sum(turns[name] for name in ("ok", "cancelled", "injected"))
        assert ended == turns["started"]
        assert turns["cancelled"] > 0
        assert turns["injected"] > 0
        assert runtime.statistics().turns_running == 0


async def test_a_service_that_is_full_refuses_and_says_when_to_come_back():
    """429 and 503 are refusals, not failures."""
    settings = Settings(limits=Limits(turns=1, turns_waiting=1))
    async with service(settings=settings) as (_, url):
        report = await run_at(url)
        assert report["turns"]["rejected"] > 0
        assert report["turns"]["failed"] == report["turns"]["lost"] == 0, report["errors"]
        assert report["overload"]["with_retry_after"] == report["turns"]["rejected"]


# -- what is read ----------------------------------------------------------------------------------


def reading():
    return EventReading(Listener(Asked("x", 0.0), Histogram()))


END = (
    b'event: turn.completed\ndata: {"type":"turn.completed","turn":"t",'
    b'"result":{"outcome":"completed","usage":{"output_tokens":3}}}\n\n'
)


@pytest.mark.parametrize(
    ("stream", "kind"),
    [(END, "completed"), (b"", "lost"), (b": ka\n\n", "lost"), (END + END, "lost")],
)
def test_a_turn_has_ended_when_it_was_told_so_exactly_once(stream, kind):
    """No terminal event is none, and two are one too many."""
    read = reading()
    read.feed(stream)
    assert read.ending().kind == kind


@pytest.mark.parametrize("pieces", [(), ("wo",), ("wo", "rds")])
async def test_what_came_whole_from_the_journal_was_heard(pieces):
    """A reader that was behind gets an item in the place of its pieces; it counts once."""
    heard = Listener(Asked("x", 0.0), Histogram())
    read = EventReading(heard)
    for piece in pieces:
        delta = b'{"turn":"t","kind":"message","text":"%b"}' % piece.encode()
        read.feed(b"event: item.delta\ndata: " + delta + b"\n\n")
    whole = b'{"turn":"t","kind":"message","status":"completed","text":"words"}'
    for _ in range(2):  # of two steps
        read.feed(b"event: item.completed\ndata: " + whole + b"\n\n")
    assert heard.chars == 10


async def test_what_was_superseded_is_not_heard_again():
    """Its pieces were shown and stay counted; the attempt after it is told by its own."""
    heard = Listener(Asked("x", 0.0), Histogram())
    heard.text("wor")
    heard.completed(WireEvent(kind="message", status="superseded", text="wor"))
    heard.text("words")
    heard.completed(WireEvent(kind="message", status="completed", text="words"))
    assert heard.chars == 8


def test_a_refusal_that_is_no_problem_is_told_by_its_beginning():
    """A proxy's page in the service's place."""
    refused = Refused(502, b"<html>Bad gateway</html>")
    assert refused.ending.kind == "failed"
    assert "502" in refused.ending.label
    assert "Bad gateway" in refused.ending.detail
