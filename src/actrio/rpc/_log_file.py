"""The log of a server whose standard error nobody may read: a file, and never a reason to wait.

Lines are queued and written by a thread; with a disk slower than the log they are dropped and
counted, and the next line that gets through says how many. The file is started anew at 8 MiB; the
one before is kept beside it, so a log never takes more than twice that.
"""

from __future__ import annotations

import io
import json
import os
import threading
import time
from collections import deque
from pathlib import Path
from typing import Final

import platformdirs

from actrio.errors import ConfigError

__all__ = ["LogFile", "default_log_path"]

QUEUE_BYTES_MAX: Final = 256 * 1024
"""What may wait for the disk: some thousand lines."""

FILE_BYTES_MAX: Final = 8 * 1024 * 1024
"""Where a file ends and the next begins; a week of warnings, or minutes of everything."""

CLOSE_SECONDS: Final = 0.2
"""How long the end of the process waits for the disk."""


def default_log_path(name: str) -> Path:
    """Return where a log goes: below ``$XDG_STATE_HOME`` on Linux, as each system has it."""
    return Path(platformdirs.user_log_path("actrio")) / name


class LogFile(io.TextIOBase):
    """A text stream into a file that never waits for the disk.

    Args:
        path: The file; its folder is made where it is missing.

    Raises:
        ConfigError: It cannot be written.
    """

    encoding = "utf-8"

    def __init__(self, path: Path) -> None:
        self.path = path
        self._queue: deque[bytes] = deque()
        self._queued_bytes = 0
        self._unsaid = self.dropped_lines = 0
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._write_all, name="actrio log", daemon=True)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._fd = self._opened()
        except OSError as error:
            # Python closes it once more when it lets it go.
            super().close()
            raise ConfigError(
                f"The log {path} cannot be written: {error.strerror}.",
                remedy="Name another file with --log-file.",
            ) from error
        self._thread.start()

    def _opened(self) -> int:
        # Private: what was said in a conversation may stand in an error.
        return os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        data = text.encode("utf-8", "replace")
        with self._changed:
            if self._closing or self._queued_bytes + len(data) > QUEUE_BYTES_MAX:
                self.dropped_lines += 1
                self._unsaid += 1
                return len(text)
            if self._unsaid:
                data = _dropped_line(self._unsaid) + data
                self._unsaid = 0
            self._queue.append(data)
            self._queued_bytes += len(data)
            self._changed.notify()
        return len(text)

    def close(self) -> None:
        """Write what is queued, as far as the disk does so at once, and end."""
        if self.closed:
            return
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(CLOSE_SECONDS)
        super().close()

    def _write_all(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._closing)
                data = b"".join(self._queue)
                self._queue.clear()
                self._queued_bytes = 0
                closing = self._closing
            try:
                if data:
                    self._write_out(data)
            except OSError:
                # A full or vanished disk: there is nowhere left to say so.
                self.dropped_lines += data.count(b"\n")
            if closing:
                os.close(self._fd)
                return

    def _write_out(self, data: bytes) -> None:
        if os.fstat(self._fd).st_size + len(data) > FILE_BYTES_MAX:
            os.close(self._fd)
            self.path.replace(self.path.with_suffix(".1" + self.path.suffix))
            self._fd = self._opened()
        view = memoryview(data)
        while view:
            view = view[os.write(self._fd, view) :]


def _dropped_line(count: int) -> bytes:
    told = {"event": "log.dropped", "lines": count, "level": "warning", "at": time.time()}
    return json.dumps(told).encode() + b"\n"
