"""The time limits of one attempt: one scope whose deadline moves with what is waited for.

Moving a deadline costs more than passing on a token, so it is moved only where that makes a
difference: by more than a hundredth of the limit, and while the asker really has to be waited for.
"""

from __future__ import annotations

import math
import types
from collections.abc import Coroutine, Generator
from typing import Any, Final, Literal, Self

import trio

from actrio.errors import ProviderUnreachable
from actrio.providers._settings import ProviderSettings

__all__ = ["Phases"]

Phase = Literal["first_byte", "idle", "progress"]

NEGLIGIBLE: Final = 0.01
"""How much earlier than said, as a part of the limit, silence may be taken for a dead answer."""

_TOLD: Final[dict[Phase, tuple[str, str]]] = {
    "first_byte": ("sent nothing", "Try again, or raise first_byte_seconds."),
    "idle": ("sent nothing more", "Try again, or raise idle_seconds."),
    "progress": ("sent signs of life but nothing of its answer", "Try again."),
}


class Phases:
    """Limits each phase of an attempt: ``with Phases(…) as phases: …``.

    The first byte has its time from the attempt's beginning (to connect has a shorter limit of its
    own, in the HTTP library). Then each read has ``idle_seconds``, and each delta
    ``delta_seconds``, so that pings keep a thinking model's stream open, but not for ever. While
    the asker does not read, no time runs.

    *Failure*: `ProviderUnreachable` (``timeout``) that names the phase, raised on leaving the block.
    """

    __slots__ = (
        "_by",
        "_delta_by",
        "_delta_seconds",
        "_idle_seconds",
        "_model",
        "_provider",
        "_scope",
        "_seconds",
        "begun",
        "phase",
    )

    def __init__(self, provider: str, model: str, settings: ProviderSettings) -> None:
        first = settings.limits.first_byte_seconds
        self._provider = provider
        self._model = model
        self._idle_seconds = settings.idle_seconds
        self._delta_seconds = max(settings.limits.delta_seconds, settings.idle_seconds)
        self._seconds = settings.idle_seconds if first is None else first
        self._delta_by = math.inf
        self._scope = trio.CancelScope()
        self.phase: Phase = "first_byte"
        self.begun = False

    def __enter__(self) -> Self:
        self._scope.deadline = self._by = trio.current_time() + self._seconds
        self._scope.__enter__()
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool | None:
        suppressed = self._scope.__exit__(kind, error, trace)  # type: ignore[arg-type]
        if self._scope.cancelled_caught:
            raise self._late()
        return suppressed

    def answered(self) -> None:
        """The head of an answer is there."""
        self.begun = True
        self.read(progress=True)

    def read(self, *, progress: bool) -> float:
        """Something came (``progress``: a part of the answer); return the time."""
        now = trio.current_time()
        if progress:
            self._delta_by = now + self._delta_seconds
        by = now + self._idle_seconds
        if by <= self._delta_by:
            self.phase, self._seconds = "idle", self._idle_seconds
        else:
            self.phase, self._seconds, by = "progress", self._delta_seconds, self._delta_by
        if not 0 <= by - self._by <= self._seconds * NEGLIGIBLE:
            self._scope.deadline = self._by = by
        return now

    @types.coroutine
    def pass_on(self, work: Coroutine[Any, Any, None]) -> Generator[Any, Any, None]:
        """Await ``work``; if it really waits, for the asker, no time runs until the next `read`."""
        # What ``await work`` does, with a look at the first time that it waits.
        try:
            wait = work.send(None)
            self._scope.deadline = self._by = math.inf
            while True:
                try:
                    sent = yield wait
                except GeneratorExit:
                    work.close()
                    raise
                except BaseException as error:
                    wait = work.throw(error)
                else:
                    wait = work.send(sent)
        except StopIteration:
            return

    def over(self) -> None:
        """The answer is whole: no time runs any more."""
        self._scope.deadline = self._by = math.inf

    def _late(self) -> ProviderUnreachable:
        what, remedy = _TOLD[self.phase]
        return ProviderUnreachable(
            f"{self._provider}, asked for {self._model!r}, {what} for {self._seconds:g} s.",
            provider=self._provider,
            category="timeout",
            in_stream=self.begun,
            remedy=remedy,
        )
