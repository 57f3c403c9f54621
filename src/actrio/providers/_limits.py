"""What bounds a connection: the settings, and the pure machines that follow from them.

* `ConcurrencyLimit`: how many calls may be in work. It is TCP's answer to the same question (nobody
  tells how much the other side can take): additive increase, multiplicative decrease, and after a
  stated pause a slow start, so that what waited does not come back as a herd.
* `Pause`: one for all calls of a connection. A provider that tells one call to wait means all of
  them; if each waited by itself, each would find out by itself.
* `Bucket`: what the operator knows of the provider's quota, kept without asking.

Times are arguments, in the seconds of any clock that only goes forward; nothing here waits.
"""

from __future__ import annotations

import math
from typing import Any, Final

import attrs

from actrio.errors import ConfigError

__all__ = ["Bucket", "ConcurrencyLimit", "ConnectionLimits", "Pause"]

SECONDS_MAX: Final = 86_400.0
COUNT_MAX: Final = 1_000_000  # larger numbers are typos

PAUSE_JITTER: Final = 0.1
"""Of a stated pause, added at random: the other programs with the same key were told the same."""

PAUSE_JITTER_SECONDS_MAX: Final = 5.0

RAMP: Final = 8
"""After a pause, this part of what was in work before may start at once; see `ConcurrencyLimit`."""

THRESHOLD_MIN: Final = 2.0

WINDOW_SECONDS: Final = 60.0
_ROUNDING: Final = 1e-9  # of tokens: less is missing by rounding, not by use


def _number(low: float, high: float, *, whole: bool = False, optional: bool = False) -> Any:
    def check(_instance: Any, attribute: Any, value: Any) -> None:
        if value is None and optional:
            return
        fits = isinstance(value, int) if whole else isinstance(value, (int, float))
        if not fits or isinstance(value, bool) or not low <= value <= high:
            sort = "a whole number" if whole else "a number"
            raise ConfigError(
                f"providers.*.limits.{attribute.name} is {value!r}.",
                remedy=f"Set it to {sort} from {low:g} to {high:g}.",
            )

    return check


def _models(_instance: Any, _attribute: Any, value: tuple[str, ...]) -> None:
    for model in value:
        provider, _, name = model.partition(":")
        if not provider or not name:
            raise ConfigError(
                f"providers.*.limits.fallback holds {model[:80]!r}, which is no model.",
                remedy='Write provider:name, for example fallback = ["openai:gpt-4o-mini"].',
            )


@attrs.frozen(slots=True, kw_only=True)
class ConnectionLimits:
    """How hard one connection may push its provider: a ``[providers.NAME.limits]`` table.

    Attributes:
        requests_per_minute: The quota, where it is known; calls beyond it wait. Without it the
            provider's refusals set the pace.
        tokens_per_minute: The same in tokens, input and output together: guessed from the
            request's size at first, put right by the usage the provider reports.
        queue_max: Calls that may wait, those between two attempts included. Twice the turns that
            a runtime has in flight by default: more is a program that does not look at answers.
        retries_max: Further attempts of one call, only for failures that pass by themselves.
        retry_seconds: No attempt begins later than this after the call's first: time for one more
            where the first was silent for ``idle_seconds``.
        pause_seconds_max: A longer wait that the provider asks for is not waited out: calls fail
            at once and say when to come back.
        restart_streams: Whether a stream that breaks after its first delta may begin anew. What
            was shown is then superseded; False ends the call instead.
        first_byte_seconds: How long an answer may take to begin; ``idle_seconds`` where it is not
            given. One that is not streamed begins when the model has finished.
        delta_seconds: How long a stream may go on with nothing but signs of life (comments,
            pings), which some vendors send while a model thinks. Ten minutes of thought are rare.
        total_seconds: How long a call may take with its queue, its pauses and all attempts. An
            hour is longer than any answer; it ends what only pretends to go on.
        circuit_failures: So many failures within 30 seconds, if they are half of all answers,
            open the circuit: calls then fail at once. Fewer are a provider's ordinary bad luck.
        circuit_seconds: How long the circuit stays open at first; it doubles, up to a minute.
        fallback: Models (``provider:name``) asked in this order, where a call failed for a reason
            that would pass by itself and nothing of its answer was shown. Never for embeddings:
            vectors of two models cannot be compared.
    """

    requests_per_minute: float | None = attrs.field(
        default=None, validator=_number(1, COUNT_MAX, optional=True)
    )
    tokens_per_minute: float | None = attrs.field(
        default=None, validator=_number(1, COUNT_MAX * 1000, optional=True)
    )
    queue_max: int = attrs.field(default=2000, validator=_number(1, COUNT_MAX, whole=True))
    retries_max: int = attrs.field(default=2, validator=_number(0, 100, whole=True))
    retry_seconds: float = attrs.field(default=180.0, validator=_number(0, SECONDS_MAX))
    pause_seconds_max: float = attrs.field(default=120.0, validator=_number(0, SECONDS_MAX))
    restart_streams: bool = False
    first_byte_seconds: float | None = attrs.field(
        default=None, validator=_number(0.001, SECONDS_MAX, optional=True)
    )
    delta_seconds: float = attrs.field(default=600.0, validator=_number(0.001, SECONDS_MAX))
    total_seconds: float = attrs.field(default=3600.0, validator=_number(0.001, SECONDS_MAX))
    circuit_failures: int = attrs.field(default=10, validator=_number(1, COUNT_MAX, whole=True))
    circuit_seconds: float = attrs.field(default=5.0, validator=_number(0.001, SECONDS_MAX))
    fallback: tuple[str, ...] = attrs.field(default=(), validator=_models)


