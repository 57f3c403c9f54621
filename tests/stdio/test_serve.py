from __future__ import annotations

import json
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest
import trio
import trio.testing

from actrio.errors import InvalidRequest
from actrio.runtime import Settings
from actrio.stdio import serve_stdio

SLOW = "scripted:tokens?itl=20ms&tokens=500"


async def start(client, model: str = "scripted:tokens?tokens=3", **params) -> str:
    return (await client.call("session/create", model=model, **params))["session"]


async def test_turn_streams_its_events_in_order(serve):
    """Acceptance first, then every event of the turn in order, the terminal one last."""
    async with serve() as client:
        session = await start(client)
        turn = (await client.call("turn/start", session=session, prompt="Hello."))["turn"]
        end = await client.until("turn.completed")
        types = [event["type"] for event in client.events]
        assert types[:2] == ["turn.started", "step.started"]
        assert types[-2:] == ["item.completed", "turn.completed"]
        assert {event["turn"] for event in client.events} == {turn}
        assert {event["session"] for event in client.events} == {session}
        order = [(event["seq"], event.get("n", 0)) for event in client.events]
        assert order == sorted(order)
        recorded = [event["seq"] for event in client.events if "n" not in event]
        assert recorded == list(range(1, len(recorded) + 1))
        assert end["result"]["text"] == "w1 w2 w3"


async def test_waiting_answer_comes_behind_all_events(serve):
    """With wait, and with turn/wait, the result is the line after the turn's last event."""
    async with serve() as client:
        session = await start(client)
        result = await client.call("turn/start", session=session, prompt="Hello.", wait=True)
        assert client.events[-1]["type"] == "turn.completed"
        assert client.events[-1]["result"] == result
        client.events.clear()
        turn = (await client.call("turn/start", session=session, prompt="Again."))["turn"]
        result = await client.call("turn/wait", turn=turn)
        assert client.events[-1]["type"] == "turn.completed"
        assert result["turn"] == turn
        assert await client.call("turn/wait", turn=turn) == result


async def test_turn_is_cancelled_in_the_middle(serve):
    """The cancel is answered at once, turn.cancelled ends the turn, and the session goes on."""
    async with serve() as client:
        session = await start(client, SLOW)
        turn = (await client.call("turn/start", session=session, prompt="Count."))["turn"]
        await client.until("item.delta")
        assert await client.call("turn/cancel", turn=turn, reason="bored") == {"cancelled": True}
        end = await client.until("turn.cancelled")
        assert end["result"]["error"]["data"]["reason"] == "bored"
        assert end["result"]["text"].startswith("w1")
        result = await client.call("turn/wait", turn=turn)
        assert result["outcome"] == "cancelled"
        assert await client.call("turn/cancel", turn=turn) == {"cancelled": False}
        await client.call("turn/start", session=session, prompt="Once more.")
        assert (await client.until("turn.started", turn=None))["session"] == session


async def test_taking_a_waiting_request_back_ends_its_turn_in_order(serve):
    """$/cancelRequest on turn/start with wait gives turn.cancelled first, then -32800."""
    async with serve() as client:
        session = await start(client, SLOW)
        id = await client.request("turn/start", session=session, prompt="Count.", wait=True)
        await client.until("item.delta")
        await client.send({"method": "$/cancelRequest", "params": {"id": id}})
        answer = await client.answer(id)
        assert answer["error"]["code"] == -32800
        assert client.events[-1]["type"] == "turn.cancelled"


async def test_two_sessions_run_at_once(serve):
    """Two turns on one connection interleave, each session's events in its own order."""
    async with serve() as client:
        model = "scripted:tokens?itl=5ms&tokens=40"
        sessions = [await start(client, model), await start(client, model)]
        ids = [await client.request("turn/start", session=s, prompt="x") for s in sessions]
        turns = {(await client.answer(id))["result"]["turn"] for id in ids}
        for turn in turns:
            await client.until("turn.completed", turn)
        switches = sum(
            one["session"] != two["session"]
            for one, two in zip(client.events, client.events[1:], strict=False)
        )
        assert switches > 10
        for session in sessions:
            order = [(e["seq"], e.get("n", 0)) for e in client.events if e["session"] == session]
            assert order == sorted(order)


