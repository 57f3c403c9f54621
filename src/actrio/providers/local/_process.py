"""The life of one server process, seen from its parent."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import re
import secrets
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Final, Self

import attrs
import trio

from actrio.errors import InvalidRequest, NotConfigured, ProviderError, ProviderUnreachable
from actrio.providers._endpoint import Endpoint
from actrio.providers.local._settings import LocalSettings

__all__ = ["Launch", "ServerFacts", "ServerProcess", "library_folder"]

CHILD_SCRIPT: Final = Path(__file__).with_name("_server_child.py")

STDERR_BYTES_KEPT: Final = 8192
"""The end of the child's log, for error texts: some eighty lines."""

READY_LINE_BYTES_MAX: Final = 65_536
"""The child's one answer; an error text in it is a few lines."""

END_SECONDS: Final = 2.0
"""How long the child may take to end after its stdin closed; it needs milliseconds."""

KILL_SECONDS: Final = 5.0
"""How long the system may take to bury a killed process. Only a stuck disk needs longer."""


@attrs.frozen(slots=True)
class Launch:
    """What to start: a model file, how it is called in answers, and how to run it."""

    model_path: Path
    model_name: str
    settings: LocalSettings


@attrs.frozen(slots=True)
class ServerFacts:
    """What a started server told of itself.

    Attributes:
        native_tools: Whether the model's own chat template knows tools.
        context_tokens: What one conversation may really hold.
        start_seconds: From the start of the process to its first answer.
    """

    endpoint: Endpoint
    pid: int
    native_tools: bool
    context_tokens: int
    start_seconds: float


def library_folder() -> str:
    """Return the folder that xllamacpp is imported from.

    Raises:
        NotConfigured: It is not installed.
    """
    spec = importlib.util.find_spec("xllamacpp")
    if spec is None or not spec.submodule_search_locations:
        raise NotConfigured(
            "Local models need the package xllamacpp, which is not installed.",
            remedy="Run `pip install 'actrio[local]'`.",
        )
    return str(Path(spec.submodule_search_locations[0]).parent)


