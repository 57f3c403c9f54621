"""A watchdog that names who holds up the whole program.

Trio cannot interrupt a handler that burns CPU or blocks: every timer and every cancel waits for
it. A thread can see it, though: it asks the Trio thread for a sign of life, and when none comes
within the limit it writes down where the Trio thread is.
"""

from __future__ import annotations

import sys
import threading
import traceback
from collections.abc import Callable
from typing import Final

import attrs
import trio

__all__ = ["LoopStalled", "Watchdog"]

STACK_FRAMES_MAX: Final = 40
"""Innermost frames in a report: enough to reach from a library back to the handler."""


@attrs.frozen(slots=True)
class LoopStalled:
    """The Trio thread gave no sign of life for ``seconds``; ``stack`` says where it was."""

    seconds: float
    stack: str


class Watchdog:
    """Looks at the Trio thread from a daemon thread, between `start` and `stop`.

    Args:
        limit_seconds: Silence that is reported, in real time.
        told: Called in the Trio thread, once it gives signs again, with what was seen.
    """

    def __init__(self, limit_seconds: float, told: Callable[[LoopStalled], None]) -> None:
        self._limit_seconds = limit_seconds
        self._told = told
        self._token = trio.lowlevel.current_trio_token()
        self._watched = threading.get_ident()
        self._end = threading.Event()
        self._sign = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="actrio watchdog", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._end.set()
        self._sign.set()

    def _watch(self) -> None:
        while not self._end.is_set():
            self._sign.clear()
            try:
                self._token.run_sync_soon(self._sign.set)
            except trio.RunFinishedError:
                return
            silent, stack = 0.0, ""
            while not self._sign.wait(self._limit_seconds):
                silent += self._limit_seconds
                # The first is the one to keep: the last may be taken when it is just over.
                stack = stack or self._where()
            if silent and not self._end.is_set():
                self._report(LoopStalled(silent, stack))
            self._end.wait(self._limit_seconds / 2)

    def _where(self) -> str:
        frame = sys._current_frames().get(self._watched)  # noqa: SLF001 - the documented way
        return "".join(traceback.format_stack(frame, STACK_FRAMES_MAX)) if frame else ""

    def _report(self, report: LoopStalled) -> None:
        try:
            self._token.run_sync_soon(self._told, report)
        except trio.RunFinishedError:
            return