async def test_second_turn_waits_or_is_refused(serve):
    """A busy session queues by default, refuses where told to, and a queued turn can be cancelled."""
    async with serve() as client:
        session = await start(client, SLOW)
        first = (await client.call("turn/start", session=session, prompt="1"))["turn"]
        await client.until("item.delta")
        second = (await client.call("turn/start", session=session, prompt="2"))["turn"]
        id = await client.request("turn/start", session=session, prompt="3", if_busy="reject")
        error = (await client.answer(id))["error"]
        assert (error["code"], error["data"]["kind"]) == (-32004, "conflict")
        assert await client.call("turn/cancel", turn=second) == {"cancelled": True}
        await client.until("turn.cancelled", second)
        assert await client.call("turn/cancel", turn=first) == {"cancelled": True}
        await client.until("turn.cancelled", first)


async def test_full_line_of_a_session_is_overloaded(serve):
    """Beyond the turns that may wait, the answer is -32001 and the waiting ones stay."""
    async with serve() as client:
        session = await start(client, SLOW)
        await client.call("turn/start", session=session, prompt="runs")
        for _ in range(8):
            await client.call("turn/start", session=session, prompt="waits")
        id = await client.request("turn/start", session=session, prompt="too many")
        assert (await client.answer(id))["error"]["code"] == -32001


async def test_closing_a_session_ends_its_turns(serve):
    """session/close ends a running turn with a terminal event; what comes later opens it again."""
    async with serve() as client:
        session = await start(client, SLOW)
        turn = (await client.call("turn/start", session=session, prompt="x"))["turn"]
        await client.until("item.delta")
        assert await client.call("session/close", session=session) == {"closed": True}
        result = await client.call("turn/wait", turn=turn)
        assert client.events[-1]["type"] == "turn.cancelled"
        assert result["error"]["data"]["reason"] == "session closed"
        again = await client.call("turn/start", session=session, prompt="x")
        assert (await client.call("turn/cancel", turn=again["turn"]))["cancelled"]
        assert (await client.call("turn/wait", turn=again["turn"]))["outcome"] == "cancelled"


async def test_failed_turn_is_a_result_and_not_an_error(serve):
    """A provider's failure ends the turn with turn.failed, typed; the connection goes on."""
    async with serve() as client:
        session = await start(client, "scripted:tokens?fault=status401")
        result = await client.call("turn/start", session=session, prompt="x", wait=True)
        assert result["outcome"] == "failed"
        assert result["error"]["kind"] == "provider_error"
        assert client.events[-1]["type"] == "turn.failed"
        assert await client.call("ping") == {}


async def test_handshake_rules(serve):
    """Before initialize only ping; a second initialize is an error; the answer states the limits."""
    async with serve(initialize=False) as client:
        assert await client.call("ping") == {}
        id = await client.request("session/create")
        assert (await client.answer(id))["error"]["code"] == -32005
        told = await client.call("initialize", client_info={"name": "test"})
        assert told["protocol_version"] == 1
        assert told["limits"]["max_in_flight"] == 256
        assert "turn/start" in told["methods"]
        id = await client.request("initialize")
        assert (await client.answer(id))["error"]["code"] == -32005


async def test_the_version_rule(serve):
    """The answer says what is spoken; initialize ignores what is not known yet, others refuse it."""
    async with serve(initialize=False) as client:
        newer = {"protocol_version": 7, "capabilities": {"dreams": True}, "colour": "red"}
        told = await client.call("initialize", **newer)
        assert told["protocol_version"] == 1
        assert "dreams" not in told["capabilities"]
        error = await client.error("session/create", colour="red")
        assert error["code"] == -32602
        assert error["data"]["pointers"] == ["/colour"]


