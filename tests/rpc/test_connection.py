from __future__ import annotations

import pytest
import trio
import trio.testing
from structlog.testing import capture_logs

from actrio.errors import NotFound, Overloaded, PeerError
from actrio.rpc import ConnectionLimits, Refused, fault


async def echo(call):
    return dict(call.params)


async def forever(call):
    await trio.sleep_forever()


async def test_answers_carry_the_id_with_its_type(connect):
    """A string id and an integer id are two requests, each answered as it was asked."""
    peer = await connect(calls={"echo": echo})
    await peer.call(1, "echo", a=1)
    await peer.call("1", "echo", a=2)
    answers = [await peer.receive(), await peer.receive()]
    assert sorted(answers, key=str) == [
        {"jsonrpc": "2.0", "id": "1", "result": {"a": 2}},
        {"jsonrpc": "2.0", "id": 1, "result": {"a": 1}},
    ]


async def test_end_of_input_drains_what_runs(connect, autojump_clock):
    """At the end of input running requests finish and are answered, then run returns."""

    async def slow(call):
        await trio.sleep(5)
        return "done"

    peer = await connect(calls={"slow": slow})
    await peer.call(1, "slow")
    await peer.inbound.aclose()
    assert (await peer.receive())["result"] == "done"
    await trio.testing.wait_all_tasks_blocked()
    assert peer.ending == "eof"


async def test_last_line_without_newline_is_served(connect):
    """A whole object at the end of input counts, even where its newline is missing."""
    peer = await connect(calls={"echo": echo})
    await peer.send(b'{"id":1,"method":"echo"}')
    await peer.inbound.aclose()
    assert (await peer.receive())["result"] == {}


async def test_bad_lines_are_answered_and_survived(connect):
    """Each bad line gets its one answer, and the next good request is served as ever."""
    peer = await connect(ConnectionLimits(line_bytes_max=100), calls={"echo": echo})
    await peer.send(
        b"\xff\n", b"\n", b"[]\n", b"1\n", b'{"id":1.5,"method":"echo"}\n', b"x" * 5000 + b"\n"
    )
    codes = [(await peer.receive())["error"]["code"] for _ in range(5)]
    assert codes == [-32700, -32600, -32600, -32600, -32600]
    await peer.call("after", "echo")
    assert (await peer.receive())["id"] == "after"
    assert peer.connection.statistics().protocol_errors == 5


async def test_too_long_line_says_so(connect):
    """The answer names the limit, so that a program can split its input."""
    peer = await connect(ConnectionLimits(line_bytes_max=10))
    await peer.send(b"x" * 11 + b"\n")
    data = (await peer.receive())["error"]["data"]
    assert (data["kind"], data["reason"], data["limit"]) == ("invalid_request", "line_too_long", 10)


async def test_more_than_a_hundred_bad_lines_in_a_row_end_it(connect):
    """A hundred are answered and forgiven, one more closes; a good line starts the count anew."""
    peer = await connect(calls={"echo": echo})

    async def read_errors(count: int) -> None:
        for _ in range(count):
            assert "error" in await peer.receive()

    await peer.send(*[b"x\n"] * 100)
    await read_errors(100)
    await peer.call(1, "echo")
    assert (await peer.receive())["id"] == 1
    await peer.send(*[b"x\n"] * 101)
    await read_errors(101)
    await trio.testing.wait_all_tasks_blocked()
    assert peer.ending == "protocol"


async def test_errors_carry_kind_message_remedy_and_retryable(connect):
    """A typed error is told by its table entry; a refusal exactly as it was made."""

    async def missing(call):
        raise NotFound("There is no session 's_1'.", remedy="Create it first.")

    async def busy(call):
        raise Overloaded("Full.", retry_after_seconds=0.5)

    async def refused(call):
        raise Refused(fault("not_initialized", "Too early."))

    peer = await connect(calls={"missing": missing, "busy": busy, "refused": refused})
    await peer.call(1, "missing")
    assert (await peer.receive())["error"] == {
        "code": -32002,
        "message": "There is no session 's_1'.",
        "data": {
            "kind": "not_found",
            "message": "There is no session 's_1'.",
            "remedy": "Create it first.",
            "retryable": False,
        },
    }
    await peer.call(2, "busy")
    error = (await peer.receive())["error"]
    assert (error["code"], error["data"]["retryable"]) == (-32001, True)
    assert error["data"]["retry_after_ms"] == 500
    await peer.call(3, "refused")
    assert (await peer.receive())["error"]["code"] == -32005


