"""The outermost function: arguments in, exit code out, every error told once.

An error of actrio's tree is told as what happened and what to do, and its kind decides the exit
code. Anything else is a bug and is told as one. Tracebacks appear only on ``--debug``.
"""

from __future__ import annotations

import contextlib
import inspect
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Final

import cyclopts
import trio

from actrio.cli._app import STANDARD_INPUT, make_app
from actrio.errors import ActrioError, NotSupported, codes_for
from actrio.telemetry import redact

__all__ = ["exit_code_for", "report_error", "run_command_line"]

EXIT_INTERRUPTED: Final = 130
EXIT_USAGE: Final = 2


def run_command_line(arguments: Sequence[str], *, version: str) -> int:
    """Run one command and return its exit code. The only place that calls ``trio.run``."""
    debug = "--debug" in arguments
    _open_closed_streams()
    try:
        if sys.platform == "win32":
            raise _windows_refused()
        return _run(make_app(version), list(arguments))
    except cyclopts.CycloptsError:
        return EXIT_USAGE  # cyclopts has told it, with the nearest command or option
    except BaseException as error:  # the edge of the program: nothing may pass as a traceback
        if isinstance(error, SystemExit):
            raise
        return report_error(error, debug=debug)


def _run(app: cyclopts.App, arguments: list[str]) -> int:
    # cyclopts takes a lone dash for an option that it does not know.
    given = [STANDARD_INPUT if argument == "-" else argument for argument in arguments]
    command, bound, _ = app.parse_args(given, exit_on_error=False, print_error=True)
    call: Callable[[], Any] = partial(command, *bound.args, **bound.kwargs)
    outcome = trio.run(_awaited, call) if inspect.iscoroutinefunction(command) else call()
    return outcome if isinstance(outcome, int) else 0


async def _awaited(call: Callable[[], Any]) -> Any:
    return await call()


def report_error(error: BaseException, *, debug: bool = False) -> int:
    """Tell ``error`` on standard error and return its exit code."""
    leaves = list(_leaves(error))
    told = next((leaf for leaf in leaves if isinstance(leaf, ActrioError)), leaves[0])
    # A bug beside an ordinary failure must not hide behind it.
    told = next((leaf for leaf in leaves if not _is_expected(leaf)), told)
    if debug:
        _say(redact("".join(traceback.format_exception(error))))
    if isinstance(told, BrokenPipeError):
        _leave_stdout_quietly()
    elif isinstance(told, ActrioError):
        _say(redact(_wording(told)))
    elif not isinstance(told, KeyboardInterrupt):
        _say(redact(_internal(told)))
    return exit_code_for(told)


def exit_code_for(error: BaseException) -> int:
    """Return the exit code of ``error``; a reader who went away is no failure."""
    if isinstance(error, BrokenPipeError):
        return 0
    if isinstance(error, KeyboardInterrupt):
        return EXIT_INTERRUPTED
    return codes_for(error).exit


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def _is_expected(error: BaseException) -> bool:
    return isinstance(error, (ActrioError, BrokenPipeError, KeyboardInterrupt, trio.Cancelled))


def _wording(error: ActrioError) -> str:
    lines = [f"error: {error.message}"]
    if error.remedy:
        lines.append(f"  what to do: {error.remedy}")
    return "\n".join(lines)


def _internal(error: BaseException) -> str:
    return (
        f"internal error: {type(error).__name__}: {error}\n"
        "  what to do: this is a mistake in actrio; please report it, with the output of the same "
        "command and --debug."
    )


def _windows_refused() -> NotSupported:
    return NotSupported(
        "actrio does not run on Windows: it ends child processes by their process group and "
        "knows of a dead parent by a held pipe, and Windows has neither in this form.",
        remedy="Use WSL (Windows Subsystem for Linux), where everything works.",
    )


def _say(text: str) -> None:
    with contextlib.suppress(OSError, ValueError):  # nobody reads errors either
        sys.stderr.write(text.rstrip("\n") + "\n")
        sys.stderr.flush()


def _open_closed_streams() -> None:
    """Give descriptors 0 to 2 something to be, so that no socket of ours gets their number."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", closefd=False)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", closefd=False)


def _leave_stdout_quietly() -> None:
    """Give the interpreter something to flush into at exit, or it would complain itself."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
    finally:
        os.close(nowhere)
