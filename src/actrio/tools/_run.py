"""One call that has leave and arguments: its place, its deadline, its function, what comes of it.

Here a tool's function is called, and nowhere else.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable
from typing import Any

import trio

from actrio.messages import ToolCall, ToolResultState
from actrio.telemetry import RoomLog
from actrio.tools._call_desk import OpenDesk
from actrio.tools._output import describe_error, text_of
from actrio.tools._place import Place
from actrio.tools._step import Step
from actrio.tools._thread_line import ThreadLine, with_line
from actrio.tools._threads import ThreadCall
from actrio.tools._tool import Tool
from actrio.tools._tool_context import ToolContext

__all__ = ["Run"]

_log = RoomLog("actrio.tools")


class Run:
    """One call on its last way.

    Args:
        step: What all calls of the step have in common.
        index: The call's position in the model's answer.
        call: The call as it runs, after the filters.
        found: Its tool.
        arguments: What the function is called with.
        on_begin: Awaited right before the function is; what it raises is raised by `outcome`.
    """

    __slots__ = (
        "_arguments",
        "_began_at",
        "_begin_error",
        "_call",
        "_found",
        "_index",
        "_on_begin",
        "_place",
        "_step",
        "_thread",
        "run_seconds",
    )

    def __init__(
        self,
        step: Step,
        index: int,
        call: ToolCall,
        found: Tool,
        arguments: dict[str, Any],
        *,
        on_begin: Callable[[], Awaitable[None]] | None,
    ) -> None:
        self._step = step
        self._index = index
        self._call = call
        self._found = found
        self._arguments = arguments
        self._on_begin = on_begin
        # What on_begin raised: not the tool's error, so not its result.
        self._begin_error: Exception | None = None
        self._began_at: float | None = None
        self._thread: ThreadCall | None = None
        self._place = Place(step.box._slots, found.timeout_seconds)  # noqa: SLF001 - lent to this path
        self.run_seconds = 0.0

    async def outcome(self) -> tuple[ToolResultState, str]:
        """Wait for a place, run the function to its end, and say how it ended."""
        async with self._place:
            try:
                state, text = await self._ended()
            finally:
                if self._began_at is not None:
                    passed = trio.current_time() - self._began_at
                    self.run_seconds = passed - self._place.stood_seconds
            # Not reached by a cancel from outside: the ledger then still says running, which is
            # true.
            if self._began_at is not None:
                self._step.ledger.end(self._index)
            return state, text

    async def _ended(self) -> tuple[ToolResultState, str]:
        try:
            with self._place.scope:
                return "success", text_of(await self._value())
        except (Exception, SystemExit) as error:
            # Whatever a tool raises is its result. SystemExit too: a tool that borrows a command
            # line's code must not end the program that serves everybody else.
            if self._begin_error is not None:
                raise self._begin_error from None
            self._log(error)
            return "error", describe_error(error)
        except BaseExceptionGroup as group:
            # Tasks of the tool broke while they were being cancelled: the cancel goes on alone.
            cancelled, others = group.split(trio.Cancelled)
            if cancelled is None or (others is not None and not isinstance(others, Exception)):
                raise
            if others is not None:
                self._log(others)
            raise cancelled from None
        return "timeout", self._timeout_text()

    async def _value(self) -> Any:
        found, injected = self._found, self._found.signature.injected
        if found.is_async:
            await self._begin()
            return await self._function(None)()
        if injected and self._step.desk is not None:
            return await with_line(self._in_thread)
        return await self._in_thread(None)

    async def _in_thread(self, line: ThreadLine | None) -> Any:
        slots = self._step.box._slots  # noqa: SLF001 - as in __init__
        function = self._function(line)
        self._thread = ThreadCall(function, slots.threads, slots.thread_counts, self._begin)
        value = await self._thread.run()
        # A decorator may hide that a function is async: then the thread gave its coroutine.
        return await value if inspect.isawaitable(value) else value

    async def _begin(self) -> None:
        if self._on_begin is not None:
            # What the turn does first (a record to be synced) is no part of the tool's time.
            with self._place.clock_stopped():
                try:
                    await self._on_begin()
                except Exception as error:
                    self._begin_error = error
                    raise
        self._began_at = trio.current_time()
        self._place.stood_seconds = 0.0
        self._step.ledger.begin(self._index)

    def _function(self, line: ThreadLine | None) -> Callable[[], Any]:
        step = self._step
        desk = None
        if step.desk is not None:
            desk = OpenDesk(step.desk, self._index, self._call, self._place, line)
        context = ToolContext(
            session=step.session,
            turn=step.turn,
            agent=step.agent,
            call_id=self._call.id,
            tool=self._found.name,
            deadline=trio.current_effective_deadline(),
            desk=desk,
        )
        injected = dict.fromkeys(self._found.signature.injected, context)
        return functools.partial(self._found.function, **self._arguments, **injected)

    def _timeout_text(self) -> str:
        name, seconds = self._found.name, f"{self._found.timeout_seconds:g} s"
        if self._began_at is None:
            threads = self._step.box.limits.threads_max
            return (
                f"The tool {name!r} was not started: for {seconds} none of the {threads} threads "
                "for such tools became free. Nothing was done."
            )
        if self._thread is not None and self._thread.abandoned:
            return (
                f"The tool {name!r} did not end within {seconds}. It cannot be stopped and may "
                "still be at work; its result will be discarded."
            )
        return (
            f"The tool {name!r} did not end within {seconds} and was stopped. "
            "What it did until then is unknown."
        )

    def _log(self, error: BaseException) -> None:
        _log.debug(
            "tool raised",
            session=self._step.session,
            turn=self._step.turn,
            call=self._call.id,
            tool=self._found.name,
            exc_info=error,
        )