async def test_unforeseen_exception_is_internal_and_logged(connect):
    """A method's bug answers -32603 without its text, goes to the log, and harms nobody else."""

    async def broken(call):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(forever, call)
            raise ZeroDivisionError("password=hunter2")

    peer = await connect(calls={"broken": broken, "echo": echo}, controls={"bad": lambda _: 1 / 0})
    with capture_logs() as logs:
        await peer.call(1, "broken")
        error = (await peer.receive())["error"]
        await peer.call(2, "bad")
        assert (await peer.receive())["error"]["code"] == -32603
        await peer.send({"method": "bad"})
        await peer.call(3, "echo")
        assert (await peer.receive())["id"] == 3
    assert error["code"] == -32603
    assert "hunter2" not in str(error)
    assert [entry["method"] for entry in logs] == ["broken", "bad", "bad"]


async def test_answer_without_json_form_is_an_error_answer(connect):
    """A result that cannot be written fails its own request only."""

    async def odd(call):
        return object()

    peer = await connect(calls={"odd": odd})
    await peer.call(1, "odd")
    assert (await peer.receive())["error"]["data"]["kind"] == "invalid_params"


async def test_unknown_methods_and_positional_params(connect):
    """An unknown request is -32601, positional params -32602, unknown notifications are ignored."""
    peer = await connect(calls={"echo": echo})
    await peer.send({"method": "nobody"}, {"id": "srv-1", "result": 1})
    await peer.call(1, "nobody")
    assert (await peer.receive())["error"]["code"] == -32601
    await peer.send({"id": 2, "method": "echo", "params": [1]})
    assert (await peer.receive())["error"]["code"] == -32602
    assert peer.connection.statistics().ignored == 2


async def test_duplicate_id_in_flight_is_refused(connect):
    """The second request with a running id gets -32600 with that id; the first goes on."""
    release = trio.Event()

    async def wait(call):
        await release.wait()
        return "first"

    peer = await connect(calls={"wait": wait})
    await peer.call("a", "wait")
    await peer.call("a", "wait")
    refused = await peer.receive()
    assert (refused["id"], refused["error"]["code"]) == ("a", -32600)
    release.set()
    assert (await peer.receive())["result"] == "first"
    await peer.call("a", "wait")
    assert (await peer.receive())["result"] == "first"


async def test_one_request_too_many_is_refused_at_once(connect):
    """Beyond the bound the answer is -32001 with what a client needs to come back."""
    peer = await connect(calls={"forever": forever}, controls={"ping": lambda _: {}})
    for number in range(256):
        await peer.call(number, "forever")
    await peer.call("more", "forever")
    error = (await peer.receive())["error"]
    assert error["code"] == -32001
    data = error["data"]
    assert (data["kind"], data["limit"], data["in_flight"]) == ("overloaded", 256, 256)
    assert (data["retryable"], data["retry_after_ms"]) == (True, 250)
    await peer.call("p", "ping")
    assert (await peer.receive())["result"] == {}
    await peer.send({"method": "$/cancelRequest", "params": {"id": 0}})
    assert (await peer.receive())["error"]["code"] == -32800
    await peer.call("fits", "forever")
    await trio.testing.wait_all_tasks_blocked()
    assert peer.connection.statistics().in_flight == 256


async def test_calls_that_go_on_after_their_answer_are_bounded_too(connect):
    """An answered call frees its id and its place in flight, but counts as running."""

    async def answer_and_stay(call):
        call.respond("accepted")
        await trio.sleep_forever()

    peer = await connect(ConnectionLimits(running_max=2), calls={"stay": answer_and_stay})
    for _ in range(2):
        await peer.call(1, "stay")
        assert (await peer.receive())["result"] == "accepted"
    await peer.call(1, "stay")
    assert (await peer.receive())["error"]["data"]["limit"] == 2
    statistics = peer.connection.statistics()
    assert (statistics.in_flight, statistics.running, statistics.refused) == (0, 2, 1)


@pytest.mark.parametrize(
    "take_back",
    [
        {"method": "$/cancelRequest", "params": {"id": 7}},
        {"method": "$/cancel_request", "params": {"requestId": 7}},
    ],
)
async def test_cancel_request_ends_the_request(connect, take_back):
    """Both spellings cancel the work; the answer is -32800; an unknown id is nothing."""
    ended = trio.Event()

    async def work(call):
        try:
            await trio.sleep_forever()
        finally:
            ended.set()

    peer = await connect(calls={"work": work})
    await peer.call(7, "work")
    await trio.testing.wait_all_tasks_blocked()
    await peer.send({"method": "$/cancelRequest", "params": {"id": "7"}}, take_back)
    answer = await peer.receive()
    assert (answer["id"], answer["error"]["code"]) == (7, -32800)
    assert ended.is_set()


