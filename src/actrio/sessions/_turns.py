"""A session's turns in memory: who stands in line, who runs, and how each one ends.

The line itself is in the state (`SessionState.line`), because it outlives the process; here are
the tasks. A place is taken on acceptance, because Trio starts the tasks of deferred handlings in
no order::

    accepted ──► in line ──► slot ──► run ──► ending written ──► answered
                    ▲          ▲       ▲
    cancel, owner leaves ──────┴───────┴──► what was cut off is sealed ──► ending written
    shutdown ──────────────────────────────► the same, and the turn can be continued

On every way out the ending is one append: each tool call has its result, the turn its reason.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import attrs
import msgspec
import trio

from actrio.actors import Context, ExitReason
from actrio.agents import Interrupted, TurnRun
from actrio.errors import (
    ActrioError,
    Conflict,
    InvalidRequest,
    LimitExceeded,
    StorageError,
    TurnAborted,
)
from actrio.feeds import Outlet, TurnFeed
from actrio.journal import (
    ApprovalDecided,
    HistoryTrimmed,
    Record,
    StateChanged,
    TurnEnded,
)
from actrio.messages import TurnResult
from actrio.sessions._desk import STATE_BYTES_MAX, SessionDesk
from actrio.sessions._fold import TERMINAL, result_of
from actrio.sessions._journal import SessionJournal
from actrio.sessions._line import TurnInLine
from actrio.sessions._questions import Questions
from actrio.sessions._sealing import cut_off, messages_beyond, sealed_calls
from actrio.sessions._state import OpenTurn, SessionState
from actrio.sessions._turn_book import Book
from actrio.wire import error_to_dict

__all__ = ["SessionTurns"]

ENDING_SECONDS = 5.0
"""How long the ending of a turn may take to be written while everything stops: a slow disk's sync.
What was not written is written on the next opening."""


class SessionTurns:
    """The turns of one session, while it is in memory.

    Args:
        book: Its journal.
        desk: What all sessions share.
        on_lost: Called when a write has failed: what is here is no more to be trusted.
    """

    def __init__(
        self, book: SessionJournal, desk: SessionDesk, on_lost: Callable[[SessionTurns], None]
    ) -> None:
        self.book = book
        self.new_id = desk.new_id
        self.lost: ActrioError | None = None  # why the journal cannot be written any more
        self._on_lost = on_lost
        self._desk = desk
        self._feed = desk.feeds.hold(book.state.id)
        self._feed.begin_at(book.state.event_seq)
        self.inside: dict[str, TurnInLine] = {}
        # Not to be called before somebody opens the session or says something.
        self.held: set[str] = set()
        self.questions = Questions(desk.approval_seconds)
        # Somebody waits for the end of a turn that is put aside.
        self._waiters: dict[str, trio.Event] = {}

    @property
    def state(self) -> SessionState:
        return self.book.state

    # -- records -----------------------------------------------------------------------------------

    async def write(self, *records: Record, sync: bool = False) -> None:
        """Write records and hand their events on; where this raises, nothing was written."""
        await self.write_made(lambda: records, sync=sync)

    async def write_made(self, make: Callable[[], Sequence[Record]], *, sync: bool = False) -> bool:
        """Write what ``make`` returns when it is its turn; False where that was nothing."""
        try:
            records, events = await self.book.write(make, sync=sync)
        except (Conflict, StorageError) as error:
            self._lose(error)
            raise
        self._feed.publish(events)
        for name in [each for each in self._waiters if each not in self.state.open]:
            self._waiters.pop(name).set()
        self._hand_over()
        return bool(records)

    def _lose(self, error: ActrioError) -> None:
        if self.lost is None:
            self.lost = error
            self._on_lost(self)

    def give_up(self) -> None:
        """Wake who waits for turns that have no task: they are told that the journal failed."""
        for event in self._waiters.values():
            event.set()
        self._waiters.clear()

    def _hand_over(self) -> None:
        """Let the inputs go on that a turn has taken in."""
        for turn in self.inside.values():
            if not turn.into and turn.id not in self.state.open and turn.result is None:
                taken = self.state.ended.get(turn.id)
                if taken is not None and taken.into:
                    turn.into = taken.into
                    turn.ready.set()

    async def settle(self, turn_id: str) -> None:
        """Wait while a pacing reader has no room."""
        await self._feed.settle(turn_id)

    async def change_state(
        self, values: Mapping[str, Any], *, remove: Sequence[str] = (), by: str
    ) -> Mapping[str, Any]:
        """Change ``session.state``; what is kept, and returned, is what JSON makes of it.

        Raises:
            InvalidRequest: A value has no JSON form.
            LimitExceeded: It would grow beyond its bound.
        """
        change = StateChanged(values=self._plain(values), removed=tuple(remove), by=by)

        def changed() -> Sequence[Record]:
            state = {**self.state.values, **change.values}
            for name in remove:
                state.pop(name, None)
            size_bytes = len(msgspec.json.encode(state))
            if size_bytes > STATE_BYTES_MAX:
                raise LimitExceeded(
                    f"The state of session {self.state.id} would take {size_bytes} bytes;"
                    f" {STATE_BYTES_MAX} are allowed.",
                    remedy="Keep large values as blobs or in a store of your own.",
                    data={"bytes": size_bytes, "bytes_max": STATE_BYTES_MAX},
                )
            return (change,)

        if values or remove:
            await self.write_made(changed)
        return cast("Mapping[str, Any]", msgspec.to_builtins(self.state.values))

    def _plain(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return ``values`` as the journal will give them back."""
        try:
            # The strict one first: the other finds a form for dates, bytes and sets, and for NaN.
            json.dumps(dict(values), allow_nan=False)
            plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(dict(values)))
        except (TypeError, ValueError, RecursionError) as error:
            raise InvalidRequest(
                f"A value for the state of session {self.state.id} has no JSON form: {error}.",
                remedy="Use strings, numbers, booleans, None, lists and dicts with string keys.",
            ) from error
        return plain

    # -- the line ----------------------------------------------------------------------------------

    def enter(self, turn_id: str, *, owned: bool) -> TurnInLine:
        """Make the task's side of a turn that is open in the state."""
        turn = self.inside[turn_id] = TurnInLine(turn_id, owned=owned)
        return turn

    def dismiss(self, turn_id: str) -> None:
        """Leave a turn where it is until somebody comes; whoever waits for it is told."""
        self.held.add(turn_id)
        if (event := self._waiters.pop(turn_id, None)) is not None:
            event.set()

    def stop(self) -> None:
        """Cut off what runs; what has not begun stays in line for the next opening."""
        for turn in list(self.inside.values()):
            self.dismiss(turn.id)
            turn.stop()

    def call_first(self) -> None:
        """Let the first in line begin, once whoever was first before it has ended."""
        if any(each.ready.is_set() and not each.into for each in self.inside.values()):
            return
        if self.state.line and (first := self.inside.get(self.state.line[0])) is not None:
            first.ready.set()

    async def end_aside(self, turn_id: str, reason: str, *, kept: bool = True) -> None:
        """End a turn that has no task: it was put aside, or never came to one."""
        turn = self.state.open.get(turn_id)
        if turn is None or turn_id in self.inside:
            return

        def ending() -> Sequence[Record]:
            if turn_id not in self.state.open:
                return ()
            return tuple(cut_off(self.state, turn, reason, resumable=False, kept=kept))

        await self.write_made(ending)
        self.call_first()

    async def wait(self, turn_id: str) -> TurnResult | None:
        """Return the result of a turn when it has ended; None if it is not known here.

        Raises:
            StorageError: The journal failed meanwhile: whoever asks again is told.
            TurnAborted: It was stopped before it began, or while it waited for a person: it is
                kept, and goes on when somebody opens the session or says something.
        """
        while turn_id in self.state.open:
            turn = self.inside.get(turn_id)
            if turn is None and turn_id in self.held:
                stopped = True
            elif turn is not None:
                await turn.done.wait()
                if turn.result is not None:
                    return turn.result
                stopped = turn.stopped
            else:
                await self._waiters.setdefault(turn_id, trio.Event()).wait()
                if self.lost is not None:
                    raise self.lost
                stopped = turn_id in self.state.open
            if stopped:
                raise TurnAborted(
                    f"Turn {turn_id} was stopped and is kept for later.",
                    reason="shutdown",
                    remedy="It goes on when somebody opens its session or says something.",
                )
        ended = self.state.ended.get(turn_id)
        if ended is None:
            return None
        # One that was taken in has the result of the turn that did so.
        host = await self.wait(ended.into) if ended.into else None
        return host or result_of(ended)

    # -- one turn ----------------------------------------------------------------------------------

    async def run(self, turn: TurnInLine, ctx: Context) -> TurnResult | None:
        """Run a turn to its end and return its result; None where it was put aside.

        *Cancellation*: its ending is written, within a bound, before the cancel goes on.
        """
        feed = TurnFeed(self._feed, turn.id)
        outlet = self._outlet(turn, ctx)
        try:
            with turn.scope:
                await self._in_line(turn, feed)
            if turn.stopped:
                await self._cut(turn, "shutdown")
            elif turn.result is None and not turn.suspended:
                await self._end(turn, self._cancelled(turn), kept=turn.kept)
            if outlet is not None:
                await self._leave_owner(turn, outlet)
        except BaseException as error:
            if not _only_cancelled(error):
                raise  # the activation ends by it, and the next one finds the turn unfinished
            if outlet is not None and ctx.stopping is None:
                self._feed.disown(turn.id)  # it has left: nobody waits for it to read
            with trio.CancelScope(shield=True, deadline=trio.current_time() + ENDING_SECONDS):
                await self._cut(turn, ctx.stopping, settle=False)
            if turn.result is not None:
                ctx.resolve(turn.result)
            raise
        finally:
            self._feed.disown(turn.id)
            self.inside.pop(turn.id, None)
            turn.done.set()
            turn.run = None  # it knows the turn as well: without this, both wait for the collector
            self.call_first()
        return turn.result

    def _outlet(self, turn: TurnInLine, ctx: Context) -> Outlet | None:
        if not (turn.owned and ctx.is_stream):
            return None
        stall = self._feed.stall_seconds
        outlet = Outlet(ctx.emit, ctx.emit_nowait, stall_seconds=stall)
        self._feed.own(turn.id, outlet)
        return outlet

    async def _leave_owner(self, turn: TurnInLine, outlet: Outlet) -> None:
        """See that the owner has everything, without holding a slot or a place in line for it."""
        del self.inside[turn.id]
        turn.done.set()
        self.call_first()
        if outlet.detached:
            await outlet.catch_up(self._feed.replay, turn.id)
        while outlet.queue and not outlet.detached:
            await outlet.flush()

    async def _in_line(self, turn: TurnInLine, feed: TurnFeed) -> None:
        if not turn.ready.is_set():
            await turn.ready.wait()
        if turn.into:
            turn.result = await self.wait(turn.into)
            return
        async with self._desk.slots:
            await self._run_in_slot(turn, feed)

    async def _run_in_slot(self, turn: TurnInLine, feed: TurnFeed) -> None:
        open_turn = self.state.open[turn.id]
        try:
            prepared = await self._desk.prepare(self.state.agent)
            gone = self._beyond_window(prepared.agent.window_tokens)
            assert open_turn.message is not None
            turn.run = TurnRun(
                prepared,
                tuple(self.state.history[gone:]),
                turn=turn.id,
                message=open_turn.message,
                feed=feed,
                book=Book(self, turn),
                session=self.state.id,
                first=(HistoryTrimmed(messages=gone, reason="window"),) if gone else (),
                interrupted=_interrupted(open_turn),
            )
            result = await turn.run.run()
        except ActrioError as error:
            result = _failed(turn, error)
        # In one step with the run's end: the next turn in line must see this one's messages.
        await self._end(turn, result)

    def _beyond_window(self, tokens_max: int | None) -> int:
        return messages_beyond(self.state.history, tokens_max) if tokens_max is not None else 0

    def _cancelled(self, turn: TurnInLine) -> TurnResult:
        why = turn.cancel_reason
        error = TurnAborted(f"Turn {turn.id} was cancelled ({why}).", reason=why)
        if turn.run is not None:
            return turn.run.cancelled(error)
        return TurnResult(outcome="cancelled", stop_reason="cancelled", error=error, turn=turn.id)

    async def _cut(
        self, turn: TurnInLine, stopping: ExitReason | None, *, settle: bool = True
    ) -> None:
        """Write how a turn ends whose owner left, or whose session stops."""
        open_turn = self.state.open.get(turn.id)
        if open_turn is None or turn.result is not None or turn.suspended:
            return
        resumable = False
        # Where nobody ended it, it ends with the session's stop or crash, or with its owner.
        broken_off = turn.scope.cancel_called and not turn.stopped
        if not broken_off and (stopping is not None or not turn.owned):
            if not turn.owned and (open_turn.waits or not open_turn.begun):
                return  # it is in the journal, and goes on from there
            turn.cancel_reason = "shutdown" if stopping is not None else "crash"
            resumable = open_turn.begun
        await self._end(
            turn, self._cancelled(turn), resumable=resumable, kept=turn.kept, settle=settle
        )

    async def _end(
        self,
        turn: TurnInLine,
        result: TurnResult,
        *,
        resumable: bool = False,
        kept: bool = True,
        settle: bool = True,
    ) -> None:
        """Write the ending of a turn and make its result; the first call counts.

        One that another turn has taken in has ended by that.
        """
        if turn.result is not None:
            return

        def ending() -> Sequence[Record]:
            if turn.id not in self.state.open:
                return ()
            return self._ending(turn, result, resumable=resumable, kept=kept)

        try:
            written = await self.write_made(ending)
        except ActrioError as error:
            # It cannot be recorded: whoever waits is told all the same, and the next opening
            # finds the turn unfinished.
            self._lose(error)
            if result.error is None:
                result = _failed(turn, error)
            turn.result = result
            await self._feed.tell(TERMINAL[result.outcome], turn.id, {"result": result})
            return
        ended = self.state.ended.get(turn.id)
        turn.result = result_of(ended) if ended is not None else result
        if written:
            turn.result = attrs.evolve(turn.result, output=result.output, error=result.error)
            if settle:
                await self._feed.settle(turn.id)
            with contextlib.suppress(StorageError):  # the next write tells whoever writes it
                await self.book.checkpoint_if_due()

    def _ending(
        self, turn: TurnInLine, result: TurnResult, *, resumable: bool, kept: bool
    ) -> Sequence[Record]:
        expired = [
            ApprovalDecided(turn=turn.id, approval=each.approval, decision="expired")
            for each in self.state.pending.values()
            if each.turn == turn.id
        ]
        if turn.run is not None:
            return [*expired, *turn.run.ending(result, resumable=resumable, kept=kept)]
        reason = result.error.reason if isinstance(result.error, TurnAborted) else str(result.error)
        # It may have begun before it was put aside.
        open_turn = self.state.open[turn.id]
        ended = TurnEnded(
            turn=turn.id,
            outcome=result.outcome,
            stop_reason=result.stop_reason,
            reason=reason,
            steps=open_turn.steps,
            usage=open_turn.usage,
            resumable=resumable,
            error=error_to_dict(result.error) if result.error is not None else None,
            kept=kept,
        )
        return [*expired, *sealed_calls(open_turn, reason), ended]


def _only_cancelled(error: BaseException) -> bool:
    """Tell whether a cancel is all that came: out of nurseries it comes in groups."""
    if isinstance(error, BaseExceptionGroup):
        return error.split(trio.Cancelled)[1] is None
    return isinstance(error, trio.Cancelled)


def _failed(turn: TurnInLine, error: ActrioError) -> TurnResult:
    if turn.run is not None:
        return turn.run.failed(error)
    return TurnResult(outcome="failed", stop_reason="error", error=error, turn=turn.id)


def _interrupted(turn: OpenTurn) -> Interrupted | None:
    """Return how far a turn had come that goes on after a person's decision."""
    if not turn.begun:
        return None
    # Whoever took it up has sealed what was cut off: nothing is run a second time.
    assert not any(each.started and each.result is None for each in turn.calls), turn
    return Interrupted(
        tuple(turn.added),
        turn.steps,
        turn.usage,
        turn.text,
        tuple(each.call for each in turn.calls),
        {place: each.result for place, each in enumerate(turn.calls) if each.result is not None},
        turn.corrections,
    )
