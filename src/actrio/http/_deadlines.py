"""Deadlines of native turns: they hold whoever listens, so no request can wait for them.

One actor below the runtime has a timer for each; it ends with the runtime, and shows in its tree.
A process that ends forgets them: its turns end as well, and can be resumed by whoever wants to.
"""

from __future__ import annotations

import secrets
from typing import Any, Final

import attrs
import trio

from actrio.actors import Actor, ChildSpec, Context, MailboxSpec, Ref
from actrio.errors import ActrioError, Overloaded
from actrio.runtime import Runtime
from actrio.telemetry import RoomLog

__all__ = ["Deadlines"]

DEADLINES_MAX: Final = 10_000
"""Of turns that have not ended and of those that ended before: a timer has half a kilobyte."""

_OPEN: Final = frozenset({"queued", "running", "waiting"})

_log = RoomLog("actrio.http")


@attrs.frozen(slots=True)
class _End:
    """A turn that is to end after so many seconds; ``due``: now."""

    session: str
    turn: str
    seconds: float
    due: bool = False


class _Timekeeper(Actor[_End]):
    """Cancels turns whose time is over."""

    def __init__(self, runtime: Runtime, running: set[str]) -> None:
        self._runtime = runtime
        self._running = running
        running.clear()  # after a crash: the timers went with it

    async def receive(self, message: _End, ctx: Context) -> Any:
        if not message.due:
            ctx.timers.once(message.turn, message.seconds, attrs.evolve(message, due=True))
            return
        self._running.discard(message.turn)
        try:
            await self._end(message)
        except ActrioError as error:
            # Removed since, or in another process's hands, which has ended its turns.
            _log.warning("deadline not kept", session=message.session, error=str(error))

    async def _end(self, message: _End) -> None:
        view = await self._runtime.view(message.session)
        if not any(each.turn == message.turn and each.state in _OPEN for each in view.turns):
            return
        session = await self._runtime.reopen(message.session)
        try:
            session.cancel(message.turn, reason="deadline")
        finally:
            await self._runtime.close_session(message.session, mode="detach")


class Deadlines:
    """The deadlines of one service.

    Args:
        runtime: Whose turns they end.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._running: set[str] = set()
        self._keeper: Ref[Any] | None = None
        self._starting = trio.Lock()

    def check_room(self) -> None:
        """Refuse a deadline that could not be kept, before its turn is accepted.

        Raises:
            Overloaded: As many run as may.
        """
        if len(self._running) >= DEADLINES_MAX:
            raise Overloaded(
                f"{DEADLINES_MAX} deadlines run already.",
                remedy="Send the turn without one, or when others have passed.",
                data={"limit": DEADLINES_MAX},
            )

    async def add(self, session: str, turn: str, seconds: float) -> None:
        """Let a turn end in so many seconds, with the reason ``deadline``."""
        async with self._starting:
            if self._keeper is None:
                runtime, running = self._runtime, self._running
                name = f"http-deadlines-{secrets.token_hex(2)}"
                self._keeper = await runtime.system.spawn(
                    ChildSpec(
                        name,
                        lambda: _Timekeeper(runtime, running),
                        accepts=_End,
                        # All may be due in one instant, and a timer cannot wait for room.
                        mailbox=MailboxSpec(capacity=2 * DEADLINES_MAX),
                    )
                )
        self._running.add(turn)
        await self._keeper.tell(_End(session, turn, seconds))
