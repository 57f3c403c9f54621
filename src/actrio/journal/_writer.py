"""The task that writes: it gathers what waits, has it written, and wakes who asked.

It takes everything that waits, has it written in a worker thread, and wakes the askers; what
arrives meanwhile is the next batch. Claims go through the same task, so commits and claims of one
process never overlap; those of different processes are kept apart by the lock of the claims file.

It is a task and not an actor with a mailbox: an append is one park and one wake, a fifth of what
an ask costs. Whoever opens the store owns it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

import trio

from actrio.actors import Slot
from actrio.errors import ActrioError, Conflict, StorageError, StorageUnavailable
from actrio.journal._batch import Commit, choose, out_of_order
from actrio.journal._claims_file import LOCK_POLL_SECONDS, LOCK_SECONDS_MAX, locked_out
from actrio.journal._disk import storage_error
from actrio.journal._files import ClaimRequest, JournalFiles
from actrio.journal._index import Entry
from actrio.journal._pending import Request, Room, Waiting, again
from actrio.journal._store import Durability, StoreStatistics

__all__ = ["Writer"]

T = TypeVar("T")

WAITING_ITEMS_MAX: Final = 10_000
"""Appends that wait to be written: a quarter of a second's worth of a fast disk."""

WAITING_BYTES_MAX: Final = 64 * 1024 * 1024
"""Bytes that wait to be written: two of the largest appends."""

CLOSE_SECONDS: Final = 10.0
"""How long closing waits for what was accepted to be written."""


