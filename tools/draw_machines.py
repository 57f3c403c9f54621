"""Draws docs/reference/turn-machine.md by running the turn machine, not by describing it.

    python tools/draw_machines.py            writes the page
    python tools/draw_machines.py --check    fails if the page is out of date

The machine is pure, so every situation can be made and asked: each finish reason, with and without
tool calls, with and without a step left, with each state of the output type. Situations with the
same outcome are drawn as one branch. tests/docs/test_reference.py fails when page and machine
disagree.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, get_args

import attrs

from actrio.agents._turn import (
    CallModel,
    Command,
    Finish,
    RunTools,
    TurnLimits,
    after_model,
    after_tools,
    begin,
)
from actrio.journal import (
    InputAccepted,
    ModelOutcome,
    Record,
    StepBegun,
    StoredRecord,
    ToolFinished,
    ToolStarted,
    TurnBegun,
    TurnEnded,
)
from actrio.messages import (
    AssistantMessage,
    Message,
    ModelOutput,
    Text,
    ToolCall,
    ToolMessage,
    ToolResult,
    UserMessage,
)
from actrio.messages import _parts as parts
from actrio.sessions import SessionState, apply, fold
from actrio.sessions._sealing import cut_off

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "reference" / "turn-machine.md"

FINISH_REASONS: Final[Sequence[str]] = get_args(parts.FinishReason)

Situation = Mapping[str, str]
"""A value for each factor below."""

FACTORS: Final[Mapping[str, Sequence[str]]] = {
    "tool calls in the answer": ("yes", "no"),
    "finish reason": FINISH_REASONS,
    "output type": ("none", "valid", "invalid"),
    "a step left": ("yes", "no"),
    "a retry left": ("yes", "no"),
}


# -- running the machine -------------------------------------------------------------------------

_CALL: Final = ToolCall("call_1", "look", "{}")
_QUESTION: Final = UserMessage((Text("question"),))


def _check(text: str) -> str:
    if text == "invalid":
        raise ValueError("not of the type")
    return text


def outcome_of(situation: Situation) -> str:
    """Put the machine into ``situation``, tell it of a finished model call, and say what it did."""
    steps_max = 2 if situation["a step left"] == "yes" else 1
    retries = 1 if situation["a retry left"] == "yes" else 0
    state, _ = begin(_QUESTION, TurnLimits(steps_max, retries))
    words = Text(situation["output type"])
    calls = (_CALL,) if situation["tool calls in the answer"] == "yes" else ()
    output = ModelOutput(AssistantMessage((words, *calls)), situation["finish reason"])  # type: ignore[arg-type]
    check = None if situation["output type"] == "none" else _check
    after, command = after_model(state, output, check)
    return f"{told(command)}   [{after.phase}]"


def told(command: Command) -> str:
    """Return a command in the words of the page."""
    match command:
        case RunTools():
            return "RunTools"
        case CallModel():
            return "CallModel, with what was wrong"
        case Finish(outcome, stop_reason, error, output):
            words = f"Finish {outcome}, {stop_reason}"
            if error is not None:
                words += f" ({type(error).__name__})"
            return words + (", with the value" if output is not None else "")


# -- drawing the decisions -----------------------------------------------------------------------


def decisions() -> list[str]:
    """Return the decision tree after a model call, equal branches drawn as one."""
    return list(_tree({}, list(FACTORS)))


def _tree(fixed: dict[str, str], factors: list[str]) -> Iterator[str]:
    """Yield the lines of the tree over ``factors``, those that decide nothing left out."""
    factor, *rest = factors
    branches: dict[tuple[str, ...], list[str]] = {}
    for value in FACTORS[factor]:
        below = tuple(_below({**fixed, factor: value}, rest))
        branches.setdefault(below, []).append(value)
    if len(branches) == 1:
        yield from next(iter(branches))
        return
    yield f"{factor}?"
    for number, (below, values) in enumerate(branches.items(), 1):
        last = number == len(branches)
        head, *tail = below
        name = " | ".join(values)
        yield f"{'└─' if last else '├─'} {name}{': ' if tail else ' ──► '}{head}"
        yield from (f"{'   ' if last else '│  '}{line}" for line in tail)


def _below(fixed: dict[str, str], factors: list[str]) -> list[str]:
    return list(_tree(fixed, factors)) if factors else [outcome_of(fixed)]


# -- drawing the phases --------------------------------------------------------------------------


def phases() -> list[str]:
    """Return every transition between phases that some situation takes."""
    state, command = begin(_QUESTION, TurnLimits(3, 1))
    found = {("", "begin", type(command).__name__, state.phase)}
    for values in itertools.product(*FACTORS.values()):
        phase = outcome_of(dict(zip(FACTORS, values, strict=True)))
        command_name, _, phase = phase.partition("   ")
        first = command_name.replace(",", " ").split()[0]
        found.add(("calling", "after_model", first, phase.strip("[]")))
    tools, _ = after_model(state, _answer_with_calls(), None)
    after, command = after_tools(tools, (ToolResult("call_1", "look", "found"),))
    found.add((tools.phase, "after_tools", type(command).__name__, after.phase))
    order = ["", "calling", "tools"]
    rows = sorted(found, key=lambda row: (order.index(row[0]), row))
    return [
        f"{before or '(nothing)':<10} {what:<12} ──► {then:<10} {after}"
        for before, what, then, after in rows
    ]


def _answer_with_calls() -> ModelOutput:
    return ModelOutput(AssistantMessage((Text("looking"), _CALL)), "tool_calls")


# -- drawing what is kept ------------------------------------------------------------------------


def kept() -> list[tuple[str, str]]:
    """Return what a session keeps of a turn that ends at each of its places.

    What is kept is what the turn's records fold into, so records are made and folded.
    """
    accepted = InputAccepted(turn="t", message=_QUESTION)
    begun: tuple[Record, ...] = (accepted, TurnBegun(turn="t"), StepBegun(turn="t", step=1))
    half = ModelOutcome(turn="t", step=1, status="cancelled", partial="half an ans")
    calls = (*begun, ModelOutcome(turn="t", step=1, output=_answer_with_calls()))
    started = ToolStarted(turn="t", step=1, position=0, call_id="call_1", name="look")
    found = ToolResult("call_1", "look", "found")
    finished = ToolFinished(turn="t", step=1, position=0, result=found)
    again = (*calls, started, finished, StepBegun(turn="t", step=2))
    answer = ModelOutput(AssistantMessage((Text("answer"),)), "stop")
    completed = TurnEnded(turn="t", outcome="completed", stop_reason="end_turn")
    outgrown = TurnEnded(turn="t", outcome="failed", stop_reason="error", kept=False)
    places: list[tuple[str, tuple[Record, ...]]] = [
        ("while it stands in line", (accepted,)),
        ("before the model said a word", begun),
        ("in the middle of an answer", (*begun, half)),
        ("with calls that were not begun", calls),
        ("while tools run", (*calls, started)),
        ("after the tools, before the next answer", again),
        ("by itself", (*begun, ModelOutcome(turn="t", step=1, output=answer), completed)),
        ("because it outgrew the model's window", (*again, outgrown)),
        ("by being rolled back", (*calls, started, *_rolled_back((*calls, started)))),
    ]
    return [(place, _shown(_folded(records).history)) for place, records in places]


def _folded(records: Sequence[Record]) -> SessionState:
    """Return the session that ``records`` make; a turn that they leave open is cut off."""
    state = SessionState("s")
    for seq, record in enumerate(records, 1):
        apply(state, StoredRecord(seq, 1, 0.0, record))
    for turn in list(state.open.values()):
        for record in tuple(cut_off(state, turn, "user")):
            apply(state, StoredRecord(len(records) + 1, 1, 0.0, record))
    return state


def _rolled_back(records: Sequence[Record]) -> Iterator[Record]:
    state = fold("s", [StoredRecord(seq, 1, 0.0, each) for seq, each in enumerate(records, 1)])
    for record in tuple(cut_off(state, state.open["t"], "rolled back")):
        yield attrs.evolve(record, kept=False) if isinstance(record, TurnEnded) else record


def _shown(messages: Sequence[Message]) -> str:
    if not messages:
        return "nothing"
    return ", ".join(_message(message) for message in messages)


def _message(message: Message) -> str:
    match message:
        case UserMessage():
            return "user"
        case AssistantMessage():
            return "assistant with call" if message.tool_calls else "assistant"
        case ToolMessage(results):
            return f"result ({results[0].state})"


# -- the page ------------------------------------------------------------------------------------


def page() -> str:
    """Return the whole page."""
    rows = [f"| {place} | {what} |" for place, what in kept()]
    return "\n".join(
        [
            "# The turn machine",
            "",
            "<!-- This page is drawn by tools/draw_machines.py. Change the machine, then run it. -->",
            "",
            "What a turn does next is decided by a pure machine (`src/actrio/agents/_turn.py`) that",
            "knows no clock and no socket. This page was drawn by putting the machine into every",
            "situation and writing down what it did; `make docs` draws it again.",
            "",
            "## Phases",
            "",
            "Who was in which phase, was told what, answers with which command and is then in which",
            "phase. `CallModel` and `RunTools` are carried out by the shell around the machine",
            "(`src/actrio/agents/_run.py`), which comes back with what happened. `Finish` is the end.",
            "",
            "```text",
            *phases(),
            "```",
            "",
            "## What follows a finished model call",
            "",
            "In square brackets the phase that follows. A factor that decides nothing is not asked.",
            "",
            "```text",
            *decisions(),
            "```",
            "",
            "A turn that fails with `max_steps` has tool calls without results; they are sealed, like",
            "all calls that a turn's end cuts off.",
            "",
            "## What the session keeps",
            "",
            "The messages that a turn adds to its session's history, by the place where it ends. A",
            "call that was cut off gets a result that says so, so that the history stays one that a",
            "provider accepts ([why](../explanation/history-and-sealing.md)).",
            "",
            "| the turn ends | kept |",
            "| --- | --- |",
            *rows,
            "",
        ]
    )


def main(arguments: list[str]) -> int:
    """Write the page, or with ``--check`` say whether it is out of date."""
    drawn = page()
    current = PAGE.read_text() if PAGE.exists() else ""
    if drawn == current:
        return 0
    if "--check" in arguments:
        print(f"{PAGE.relative_to(ROOT)} is out of date: run python tools/draw_machines.py")
        return 1
    PAGE.write_text(drawn)
    print(f"wrote {PAGE.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