@pytest.mark.parametrize(
    ("method", "params", "code", "words"),
    [
        ("session/fork", {}, -32602, "session"),
        ("session/fork", {"session": "none"}, -32002, "none"),
        ("session/get", {"session": "none"}, -32002, "none"),
        ("session/subscribe", {"session": "none"}, -32002, "none"),
        ("session/close", {"session": "none"}, -32002, "none"),
        ("agent/get", {"agent": "nobody"}, -32002, "nobody"),
        ("agent/set_tool", {"agent": "assistant", "tool": "x", "enabled": True}, -32002, "'x'"),
        ("turn/start", {"session": "s", "prompt": "x", "deadline_ms": 0}, -32602, "deadline_ms"),
        ("turn/start", {"session": "s", "prompt": "x", "resume": True}, -32602, "resume"),
        ("turn/start", {"session": "s", "prompt": "x", "if_busy": "hide"}, -32602, "if_busy"),
        ("blob/read", {"blob": "b_none"}, -32602, "blob"),
        ("blob/read", {"blob": "b_" + "0" * 40}, -32002, "blob"),
        ("approval/resolve", {"session": "s"}, -32602, "approval"),
        ("workflow/run", {}, -32601, "workflow/run"),
        ("initialize", {}, -32005, "already"),
        ("nobody/knows", {}, -32601, "nobody/knows"),
        ("session/create", {"agent": "nobody"}, -32002, "nobody"),
        ("session/create", {"model": 3}, -32602, "model"),
        ("session/create", {"id": "x" * 129}, -32602, "session/create"),
        ("session/create", {"id": "a/b"}, -32602, "/id"),
        ("session/create", {"colour": "red"}, -32602, "colour"),
        ("turn/start", {"prompt": "x"}, -32602, "session"),
        ("turn/start", {"session": "none", "prompt": "x"}, -32002, "none"),
        ("turn/start", {"session": "none"}, -32602, "prompt"),
        ("turn/start", {"session": "s", "parts": [{"type": "zip"}]}, -32602, "zip"),
        ("turn/wait", {"turn": "t_0"}, -32002, "t_0"),
        ("turn/cancel", {"turn": "t_0"}, -32002, "t_0"),
        ("shutdown", {"mode": "later"}, -32602, "later"),
    ],
)
async def test_refusals_say_what_and_what_to_do(method, params, code, words):
    """Each refusal has its code, names the culprit and, but for plain types, a remedy."""
    async with in_process() as ask:
        error = (await ask(method, **params))["error"]
        assert error["code"] == code
        assert words in error["message"] + str(error["data"])
        assert error["data"]["kind"]
        assert error["data"]["message"] == error["message"]


async def test_wrong_parameter_is_pointed_at():
    """A -32602 carries JSON pointers to what is wrong."""
    async with in_process() as ask:
        parts = [{"type": "text", "text": "a"}, {"type": "text", "text": 5}]
        error = (await ask("turn/start", session="s", parts=parts))["error"]
        assert error["data"]["pointers"] == ["/parts/1/text"]


async def test_empty_and_oversized_prompts_are_refused():
    """A prompt of nothing is -32602; the session takes the next one."""
    async with in_process() as ask:
        session = (await ask("session/create", model="scripted:echo"))["result"]["session"]
        assert (await ask("turn/start", session=session, prompt=" "))["error"]["code"] == -32602
        parts = [{"type": "text", "text": "said"}]
        done = await ask("turn/start", session=session, parts=parts, wait=True)
        assert done["result"]["text"] == "said"


