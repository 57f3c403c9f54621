"""Ctrl-C as a cancellation.

Python raises ``KeyboardInterrupt`` in whatever code happens to run, and under load that is an
actor's, which would then look like a crash. The command line owns its process, so it takes the
signal itself and ends what it means to end.
"""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable
from typing import Final

import trio

__all__ = ["Interruption", "exit_code_of", "until_interrupted"]

GRACE_SECONDS: Final = 3.0
"""How long an orderly end may take after a signal, before everything is cancelled."""


class Interruption:
    """What a signal does. While ``gently`` is set, that is called and given time to end the work."""

    def __init__(self) -> None:
        self.gently: Callable[[], None] | None = None
        self.signal: int | None = None


def exit_code_of(number: int) -> int:
    """Return the exit code by which shells tell that a signal ended a program."""
    return 128 + number


async def until_interrupted(command: Callable[[Interruption], Awaitable[int]]) -> int:
    """Run ``command``; the first SIGINT or SIGTERM ends it and decides the exit code.

    A second signal, during an end that takes too long, gets Python's own treatment.
    """
    interruption = Interruption()
    code = 0

    async def listen(*, task_status: trio.TaskStatus[None]) -> None:
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            task_status.started()
            number = await anext(aiter(signals))
        interruption.signal = number
        if interruption.gently is None:
            work.cancel(reason=signal.Signals(number).name)
        else:
            interruption.gently()
            work.deadline = trio.current_time() + GRACE_SECONDS

    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as work:
            await nursery.start(listen)
            code = await command(interruption)
        nursery.cancel_scope.cancel()
    return code if interruption.signal is None else exit_code_of(interruption.signal)
