"""Who may call the provider now: one pure decision over queue, limit, pause, quota and circuit.

`Admission.decide` looks at all state and says which calls begin, which are refused, and when to
look again. It is asked after every change; whoever asks only wakes tasks and sets one timer. No
clock, no task, no chance of its own.

Fairness: calls wait in one line per caller, and the lines are served in turns. A caller with a
thousand waiting calls gets one place in the rotation, like a caller with one. When the queue is
full it is the longest line that loses its last call, so that it cannot keep the others out either.
"""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Final, Literal

import attrs

from actrio.errors import ActrioError, Overloaded, ProviderError
from actrio.providers._circuit import Circuit, CircuitState
from actrio.providers._limits import Bucket, ConcurrencyLimit, ConnectionLimits, Pause

__all__ = ["Admission", "AdmissionStatistics", "Decision", "FairQueue", "Ticket"]

TOKEN_BURST: Final = 1 / 6
"""Of the tokens per minute, how many may go at once: ten seconds' worth fits a long prompt."""

RATE_WEIGHT: Final = 0.05
"""What one more call counts in the measured rate: about the last twenty decide."""

RETRY_SECONDS_MIN: Final = 0.25
"""Shortest advice to come back: within it a full line hardly moves."""

RETRY_SECONDS_MAX: Final = 60.0
"""Longest advice to come back: within a minute the load is another one."""

_ILL: Final = frozenset({"overloaded", "server", "timeout", "network"})
"""Failures that say that the provider itself is ill; any other answer says that it is not."""

_TOO_MUCH: Final = frozenset({"rate_limit", "overloaded"})
"""Refusals that say that less should be in work."""


@attrs.define(slots=True, eq=False)
class Ticket:
    """One attempt's place. Compared by identity.

    Attributes:
        caller: Whose line it stands in.
        state: Each goes from waiting to running to over, or from waiting to over.
        refusal: Why it will never run; set together with ``over``.
    """

    caller: str
    state: Literal["waiting", "running", "over"] = "waiting"
    refusal: ActrioError | None = None
    epoch: int = 0
    generation: int = 0
    probe: bool = False
    accepted: bool = False


class FairQueue:
    """Lines of tickets, one per caller, served in turns."""

    __slots__ = ("_length", "_lines")

    def __init__(self) -> None:
        # Both ordered, so that taking the first and leaving from the middle are equally cheap.
        self._lines: OrderedDict[str, OrderedDict[Ticket, None]] = OrderedDict()
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def push(self, ticket: Ticket, *, again: bool = False) -> None:
        """Put a ticket into its caller's line: last, or first if it was served ``again``."""
        line = self._lines.get(ticket.caller)
        if line is None:
            line = self._lines[ticket.caller] = OrderedDict()
        line[ticket] = None
        if again:
            line.move_to_end(ticket, last=False)
        self._length += 1

    def pop(self) -> Ticket:
        """Take the first of the line whose turn it is; that line's next turn is the last."""
        caller, line = next(iter(self._lines.items()))
        ticket, _ = line.popitem(last=False)
        self._lines.move_to_end(caller)
        self._taken(caller, line)
        return ticket

    def remove(self, ticket: Ticket) -> None:
        """Take a ticket out, wherever it stands."""
        line = self._lines[ticket.caller]
        del line[ticket]
        self._taken(ticket.caller, line)

    def longest(self) -> tuple[int, Ticket]:
        """Return the length of the longest line and its last ticket."""
        line = max(self._lines.values(), key=len)
        return len(line), next(reversed(line))

    def line_length(self, caller: str) -> int:
        return len(self._lines.get(caller, ()))

    def _taken(self, caller: str, line: OrderedDict[Ticket, None]) -> None:
        self._length -= 1
        if not line:
            del self._lines[caller]


@attrs.frozen(slots=True)
class Decision:
    """Tickets that run from now on, tickets that never will, and when to decide again.

    ``at`` is None where only a change can make a difference.
    """

    started: tuple[Ticket, ...] = ()
    refused: tuple[Ticket, ...] = ()
    at: float | None = None


@attrs.frozen(slots=True, kw_only=True)
class AdmissionStatistics:
    """How a connection's calls stand, now and since it began."""

    running: int
    peak_running: int
    waiting: int
    peak_waiting: int
    parked: int
    queue_max: int
    limit: int
    limit_max: int
    pause_seconds: float
    pauses: int
    circuit: CircuitState
    circuit_opened: int
    refused: int