class in_process:
    """``serve_stdio`` over memory streams; gives a function that asks and returns the answer."""

    async def __aenter__(self):
        self.client, server = trio.testing.memory_stream_pair()
        self.manager = trio.open_nursery()
        self.nursery = await self.manager.__aenter__()

        async def serve() -> None:
            self.code = await serve_stdio(Settings(), stdin=server, stdout=server, env={})
            await server.aclose()

        self.nursery.start_soon(serve)
        self.buffered = b""
        self.last_id = 0
        await self("initialize")
        return self

    async def __aexit__(self, *exc) -> None:
        await self.client.send_eof()
        await self.manager.__aexit__(*exc)
        assert self.code == 0

    async def __call__(self, method: str, **params):
        import json

        self.last_id += 1
        message = {"id": self.last_id, "method": method, "params": params}
        await self.client.send_all(json.dumps(message).encode() + b"\n")
        while True:
            while b"\n" not in self.buffered:
                self.buffered += await self.client.receive_some()
            line, self.buffered = self.buffered.split(b"\n", 1)
            answer = json.loads(line)
            if answer.get("id") == self.last_id:
                return answer


async def test_one_stream_alone_is_refused():
    """Half a wire is a mistake of the caller, told as such."""
    _, server = trio.testing.memory_stream_pair()
    with pytest.raises(InvalidRequest, match="Only one"):
        await serve_stdio(stdin=server)


async def test_bad_lines_are_answered_and_survived(serve):
    """Garbage gets its answers, in order, and a turn still works after it."""
    async with serve() as client:
        await client.send(b"\xff\xfe\n", b"\n", b"{]\n", b"[1]\n", b"7\n", b'{"id":null}\n')
        answers = [await client.answer(None) for _ in range(5)]
        codes = [answer["error"]["code"] for answer in answers]
        assert codes == [-32700, -32700, -32600, -32600, -32600]
        await client.send(b'"' + b"x" * (4 * 1024 * 1024) + b'"\n')
        assert (await client.answer(None))["error"]["data"]["reason"] == "line_too_long"
        session = await start(client)
        assert (await client.call("turn/start", session=session, prompt="x", wait=True))["text"]


async def test_another_protocol_is_hung_up_on(serve):
    """A hundred and one bad lines in a row end the process with exit code 65."""
    async with serve() as client:
        await client.send(*[b"GET / HTTP/1.1\r\n"] * 101)
        assert len(await client.rest()) == 101
        assert await client.process.wait() == 65


NOISY = '''
import os, subprocess, sys

def shout(loudness: int = 1) -> str:
    """Make noise on every output there is."""
    os.write(1, b"raw bytes on fd 1\\n")
    subprocess.run(["sh", "-c", "echo from a child; cat"])
    print("print on stdout")
    sys.stdout.write("{}\\n" * 100)
    print("x" * 300_000, file=sys.stderr)
    os.write(2, b"y" * 1_000_000)
    subprocess.run(["head", "-c", "1000000", "/dev/zero"])
    return "quiet now"
'''


async def test_noise_of_a_tool_never_reaches_the_wire(serve, tmp_path: Path):
    """print, raw writes and children of a tool land on stderr; undrained, they stop nothing."""
    (tmp_path / "noisy.py").write_text(NOISY)
    (tmp_path / "actrio.toml").write_text(
        '[agents.loud]\nmodel = "scripted:demo"\ntools = ["noisy:shout"]\n'
    )
    async with serve() as client:
        for _ in range(2):
            made = await client.call("session/create", agent="loud")
            assert made["agent"] == "loud"
            result = await client.call(
                "turn/start", session=made["session"], prompt="Shout.", wait=True
            )
            assert result["outcome"] == "completed"
        results = [
            e["result"] for e in client.events if e.get("kind") == "tool_call" and "result" in e
        ]
        assert [result["text"] for result in results] == ["quiet now"] * 2
        await client.process.stdin.aclose()
        assert await client.rest() == []
        assert b"raw bytes on fd 1" in await client.process.stderr.receive_some()
        assert await client.process.wait() == 0


