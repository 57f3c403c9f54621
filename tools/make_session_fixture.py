"""Write the sessions that ``fixtures/sessions/vN`` keeps of a version, and what they mean.

    python tools/make_session_fixture.py FOLDER

Run once for each version of the records, never for an old one: its files must open as they are.
``FOLDER/store`` is an embedded store with a session for each way in which one can stand, and with
every kind of record; ``FOLDER/expected.json`` has the state and the events of each.
"""

from __future__ import annotations

import itertools
import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import trio

from actrio.journal import (
    ApprovalAsked,
    ApprovalDecided,
    HistoryCompacted,
    HistoryTrimmed,
    InputAccepted,
    LargeValues,
    ModelOutcome,
    Record,
    SessionCreated,
    SessionForked,
    SessionRewound,
    StateChanged,
    StepBegun,
    ToolFinished,
    ToolSealed,
    ToolStarted,
    TurnBegun,
    TurnEnded,
    open_embedded_store,
)
from actrio.journal import Checkpoint as Snapshot
from actrio.messages import (
    AssistantMessage,
    ModelOutput,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Usage,
    UserMessage,
    user_message,
)
from actrio.sessions import oldest_records, read_state, replayed
from actrio.sessions._sealing import closed
from actrio.sessions._state import snapshot_of
from actrio.wire import event_to_dict

__all__ = ["meaning", "write"]

LARGE = "page " * 4000
"""More than a record holds: it becomes a blob."""


def _user(text: str) -> UserMessage:
    return user_message(text)


def _says(*parts: Any) -> ModelOutput:
    calls = any(isinstance(part, ToolCall) for part in parts)
    return ModelOutput(
        AssistantMessage(parts, "openai"),
        "tool_calls" if calls else "stop",
        Usage(10, 5, 2, 1),
        "gpt-x",
        "req_7",
        "tool_calls" if calls else "stop",
    )


def _created() -> SessionCreated:
    return SessionCreated(
        agent="keeper", user="u_1", model="scripted:demo", cache_policy="long", labels={"team": "a"}
    )


def _began(turn: str, *, message: str = "", owned: bool = False, **more: Any) -> Iterator[Record]:
    text = _user(message or f"input of {turn}")
    yield InputAccepted(turn=turn, message=text, owned=owned, **more)
    yield TurnBegun(turn=turn, agent="keeper", model="scripted:demo")
    yield StepBegun(turn=turn, step=1, model="scripted:demo")


def _answered(turn: str, step: int, text: str) -> Iterator[Record]:
    answer = _says(Thinking("hm", "signed"), Text(text))
    yield ModelOutcome(turn=turn, step=step, output=answer, run_seconds=0.25)
    yield TurnEnded(
        turn=turn,
        outcome="completed",
        stop_reason="end_turn",
        output={"value": [1, None]},
        steps=step,
        usage=Usage(10, 5),
        run_seconds=0.5,
    )


LOOK = ToolCall("call_1", "look", '{"place": "here"}', "sig")
SEND = ToolCall("call_2", "send", '{"to": "all"}')
RISK = ToolCall("call_3", "risk", "{}")


def _with_tools(turn: str) -> Iterator[Record]:
    yield from _began(turn, key="key-1", caller="c_1")
    yield ModelOutcome(turn=turn, step=1, attempt=2, output=_says(LOOK, SEND, RISK))
    yield ToolStarted(
        turn=turn, step=1, position=0, call_id="call_1", name="look", side_effects=False
    )
    yield ApprovalAsked(
        turn=turn, approval="a_1", step=1, position=2, question="May the agent run risk?", call=RISK
    )
    yield ToolFinished(
        turn=turn, step=1, position=0, result=ToolResult("call_1", "look", LARGE), run_seconds=0.1
    )
    yield ToolStarted(turn=turn, step=1, position=1, call_id="call_2", name="send")
    yield StateChanged(values={"sent": {"to": ["all"]}, "draft": 1}, by="tool send")


def _cut_off(turn: str) -> Iterator[Record]:
    for position, call in enumerate((SEND, RISK), 1):
        result = ToolResult(call.id, call.name, "Interrupted.", "sealed")
        yield ToolSealed(
            turn=turn,
            step=1,
            position=position,
            result=result,
            progress="effects_unknown" if position == 1 else "awaiting_approval",
        )


def whole() -> Iterator[Record]:
    """Yield a long life: every kind of record but a fork and a rewind."""
    yield _created()
    yield from _with_tools("t_1")
    yield InputAccepted(turn="t_2", message=_user("and this"), if_busy="steer", into="t_1")
    yield ApprovalDecided(turn="t_1", approval="a_1", decision="denied", by="u_1", note="not now")
    yield from _cut_off("t_1")
    yield StateChanged(values={"n": 1.5}, removed=("draft",), by="u_1")
    yield StepBegun(turn="t_1", step=2, taken=("t_2",), correction=_user("as JSON, please"))
    yield from _answered("t_1", 2, "Done.")
    yield HistoryTrimmed(messages=5, reason="window")
    yield from _began("t_3", owned=True)
    yield ModelOutcome(
        turn="t_3",
        step=1,
        status="cancelled",
        partial="I would",
        partial_thinking="let me",
        error={"kind": "cancelled", "message": "gone"},
    )
    yield TurnEnded(
        turn="t_3",
        outcome="cancelled",
        stop_reason="cancelled",
        reason="user",
        error={"kind": "cancelled", "message": "Turn t_3 was cancelled (user)."},
    )
    yield HistoryCompacted(messages=2, summary="They spoke of places.", summary_version=1)


