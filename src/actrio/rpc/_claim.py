"""Standard input and output as a wire that nothing else in the process can touch.

A protocol on fd 1 is one stray ``print`` away from nonsense, and it was measured to be worse: with
fd 1 non-blocking, a print of 2 MB "succeeded" while 64 kB arrived. So the wire moves to private
descriptors, and what everybody else sees as standard is harmless::

    before                       while claimed
    fd 0  the client's lines     /dev/null             (a child cannot eat a request)
    fd 1  ours                   a pipe of our own ──► drain ──► the log, or dropped
    fd 2  the log                the same pipe
                                 private: the wire, both ways, and the log; no child has them

A client that never drains stderr must not freeze us (400 kB did freeze the official ACP client's
agent), and neither must it freeze a child or a C library that writes to fd 1 or 2. So a thread of
ours drains what they write at once, and hands on only what the log takes without waiting. Python's
own ``sys.stdout`` and ``sys.stderr`` become `DroppingText`, which does the same.
"""

from __future__ import annotations

import fcntl
import io
import os
import select
import stat
import sys
import termios
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Final, TextIO

import attrs
import trio

__all__ = ["DroppingText", "Wire", "claim_standard_streams"]


class DroppingText(io.TextIOBase):
    """A text stream that drops what its descriptor would not take without waiting.

    Args:
        fd: Where it writes; not closed by it.
    """

    # POSIX promises that a pipe which polls writable takes this much at once.
    _PIECE: Final = select.PIPE_BUF
    # A quarter of a Linux pipe. The rest is for last words after a flood.
    _UNREAD_MAX: Final = 16 * 1024
    encoding = "utf-8"

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._poll = select.poll()
        self._poll.register(fd, select.POLLOUT)
        self.dropped_bytes = 0

    def fileno(self) -> int:
        return self._fd

    def isatty(self) -> bool:
        return os.isatty(self._fd)

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self.write_bytes(text.encode("utf-8", "replace"))
        return len(text)

    def write_bytes(self, data: bytes) -> None:
        """Write what the descriptor takes at once, and drop the rest."""
        for start in range(0, len(data), self._PIECE):
            if not self._write_piece(data[start : start + self._PIECE]):
                self.dropped_bytes += len(data) - start
                break

    def _write_piece(self, piece: bytes) -> bool:
        try:
            if not self._poll.poll(0) or self._unread_bytes() > self._UNREAD_MAX:
                return False
            return os.write(self._fd, piece) == len(piece)
        except OSError:  # gone, or non-blocking and full: nobody reads it
            return False

    def _unread_bytes(self) -> int:
        """Return what waits in a pipe; 0 where it is none, or where the system does not tell."""
        try:
            if not stat.S_ISFIFO(os.fstat(self._fd).st_mode):
                return 0
            answer = fcntl.ioctl(self._fd, termios.FIONREAD, bytes(4))
        except OSError:
            return 0
        return int.from_bytes(answer, sys.byteorder)


@attrs.frozen(slots=True)
class Wire:
    """The claimed streams, and a log that never blocks."""

    receive: trio.lowlevel.FdStream
    send: trio.lowlevel.FdStream
    log: TextIO
    _blocking: tuple[tuple[int, bool], ...]

    def restore_flags(self) -> None:
        """Give whoever shares the open files their blocking mode back, ahead of a hard exit.

        O_NONBLOCK belongs to the open file, not to our descriptor: a shell whose terminal we left
        non-blocking would see its next ``cat`` fail.
        """
        for fd, blocking in self._blocking:
            with suppress(OSError):  # closed by now, and restored when it was
                os.set_blocking(fd, blocking)