async def test_file_of_requests_is_served_to_its_end(serve):
    """Requests piped in without waiting run in their order; all answers arrive; exit code 0."""
    async with serve(initialize=False) as client:
        await client.send(
            {"id": 1, "method": "initialize"},
            {"id": 2, "method": "session/create", "params": {"id": "a", "model": "scripted:echo"}},
            *[
                {"id": n, "method": "turn/start", "params": {"session": "a", "prompt": f"<{n}>"}}
                for n in range(3, 9)
            ],
            {
                "id": 9,
                "method": "turn/start",
                "params": {"session": "a", "prompt": "<9>", "wait": True},
            },
        )
        await client.process.stdin.aclose()
        messages = await client.rest()
        assert await client.process.wait() == 0
    events = [m["params"] for m in messages if m.get("method") == "event"]
    order = [(event["seq"], event.get("n", 0)) for event in events]
    assert order == sorted(order)
    texts = [e["result"]["text"] for e in events if e["type"] == "turn.completed"]
    assert texts == [f"<{n}>" for n in range(3, 10)]
    assert {m["id"] for m in messages if "id" in m} == set(range(1, 10))
    assert messages[-1]["id"] == 9


async def test_end_of_input_may_cancel(serve):
    """With --on-eof cancel a running turn ends as cancelled, and the exit code is 0."""
    async with serve("--on-eof", "cancel") as client:
        session = await start(client, SLOW)
        await client.call("turn/start", session=session, prompt="x")
        await client.until("item.delta")
        await client.process.stdin.aclose()
        with trio.fail_after(2):
            messages = await client.rest()
            assert await client.process.wait() == 0
        assert messages[-1]["params"]["type"] == "turn.cancelled"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
async def test_signal_cancels_and_tells(serve, number, code):
    """One signal: running turns are told as cancelled, and it is gone well within two seconds."""
    async with serve() as client:
        session = await start(client, SLOW)
        await client.call("turn/start", session=session, prompt="x")
        await client.until("item.delta")
        began = time.monotonic()
        client.process.send_signal(number)
        messages = await client.rest()
        assert await client.process.wait() == code
        assert time.monotonic() - began < 2
        assert messages[-1]["params"]["type"] == "turn.cancelled"
        assert messages[-1]["params"]["result"]["error"]["data"]["reason"] == "shutdown"


STUCK = '''
import time

def sleep(seconds: int = 1) -> str:
    """Hold a thread."""
    time.sleep(60)
    return ""
'''


async def test_signal_ends_it_within_two_seconds_whatever_holds_it(serve, tmp_path):
    """A tool stuck in a thread, and a client that reads nothing, delay the end by no more."""
    (tmp_path / "stuck.py").write_text(STUCK)
    (tmp_path / "actrio.toml").write_text('[agents.stuck]\ntools = ["stuck:sleep"]\n')
    async with serve() as client:
        session = await start(client, "scripted:tokens?tokens=1000000")
        await client.call("turn/start", session=session, prompt="flood")
        made = await client.call("session/create", agent="stuck")
        await client.call("turn/start", session=made["session"], prompt="stick")
        while not any(e.get("kind") == "tool_call" for e in client.events):
            client.events.append((await client.receive())["params"])
        began = time.monotonic()
        client.process.send_signal(signal.SIGTERM)
        assert await client.process.wait() == 143
        assert time.monotonic() - began < 2


async def test_second_signal_ends_it_at_once(serve, tmp_path):
    """Who asks twice does not wait for the grace."""
    (tmp_path / "stuck.py").write_text(STUCK)
    (tmp_path / "actrio.toml").write_text('[agents.stuck]\ntools = ["stuck:sleep"]\n')
    async with serve() as client:
        made = await client.call("session/create", agent="stuck")
        await client.call("turn/start", session=made["session"], prompt="stick")
        await client.until("item.started")
        began = time.monotonic()
        client.process.send_signal(signal.SIGTERM)
        await client.until("turn.cancelled")
        client.process.send_signal(signal.SIGTERM)
        # Where the orderly end was just over, the signal itself ends it; a shell says 143 to both.
        assert await client.process.wait() in {143, -signal.SIGTERM}
        assert time.monotonic() - began < 1.5


