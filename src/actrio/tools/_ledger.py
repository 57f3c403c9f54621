"""How far each call of a step has come, so that none is ever left without a result.

A provider refuses a history in which a tool call has no result. A step can end at any moment
(cancel, crash, limit), so whoever owns the step keeps a ledger, and `seal` turns it into results::

       ┌──► asking ─────────────────────────┐   refused by a person
       ▼                                    ▼
    waiting ──► running ──► returned ──► finished
       │                                    ▲
       └────────────────────────────────────┘   refused, unknown, disabled, answered by a filter

``asking`` is the way, which may take days, on which a person decides; with leave, the call waits
again, now for its place. ``returned`` is the short way between the tool's end and its recorded
result, on which the after_tool filters stand. Pure: nothing here waits or talks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, Literal

from actrio.errors import InvalidRequest
from actrio.messages import ToolCall, ToolResult

__all__ = ["CallLedger", "CallProgress", "CallState", "seal", "sealing_text"]

CallState = Literal["waiting", "asking", "running", "returned", "finished"]

CallProgress = Literal["not_started", "awaiting_approval", "effects_unknown", "unrecorded"]
"""How far a call without a result has come, in the words of the record that seals it."""

_BEFORE: Final[dict[CallState, tuple[CallState, ...]]] = {
    "waiting": ("asking",),
    "asking": ("waiting",),
    "running": ("waiting",),
    "returned": ("running",),
    # From asking and running as well: a filter may answer for a call that it gave up waiting for.
    "finished": ("waiting", "asking", "running", "returned"),
}

_PROGRESS: Final[dict[CallState, CallProgress]] = {
    "waiting": "not_started",
    "asking": "awaiting_approval",
    "running": "effects_unknown",
    "returned": "unrecorded",
}

_TEXTS: Final[dict[CallProgress, str]] = {
    "not_started": "Not started: {reason} before this call began, so it had no effect. "
    "Call again if it is still needed.",
    "awaiting_approval": "Not run: it was waiting for approval when {reason}, so it had no "
    "effect. Call again if it is still needed; it will need approval again.",
    "effects_unknown": "Interrupted: {reason} while this call was running. Which of its effects "
    "happened is unknown; check before calling again.",
    "unrecorded": "Result lost: this call ran to its end, but {reason} before its result was "
    "recorded. Its effects have happened; do not repeat it unchecked.",
}

_NO_RESULTS: Final[Mapping[int, ToolResult]] = MappingProxyType({})


class CallLedger:
    """The state of each call of one step, by its position; ids from a model need not be unique.

    Args:
        calls: The calls of one model answer.
        results: Results that calls have already, by position: to resume a step that was cut off.
            `run_calls` runs the others only.

    Raises:
        InvalidRequest: A result is for no call, or for a call of another id.
    """

    __slots__ = ("_results", "_states", "calls")

    def __init__(
        self, calls: Sequence[ToolCall], results: Mapping[int, ToolResult] = _NO_RESULTS
    ) -> None:
        self.calls: tuple[ToolCall, ...] = tuple(calls)
        self._states: list[CallState] = ["waiting"] * len(self.calls)
        self._results: list[ToolResult | None] = [None] * len(self.calls)
        for index, result in results.items():
            if not 0 <= index < len(self.calls) or result.call_id != self.calls[index].id:
                raise InvalidRequest(
                    f"The result at position {index} is for {result.call_id!r}, which is not the "
                    "call there.",
                    remedy="Give each result at its call's position in the model's answer.",
                )
            self.finish(index, result)

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

    def progress(self, index: int) -> CallProgress:
        """Return how far the call at ``index`` has come.

        Raises:
            InvalidRequest: It has its result.
        """
        state = self._states[index]
        if state == "finished":
            raise InvalidRequest(
                f"The call at position {index} has its result.",
                remedy="Ask for calls whose result is None.",
            )
        return _PROGRESS[state]

    def ask(self, index: int) -> None:
        """Note that a person is being asked whether the call may run."""
        self._move(index, "asking")

    def decide(self, index: int) -> None:
        """Note that the person has decided, in whatever way."""
        self._move(index, "waiting")

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


def sealing_text(progress: CallProgress, reason: str) -> str:
    """Return what a model is told about a call that never got a result of its own.

    Args:
        progress: How far the call had come.
        reason: What ended the step, as a clause: ``"the user cancelled"``.
    """
    return _TEXTS[progress].format(reason=reason)


def seal(ledger: CallLedger, *, reason: str = "the turn ended") -> tuple[ToolResult, ...]:
    """Return one result for every call, in call order: its own, or one that tells its state.

    Args:
        ledger: How far the calls have come.
        reason: What ended the step, as a clause: ``"the user cancelled"``.
    """
    sealed = []
    for index, (call, result) in enumerate(zip(ledger.calls, ledger.results, strict=True)):
        if result is None:
            text = sealing_text(ledger.progress(index), reason)
            result = ToolResult(call.id, call.name, text, "sealed")  # noqa: PLW2901
        sealed.append(result)
    return tuple(sealed)