class ConcurrencyLimit:
    """How many calls may be in work, learnt from what the provider takes and refuses.

    Each cut begins an *epoch*, and an answer counts only for a call of the present one: fifty
    calls that are refused together are one piece of news, not fifty.

    * An accepted call adds one below the threshold (slow start) and ``1 / limit`` above it, but
      only while the limit is used up: room that nobody uses proves nothing.
    * A refusal halves what was in work. One with a pause also starts slowly after it.

    Attributes:
        maximum: Never more than this.
        epoch: The present epoch.
    """

    __slots__ = ("_limit", "_threshold", "epoch", "maximum")

    def __init__(self, maximum: int) -> None:
        self.maximum = maximum
        self.epoch = 0
        self._limit = float(maximum)  # optimistic: most providers never refuse most programs
        self._threshold = float(maximum)

    @property
    def limit(self) -> int:
        return int(self._limit)

    def accepted(self, epoch: int, running: int) -> None:
        """A call of ``epoch`` got through while ``running`` were in work, it included."""
        if epoch != self.epoch or running < self.limit:
            return
        step = 1.0 if self._limit < self._threshold else 1.0 / self._limit
        self._limit = min(float(self.maximum), self._limit + step)

    def refused(self, epoch: int, running: int, *, slow_start: bool) -> bool:
        """A call of ``epoch`` was too much; return whether that was news."""
        if epoch != self.epoch:
            return False
        self.epoch += 1
        in_work = max(1.0, min(self._limit, float(running)))
        self._threshold = max(THRESHOLD_MIN, in_work / 2)
        self._limit = max(1.0, in_work / (RAMP if slow_start else 2))
        return True


class Pause:
    """Until when nothing is sent.

    Attributes:
        until: When it ends; in the past where there is none.
        count: How often it began.
    """

    __slots__ = ("count", "until")

    def __init__(self) -> None:
        self.until = -math.inf
        self.count = 0

    def extend(self, now: float, seconds: float, chance: float) -> None:
        """Pause for at least ``seconds`` from now, and a little longer by ``chance`` (0 to 1)."""
        if seconds <= 0:
            return
        if not self.remaining(now):
            self.count += 1
        jitter = chance * min(PAUSE_JITTER * seconds, PAUSE_JITTER_SECONDS_MAX)
        self.until = max(self.until, now + seconds + jitter)

    def remaining(self, now: float) -> float:
        """Return the seconds it still lasts."""
        return max(0.0, self.until - now)


class Bucket:
    """A quota per minute, of requests (one each) or tokens (known afterwards).

    In any 60 seconds at most ``per_minute`` are taken one by one: the burst, and what flows in
    meanwhile, are together no more. Tokens are taken when they are known, so their level may fall
    below zero; then everybody waits until that is paid back.

    Args:
        per_minute: The quota.
        burst: The part of it that may go at once.
    """

    __slots__ = ("_at", "_burst", "_level", "_per_second")

    def __init__(self, per_minute: float, burst: float = 0.05) -> None:
        self._burst = max(1.0, per_minute * burst)
        self._per_second = max(per_minute - self._burst + 1.0, 1.0) / WINDOW_SECONDS
        self._level = self._burst
        self._at = -math.inf

    def wait_seconds(self, now: float, need: float = 1.0) -> float:
        """Return how long until ``need`` can be taken; the burst is enough for any need."""
        missing = min(need, self._burst) - self._filled(now)
        return missing / self._per_second if missing > _ROUNDING else 0.0

    def take(self, now: float, amount: float) -> None:
        """Take ``amount``; a negative one gives back."""
        self._level = min(self._burst, self._filled(now) - amount)

    def _filled(self, now: float) -> float:
        if now > self._at:
            if self._at > -math.inf:
                self._level = min(self._burst, self._level + (now - self._at) * self._per_second)
            self._at = now
        return self._level
