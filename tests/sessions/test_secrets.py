"""Planted keys: no byte of them in a file of the store, in an event, in an error, or in a log."""

from __future__ import annotations

import io
import json

import pytest
import structlog
import trio

from actrio import Agent, ToolContext, open_runtime, tool
from actrio.errors import ActrioError
from actrio.runtime import Settings, StoreSettings
from actrio.telemetry import configure_logging
from actrio.wire import error_to_dict, event_to_dict

PLAIN = "sk-plain-0123456789abcdef"
ODD = 'odd "quoted" \\back ü☃ key'
ENV = {"DEMO_API_KEY": PLAIN, "ODD_TOKEN": ODD, "HOME": "/not/a/secret"}


def forms(secret):
    """How a secret may stand in bytes: as it is, and as JSON writes it, once or twice."""
    found = {secret}
    for ascii_only in (True, False):
        once = json.dumps(secret, ensure_ascii=ascii_only)[1:-1]
        found |= {once, json.dumps(once, ensure_ascii=ascii_only)[1:-1]}
    return [form.encode() for form in found]


def assert_clean(told, where):
    data = told if isinstance(told, bytes) else str(told).encode()
    for secret in (PLAIN, ODD):
        for form in forms(secret):
            assert form not in data, (
                f"{form!r} is in {where}: {data[max(0, data.find(form) - 200) :][:400]!r}"
            )


@tool
async def leak(query: str, ctx: ToolContext) -> str:
    """Say all that should not be said, wherever a tool can say something."""
    await ctx.change_state({"found": {"key": PLAIN, ODD: [ODD]}, PLAIN: 1})
    answer = await ctx.ask_person(f"Is {PLAIN} right, or {ODD}?", (PLAIN, ODD))
    return f"{query} {answer} {PLAIN} {ODD}"


@tool
async def burst(query: str) -> str:
    """Fail with a secret in the message."""
    raise RuntimeError(f"cannot log in with {PLAIN} nor {ODD}: {query}")


@tool(approval="ask")
async def risk(query: str) -> str:
    """Ask a person about a call that has the secret in its arguments."""
    return query


LEAKY = Agent("leaky", model="scripted:demo?tools=3", tools=[leak, burst, risk])
ECHO = Agent("echo", model="scripted:echo")


async def answer_all(runtime):
    while True:
        await trio.sleep(0.005)
        for each in await runtime.approvals():
            assert_clean(each, "an approval")
            decision = "answered" if each.about == "question" else "approved"
            try:
                await runtime.answer(
                    each.session, each.approval, decision, answer=ODD, by=PLAIN, note=ODD
                )
            except ActrioError:
                continue


async def listen(session, events, task_status):
    async with session.subscribe(0) as heard:
        task_status.started()
        async for event in heard:
            events.append(event)


@pytest.fixture
def logs():
    """Everything that is logged, with debugging on."""
    found = io.StringIO()
    configure_logging(level="debug", stream=found, env=ENV)
    yield found
    structlog.reset_defaults()


@pytest.mark.parametrize("agent", [LEAKY, ECHO], ids=lambda agent: agent.name)
async def test_no_byte_of_a_secret_is_kept_or_told(agent, tmp_path, logs):
    """From the environment, wherever a person, a model or a tool says it."""
    store = StoreSettings(kind="embedded", folder=str(tmp_path))
    events = []
    async with (
        open_runtime(Settings(store=store), env=ENV) as runtime,
        trio.open_nursery() as aside,
    ):
        aside.start_soon(answer_all, runtime)
        session = await runtime.open_session(
            agent, id="s1", user=PLAIN, labels={"key": ODD}, cache_policy=PLAIN
        )
        await aside.start(listen, session, events)
        prompt = f"is {PLAIN} and {ODD} mine?"
        accepted = await session.submit(prompt, key=f"k {PLAIN}", caller=ODD)
        result = await session.wait(accepted.turn)
        assert result.outcome == "completed"
        assert_clean(result, "a result")
        async with session.turn(prompt) as turn:
            events += [event async for event in turn]
        assert_clean(turn.result, "an owned result")
        assert_clean(await session.ask(prompt), "what ask returns")
        await session.change_state({"mine": [PLAIN, {"odd": ODD}]}, by=PLAIN)
        await session.compact(f"They spoke of {PLAIN} and {ODD}.")
        with pytest.raises(ActrioError) as caught:
            await session.answer("a_none", "approved", note=PLAIN)
        assert_clean(error_to_dict(caught.value), "an error")
        assert_clean(await session.view(), "a view")
        events += await runtime.events("s1")
        aside.cancel_scope.cancel()
    assert len(events) > 20
    for event in events:
        assert_clean(json.dumps(event_to_dict(event), ensure_ascii=False), type(event).__name__)
    assert "tool raised" in logs.getvalue() or agent is ECHO
    assert_clean(logs.getvalue(), "the log")
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) > 4000
    for path in files:
        assert_clean(path.read_bytes(), path)


async def test_named_fields_are_never_written(tmp_path):
    """Wherever they stand: in state, in a tool's arguments, in what it returns."""

    @tool
    async def log_in(password: str) -> dict:
        """Log in."""
        return {"user": "u_1", "password": password, "nested": [{"password": password}]}

    agent = Agent("door", model="scripted:demo", tools=[log_in])
    store = StoreSettings(kind="embedded", folder=str(tmp_path), redact_fields=("password",))
    async with open_runtime(Settings(store=store), env={}) as runtime:
        session = await runtime.open_session(agent, id="s1")
        await session.change_state({"password": "hunter2-state", "kept": {"password": ["hunter2"]}})
        result = await session.ask("hunter2-typed")
        assert result.outcome == "completed"
        view = await session.view()
        assert view.state == {"password": "[redacted]", "kept": {"password": "[redacted]"}}
        (call,) = view.history[1].tool_calls
        assert "password" in call.arguments
        given = json.loads(call.arguments)["password"]
        assert given == "[redacted]"
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert b"hunter2-state" not in path.read_bytes()