@pytest.mark.parametrize("mode", ["drain", "now"])
async def test_shutdown(serve, mode):
    """drain lets the running turn finish and refuses new ones; now cancels it; both exit with 0."""
    async with serve() as client:
        session = await start(client, "scripted:tokens?itl=10ms&tokens=30")
        await client.call("turn/start", session=session, prompt="x")
        await client.until("item.delta")
        assert await client.call("shutdown", mode=mode) == {"mode": mode, "turns": 1}
        late = await client.request("turn/start", session=session, prompt="late")
        messages = await client.rest()
        assert await client.process.wait() == 0
    end = {"drain": "turn.completed", "now": "turn.cancelled"}[mode]
    assert [m["params"]["type"] for m in messages if "method" in m][-1] == end
    if mode == "drain":
        refused = next(m for m in messages if m.get("id") == late)
        assert refused["error"]["data"]["kind"] == "conflict"


async def test_vanished_reader_ends_it_quietly(serve):
    """When nobody can read any more it ends with exit code 0 and nothing on stderr."""
    async with serve() as client:
        session = await start(client, SLOW)
        await client.call("turn/start", session=session, prompt="x")
        await client.process.stdout.aclose()
        with trio.fail_after(5):
            assert await client.process.wait() == 0
        assert await client.process.stderr.receive_some() == b""


async def test_client_that_never_reads_is_heard_and_bounded(serve):
    """A flooding turn that nobody reads stops growing, and a cancel ends it with nothing lost."""
    async with serve() as client:
        session = await start(client, "scripted:tokens?tokens=1000000")
        turn = (await client.call("turn/start", session=session, prompt="flood"))["turn"]
        await client.until("item.delta")
        sizes = [0, resident_kib(client.process.pid)]
        while sizes[-1] - sizes[-2] > 512:
            await trio.sleep(0.5)
            sizes.append(resident_kib(client.process.pid))
        assert sizes[-1] < 200 * 1024
        await client.send({"method": "turn/cancel", "params": {"turn": turn}})
        end = await client.until("turn.cancelled", turn)
        text = "".join(e["text"] for e in client.events if e["type"] == "item.delta")
        assert len(text) > 1_000_000
        completed = next(e for e in client.events if e["type"] == "item.completed")
        whole = await client.whole(completed["text"])
        assert await client.whole(end["result"]["text"]) == whole
        assert whole.startswith(text)


async def test_client_that_leaves_its_answers_unread_is_given_up(serve):
    """One that asks on and on and reads nothing costs the process, with exit code 75."""
    async with serve() as client:
        ping = b'{"id":"again","method":"ping"}\n'

        async def ask() -> None:
            with suppress(trio.BrokenResourceError):  # it has hung up
                while True:
                    await client.stdin.send_all(ping * 100)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            assert await client.process.wait() == 75
            nursery.cancel_scope.cancel()


def resident_kib(pid: int) -> int:
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        pytest.skip("needs /proc to measure memory")
    return int(status.read_text().split("VmRSS:")[1].split()[0])


async def test_runtime_is_visible(serve):
    """The tree shows the session's actor; the statistics count turns and this connection's lines."""
    async with serve() as client:
        session = await start(client)
        await client.call("turn/start", session=session, prompt="x", wait=True)
        assert session in str(await client.call("runtime/tree"))
        told = await client.call("runtime/stats")
        assert told["runtime"]["sessions_open"] == 1
        assert told["connection"]["protocol_errors"] == 0


async def test_the_log_of_a_server_is_where_it_was_asked_for(serve, tmp_path):
    """What goes wrong inside is in the log file and not on standard error."""
    log = tmp_path / "own.jsonl"
    (tmp_path / "actrio.toml").write_text('[log]\nlevel = "debug"\n')
    async with serve("--log-file", str(log)) as client:
        await client.process.stdin.aclose()
        assert await client.rest() == []
        assert await client.process.wait() == 0
        assert await client.process.stderr.receive_some() == b""
    for line in log.read_text().splitlines():
        json.loads(line)