async def test_method_may_end_a_cancelled_request_in_order(connect):
    """With its own way to cancel, a method goes on to its last event, and the answer follows it."""
    stop = trio.Event()

    async def turn(call):
        call.channel, call.on_cancel = "s", stop.set
        await peer.connection.notify("s", "event", {"n": 1})
        await stop.wait()
        await peer.connection.notify("s", "event", {"n": 2})
        return "not sent"

    peer = await connect(calls={"turn": turn})
    await peer.call(1, "turn")
    assert (await peer.receive())["params"] == {"n": 1}
    await peer.send({"method": "$/cancelRequest", "params": {"id": 1}})
    assert (await peer.receive())["params"] == {"n": 2}
    assert (await peer.receive())["error"]["code"] == -32800


async def test_the_plain_part_of_a_method_runs_in_line_order(connect):
    """What a method does before it returns its coroutine happens in the order of the requests."""
    order = []

    def method(call):
        order.append(call.params["n"])
        if call.params["n"] == 7:
            raise NotFound("There is no 7.")
        return echo(call)

    peer = await connect(calls={"m": method})
    await peer.send(*[{"id": n, "method": "m", "params": {"n": n}} for n in range(20)])
    answers = [await peer.receive() for _ in range(20)]
    assert order == list(range(20))
    assert [answer["id"] for answer in answers if "error" in answer] == [7]


async def test_controls_overtake_and_are_admitted(connect):
    """A control is answered by the reader itself, past queued work, and only where admitted."""
    open_gate = trio.Event()

    def admit(method):
        return None if open_gate.is_set() or method == "ping" else fault("not_initialized", "no")

    peer = await connect(calls={"echo": echo}, controls={"ping": lambda _: "pong"}, admit=admit)
    await peer.call(1, "echo")
    assert (await peer.receive())["error"]["code"] == -32005
    await peer.call(2, "ping")
    assert (await peer.receive())["result"] == "pong"
    open_gate.set()
    await peer.call(3, "echo")
    assert (await peer.receive())["result"] == {}


async def test_answer_on_a_channel_leaves_behind_its_events(connect):
    """An answer on a channel comes after all its events; one beside it comes before them."""

    async def turn(call):
        for number in range(20):
            await peer.connection.notify("s", "event", {"n": number})
        call.channel = "s"
        return "end"

    peer = await connect(calls={"turn": turn, "echo": echo})
    await peer.call(1, "turn")
    await trio.testing.wait_all_tasks_blocked()
    await peer.call(2, "echo")
    await trio.testing.wait_all_tasks_blocked()
    messages = [await peer.receive() for _ in range(22)]
    assert [m["params"]["n"] for m in messages if "method" in m] == list(range(20))
    assert messages[-1]["result"] == "end"
    assert 2 in [m.get("id") for m in messages[:3]]


async def test_client_that_never_reads_stops_its_turns_and_still_cancels(connect, autojump_clock):
    """Unread events stop the sender at the channel's bound; a cancel is heard all the same."""
    sent = 0
    cancelled = trio.Event()

    async def flood(call):
        nonlocal sent
        try:
            while True:
                await peer.connection.notify("s", "event", {"text": "x" * 1000})
                sent += 1
        finally:
            cancelled.set()

    peer = await connect(calls={"flood": flood})
    await peer.call(1, "flood")
    await trio.sleep(100)
    before = sent
    assert before <= 64 + 33
    assert peer.connection.statistics().outbox.peak_bytes < 100_000
    await peer.send({"method": "$/cancelRequest", "params": {"id": 1}})
    with trio.fail_after(0.1):
        await cancelled.wait()
    messages = [await peer.receive() for _ in range(sent + 1)]
    assert [m for m in messages if "error" in m] != []
    assert sent == before


async def test_one_flooding_channel_does_not_delay_another(connect):
    """Channels take turns: a second session's event is among the first lines read after it."""

    async def flood(call):
        while True:
            await peer.connection.notify("loud", "event", {"text": "x" * 20_000})

    async def whisper(call):
        await peer.connection.notify("quiet", "event", {"text": "here"})

    peer = await connect(calls={"flood": flood, "whisper": whisper})
    await peer.call(1, "flood")
    await trio.testing.wait_all_tasks_blocked()
    await peer.call(2, "whisper")
    await trio.testing.wait_all_tasks_blocked()
    first = [await peer.receive() for _ in range(5)]
    assert "here" in [m["params"]["text"] for m in first if "params" in m]


