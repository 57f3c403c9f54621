"""How far each call of a step has come, so that none is ever left without a result.

A provider refuses a history in which a tool call has no result. A step can end at any moment
(cancel, crash, limit), so whoever owns the step keeps a ledger, and `seal` turns it into results::

    waiting ──► running ──► returned ──► finished
       │                                    ▲
       └────────────────────────────────────┘   refused, unknown, disabled, answered by a filter

``returned`` is the short way between the tool's end and its recorded result, on which the
after_tool filters stand. Pure: nothing here waits or talks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from actrio.messages import ToolCall, ToolResult

__all__ = ["CallLedger", "CallState", "seal"]

CallState = Literal["waiting", "running", "returned", "finished"]

_BEFORE: Final[dict[CallState, tuple[CallState, ...]]] = {
    "running": ("waiting",),
    "returned": ("running",),
    # From running as well: a filter may answer for a call that it gave up waiting for.
    "finished": ("waiting", "running", "returned"),
}

_TEXTS: Final[dict[CallState, str]] = {
    "waiting": "Not started: {reason} before this call began, so it had no effect. "
    "Call again if it is still needed.",
    "running": "Interrupted: {reason} while this call was running. Which of its effects happened "
    "is unknown; check before calling again.",
    "returned": "Result lost: this call ran to its end, but {reason} before its result was "
    "recorded. Its effects have happened; do not repeat it unchecked.",
}


class CallLedger:
    """The state of each call of one step, by its position; ids from a model need not be unique."""

    __slots__ = ("_results", "_states", "calls")

    def __init__(self, calls: Sequence[ToolCall]) -> None:
        self.calls: tuple[ToolCall, ...] = tuple(calls)
        self._states: list[CallState] = ["waiting"] * len(self.calls)
        self._results: list[ToolResult | None] = [None] * len(self.calls)

    def __repr__(self) -> str:
        rows = (f"{c.name}={s}" for c, s in zip(self.calls, self._states, strict=True))
        return f"<CallLedger {' '.join(rows)}>"

    @property
    def states(self) -> tuple[CallState, ...]:
        """The state of each call, in call order."""
        return tuple(self._states)

    @property
    def results(self) -> tuple[ToolResult | None, ...]:
        """The result of each call in call order, ``None`` where there is none yet."""
        return tuple(self._results)

    def begin(self, index: int) -> None:
        """Note that the tool's function is about to run."""
        self._move(index, "running")

    def end(self, index: int) -> None:
        """Note that the tool's function has ended, in whatever way."""
        self._move(index, "returned")

    def finish(self, index: int, result: ToolResult) -> None:
        """Note the call's final result."""
        self._move(index, "finished")
        self._results[index] = result

    def _move(self, index: int, state: CallState) -> None:
        assert self._states[index] in _BEFORE[state], (self, index, state)
        self._states[index] = state


def seal(ledger: CallLedger, *, reason: str = "the turn ended") -> tuple[ToolResult, ...]:
    """Return one result for every call, in call order: its own, or one that tells its state.

    Args:
        ledger: How far the calls have come.
        reason: What ended the step, as a clause: ``"the user cancelled"``.
    """
    sealed = []
    for call, state, result in zip(ledger.calls, ledger.states, ledger.results, strict=True):
        if result is None:
            text = _TEXTS[state].format(reason=reason)
            result = ToolResult(call.id, call.name, text, "sealed")  # noqa: PLW2901
        sealed.append(result)
    return tuple(sealed)
