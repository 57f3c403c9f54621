"""The session actor: the one writer of a conversation.

It exists by its address, ``/sessions/ID``: the first message makes it, and with it comes what the
journal knows; idle, it writes a checkpoint, gives the session back and is forgotten. A turn is a
deferred handling, so the actor hears a cancel while one runs.

What it does with a message while a turn runs:

    ============  ==============================================================================
    ``queue``     last in line
    ``reject``    refused; nothing is recorded
    ``interrupt`` recorded; the running turn is cancelled; next, before those that stood in line
    ``rollback``  the same, and the running turn leaves nothing in the history
    ``steer``     recorded; taken in by the running turn with its next step; else next in line
    ============  ==============================================================================
"""

from __future__ import annotations

import contextlib
import functools
from typing import Any, Final

import attrs
import trio

from actrio.actors import Actor, Context, ExitReason
from actrio.errors import (
    ActorStopped,
    ActrioError,
    Conflict,
    InvalidRequest,
    MailboxFull,
    NotFound,
    Overloaded,
    SessionFenced,
    StorageError,
)
from actrio.journal import (
    ApprovalDecided,
    Checkpoint,
    HistoryCompacted,
    InputAccepted,
    Record,
    SessionCreated,
    SessionRewound,
    StepBegun,
)
from actrio.messages import (
    TERMINAL_EVENTS,
    AnswerApproval,
    CancelTurn,
    ChangeState,
    CompactHistory,
    IfBusy,
    OpenSession,
    ReadSession,
    RewindSession,
    SessionView,
    StartTurn,
    TurnAccepted,
    TurnResult,
    WaitTurn,
    user_message,
)
from actrio.sessions._desk import SessionDesk
from actrio.sessions._fold import replayed, result_of
from actrio.sessions._journal import SessionJournal, oldest_records, read_state
from actrio.sessions._line import TurnInLine
from actrio.sessions._sealing import beginnings, closed, sealing
from actrio.sessions._state import AHEAD, SessionState, snapshot_of
from actrio.sessions._turns import ENDING_SECONDS, SessionTurns

__all__ = [
    "CONTINUE",
    "BeginSession",
    "KeepWhole",
    "RemoveSession",
    "RunTurn",
    "SessionActor",
    "StopTurns",
]

WAITERS_MAX: Final = 256
"""Handlings of one session that wait for a turn's end: as many as one connection may have requests
in flight. They must not use up what a person's answer needs."""

CONTINUE: Final = "Go on from where you were cut off."
"""What a model is told when a turn is continued: some take an unfinished answer for a finished one."""


@attrs.frozen(slots=True)
class RunTurn:
    """To the session itself: a turn that is open in the journal has no task yet."""

    turn: str


def _input(message: StartTurn, policy: IfBusy, state: SessionState) -> InputAccepted:
    """Return the record of an input, as the session's line is when it is written."""
    running = state.line[0] if state.line else ""
    return InputAccepted(
        turn=message.turn,
        message=message.message,
        if_busy=policy if running else "queue",
        into=running if policy == "steer" else "",
        resumes=message.resumes,
        owned=message.owned,
        key=message.key,
        caller=message.caller,
    )


@attrs.frozen(slots=True)
class BeginSession:
    """To a session that there is not yet: begin with these records."""

    records: tuple[Record, ...]


@attrs.frozen(slots=True)
class KeepWhole:
    """To a session: write down all that it is, so that it needs no other session's journal."""


@attrs.frozen(slots=True)
class StopTurns:
    """To a session that is closed: cut off what runs now."""


@attrs.frozen(slots=True)
class RemoveSession:
    """To a session: end all turns and remove the session with all its records."""


