"""Cancel an operation at its first schedule point, its second, its third … until it is untouched.

What a cancel leaves behind depends on where it strikes, and the places where it can strike are
finite: every step of every task while the operation runs. So they are tried one by one (SQLite
tests its memory failures like this). An instrument counts task steps and cancels at the n-th.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

__all__ = ["cancel_at_each_step", "live_tasks"]


class _CancelAt(trio.abc.Instrument):
    def __init__(self, step: int, scope: trio.CancelScope) -> None:
        self._steps_left = step
        self._scope = scope
        self.fired = False

    def before_task_step(self, task: trio.lowlevel.Task) -> None:  # noqa: ARG002
        self._steps_left -= 1
        if self._steps_left == 0:
            self.fired = True
            self._scope.cancel(reason="sweep")


async def cancel_at_each_step(
    operation: Callable[[], Awaitable[None]],
    *,
    check: Callable[[], Awaitable[None]] | None = None,
    steps_max: int = 20_000,
    stride: int = 1,
) -> int:
    """Run ``operation`` again and again, cancelled one task step later each time.

    Warm up first where ``check`` compares `live_tasks`: actors that start on first use are there
    afterwards, and are no leftovers.

    Args:
        operation: Makes its own world or leaves it usable; run once per step.
        check: Called after each run, outside the cancelled scope, to look at what is left.
        steps_max: Bound of the sweep.
        stride: Steps from one run to the next; more than 1 samples.

    Returns:
        How many runs were cancelled before one completed untouched.

    Raises:
        AssertionError: No run completed within ``steps_max``.
    """
    for runs, step in enumerate(range(1, steps_max + 1, stride)):
        with trio.CancelScope() as scope:
            instrument = _CancelAt(step, scope)
            trio.lowlevel.add_instrument(instrument)
            try:
                await operation()
            finally:
                trio.lowlevel.remove_instrument(instrument)
        if check is not None:
            await check()
        if not instrument.fired:
            return runs
    raise AssertionError(f"the operation did not complete within {steps_max} steps")


def live_tasks() -> list[str]:
    """Return the names of all tasks of this Trio run but Trio's own; compare before and after."""
    root = trio.lowlevel.current_root_task()
    assert root is not None
    names: list[str] = []
    # Trio keeps its system tasks in the root task's first nursery, the main task among them.
    waiting = [task for nursery in root.child_nurseries for task in nursery.child_tasks]
    while waiting:
        task = waiting.pop()
        names.append(task.name)
        waiting.extend(child for nursery in task.child_nurseries for child in nursery.child_tasks)
    return sorted(names)
