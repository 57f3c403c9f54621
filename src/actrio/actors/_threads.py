"""The door for other threads: what they send joins the mailboxes inside the Trio thread.

One call into Trio costs about 20 µs, so a burst shares one: what waits is kept in a bounded deque,
and the Trio thread is asked to empty it only if it was empty.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Any, Final

import trio

from actrio.errors import ActorStopped, MailboxFull

if TYPE_CHECKING:
    from actrio.actors._ref import Ref
    from actrio.actors._system import ActorSystem

__all__ = ["ThreadDoor"]

WAITING_MAX: Final = 10_000
"""Messages of other threads that may wait for the Trio thread: a tenth of a second's worth."""


class ThreadDoor:
    """Sends to actors from any thread; made by `ActorSystem.threads`, inside Trio."""

    def __init__(self, system: ActorSystem) -> None:
        self._system = system
        self._token = trio.lowlevel.current_trio_token()
        self._waiting: deque[tuple[Ref[Any], Any]] = deque()
        self._lock = threading.Lock()

    def tell(self, ref: Ref[Any], message: Any) -> None:
        """Send ``message`` to ``ref`` soon; FIFO for each sending thread.

        *Failure*: where the mailbox has no room or the actor is gone, it becomes a dead letter,
        because the sending thread does not wait to be told.

        Raises:
            MailboxFull: The Trio thread does not keep up.
            ActorStopped: The Trio run is over.
        """
        with self._lock:
            if len(self._waiting) >= WAITING_MAX:
                raise MailboxFull(
                    f"{WAITING_MAX} messages of other threads wait for the Trio thread.",
                    remedy="Send less; look for a handler that never yields.",
                )
            first = not self._waiting
            self._waiting.append((ref, message))
            if first:
                try:
                    self._token.run_sync_soon(self._deliver)
                except trio.RunFinishedError as error:
                    self._waiting.clear()
                    raise ActorStopped("The actor system's Trio run is over.") from error

    def _deliver(self) -> None:
        with self._lock:
            arrived = list(self._waiting)
            self._waiting.clear()
        for ref, message in arrived:
            try:
                ref.tell_nowait(message)
            # Also what a send filter raises: here it would end the whole Trio run.
            except Exception as error:
                self._system.dead_letters.add_refused(ref.path, message, error)