class SessionActor(Actor[Any]):
    """Takes what `actrio.messages` says to a session; see there for the answers.

    Args:
        session: Its id.
        desk: What all sessions share.
    """

    def __init__(self, session: str, desk: SessionDesk) -> None:
        self._session = session
        self._desk = desk
        self._turns: SessionTurns | None = None  # None: not read yet, or lost
        # Turns that are to be called and found no room in the mailbox.
        self._uncalled: dict[str, None] = {}
        self._waiting = 0  # handlings that wait for the end of a turn

    # -- coming and going --------------------------------------------------------------------------

    async def on_start(self, ctx: Context) -> None:
        if self._session in self._desk.pins and ctx.generation > 1:
            # Somebody holds it: after a crash it is there again before anything is asked.
            try:
                await self._loaded(ctx)
            except ActrioError:
                return  # the next message tries again, and its sender is told

    def may_sleep(self) -> bool:
        return self._session not in self._desk.pins

    async def on_stop(self, _ctx: Context, reason: ExitReason) -> None:
        turns, self._turns = self._turns, None
        self._desk.live.pop(self._session, None)
        kept = self._session not in self._desk.passing
        if turns is not None and kept and reason != "error" and turns.lost is None:
            await turns.book.close()
        self._desk.feeds.release(self._session)

    async def _loaded(self, ctx: Context, *, insist: bool = False) -> SessionTurns:
        """Return the session, read from its journal if it is not in memory.

        Raises:
            SessionOwned: Another process writes it.
            StorageError: It cannot be read, or what was cut off cannot be set right.
        """
        if self._turns is not None and self._turns.lost is None:
            return self._turns
        if self._turns is not None:
            await self._given_up(self._turns)
        desk = self._desk
        book = await SessionJournal.open(
            desk.store_of(self._session),
            self._session,
            owner=desk.owner,
            insist=insist,
            clock=desk.clock,
            redact=desk.redact,
            retention_seconds=desk.retention_seconds,
        )
        turns = SessionTurns(book, desk, functools.partial(self._read_again, ctx))
        try:
            await turns.write_made(lambda: tuple(sealing(book.state, "crash")))
        except BaseException:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + 1):
                await book.close()
            raise
        self._turns = turns
        desk.live[self._session] = book.state
        for name in book.state.line:
            self._call(name, ctx)
        return turns

    def _read_again(self, ctx: Context, turns: SessionTurns) -> None:
        """Have the session read again soon: nobody may come to it, and turns stand in its line."""
        if turns is not self._turns:
            return  # it could not even be opened, and whoever wanted it is told
        with contextlib.suppress(MailboxFull, ActorStopped):  # what waits there does the same
            ctx.ref.tell_nowait(ReadSession())

    async def _given_up(self, turns: SessionTurns) -> None:
        """Let go of a journal that could not be written: its turns end, and it is read again."""
        self._turns = None
        self._desk.live.pop(self._session, None)
        for turn in list(turns.inside.values()):
            turn.cancel("the journal failed")
            await turn.done.wait()
        turns.give_up()
        if not isinstance(turns.lost, SessionFenced):
            await turns.book.close()

    def _call(self, turn_id: str, ctx: Context) -> None:
        """Have an open turn run that has no task, if it can go on."""
        turns = self._turns
        turn = turns.state.open.get(turn_id) if turns is not None else None
        if turns is None or turn is None or turn_id in turns.inside or turn_id in turns.held:
            return
        if any(call.waits and call.leave is None for call in turn.calls):
            return
        try:
            self._desk.agent(turns.state.agent)
        except NotFound:
            return  # it waits until somebody opens the session with its agent
        try:
            ctx.ref.tell_nowait(RunTurn(turn_id))
        except MailboxFull:
            self._uncalled[turn_id] = None  # those who stand there are served first

    # -- messages ----------------------------------------------------------------------------------

    async def receive(self, message: Any, ctx: Context) -> Any:
        if isinstance(message, OpenSession):
            return await self._open(message, ctx)
        turns = await self._loaded(ctx)
        if isinstance(message, BeginSession):
            return await self._begin(message, turns)
        if not turns.state.agent:
            await self._let_go(turns)
            raise self._unknown()
        uncalled, self._uncalled = self._uncalled, {}
        for name in uncalled:
            self._call(name, ctx)
        match message:
            case StartTurn():
                return await self._accept(message, turns, ctx)
            case RunTurn(turn_id):
                return await self._run_left(turn_id, turns, ctx)
            case ReadSession():
                return turns.state.view()
            case StopTurns():
                return turns.stop()
            case WaitTurn(turn_id):
                return await self._wait(turn_id, turns, ctx)
            case ChangeState(values, removed, by):
                return await turns.change_state(values, remove=removed, by=by)
            case AnswerApproval():
                return await self._answer(message, turns, ctx)
            case CompactHistory():
                return await self._compact(message, turns)
            case RewindSession(to_seq):
                return await self._rewind(to_seq, turns)
            case KeepWhole():
                return await turns.book.checkpoint_if_due(every=1)
            case RemoveSession():
                return await self._remove(turns, ctx)

    async def on_control(self, message: Any, ctx: Context) -> None:
        assert isinstance(message, CancelTurn)
        try:
            turns = await self._loaded(ctx)
        except ActrioError:
            return  # it does not run here
        wanted = message.turn if message.turn is not None else next(iter(turns.state.line), None)
        if wanted is None:
            return
        turn = turns.inside.get(wanted)
        if message.reason == "shutdown":
            # Nobody gave the turn up: what waits goes on waiting, what ran can be continued.
            turns.dismiss(wanted)
            if turn is not None:
                turn.stop()
        elif turn is not None:
            turn.cancel(message.reason)
        elif turns.lost is None:
            try:
                await turns.end_aside(wanted, message.reason)
            except StorageError:
                return  # the next message to this session is told

    async def _let_go(self, turns: SessionTurns) -> None:
        """Keep nothing of a session that there is not: its name is free for whoever creates it."""
        self._turns = None
        self._desk.live.pop(self._session, None)
        await turns.book.close()

    def _unknown(self) -> NotFound:
        return NotFound(
            f"There is no session {self._session}.",
            remedy="Create it, or list the sessions that there are.",
        )

    async def _open(self, message: OpenSession, ctx: Context) -> SessionView:
        turns = await self._loaded(ctx, insist=message.insist)
        state = turns.state
        if not state.agent:
            await turns.write(
                SessionCreated(
                    agent=message.agent,
                    user=message.user,
                    model=message.model,
                    cache_policy=message.cache_policy,
                    labels=dict(message.labels),
                )
            )
        elif message.agent not in ("", state.agent):
            raise Conflict(
                f"Session {self._session} belongs to agent {state.agent!r}.",
                remedy="Open it with that agent, or use another id.",
            )
        turns.held.clear()
        for name in state.line:
            self._call(name, ctx)
        return state.view()

    async def _begin(self, message: BeginSession, turns: SessionTurns) -> None:
        if turns.state.agent:
            raise Conflict(
                f"There is a session {self._session} already.", remedy="Fork under another id."
            )
        await turns.write(*message.records)
        # What it begins with may stand in another journal: whoever comes next reads both.
        self._turns = None
        self._desk.live.pop(self._session, None)
        await turns.book.close()

    # -- turns -------------------------------------------------------------------------------------

    async def _accept(self, message: StartTurn, turns: SessionTurns, ctx: Context) -> Any:
        state = turns.state
        if message.key and (known := state.keys.get(message.key)) is not None:
            return await self._join(known, message, turns, ctx)
        if message.turn in state.open or message.turn in state.ended:
            raise Conflict(
                f"Session {self._session} has a turn {message.turn} already.",
                remedy="Give each turn an id of its own, or none.",
            )
        if message.resumes:
            self._check_resumable(message.resumes, state)
            if message.message is None:
                message = attrs.evolve(message, message=user_message(CONTINUE))
        elif message.message is None:
            raise InvalidRequest("A turn needs a message.", remedy="Say something.")
        policy = message.if_busy or self._desk.agent(state.agent).if_busy
        if state.line:
            self._check_room(policy, state.line[0], state)
        self._desk.slots.check_room()
        held, turns.held = turns.held, set()
        for name in held:
            self._call(name, ctx)  # the session goes on, and they stand before this one
        seq = state.event_seq
        await turns.write_made(lambda: (_input(message, policy, state),))
        if policy in AHEAD and state.line[0] != message.turn:
            # Recorded, so the line moves whatever becomes of the sender.
            with trio.CancelScope(shield=True, deadline=trio.current_time() + ENDING_SECONDS):
                await self._break_off(state.line[0], policy, turns)
        # No schedule point from here on: a turn of the line must not be left without its task.
        if message.owned:
            turn = turns.enter(message.turn, owned=True)
            turns.call_first()
            return ctx.defer(turns.run, turn, ctx)
        # In a handling of its own: this one ends with its sender, the turn does not.
        self._call(message.turn, ctx)
        position = state.line.index(message.turn) if message.turn in state.line else 0
        return TurnAccepted(self._session, message.turn, position, seq)

    async def _run(self, turn: TurnInLine, turns: SessionTurns, ctx: Context) -> TurnResult | None:
        result = await turns.run(turn, ctx)
        if (turn.suspended or turn.stopped) and turns is self._turns:
            # Meanwhile the person may have decided, or somebody may have spoken.
            self._call(turn.id, ctx)
        return result

    def _check_room(self, policy: str, running: str, state: SessionState) -> None:
        if policy == "reject":
            raise Conflict(
                f"Session {self._session} is busy with turn {running}.",
                remedy="Wait for its end, cancel it, or send with if_busy='queue'.",
            )
        queue_max = self._desk.agent(state.agent).queue_max
        # What takes the running turn's place does not wait behind it.
        if len(state.open) - (policy in AHEAD) > queue_max:
            raise Overloaded(
                f"{queue_max} turns wait already in session {self._session}.",
                remedy="Send the next one when one of them has ended.",
                data={"limit": queue_max},
            )

    def _check_resumable(self, turn_id: str, state: SessionState) -> None:
        ended = state.ended.get(turn_id)
        if ended is None or not ended.resumable:
            raise Conflict(
                f"Turn {turn_id} of session {self._session} is not one that was cut off.",
                remedy="Only a turn that a shutdown or a crash ended can be continued.",
            )

    async def _break_off(self, running: str, policy: str, turns: SessionTurns) -> None:
        kept = policy != "rollback"
        reason = "interrupted" if kept else "rolled back"
        if (turn := turns.inside.get(running)) is not None:
            turn.cancel(reason, kept=kept)
        else:
            await turns.end_aside(running, reason, kept=kept)

    async def _join(
        self, turn_id: str, message: StartTurn, turns: SessionTurns, ctx: Context
    ) -> Any:
        if message.owned:
            return await self._wait(turn_id, turns, ctx)
        state = turns.state
        position = state.line.index(turn_id) if turn_id in state.line else 0
        return TurnAccepted(self._session, turn_id, position, state.event_seq, joined=True)

    async def _run_left(self, turn_id: str, turns: SessionTurns, ctx: Context) -> Any:
        """Run a turn that is open in the journal and has no task, in this handling."""
        if turn_id not in turns.state.open or turn_id in turns.inside or turn_id in turns.held:
            return None
        turn = turns.enter(turn_id, owned=False)
        turns.call_first()
        return ctx.defer(self._run, turn, turns, ctx)

    async def _wait(self, turn_id: str, turns: SessionTurns, ctx: Context) -> Any:
        ended = turns.state.ended.get(turn_id)
        if ended is not None and not ended.into:
            return result_of(ended)
        if self._waiting >= WAITERS_MAX:
            raise Overloaded(
                f"{WAITERS_MAX} wait already for turns of session {self._session}.",
                remedy="Let one wait and tell the others, or subscribe to the session.",
                data={"limit": WAITERS_MAX},
            )
        self._waiting += 1
        return ctx.defer(self._waited, turn_id, turns)

    async def _waited(self, turn_id: str, turns: SessionTurns) -> TurnResult:
        try:
            return await self._ended(turn_id, turns)
        finally:
            self._waiting -= 1

    async def _ended(self, turn_id: str, turns: SessionTurns) -> TurnResult:
        result = await turns.wait(turn_id)
        if result is None:
            result = await self._long_ended(turn_id, turns)
        if result is None:
            raise NotFound(
                f"Session {self._session} has had no turn {turn_id}.",
                remedy="Its view lists the latest ones.",
            )
        return result

    async def _long_ended(self, turn_id: str, turns: SessionTurns) -> TurnResult | None:
        """Look for a turn in the journal that memory no longer has."""
        records = await oldest_records(self._desk.store_of(self._session), self._session)
        for stored in records:
            step = stored.record
            if isinstance(step, StepBegun) and turn_id in step.taken:
                return await self._ended(step.turn, turns)
        for event in replayed(self._session, records):
            if event.turn == turn_id and isinstance(event, TERMINAL_EVENTS):
                return event.result
        return None

    # -- the rest ----------------------------------------------------------------------------------

    async def _answer(self, message: AnswerApproval, turns: SessionTurns, ctx: Context) -> None:
        pending = turns.state.pending.get(message.approval)
        if pending is None:
            raise self._not_pending(message.approval)
        fits = message.decision in (
            ("answered", "denied") if pending.about == "question" else ("approved", "denied")
        )
        if not fits:
            raise InvalidRequest(
                f"{message.approval} is about a {pending.about}; it cannot be {message.decision}.",
                remedy="A call is approved or denied; a question is answered or denied.",
            )
        decided = await turns.questions.decide(
            turns,
            ApprovalDecided(
                turn=pending.turn,
                approval=message.approval,
                decision=message.decision,
                answer=message.answer,
                by=message.by,
                note=message.note,
            ),
        )
        if not decided:
            raise self._not_pending(message.approval)
        self._call(pending.turn, ctx)

    def _not_pending(self, approval: str) -> NotFound:
        return NotFound(
            f"Session {self._session} has no open approval {approval}.",
            remedy="It was decided already, or its turn has ended; list what is open.",
        )

    async def _compact(self, message: CompactHistory, turns: SessionTurns) -> SessionView:
        state = turns.state
        self._check_idle(state, "compacted")
        wanted = len(state.history) if message.messages is None else message.messages
        places = [
            each for each in (*beginnings(state.history), len(state.history)) if each <= wanted
        ]
        if not message.summary.strip() or wanted < 1 or not places or not places[-1]:
            raise InvalidRequest(
                "A compaction needs a summary and at least one whole turn that it stands for.",
                remedy="Pass the summary's text, and no number of messages for all of them.",
            )
        await turns.write(
            HistoryCompacted(
                messages=places[-1],
                summary=message.summary,
                summary_version=state.summary_version + 1,
            )
        )
        return state.view()

    async def _rewind(self, to_seq: int, turns: SessionTurns) -> SessionView:
        state = turns.state
        self._check_idle(state, "rewound")
        store = self._desk.store_of(self._session)
        past = closed(await read_state(store, self._session, to_seq), "rewind")
        # What was spent stays spent, and what was told keeps its number.
        past.metrics, past.turns_ended = state.metrics, state.turns_ended
        past.keys, past.ended = state.keys, state.ended
        past.event_seq = state.event_seq + 1
        await turns.write(SessionRewound(to_seq=to_seq), Checkpoint(snapshot=snapshot_of(past)))
        return turns.state.view()

    def _check_idle(self, state: SessionState, what: str) -> None:
        if state.open:
            raise Conflict(
                f"Session {self._session} cannot be {what} while a turn is open.",
                remedy="Wait for its end, or cancel it.",
            )

    async def _remove(self, turns: SessionTurns, ctx: Context) -> None:
        for turn in list(turns.inside.values()):
            turn.cancel("removed")
            with trio.move_on_after(ctx.system.cancel_grace_seconds):
                await turn.done.wait()
        await turns.book.remove()
        self._turns = None
        self._desk.live.pop(self._session, None)
        self._desk.feeds.end(self._session)
        ctx.stop()