async def test_unread_answers_stop_the_reader_at_a_bound(connect):
    """A client that asks and never reads is not answered without end; reading resumes it."""
    peer = await connect(
        ConnectionLimits(control_lines_max=50, read_bytes_max=1000),
        controls={"ping": lambda _: {}},
    )
    for number in range(1000):
        await peer.call(number, "ping")
    await trio.testing.wait_all_tasks_blocked()
    assert peer.connection.statistics().outbox.control_lines < 100
    assert [(await peer.receive())["id"] for _ in range(1000)] == list(range(1000))


async def test_stalled_client_is_given_up(connect, autojump_clock):
    """A write that makes no progress for the stall time ends the connection and its work."""
    peer = await connect(calls={"echo": echo, "forever": forever})
    await peer.call(1, "forever")
    await peer.call(2, "echo")
    await trio.sleep(299)
    assert peer.ending is None
    await trio.sleep(2)
    assert peer.ending == "stalled"


async def test_vanished_client_ends_it_quietly(connect):
    """A closed peer cancels the running requests; nothing is raised and nothing is logged."""
    ended = trio.Event()

    async def stream(call):
        try:
            while True:
                await peer.connection.notify("s", "event", {})
        finally:
            ended.set()

    peer = await connect(calls={"stream": stream})
    with capture_logs() as logs:
        await peer.call(1, "stream")
        await peer.receive()
        await peer.outbound.aclose()
        with trio.fail_after(2):
            await ended.wait()
        await trio.testing.wait_all_tasks_blocked()
    assert peer.ending == "broken"
    assert logs == []
    with pytest.raises(trio.BrokenResourceError):
        await peer.connection.notify("s", "event", {})


async def test_finish_refuses_new_and_drains(connect, autojump_clock):
    """After finish controls still work, requests are refused, running ones are answered."""

    async def slow(call):
        await trio.sleep(5)
        return "done"

    peer = await connect(calls={"slow": slow}, controls={"ping": lambda _: "pong"})
    await peer.call(1, "slow")
    await trio.testing.wait_all_tasks_blocked()
    peer.connection.finish()
    await peer.call(2, "slow")
    assert (await peer.receive())["error"]["data"]["kind"] == "conflict"
    await peer.call(3, "ping")
    assert (await peer.receive())["result"] == "pong"
    assert (await peer.receive())["result"] == "done"
    await trio.testing.wait_all_tasks_blocked()
    assert peer.ending == "closed"


async def test_finish_with_grace_is_bounded(connect, autojump_clock):
    """With a grace, neither a running request nor a client that does not read delays the end."""
    peer = await connect(calls={"forever": forever, "echo": echo})
    await peer.call(1, "forever")
    await peer.call(2, "echo")
    await trio.testing.wait_all_tasks_blocked()
    peer.connection.finish(grace_seconds=1)
    await trio.sleep(0.9)
    assert peer.ending is None
    await trio.sleep(0.2)
    assert peer.ending == "closed"


async def test_large_values_pass_whole(connect):
    """A line of megabytes crosses in both directions unchanged, also beyond a channel's bytes."""

    async def back(call):
        call.channel = "s"
        return call.params["text"]

    peer = await connect(ConnectionLimits(line_out_bytes_max=2**24), calls={"back": back})
    text = "é\u2028" * 250_000
    await peer.call(1, "back", text=text)
    assert (await peer.receive())["result"] == text


async def test_too_long_answer_is_refused_or_shrunk(connect):
    """No line out is longer than the bound: an answer becomes an error, or what shrink makes."""

    async def large(call):
        return {"text": "x" * 2_000_000}

    peer = await connect(calls={"large": large}, controls={"too": lambda _: "x" * 2_000_000})
    for method in ("large", "too"):
        await peer.call(1, method)
        error = (await peer.receive())["error"]
        assert (error["code"], error["data"]["kind"]) == (-32007, "limit_exceeded")

    async def shrink(message):
        return {**message, "result": {"text": "cut"}}

    peer = await connect(calls={"large": large}, shrink=shrink)
    await peer.call(1, "large")
    assert (await peer.receive())["result"] == {"text": "cut"}