class ServerProcess:
    """One child that serves one model on loopback; end it with `aclose`."""

    def __init__(self, process: trio.Process, launch: Launch) -> None:
        self._process = process
        self._launch = launch
        self._opened_at = trio.current_time()
        self._log = bytearray()  # at most STDERR_BYTES_KEPT
        self._log_ended = trio.Event()

    @classmethod
    async def open(cls, launch: Launch) -> Self:
        """Start the child; it waits for its config until `ready` is called."""
        process = await trio.lowlevel.open_process(
            [sys.executable, "-I", "-u", str(CHILD_SCRIPT)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C in the terminal is for the program, not for its model
        )
        return cls(process, launch)

    @property
    def pid(self) -> int:
        return self._process.pid

    async def drain(self) -> None:
        """Keep the end of the child's log until it ends. Must run while the child does."""
        assert self._process.stderr is not None
        try:
            while chunk := await self._process.stderr.receive_some():
                self._log += chunk
                del self._log[:-STDERR_BYTES_KEPT]
        except trio.ClosedResourceError:
            pass  # aclose came first: the rest of the log is of no interest
        finally:
            self._log_ended.set()

    async def ready(self) -> ServerFacts:
        """Hand over the config, wait until the server answers, and return what it told.

        Raises:
            NotConfigured: The library is missing or cannot be loaded.
            InvalidRequest: The model cannot be loaded.
            ProviderUnreachable: It ended without a word, or took longer than ``start_seconds``.
        """
        api_key = secrets.token_urlsafe(32)
        config = self._config(api_key)
        seconds = self._launch.settings.start_seconds
        with trio.move_on_after(seconds) as scope:
            answer = await self._exchange(config)
        if scope.cancelled_caught:
            raise self._unreachable(f"did not answer within {seconds:g} s")
        if answer is None:
            code = await self._ended()
            raise self._unreachable(f"ended while it started ({_code_words(code)})")
        if "error" in answer:
            await self._ended()
            raise self._start_failed(answer)
        return ServerFacts(
            endpoint=Endpoint(f"{answer['address']}/v1", api_key),
            pid=self.pid,
            native_tools=answer["native_tools"],
            context_tokens=answer["context_tokens"],
            start_seconds=trio.current_time() - self._opened_at,
        )

    async def ended(self) -> ProviderError:
        """Wait for the child's end and return it as an error."""
        code = await self._ended()
        return self._unreachable(f"ended ({_code_words(code)})")

    async def aclose(self) -> None:
        """End the child and wait until it is gone.

        *Cancellation*: shielded, for at most seven seconds; it never stays behind.
        """
        with trio.CancelScope(shield=True):
            with trio.move_on_after(END_SECONDS) as scope:
                if self._process.stdin is not None:
                    await self._process.stdin.aclose()
                await self._process.wait()
            if scope.cancelled_caught:
                self._kill()
                with trio.move_on_after(KILL_SECONDS):
                    await self._process.wait()
            for pipe in (self._process.stdout, self._process.stderr):
                if pipe is not None:
                    await pipe.aclose()

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)  # it leads its session, so this is its whole tree

    def _config(self, api_key: str) -> bytes:
        settings = self._launch.settings
        config = {
            "import_folder": library_folder(),
            "model_path": str(self._launch.model_path),
            "model_name": self._launch.model_name,
            "api_key": api_key,
            "context_tokens": settings.context_tokens,
            "parallel": settings.parallel,
            "threads": settings.thread_count(),
        }
        return json.dumps(config).encode() + b"\n"

    async def _exchange(self, config: bytes) -> dict[str, Any] | None:
        """Send the config and return the child's answer, or None if it ended without one."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            await self._process.stdin.send_all(config)
        except trio.BrokenResourceError:
            return None
        line = b""
        while not line.endswith(b"\n") and len(line) < READY_LINE_BYTES_MAX:
            chunk = await self._process.stdout.receive_some()
            if not chunk:
                return None
            line += chunk
        answer: dict[str, Any] = json.loads(line)
        return answer

    async def _ended(self) -> int:
        code = await self._process.wait()
        # Its last words may still be in the pipe. One second, should a stray copy hold it open.
        with trio.move_on_after(1):
            await self._log_ended.wait()
        return code

    def _start_failed(self, answer: dict[str, Any]) -> NotConfigured | InvalidRequest:
        if answer.get("cause") == "import":
            return NotConfigured(
                f"The package xllamacpp cannot be loaded: {answer['error']}.",
                remedy="Run `pip install --force-reinstall 'actrio[local]'`.",
            )
        return InvalidRequest(
            f"The model {self._launch.model_path} cannot be loaded: "
            f"{self._cause() or answer['error']}.",
            remedy="Check that the file is whole, of a kind llama.cpp knows, and fits the memory.",
            data={"log": self._log_text()},
        )

    def _unreachable(self, what: str) -> ProviderUnreachable:
        cause = self._cause()
        return ProviderUnreachable(
            f"The server of the local model {self._launch.model_path.name} {what}"
            f"{': ' + cause if cause else ''}.",
            provider="local",
            category="server",
            remedy=(
                "Check that the model fits the memory; a smaller context_tokens or parallel under "
                "[local] needs less, a longer start_seconds gives it more time."
            ),
            data={"log": self._log_text()},
        )

    def _log_text(self) -> str:
        return bytes(self._log).decode(errors="replace")

    def _cause(self) -> str:
        """Return what the log names as the cause: the first error of a loader, else the last line."""
        lines = self._log_text().splitlines()
        for line in lines:
            if found := re.search(r"error loading model: (.+)", line):
                return found[1].strip().rstrip(".")
        return lines[-1].strip().rstrip(".")[:500] if lines else ""


def _code_words(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"
