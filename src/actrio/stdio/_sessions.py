"""A client's sessions: opened for it, its requests to each in line, its subscriptions."""

from __future__ import annotations

import time
from collections.abc import Callable

import attrs
import trio

from actrio.errors import ActrioError, Conflict, NotFound
from actrio.messages import IfBusy
from actrio.rpc import Connection, fault_of
from actrio.runtime import Runtime, Session
from actrio.stdio._profile import ClientProfile
from actrio.stdio._pump import Listener, SessionPump
from actrio.telemetry import RoomLog
from actrio.wire import EVENT_VERSION

__all__ = ["ClientSession", "ClientSessions"]

_log = RoomLog("actrio.stdio")


def _free() -> trio.Event:
    event = trio.Event()
    event.set()
    return event


@attrs.define(slots=True, eq=False)
class ClientSession:
    """A session that this client uses.

    Attributes:
        name: Its id.
        line: Set when the next request may act on it: requests do so in the order of their lines.
        session: The session, once it is open.
        pump: Sends its events, while the client is subscribed.
        if_busy: What it does with a message while a turn runs, where the client has said so.
    """

    name: str
    line: trio.Event = attrs.field(factory=_free)
    session: Session | None = None
    pump: SessionPump | None = None
    if_busy: IfBusy | None = None

    def steers(self, if_busy: IfBusy | None) -> bool:
        """Whether a message may be taken in by the turn that runs."""
        own = None if self.session is None else self.session.agent.if_busy
        return (if_busy or self.if_busy or own) == "steer"

    def stand_in_line(self) -> tuple[trio.Event, trio.Event]:
        """Return what to wait for, and what to set when the next one may go."""
        before, self.line = self.line, trio.Event()
        return before, self.line


class ClientSessions:
    """The sessions of one connection.

    Args:
        connection: The client.
        runtime: Where the sessions live.
        profile: Returns what the client wants.
        listener: Hears of all events that are pumped.
        on_deaf: Called when a session's events stop being sent.
    """

    def __init__(
        self,
        connection: Connection,
        runtime: Runtime,
        *,
        profile: Callable[[], ClientProfile],
        listener: Listener,
        on_deaf: Callable[[ClientSession], None],
    ) -> None:
        self._connection = connection
        self._runtime = runtime
        self._profile = profile
        self._listener = listener
        self._on_deaf = on_deaf
        self._sessions: dict[str, ClientSession] = {}
        self._tasks: trio.Nursery | None = None

    def run_in(self, tasks: trio.Nursery) -> None:
        """Let pumps run in ``tasks``."""
        self._tasks = tasks

    def __len__(self) -> int:
        return len(self._sessions)

    def create(self, name: str | None) -> ClientSession:
        """Return a place for a session that is being created.

        Raises:
            Conflict: This client has it already.
        """
        if name in self._sessions:
            raise Conflict(
                f"This client has a session {name[:100]!r} already.",
                remedy="Use it, or create one under another id.",
            )
        own = ClientSession(name or "", line=trio.Event())
        if name is not None:
            self._sessions[name] = own
        return own

    def opened(self, own: ClientSession, session: Session) -> None:
        """Note that a session being created is there."""
        own.name, own.session = session.id, session
        self._sessions[session.id] = own

    def forget(self, own: ClientSession) -> None:
        """Note that a session never came to be: requests behind that one are refused."""
        own.session = None
        if self._sessions.get(own.name) is own:
            del self._sessions[own.name]

    def closed(self, own: ClientSession, after: trio.Event) -> None:
        """Note that a session was let go of; the next request, if any, opens it again."""
        own.session = None
        if own.line is after:
            self.forget(own)

    def find(self, name: str) -> ClientSession | None:
        """Return a session that the client uses already, or ``None``."""
        return self._sessions.get(name)

    def place(self, name: str) -> ClientSession:
        """Return the client's place for a session, new where it has none."""
        own = self._sessions.get(name)
        if own is None:
            own = self._sessions[name] = ClientSession(name)
        return own

    async def session(self, own: ClientSession) -> Session:
        """Return the session itself; one that the client has not created is opened as it was kept.

        Called in line.

        Raises:
            NotFound: There is no such session.
            ActrioError: It cannot be opened.
        """
        if own.session is None:
            if self._sessions.get(own.name) is not own:
                # What was to be created before this request was not, or is closed.
                raise NotFound(
                    f"There is no session {own.name[:100]!r} here.",
                    remedy="Create it with session/create.",
                )
            try:
                own.session = await self._runtime.reopen(own.name)
            finally:
                if own.session is None:
                    self.forget(own)
        return own.session

    # Subscriptions

    async def subscribe(
        self, own: ClientSession, session: Session, after: int | None
    ) -> SessionPump:
        """Send the session's events, from now on or behind ``after``, once the pump may `go`.

        Raises:
            ActrioError: It cannot be subscribed to.
        """
        assert self._tasks is not None
        await self.unsubscribe(own)
        pump = SessionPump(
            self._connection, session, self._profile(), after=after, listener=self._listener
        )
        own.pump = pump
        try:
            await self._tasks.start(self._pump, own, pump)
        except BaseException:
            # A request that is cancelled just now may leave the pump behind, and nobody lets it go.
            pump.scope.cancel(reason="nobody asked for it any more")
            if own.pump is pump and not pump.begun:
                own.pump = None
            raise
        return pump

    async def unsubscribe(self, own: ClientSession) -> None:
        """Send no more of its events; those that are queued leave."""
        pump = own.pump
        if pump is not None:
            pump.scope.cancel(reason="unsubscribed")
            await pump.ended.wait()

    async def _pump(
        self,
        own: ClientSession,
        pump: SessionPump,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        error: Exception | None = None
        try:
            await pump.run(task_status=task_status)
        # Whatever ends one session's events is told, and harms no other session.
        except Exception as raised:
            if not pump.begun:
                raise
            error = raised
        finally:
            if own.pump is pump:
                own.pump = None
            self._on_deaf(own)
        if not pump.scope.cancelled_caught and not _is_gone(error):
            self._tell_end(own, pump, error)

    def _tell_end(self, own: ClientSession, pump: SessionPump, error: Exception | None) -> None:
        """Tell the client that no more events come, and why."""
        told = {
            "v": EVENT_VERSION,
            "seq": pump.position,
            "ts": time.time(),
            "session": own.name,
            "turn": "",
            "type": "subscription.ended",
        }
        if error is not None:
            told["error"] = fault_of(error)["data"]
            if not isinstance(error, ActrioError):
                _log.error("stdio.pump_failed", session=own.name, exc_info=error)
        self._connection.notify_ahead("event", told)

    def acknowledge(self, name: str, seq: int, n: int | None) -> None:
        """Grant a session's events more room."""
        own = self._sessions.get(name)
        if own is not None and own.pump is not None:
            own.pump.credit.acknowledge(seq, n)

    def lift_credit(self) -> None:
        """Let everything leave: no acknowledgement can come any more."""
        for own in self._sessions.values():
            if own.pump is not None:
                own.pump.credit.lift()

    async def let_go(self) -> None:
        """Let go of all sessions; what others do in them goes on."""
        for name in list(self._sessions):
            await self._runtime.close_session(name, mode="detach")


def _is_gone(error: Exception | None) -> bool:
    """Whether it was the client that ended, and with it who would be told."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return isinstance(error, trio.BrokenResourceError)