def waiting() -> Iterator[Record]:
    """Yield a session that waits for a person, with inputs in line behind."""
    yield _created()
    yield from _began("t_1")
    yield ModelOutcome(turn="t_1", step=1, output=_says(RISK))
    call = ToolCall("call_3", "risk", '{"less": true}')
    yield ApprovalAsked(
        turn="t_1", approval="a_1", step=1, position=0, question="May it?", call=call
    )
    yield InputAccepted(turn="t_2", message=_user("later"))
    yield InputAccepted(turn="t_3", message=_user("by the way"), if_busy="steer", into="t_1")
    yield InputAccepted(turn="t_4", message=_user("quick"), owned=True)


def broken() -> Iterator[Record]:
    """Yield what a process leaves behind that was killed while a tool asked a person."""
    yield _created()
    yield from _began("t_1")
    yield ModelOutcome(turn="t_1", step=1, output=_says(LOOK, SEND))
    yield ToolStarted(turn="t_1", step=1, position=0, call_id="call_1", name="look")
    yield ApprovalAsked(
        turn="t_1",
        approval="a_1",
        step=1,
        position=0,
        about="question",
        question="Where?",
        choices=("here", "there"),
        call=LOOK,
    )


async def _append(store: LargeValues, name: str, records: Sequence[Record]) -> None:
    claim = await store.claim(name, "fixture")
    for place, record in enumerate(records):
        await store.append(name, claim.epoch, claim.last_seq + place, [record])
    await store.release(claim)


async def _checkpoint(store: LargeValues, name: str) -> None:
    state = await read_state(store, name)
    await _append(store, name, [Snapshot(snapshot=snapshot_of(state))])


async def _rewind(store: LargeValues, name: str, to_seq: int) -> None:
    now = await read_state(store, name)
    past = closed(await read_state(store, name, to_seq), "rewind")
    past.metrics, past.turns_ended, past.ended = now.metrics, now.turns_ended, now.ended
    past.event_seq = now.event_seq + 1
    claim = await store.claim(name, "fixture")
    made: list[Record] = [SessionRewound(to_seq=to_seq), Snapshot(snapshot=snapshot_of(past))]
    await store.append(name, claim.epoch, claim.last_seq, made)
    await store.release(claim)


async def write(folder: Path) -> None:
    """Write the sessions into ``folder``, always the same bytes."""
    times = itertools.count(1_700_000_000)
    async with open_embedded_store(
        folder, durability="always", now=lambda: next(times) + 0.25
    ) as embedded:
        store = LargeValues(embedded)
        sessions: tuple[tuple[str, list[Record]], ...] = (
            ("whole", [*whole()]),
            ("asleep", [*whole()]),
            ("rewound", [*whole()]),
            ("waiting", [*waiting()]),
            ("waiting-asleep", [*waiting()]),
            ("broken", [*broken()]),
            ("fork", [_created(), SessionForked(parent="whole", parent_seq=9)]),
        )
        for name, records in sessions:
            await _append(store, name, records)
        await _append(store, "fork", [*_began("t_9"), *_answered("t_9", 1, "On.")])
        await _checkpoint(store, "asleep")
        await _append(store, "asleep", [*_began("t_9"), *_answered("t_9", 1, "On.")])
        await _checkpoint(store, "waiting-asleep")
        await _rewind(store, "rewound", 18)


def clean(folder: Path) -> None:
    """Take away what is of use to a process that has the store open only."""
    shutil.rmtree(folder / "slots")
    for name in ("*.lock", "claims.gate"):
        for path in folder.glob(name):
            path.unlink()


async def meaning(folder: Path) -> dict[str, Any]:
    """Return what the sessions in ``folder`` are, as plain values; large texts are named only."""
    found = {}
    async with open_embedded_store(folder) as embedded:
        store = LargeValues(embedded)
        for entry in await store.list():
            records = await oldest_records(store, entry.session)
            events: list[Any] = replayed(entry.session, records)
            found[entry.session] = {
                "state": snapshot_of(await read_state(store, entry.session)),
                "events": [event_to_dict(each) for each in events],
            }
    plain: dict[str, Any] = json.loads(json.dumps(found).replace(LARGE, "LARGE"))
    return plain


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print(__doc__)
        return 2
    folder = Path(arguments[0])
    if folder.exists():
        print(f"{folder} is there already; what it keeps must stay as it is")
        return 1
    folder.mkdir(parents=True)
    trio.run(write, folder / "store")
    clean(folder / "store")
    shutil.copytree(folder / "store", folder / "read")
    told = trio.run(meaning, folder / "read")
    shutil.rmtree(folder / "read")
    text = json.dumps(told, indent=1, ensure_ascii=False, sort_keys=True)
    (folder / "expected.json").write_text(f"{text}\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