class Admission:
    """The state of a connection's admission.

    Args:
        provider: Its name, for refusals.
        limits: The settings.
        running_max: The most calls in work, whatever the provider takes.
        chance: Gives numbers from 0 to 1, for jitter.
    """

    def __init__(
        self,
        provider: str,
        limits: ConnectionLimits,
        *,
        running_max: int,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._provider = provider
        self._limits = limits
        self._chance = chance
        self._queue = FairQueue()
        self._pushed_out: list[Ticket] = []
        self._running = 0
        self._parked = 0  # between two attempts: they hold a place in the queue's bound
        self._peak_running = self._peak_waiting = self._refused = 0
        # Seconds between two calls that began, lately; 0 before there were two.
        self._between = 0.0
        self._started_at: float | None = None
        self._concurrency = ConcurrencyLimit(running_max)
        self._pause = Pause()
        self._circuit = Circuit(limits.circuit_failures, limits.circuit_seconds)
        requests, tokens = limits.requests_per_minute, limits.tokens_per_minute
        self._requests = Bucket(requests) if requests is not None else None
        self._tokens = Bucket(tokens, TOKEN_BURST) if tokens is not None else None

    # -- coming and going --------------------------------------------------------------------------

    def join(self, caller: str, *, again: bool = False) -> Ticket:
        """Give a call its place in the queue; a later attempt of one stands first in its line.

        Raises:
            Overloaded: The queue is full, and this caller's line is the longest.
        """
        if not again and len(self._queue) + self._parked >= self._limits.queue_max:
            self._make_room(caller)
        ticket = Ticket(caller)
        self._queue.push(ticket, again=again)
        return ticket

    def _make_room(self, caller: str) -> None:
        if len(self._queue):
            length, last = self._queue.longest()
            if length > self._queue.line_length(caller) + 1:
                self._queue.remove(last)
                last.state, last.refusal = "over", self._full()
                self._pushed_out.append(last)
                return
        self._refused += 1
        raise self._full()

    def park(self) -> bool:
        """Keep a place for a call between two attempts; False: there is none."""
        if len(self._queue) + self._parked >= self._limits.queue_max:
            return False
        self._parked += 1
        return True

    def unpark(self) -> None:
        """The call is back, or its asker left."""
        self._parked -= 1

    def leave(self, ticket: Ticket) -> None:
        """A ticket's attempt is over, or nobody waits for it any more."""
        if ticket.state == "waiting":
            self._queue.remove(ticket)
        elif ticket.state == "running":
            self._running -= 1
            if ticket.probe:
                self._circuit.given_up(ticket.generation)
        ticket.state = "over"

    # -- what the provider told --------------------------------------------------------------------

    def accepted(self, ticket: Ticket, now: float) -> None:
        """The provider began to answer."""
        if ticket.accepted:
            return
        ticket.accepted = True
        self._concurrency.accepted(ticket.epoch, self._running)
        self._circuit.succeeded(now, ticket.generation)

    def failed(self, ticket: Ticket, now: float, error: ActrioError, delay: float | None) -> None:
        """The provider was called and failed.

        Args:
            ticket: The attempt's.
            now: The time.
            error: How it failed.
            delay: The seconds it asked to be left alone for, where it did.
        """
        category = error.category if isinstance(error, ProviderError) else None
        if category in _TOO_MUCH:
            self._concurrency.refused(ticket.epoch, self._running, slow_start=bool(delay))
            self._pause.extend(now, delay or 0.0, self._chance())
        if category not in _ILL:
            self._circuit.succeeded(now, ticket.generation)
            return
        was = self._circuit.state(now)
        if self._circuit.failed(now, ticket.generation, self._chance()) and was == "closed":
            # When it closes again, what comes then comes slowly.
            self._concurrency.refused(self._concurrency.epoch, self._running, slow_start=True)

    def guess(self, now: float, tokens: float) -> float:
        """Spend what a call may cost, and return it: at most what may go at once, since a picture
        in a request has many bytes and few tokens.
        """
        if self._tokens is None:
            return 0.0
        tokens = min(tokens, (self._limits.tokens_per_minute or 0.0) * TOKEN_BURST)
        self._tokens.take(now, tokens)
        return tokens

    def spend(self, now: float, tokens: float) -> None:
        """Tokens are used up, or (negative) were less than was thought."""
        if self._tokens is not None:
            self._tokens.take(now, tokens)

    # -- the decision ------------------------------------------------------------------------------

    def decide(self, now: float) -> Decision:
        """Start what may run now, refuse what will not, and say when to look again."""
        refused, self._pushed_out = self._pushed_out, []
        if refusal := self._refusal(now):
            while len(self._queue):
                ticket = self._queue.pop()
                ticket.state, ticket.refusal = "over", refusal()
                refused.append(ticket)
        self._refused += len(refused)
        started: list[Ticket] = []
        at: float | None = None
        while len(self._queue) and self._has_slot(now):
            wait = self._wait_seconds(now)
            if wait > 0:
                at = now + wait
                break
            started.append(self._start(now))
        if started:
            self._measure(len(started), now)
        self._peak_waiting = max(self._peak_waiting, len(self._queue))
        return Decision(tuple(started), tuple(refused), at)

    def _measure(self, started: int, now: float) -> None:
        """Take note of how quickly calls begin; told to those who are refused."""
        if self._started_at is not None:
            between = (now - self._started_at) / started
            share = min(1.0, started * RATE_WEIGHT) if self._between else 1.0
            self._between += share * (between - self._between)
        self._started_at = now

    def _has_slot(self, now: float) -> bool:
        return self._running < self._concurrency.limit and self._circuit.may_begin(now)

    def _wait_seconds(self, now: float) -> float:
        return max(
            self._pause.remaining(now),
            self._requests.wait_seconds(now) if self._requests is not None else 0.0,
            # Any room will do: what a call costs is known only when it is written.
            self._tokens.wait_seconds(now) if self._tokens is not None else 0.0,
        )

    def _start(self, now: float) -> Ticket:
        ticket = self._queue.pop()
        ticket.state = "running"
        ticket.epoch = self._concurrency.epoch
        ticket.generation = self._circuit.generation
        ticket.probe = self._circuit.begin(now)
        if self._requests is not None:
            self._requests.take(now, 1.0)
        self._running += 1
        self._peak_running = max(self._peak_running, self._running)
        return ticket

    def _refusal(self, now: float) -> Callable[[], ActrioError] | None:
        if self._circuit.state(now) == "open":
            return lambda: self._circuit_is_open(self._circuit.remaining(now))
        if self._pause.remaining(now) > self._limits.pause_seconds_max * 1.1:  # with its jitter
            return lambda: self._pause_is_long(self._pause.remaining(now))
        return None

    # -- telling -----------------------------------------------------------------------------------

    def statistics(self, now: float) -> AdmissionStatistics:
        return AdmissionStatistics(
            running=self._running,
            peak_running=self._peak_running,
            waiting=len(self._queue),
            peak_waiting=self._peak_waiting,
            parked=self._parked,
            queue_max=self._limits.queue_max,
            limit=self._concurrency.limit,
            limit_max=self._concurrency.maximum,
            pause_seconds=self._pause.remaining(now),
            pauses=self._pause.count,
            circuit=self._circuit.state(now),
            circuit_opened=self._circuit.opened,
            refused=self._refused,
        )

    def _full(self) -> Overloaded:
        return Overloaded(
            f"{len(self._queue) + self._parked} calls wait for {self._provider} already.",
            remedy=f"Send less at once, or raise providers.{self._provider}.limits.queue_max.",
            data={"queue_max": self._limits.queue_max},
            retry_after_seconds=self._line_seconds(),
        )

    def _line_seconds(self) -> float:
        """How long the line as it is takes to get by, at the rate at which calls began lately."""
        seconds = self._between * (len(self._queue) + self._parked)
        return round(min(max(seconds, RETRY_SECONDS_MIN), RETRY_SECONDS_MAX), 3)

    def _circuit_is_open(self, seconds: float) -> ProviderError:
        return self._no(
            f"{self._provider} failed too often and is left alone for {seconds:.1f} s.",
            "overloaded",
            seconds,
            {"circuit": "open"},
        )

    def _pause_is_long(self, seconds: float) -> ProviderError:
        return self._no(
            f"{self._provider} asked not to be called for {seconds:.0f} s.",
            "rate_limit",
            seconds,
            {"pause_seconds": round(seconds, 3)},
        )

    def _no(
        self,
        message: str,
        category: Literal["overloaded", "rate_limit"],
        seconds: float,
        data: Mapping[str, object],
    ) -> ProviderError:
        return ProviderError(
            message,
            provider=self._provider,
            category=category,
            retry_after_seconds=seconds,
            remedy="Try again after that, or name a model of another provider as its fallback.",
            data=data,
        )
