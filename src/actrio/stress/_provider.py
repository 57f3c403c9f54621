"""The scripted provider in a process of its own, and what its script promises."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import trio

from actrio.errors import InvalidRequest, ProviderUnreachable
from actrio.messages import ModelInput, TextDelta, UserMessage, user_message
from actrio.providers.scripted import ScriptSpec, script

__all__ = ["SCRIPTED", "Promise", "ScriptedProcess", "faulty", "scripted_process"]

SCRIPTED: Final = "scripted:"

START_SECONDS: Final = 30.0
"""How long the process may take to tell its port, on a loaded machine."""

CLOSE_SECONDS: Final = 3.0
"""How long it may take to notice that its last connections were closed, and to end."""


class ScriptedProcess:
    """A running scripted provider: where it is, and what it has seen."""

    def __init__(self, process: trio.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._stdin = process.stdin
        self._stdout = process.stdout
        self._buffer = bytearray()
        self.pid = process.pid
        self.base_url = ""

    async def start(self) -> None:
        """Wait until it tells its port."""
        self.base_url = f"http://127.0.0.1:{(await self._told())['port']}/v1"

    async def settled(self, *, closed: bool = False) -> Mapping[str, int]:
        """Return what it has seen, once no stream is open; with ``closed``, no connection either.

        It hears of a reader that has left, and of an answer's end, a moment after the reader. What
        is still open after `CLOSE_SECONDS` is told as open.
        """
        deadline = trio.current_time() + CLOSE_SECONDS
        while True:
            told = await self.statistics()
            left = told["connections_open"] if closed else told["streams_open"]
            if not left or trio.current_time() > deadline:
                return told
            await trio.sleep(0.02)

    async def statistics(self) -> Mapping[str, int]:
        """Return what it has seen until now."""
        await self._stdin.send_all(b"\n")
        told: Mapping[str, int] = await self._told()
        return told

    async def _told(self) -> Any:
        while b"\n" not in self._buffer:
            piece = await self._stdout.receive_some(65536)
            if not piece:
                raise _gone()
            self._buffer += piece
        line, _, rest = bytes(self._buffer).partition(b"\n")
        self._buffer = bytearray(rest)
        return json.loads(line)


@asynccontextmanager
async def scripted_process() -> AsyncIterator[ScriptedProcess]:
    """Run a scripted provider; it ends when its standard input does, whoever closes that.

    Raises:
        ProviderUnreachable: It did not start.
    """
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", "actrio.stress._provider_child"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for us; it ends when we close its input
        env={**os.environ},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    running = ScriptedProcess(process)
    try:
        with trio.move_on_after(START_SECONDS) as starting:
            await running.start()
        if starting.cancelled_caught:
            raise _gone()
        yield running
    finally:
        with trio.CancelScope(shield=True) as ending:
            ending.deadline = trio.current_time() + CLOSE_SECONDS
            await process.stdin.aclose()
            await process.wait()
        if process.returncode is None:
            process.kill()
        await trio.aclose_forcefully(process.stdout)


def _gone() -> ProviderUnreachable:
    return ProviderUnreachable(
        "The scripted provider's process ended, or told no port.",
        provider="scripted",
        category="network",
        remedy="Run python -m actrio.stress._provider_child to see why.",
    )


# -- what a script promises ------------------------------------------------------------------------


def faulty(model: str, fault: str | None) -> str:
    """Return a scripted model that fails so; ``model`` itself where there is no fault."""
    if fault is None:
        return model
    return f"{model}{'&' if '?' in model else '?'}fault={fault}"


class Promise:
    """How many characters a scripted model answers with; None of a model that promises nothing.

    Args:
        model: As it was asked for, ``scripted:…`` or any other.
    """

    def __init__(self, model: str) -> None:
        self._spec: ScriptSpec | None = None
        self._constant: int | None = None
        if model.startswith(SCRIPTED):
            self._spec = ScriptSpec.parse(model.removeprefix(SCRIPTED))
            if self._spec.fault is not None:
                raise InvalidRequest(
                    f"{model} fails on every call, so there is nothing to measure.",
                    remedy="Leave fault= out, and use --chaos for failures.",
                )

    def characters(self, prompt: str) -> int | None:
        """Return the length of the answer to ``prompt``."""
        if self._spec is None:
            return None
        if self._spec.kind == "echo":  # the one kind whose answer depends on the prompt
            return self._count(prompt)
        if self._constant is None:
            self._constant = self._count(prompt)
        return self._constant

    def _count(self, prompt: str) -> int:
        assert self._spec is not None
        message: UserMessage = user_message(prompt)
        plan = script(self._spec, ModelInput("", (message,)))
        return sum(len(each.item.text) for each in plan if isinstance(each.item, TextDelta))
