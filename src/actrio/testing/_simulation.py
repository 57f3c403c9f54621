"""Run an async program on seeded scheduling and virtual time, so that a seed repeats a run.

Three things are fixed by the seed: the order in which Trio runs tasks that are ready together, the
randomness of the ports, and time, which jumps to the next deadline whenever nothing can run. A
program that neither starts threads nor touches sockets then does the same thing every time.

Two names of Trio that are used here are private (the switch and the source of its scheduling
randomness); Trio's own tests rely on them, and a canary in our tests fails if they ever change.

On virtual time a deadlock does not time out, it sleeps for ever. So two guards look on: one inside
Trio sees that nothing can ever run again, and a thread sees that real time passes without an end.
Both end the run with `SimulationStuck` and the tree of tasks, each with where it waits.
"""

from __future__ import annotations

import ctypes
import functools
import random
import sys
import threading
import time
import traceback
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

import trio
import trio.testing

from actrio.testing._ports import Ports, SimulatedClock, SimulatedFiles, SimulatedIds

__all__ = ["SimulationStuck", "simulate", "task_tree"]

T = TypeVar("T")

IDLE_PASSES: Final = 64
"""Passes of the scheduler in which nothing ran and no deadline came: a jump of the clock makes 2."""

IDLE_SECONDS: Final = 0.05
"""Real time that such passes must last before they count, so that a short thread may still answer."""

FRAMES_MAX: Final = 12
"""Frames shown of each waiting task, innermost last: enough to reach from Trio to the program."""


class SimulationStuck(AssertionError):
    """The simulated program can never end, or does not end in time; the text shows its tasks."""


class _Interrupted(BaseException):
    """Raised in a Trio thread that gives no sign of life."""


def simulate(main: Callable[[Ports], Awaitable[T]], *, seed: int, hang_seconds: float = 30.0) -> T:
    """Run ``main(ports)`` in one `trio.run` that does the same thing whenever the seed is the same.

    Call it from a plain test, not inside Trio. Use nothing that threads or sockets answer: on
    virtual time every timeout has passed before they do.

    Args:
        main: The program. What it takes from ``ports`` repeats with the seed.
        seed: Any whole number.
        hang_seconds: Real time the run may take.

    Raises:
        SimulationStuck: Nothing could ever run again, or the run took longer than it may.
    """
    mock = trio.testing.MockClock(autojump_threshold=0)
    rng = random.Random(seed)
    ports = Ports(
        SimulatedClock(mock), random.Random(rng.random()), SimulatedIds(), SimulatedFiles()
    )
    guard = _Guard(hang_seconds)
    try:
        with _seeded(rng), guard:
            result: T = trio.run(
                functools.partial(_guarded, main, ports, guard), clock=mock, instruments=[guard]
            )
    except BaseException as error:
        if guard.seen is not None and not isinstance(error, SimulationStuck):
            raise SimulationStuck(guard.seen) from error
        raise
    return result


async def _guarded(main: Callable[[Ports], Awaitable[T]], ports: Ports, guard: _Guard) -> T:
    guard.enter()
    with guard.scope:
        result = await main(ports)
    if guard.seen is not None:
        raise SimulationStuck(guard.seen)
    return result


@contextmanager
def _seeded(rng: random.Random) -> Iterator[None]:
    """Let Trio draw its scheduling from ``rng``'s seed while the block runs."""
    run: Any = sys.modules["trio._core._run"]
    before = run._ALLOW_DETERMINISTIC_SCHEDULING, run._r  # noqa: SLF001 - the canary watches these
    run._ALLOW_DETERMINISTIC_SCHEDULING = True  # noqa: SLF001
    run._r = random.Random(rng.random())  # noqa: SLF001
    try:
        yield
    finally:
        run._ALLOW_DETERMINISTIC_SCHEDULING, run._r = before  # noqa: SLF001


class _Guard(trio.abc.Instrument):
    """Ends a run that cannot or does not end, and remembers what its tasks were at.

    ``seen`` is None as long as all is well. The thread first asks the Trio thread to cancel the
    program; if nothing comes of that within a second `hang_seconds`, it raises in that thread.
    """

    def __init__(self, hang_seconds: float) -> None:
        self.scope = trio.CancelScope()
        self.seen: str | None = None
        self._hang_seconds = hang_seconds
        self._idle = 0
        self._idle_since = 0.0
        self._token: trio.lowlevel.TrioToken | None = None
        self._watched = threading.get_ident()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="simulation guard", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def enter(self) -> None:
        self._token = trio.lowlevel.current_trio_token()

    # -- nothing can ever run again ----------------------------------------------------------------

    def before_task_step(self, task: trio.lowlevel.Task) -> None:  # noqa: ARG002
        self._idle = 0

    def before_io_wait(self, timeout: float) -> None:  # noqa: ARG002
        self._idle += 1
        if self._idle < IDLE_PASSES:
            return
        now = time.perf_counter()
        if self._idle == IDLE_PASSES:
            self._idle_since = now
        if now - self._idle_since > IDLE_SECONDS and not self.scope.cancel_called:
            self._stuck("Every task waits and no deadline will ever come.\n")

    # -- real time passes --------------------------------------------------------------------------

    def _watch(self) -> None:
        if self._over.wait(self._hang_seconds):
            return
        text = f"The run did not end within {self._hang_seconds:g} s of real time.\n"
        if self._token is not None:
            try:
                self._token.run_sync_soon(self._stuck, text)
            except trio.RunFinishedError:
                return
        if self._over.wait(self._hang_seconds):
            return
        frame = sys._current_frames().get(self._watched)  # noqa: SLF001 - the documented way
        here = "".join(traceback.format_stack(frame, FRAMES_MAX)) if frame else ""
        self.seen = self.seen or f"{text}The Trio thread is at\n{here}"
        ctypes.pythonapi.PyThreadState_SetAsyncExc(
            ctypes.c_ulong(self._watched), ctypes.py_object(_Interrupted)
        )

    def _stuck(self, why: str) -> None:
        if self.seen is None:
            self.seen = why + task_tree()
        self.scope.cancel(reason="the simulation is stuck")


def task_tree() -> str:
    """Return the names of all tasks of this Trio run as a tree, each with where it waits."""
    root = trio.lowlevel.current_root_task()
    lines: list[str] = []
    if root is not None:
        _show(root, 0, lines)
    return "\n".join(lines)


def _show(task: trio.lowlevel.Task, depth: int, lines: list[str]) -> None:
    indent = "  " * depth
    lines.append(f"{indent}{task.name}")
    frames = [
        f"{indent}    {frame.f_code.co_filename}:{line} in {frame.f_code.co_name}"
        for frame, line in task.iter_await_frames()
    ]
    lines.extend(frames[-FRAMES_MAX:])
    for nursery in task.child_nurseries:
        for child in sorted(nursery.child_tasks, key=lambda each: each.name):
            _show(child, depth + 1, lines)