async def test_our_requests_are_answered(connect, nursery):
    """The peer's answer to a srv- request is its result, its error a PeerError."""
    outcomes = []

    async def ask():
        outcomes.append(await peer.connection.request("tool/call", {"a": 1}))
        try:
            await peer.connection.request("tool/call", {}, channel="s")
        except PeerError as error:
            outcomes.append((error.message, error.data["code"]))

    peer = await connect()
    nursery.start_soon(ask)
    asked = await peer.receive()
    assert asked == {"jsonrpc": "2.0", "id": "srv-1", "method": "tool/call", "params": {"a": 1}}
    await peer.send({"id": "srv-1", "result": 7})
    assert (await peer.receive())["id"] == "srv-2"
    await peer.send({"id": "srv-2", "error": {"code": -1, "message": "no"}})
    await peer.send({"id": "srv-2", "result": "twice"}, {"id": 2, "result": "to nothing"})
    await trio.testing.wait_all_tasks_blocked()
    assert outcomes == [7, ("The client refused tool/call: no", -1)]
    assert peer.connection.statistics().ignored == 2
    assert peer.connection.statistics().asked == 0


@pytest.mark.parametrize(
    ("method", "name"), [("$/cancelRequest", "id"), ("$/cancel_request", "requestId")]
)
async def test_cancelled_request_of_ours_is_taken_back(connect, nursery, method, name):
    """Cancelling tells the peer which request is void; its late answer is ignored."""
    peer = await connect(cancel_method=method)
    with trio.CancelScope() as scope:
        nursery.start_soon(peer.connection.request, "question/ask", {})
        assert (await peer.receive())["id"] == "srv-1"

    async def ask():
        with scope:
            await peer.connection.request("question/ask", {})

    scope = trio.CancelScope()
    nursery.start_soon(ask)
    assert (await peer.receive())["id"] == "srv-2"
    scope.cancel()
    taken_back = await peer.receive()
    assert (taken_back["method"], taken_back["params"]) == (method, {name: "srv-2"})
    await peer.send({"id": "srv-2", "result": 1}, {"id": "srv-1", "result": 1})
    await trio.testing.wait_all_tasks_blocked()
    assert peer.connection.statistics().ignored == 1


async def test_end_of_input_ends_waiting_for_the_peer(connect):
    """Once nobody can answer, open and later requests of ours fail at once, and draining goes on."""

    async def method(call):
        for _ in range(2):
            with pytest.raises(trio.BrokenResourceError):
                await peer.connection.request("question/ask", {})
        return "went on"

    peer = await connect(calls={"m": method})
    await peer.call(1, "m")
    assert (await peer.receive())["method"] == "question/ask"
    await peer.inbound.aclose()
    assert (await peer.receive())["result"] == "went on"


async def test_a_front_end_may_hold_the_connection_after_the_input(connect):
    """With `ended`, output goes on after the end of input until finish is called."""
    ended = trio.Event()
    peer = await connect(calls={"echo": echo}, ended=ended.set)
    await peer.inbound.aclose()
    await ended.wait()
    await trio.testing.wait_all_tasks_blocked()
    assert peer.ending is None
    await peer.connection.notify("s", "event", {"n": 1})
    assert (await peer.receive())["params"] == {"n": 1}
    peer.connection.finish()
    await trio.testing.wait_all_tasks_blocked()
    assert peer.ending == "eof"


async def test_peer_that_leaves_512_answers_unread_is_given_up(connect, autojump_clock):
    """One that asks and never reads is closed after a second; the work it had is cancelled."""
    peer = await connect(calls={"forever": forever}, controls={"ping": lambda _: {}})
    await peer.call("f", "forever")
    for n in range(511):
        await peer.call(n, "ping")
    await trio.sleep(100)
    assert peer.ending is None
    for n in range(20):
        await peer.call(n, "ping")
    await trio.sleep(0.9)
    assert peer.ending is None
    await trio.sleep(1.2)
    assert peer.ending == "stalled"


async def test_a_write_without_progress_is_told(connect, autojump_clock):
    """After 30 s the front end hears of it, and again with 0 when the peer reads on."""
    told = []
    peer = await connect(calls={"echo": echo}, stalled=lambda seconds: told.append(seconds))
    await peer.call(1, "echo")
    await trio.sleep(29)
    assert told == []
    await trio.sleep(60)
    assert len(told) == 1
    assert 30 <= told[0] <= 60
    assert (await peer.receive())["id"] == 1
    await trio.testing.wait_all_tasks_blocked()
    assert told[1:] == [0.0]