@contextmanager
def claim_standard_streams() -> Iterator[Wire]:
    """Take fds 0 and 1 for a protocol, for as long as the block lasts.

    Afterwards standard input stays /dev/null, and everything else goes to the log: a print after
    the protocol has ended would still reach a reader who expects the protocol, and a last error
    message would still wait for a log that nobody drains.
    """
    _flush(sys.stdout)
    _flush(sys.stderr)
    with ExitStack() as undo:
        outputs = [
            fd for fd, stream in ((1, sys.__stdout__), (2, sys.__stderr__)) if _ours(fd, stream)
        ]
        log_fd = _log_descriptor()
        wire_in = _claim(0, sys.__stdin__, os.O_RDONLY)
        wire_out = _claim(1, sys.__stdout__, os.O_WRONLY)
        flags = tuple((fd, os.get_blocking(fd)) for fd in (wire_in, wire_out))
        # Where both are one open file, the first stream alone knows its blocking mode, so it is
        # closed last.
        receive = trio.lowlevel.FdStream(wire_in)
        undo.callback(receive.close)
        send = trio.lowlevel.FdStream(wire_out)
        undo.callback(send.close)
        log: TextIO = DroppingText(log_fd)  # type: ignore[assignment]  # TextIO is no protocol
        undo.enter_context(_drained(outputs, log_fd))
        # Two objects: who configures a log refuses what stands in sys.stdout.
        sys.stdout, sys.stderr = DroppingText(log_fd), log
        yield Wire(receive, send, log, flags)


def _log_descriptor() -> int:
    """Return a private descriptor of standard error, or of nowhere."""
    return os.dup(2) if _given(2, sys.__stderr__) else os.open(os.devnull, os.O_WRONLY)


def _claim(fd: int, stream: TextIO | None, mode: int) -> int:
    """Return a private descriptor of the wire at ``fd`` and put /dev/null in its place."""
    given = _given(fd, stream)
    nowhere = os.open(os.devnull, mode)
    if not given:
        return nowhere
    wire = os.dup(fd)
    os.dup2(nowhere, fd)
    os.close(nowhere)
    return wire


@contextmanager
def _drained(outputs: Sequence[int], log_fd: int) -> Iterator[None]:
    """Let ``outputs`` end in a pipe that is always drained; afterwards in the log itself."""
    read, write = os.pipe()
    stop_read, stop_write = os.pipe()
    for fd in outputs:
        os.dup2(write, fd)
    os.close(write)
    thread = threading.Thread(
        target=_drain, args=(read, stop_read, log_fd), name="actrio stderr", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        for fd in outputs:
            os.dup2(log_fd, fd)
        os.close(stop_write)
        thread.join()
        os.close(stop_read)


def _drain(read: int, stop: int, log_fd: int) -> None:
    """Hand on what is written until nobody can write any more, or until told to stop.

    The pipe is not closed here: a child that outlives us keeps a writing end, and would be killed
    by its next word.
    """
    sink = DroppingText(log_fd)
    poll = select.poll()
    poll.register(read, select.POLLIN)
    poll.register(stop, select.POLLIN)
    os.set_blocking(read, False)
    stopping = False
    while True:
        ready = dict(poll.poll())
        stopping = stopping or stop in ready
        try:
            data = os.read(read, 64 * 1024) if read in ready else b""
        except BlockingIOError:
            data = b""
        if data:
            sink.write_bytes(data)
        elif stopping or read in ready:
            return


def _given(fd: int, stream: TextIO | None) -> bool:
    """Whether the process was started with ``fd`` open; it is open afterwards in any case."""
    if stream is None and _ours(fd, stream):
        nowhere = os.open(os.devnull, os.O_RDWR)
        if nowhere != fd:
            os.dup2(nowhere, fd)
            os.close(nowhere)
    return stream is not None


def _ours(fd: int, stream: TextIO | None) -> bool:
    """Whether ``fd`` may be redirected.

    Python says that it was open at the start by having made a stream of it. Where it was closed,
    it is either still closed, or somebody's file by now (Trio's epoll takes the lowest number), and
    then it must not be touched.
    """
    if stream is not None:
        return True
    try:
        os.fstat(fd)
    except OSError:
        return True
    return False


def _flush(stream: TextIO | None) -> None:
    if stream is not None:
        with suppress(OSError, ValueError):  # already gone; nothing of it belongs on the wire
            stream.flush()
