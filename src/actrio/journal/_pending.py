"""What waits to be written, and the task that waits for it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

import trio

from actrio.errors import ActrioError, InvalidRequest, LimitExceeded, StorageError
from actrio.journal._frames import FrameKind
from actrio.journal._records import (
    ApprovalAsked,
    ApprovalDecided,
    Checkpoint,
    Record,
    record_codec,
)
from actrio.journal._redact import RecordFilter
from actrio.wire import json_line

__all__ = ["APPEND_BYTES_MAX", "Request", "Room", "Waiting", "again", "counted", "encoded"]

APPEND_BYTES_MAX: Final = 32 * 1024 * 1024
"""Largest append: eight prompts of the largest size. Larger values belong beside the journal."""


_COUNTED: Final = frozenset({Checkpoint.kind, ApprovalAsked.kind, ApprovalDecided.kind})
_NOT_COUNTED: Final = (-1, (0, 0))


class Waiting:
    """One append, trim or removal, from its asking to its outcome.

    Its asker parks until the outcome is there. A cancel takes it back while it still waits; once
    it is taken into a batch its fate is being decided on the disk, so the cancel waits for that.

    Attributes:
        take_back: Takes it out of its line; set by whoever puts it there.
    """

    take_back: Callable[[Any], None]

    __slots__ = (
        "before_seq",
        "body",
        "checkpoint",
        "count",
        "epoch",
        "error",
        "expected_seq",
        "kind",
        "session",
        "settled",
        "sync",
        "take_back",
        "taken",
        "task",
        "ts",
        "waiting",
    )

    def __init__(  # noqa: PLR0917 - keywords cost a tenth, once for each record
        self,
        kind: FrameKind,
        session: str,
        epoch: int,
        ts: float,
        expected_seq: int = 0,
        count: int = 0,
        checkpoint: int = -1,
        body: bytes = b"",
        waiting: tuple[int, int] = (0, 0),
        *,
        before_seq: int = 0,
        sync: bool = False,
    ) -> None:
        self.kind: FrameKind = kind
        self.session = session
        self.epoch = epoch
        self.ts = ts
        self.expected_seq = expected_seq
        self.count = count
        self.checkpoint = checkpoint
        self.body = body
        self.waiting = waiting
        self.before_seq = before_seq
        self.sync = sync
        self.taken = False
        self.settled = False
        self.error: Exception | None = None
        self.task: trio.lowlevel.Task | None = None

    def abort(self, _: trio.lowlevel.RaiseCancelT) -> trio.lowlevel.Abort:
        """Take it back while that is possible; passed to Trio by whoever parks."""
        if self.taken:
            return trio.lowlevel.Abort.FAILED
        self.take_back(self)
        self.task = None
        return trio.lowlevel.Abort.SUCCEEDED

    async def outcome(self) -> None:
        """Wait until it is settled; ``take_back`` is called if the wait is cancelled in time."""
        if not self.settled:
            self.task = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(self.abort)
        if self.error is not None:
            raise self.error

    def settle(self, error: Exception | None = None) -> None:
        """Say what came of it."""
        if self.settled:
            return
        self.settled, self.error = True, error
        if self.task is not None:
            task, self.task = self.task, None
            trio.lowlevel.reschedule(task)


class Request(Waiting):
    """A claim, a release, something to be called, or (neither) the wish to see what others wrote."""

    __slots__ = ("answer", "what", "work")

    def __init__(self, what: Any, work: Callable[[], Any] | None = None) -> None:
        super().__init__("claim", "", 0, 0.0)
        self.what = what
        self.work = work
        self.answer: Any = None


def again(error: Exception) -> Exception:
    """Return the same error for one more asker; a raised one carries the way of its raiser."""
    if isinstance(error, StorageError) and type(error).__init__ is ActrioError.__init__:
        return type(error)(error.message, remedy=error.remedy, data=error.data)
    return error


def encoded(records: Sequence[Record], redact: RecordFilter | None) -> bytes:
    """Return ``records`` as they are written.

    Raises:
        InvalidRequest: There are none, or a value in one has no JSON form.
        LimitExceeded: They are larger than `APPEND_BYTES_MAX`.
    """
    if not records:
        raise InvalidRequest("An append needs records.", remedy="Pass at least one.")
    if redact is None:
        body = record_codec.to_json(records)
    else:
        body = json_line([redact(record_codec.to_dict(record)) for record in records])
    if len(body) > APPEND_BYTES_MAX:
        raise LimitExceeded(
            f"An append of {len(body)} bytes is larger than {APPEND_BYTES_MAX}.",
            remedy="Append fewer records at once, or keep large values outside the journal.",
            data={"bytes": len(body), "bytes_max": APPEND_BYTES_MAX},
        )
    return body


def counted(records: Sequence[Record]) -> tuple[int, tuple[int, int]]:
    """Return what the envelope of ``records`` carries on.

    Returns:
        The number of the last checkpoint among them, from 0, or -1 without one. And what they do
        to the number of approvals that wait: it changes by the first, but is at least the second.
    """
    if len(records) == 1 and records[0].kind not in _COUNTED:
        return _NOT_COUNTED
    checkpoint, change, least = -1, 0, 0
    for number, record in enumerate(records):
        kind = record.kind
        if kind not in _COUNTED:
            continue
        if kind == Checkpoint.kind:
            checkpoint = number
        elif kind == ApprovalAsked.kind:
            change, least = change + 1, least + 1
        else:
            change, least = change - 1, max(0, least - 1)
    return checkpoint, (change, least)


class Room:
    """Bounds what waits in items and bytes; who finds no room waits in line."""

    def __init__(self, items_max: int, bytes_max: int) -> None:
        self.items_max = items_max
        self.bytes_max = bytes_max
        self.items = 0
        self.bytes = 0
        self.items_peak = 0
        self._line: deque[tuple[int, trio.lowlevel.Task]] = deque()

    def _fits(self, size: int) -> bool:
        # One append larger than the bound goes alone rather than never.
        return self.items < self.items_max and (
            self.items == 0 or self.bytes + size <= self.bytes_max
        )

    def _take(self, size: int) -> None:
        self.items += 1
        self.bytes += size
        self.items_peak = max(self.items_peak, self.items)

    def take_nowait(self, size: int) -> bool:
        """Take room for one item of ``size`` bytes, if there is any and nobody waits for it."""
        # The common case first and in one go: this is done for each record.
        items, taken = self.items + 1, self.bytes + size
        if self._line or items > self.items_max or (items > 1 and taken > self.bytes_max):
            return False
        self.items, self.bytes = items, taken
        if items > self.items_peak:  # noqa: PLR1730 - calling max costs, once for each record
            self.items_peak = items
        return True

    async def take(self, size: int) -> None:
        """Wait for room for one item of ``size`` bytes."""
        if self.take_nowait(size):
            return
        place = (size, trio.lowlevel.current_task())
        self._line.append(place)

        def abort(_: Any) -> trio.lowlevel.Abort:
            self._line.remove(place)
            self._admit()
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)

    def give(self, size: int, *, items: int = 1) -> None:
        """Give the room of so many items back."""
        self.items -= items
        self.bytes -= size
        if self._line:
            self._admit()

    def _admit(self) -> None:
        while self._line and self._fits(self._line[0][0]):
            size, task = self._line.popleft()
            self._take(size)
            trio.lowlevel.reschedule(task)