class Writer:
    """The one who writes, of one process and one folder.

    Args:
        files: The folder, opened.
        durability: What an acknowledged append survives.
        batch_seconds: How long an acknowledged append may stay unsynced.
    """

    def __init__(
        self, files: JournalFiles, *, durability: Durability, batch_seconds: float
    ) -> None:
        self.files = files
        self.durability: Durability = durability
        self._batch_seconds = batch_seconds
        self.room = Room(WAITING_ITEMS_MAX, WAITING_BYTES_MAX)
        self._waiting: deque[Waiting] = deque()
        self._requests: deque[Request] = deque()
        self._work = Slot()
        self._dirty = Slot()
        self.index_due = Slot()
        self._settled = trio.lowlevel.ParkingLot()
        self._writing = False
        # `none` only: the last seq of each session whose acknowledged appends are not written yet.
        self._ahead: dict[str, int] = {}
        self.watched: dict[str, trio.lowlevel.ParkingLot] = {}
        # The block's cancel ends its body; the task goes on until all that was accepted is written.
        self._running = trio.CancelScope(shield=True)
        # One commit or claim, and one sync beside it.
        self._threads = trio.CapacityLimiter(2)
        self.ended: StorageError | None = None
        self._records = self._commits = self._syncs = self._bytes = 0

    def statistics(self) -> StoreStatistics:
        """Return how much waits and how much was done."""
        problem = self.files.index_problem
        return StoreStatistics(
            sessions=len(self.files.index),
            claims=len(self.files.claims.table.held),
            records=self._records,
            commits=self._commits,
            syncs=self._syncs,
            bytes_written=self._bytes,
            append_items_waiting=self.room.items,
            append_bytes_waiting=self.room.bytes,
            append_items_peak=self.room.items_peak,
            read_only=self.ended.message if self.ended is not None else None,
            index_problem=problem.problem if problem is not None else None,
        )

    # --- asking

    def check_open(self) -> None:
        if self.ended is not None:
            raise again(self.ended)

    def accept_nowait(self, waiting: Waiting) -> bool:
        """Put ``waiting`` into the line of what is to be written, if there is room."""
        if self.ended is not None:
            raise again(self.ended)
        if not self.room.take_nowait(len(waiting.body)):
            return False
        waiting.take_back = self._take_back
        self._waiting.append(waiting)
        self._work.wake()
        return True

    async def accept(self, waiting: Waiting) -> None:
        """Put ``waiting`` into the line of what is to be written, once there is room."""
        await self.room.take(len(waiting.body))
        if self.ended is not None:
            self.room.give(len(waiting.body))
            raise again(self.ended)
        waiting.take_back = self._take_back
        self._waiting.append(waiting)
        self._work.wake()

    async def written(self, waiting: Waiting) -> None:
        if not self.accept_nowait(waiting):
            await self.accept(waiting)
        await waiting.outcome()

    def _take_back(self, waiting: Waiting) -> None:
        self._waiting.remove(waiting)
        self.room.give(len(waiting.body))

    async def append_ahead(self, waiting: Waiting) -> None:
        """Acknowledge what is only in memory; it is checked as it will be when it is written."""
        await trio.lowlevel.checkpoint()
        await self.room.take(len(waiting.body))
        try:
            self.check_open()
            error = self.files.claims.table.check(
                waiting.session, waiting.epoch, self.files.slot
            ) or self._out_of_order(waiting)
            if error is not None:
                raise error
        except ActrioError:
            self.room.give(len(waiting.body))
            raise
        self._ahead[waiting.session] = waiting.expected_seq + waiting.count
        self._waiting.append(waiting)
        self._work.wake()

    def _out_of_order(self, waiting: Waiting) -> Conflict | None:
        entry = self.files.index.get(waiting.session)
        last_seq = self._ahead.get(waiting.session, entry.last_seq if entry is not None else 0)
        if waiting.expected_seq == last_seq:
            return None
        return out_of_order(waiting.session, waiting.expected_seq, last_seq)

    async def request(self, what: ClaimRequest | None) -> Any:
        """Have a claim decided, or (``None``) what others wrote read."""
        request = Request(what)
        self._requests.append(request)
        self._work.wake()
        request.take_back = self._requests.remove
        await request.outcome()
        return request.answer

    async def between(self, work: Callable[[], T]) -> T:
        """Call ``work``, which does not block, while nothing else looks at or changes the index."""
        if self.ended is not None:
            return work()
        request = Request(None, work)
        self._requests.append(request)
        self._work.wake()
        request.take_back = self._requests.remove
        await request.outcome()
        answer: T = request.answer
        return answer

    async def entry(self, session: str) -> Entry | None:
        # A look at one file's status stays in memory, and a thread for it would cost ten times it.
        if not self.is_ours(session) or not self.files.claims.current:
            await self.seen_others()
        else:
            await trio.lowlevel.checkpoint()
        return self.files.index.get(session)

    async def seen_others(self) -> None:
        """Read what other processes wrote; a store that only reads shows what it has."""
        if self.ended is None:
            await self.request(None)
        elif not self.failed:
            self.check_open()

    def is_ours(self, session: str) -> bool:
        holder = self.files.claims.table.held.get(session)
        return holder is not None and holder.slot == self.files.slot

    async def caught_up(self, session: str) -> None:
        """Wait until what was acknowledged of ``session`` is written."""
        while session in self._ahead:
            await self._settled.park()

    async def flushed(self) -> None:
        await trio.lowlevel.checkpoint()
        while (self._waiting or self._writing) and self.ended is None:
            await self._settled.park()

    # --- the task

    async def run(self) -> None:
        with self._running:
            while True:
                if self._requests:
                    await self._answer_requests()
                elif self._waiting:
                    await self._commit_next()
                else:
                    await self._work.park()

    async def _answer_requests(self) -> None:
        requests = list(self._requests)
        self._requests.clear()
        for request in requests:
            request.taken = True
        asked = [request.what for request in requests if request.what is not None]
        try:
            if any(request.work is None for request in requests):
                answers = iter(await self.in_thread(self.files.claim, asked))
            for request in requests:
                if request.work is not None:
                    request.answer = request.work()
                elif request.what is not None:
                    request.answer = next(answers)
                request.settle()
        except ActrioError as error:
            for request in requests:
                request.settle(again(error))
        finally:
            for request in requests:
                request.settle(closed())  # counts only where a bug ended it
        self._wake_watchers()

    async def _commit_next(self) -> None:
        batch, size = choose(self._waiting)
        self._writing = True
        try:
            commit = await self._written_batch(batch)
        except StorageError as error:
            self._failed(batch, error)
        except BaseException:
            for waiting in batch:
                waiting.settle(closed())  # a bug ended the commit
            raise
        else:
            self._done(commit)
        finally:
            self._writing = False
            self.room.give(size, items=len(batch))
        self._settled.unpark_all()

    async def _written_batch(self, batch: Sequence[Any]) -> Commit:
        """Write what of ``batch`` may be written.

        Only what can block for long goes into the thread, in one call: each system call there ends
        with a wait for the interpreter, up to 5 ms long while this thread is busy. Looking at locks
        and planning are quicker here.
        """
        files = self.files
        await self._share_claims()
        try:
            if not files.claims.current:
                await self.in_thread(files.claims.catch_up)
            if files.segment_full:
                await self.in_thread(files.writer.rotate)
            commit = files.planned(batch)
            if commit.data:
                await self.in_thread(files.writer.write, commit.data, commit.sync)
            files.written(commit)
            return commit
        finally:
            files.claims.unshare()

    async def _share_claims(self) -> None:
        deadline = trio.current_time() + LOCK_SECONDS_MAX
        while not self.files.claims.try_share():
            if trio.current_time() > deadline:
                raise locked_out()
            await trio.sleep(LOCK_POLL_SECONDS)

    def _done(self, commit: Commit) -> None:
        self._commits += 1
        self._records += commit.records
        self._bytes += len(commit.data)
        self._syncs += commit.sync
        accepted: Any = commit.accepted
        refused: Any = commit.refused
        reschedule = trio.lowlevel.reschedule
        for waiting in accepted:  # `Waiting.settle`, done here for each record
            waiting.settled = True
            if waiting.task is not None:
                reschedule(waiting.task)
                waiting.task = None
        if self._ahead:
            for waiting in accepted:
                self._caught_up(waiting)
        for waiting, error in refused:
            waiting.settle(error)
            self._ahead.pop(waiting.session, None)
        if commit.data and not commit.sync:
            self._dirty.wake()
        if self.files.index_due:
            self.index_due.wake()
        if self.watched:
            for session in commit.changes:
                if session in self.watched:
                    self.watched[session].unpark_all()

    def _caught_up(self, waiting: Waiting) -> None:
        if self._ahead.get(waiting.session) == waiting.expected_seq + waiting.count:
            del self._ahead[waiting.session]

    def _failed(self, batch: Sequence[Any], error: StorageError) -> None:
        """Answer a batch of which nothing was written."""
        if isinstance(error.__cause__, OSError):
            self._end(error)
        for waiting in batch:
            waiting.settle(again(error))
            self._ahead.pop(waiting.session, None)

    def _end(self, error: StorageError) -> None:
        """Write nothing more: after a failed write or sync only opening anew knows what is there."""
        self.ended = error
        while self._waiting:
            waiting = self._waiting.popleft()
            waiting.settle(again(error))
            self.room.give(len(waiting.body))
        while self._requests:
            self._requests.popleft().settle(again(error))
        self._ahead.clear()
        self._settled.unpark_all()
        self._wake_watchers()

    def _wake_watchers(self) -> None:
        for lot in self.watched.values():
            lot.unpark_all()

    async def sync_behind(self) -> None:
        """Sync what was acknowledged unsynced, at most ``batch_seconds`` after the first of it."""
        while True:
            if not self.files.writer.dirty:
                await self._dirty.park()
            await trio.sleep(self._batch_seconds)
            if not await self.synced():
                return

    async def synced(self) -> bool:
        """Sync what is written; return whether that worked. If not, nothing more is written."""
        try:
            await self.in_thread(self.files.sync)
        except StorageError as error:
            self._end(error)
            return False
        self._syncs += 1
        return True

    async def in_thread(
        self,
        work: Callable[..., T],
        *args: Any,
        limiter: trio.CapacityLimiter | None = None,
    ) -> T:
        """Run blocking ``work`` to its end, whatever is cancelled meanwhile."""
        try:
            if self.files.disk.inline:
                return work(*args)
            answers: list[T] = []
            with trio.CancelScope(shield=True):
                answers.append(
                    await trio.to_thread.run_sync(work, *args, limiter=limiter or self._threads)
                )
            return answers[0]
        except OSError as error:
            raise storage_error(error, f"using {error.filename or 'the journal'}") from error

    async def drained(self) -> None:
        """Write what was accepted; then refuse whatever comes."""
        with trio.move_on_after(CLOSE_SECONDS):
            await self.flushed()
        if self.ended is None:
            self._end(closed())

    @property
    def failed(self) -> bool:
        """Whether the disk refused, so that nothing more may be written or synced."""
        return self.ended is not None and self.ended.__cause__ is not None

    def stop(self) -> None:
        """End the task."""
        self._running.cancel()


def closed() -> StorageError:
    return StorageUnavailable("The store is closed.", remedy="Open it again.")
