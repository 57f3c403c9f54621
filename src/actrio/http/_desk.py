"""What all requests of one service share: the runtime, the rules, the counters, the agents."""

from __future__ import annotations

import random
import secrets
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final

import trio

from actrio.errors import InvalidRequest
from actrio.http._agents import AgentDirectory
from actrio.http._call import Refused
from actrio.http._deadlines import Deadlines
from actrio.http._facade import Facade
from actrio.http._gate import AccessRules
from actrio.http._problems import Refusal
from actrio.http._settings import HttpSettings
from actrio.http._shelf import ResponseShelf
from actrio.http._stops import Stops
from actrio.messages import TurnAccepted
from actrio.runtime import Runtime
from actrio.sessions import Session

__all__ = ["Desk"]

_TURNS_REMEMBERED: Final = 10_000
"""Of each its id and its session's: a megabyte or two. Older turns are named with their session."""


class Desk:
    """State of one service; every request has it at hand.

    Args:
        runtime: Where agents and sessions live.
        settings: How to answer.
        rules: Who may ask.
        agents: Which agents there are.
    """

    def __init__(
        self,
        runtime: Runtime,
        settings: HttpSettings,
        rules: AccessRules,
        agents: AgentDirectory,
    ) -> None:
        self.runtime = runtime
        self.settings = settings
        self.rules = rules
        self.agents = agents
        self.facade = Facade(self)
        self.shelf = ResponseShelf()
        self.deadlines = Deadlines(runtime)
        self.stops = Stops()
        self.jitter = random.Random()
        self.calls = 0
        self.peak_calls = 0
        self.facade_turns = 0
        # Which session a turn belongs to, for those begun here.
        self._turns: OrderedDict[str, str] = OrderedDict()
        self.by_caller: Counter[str] = Counter()
        # (route template, method, status): all three come from the route table, so it is bounded.
        self.answered: Counter[tuple[str, str, int]] = Counter()
        self.refused: Counter[str] = Counter()
        self.started_at = trio.current_time()
        # Set by the server in front, where there is one.
        self.connections: Mapping[str, int] = {}

    def new_request_id(self) -> str:
        return f"req_{secrets.token_hex(8)}"

    @asynccontextmanager
    async def held(self, id: str) -> AsyncIterator[Session]:
        """Hold a session that there is for the length of a block; its turns are left alone.

        Raises:
            NotFound: There is none, or its agent is not here.
            SessionOwned: Another process has it open.
        """
        session = await self.runtime.reopen(id)
        try:
            yield session
        finally:
            await self.runtime.close_session(id, mode="detach")

    def remember_turn(self, accepted: TurnAccepted) -> None:
        """Know later which session a turn belongs to."""
        self._turns[accepted.turn] = accepted.session
        if len(self._turns) > _TURNS_REMEMBERED:
            self._turns.popitem(last=False)

    def session_of(self, turn: str) -> str | None:
        """Return the session of a turn that was begun here lately."""
        return self._turns.get(turn)

    def check_model(self, model: str) -> None:
        """Refuse a model whose provider is not known.

        Raises:
            InvalidRequest: It is not of the form ``provider:name``, or there is no such provider.
        """
        provider, _, name = model.partition(":")
        known = {status.name for status in self.runtime.connections.status()}
        if not name or provider not in known:
            raise InvalidRequest(
                f"{model[:100]!r} names no provider that is here.",
                remedy=f"Write provider:name with one of {', '.join(sorted(known))}.",
                data={"param": "model"},
            )

    def enter(self, caller: str) -> None:
        """Count a call in work, until `leave`.

        Raises:
            Refused: The service (503) or this caller (429) has as many as it may.
        """
        limits = self.settings.limits
        if self.calls >= limits.calls:
            raise Refused(self._full(503, "The service", limits.calls, self.calls))
        if self.by_caller[caller] >= limits.calls_per_caller:
            mine = self.by_caller[caller]
            raise Refused(self._full(429, "This caller", limits.calls_per_caller, mine))
        self.calls += 1
        self.peak_calls = max(self.peak_calls, self.calls)
        self.by_caller[caller] += 1

    def rate_limit_headers(self, caller: str) -> list[tuple[bytes, bytes]]:
        """Return how much a caller may still do at once, in the words of the draft standard.

        What is bounded is requests in work, so the quota has no window of time.
        """
        limit = int(self.settings.limits.calls_per_caller)
        left = max(0, limit - self.by_caller[caller] if caller in self.by_caller else limit)
        return [
            (b"ratelimit-policy", b'"calls";q=%d;qu="concurrent-requests"' % limit),
            (b"ratelimit", b'"calls";r=%d' % left),
        ]

    def leave(self, caller: str) -> None:
        """A call is over."""
        self.calls -= 1
        self.by_caller[caller] -= 1
        if not self.by_caller[caller]:
            del self.by_caller[caller]

    @contextmanager
    def facade_turn(self) -> Iterator[None]:
        """Count a turn of the façade.

        Raises:
            Refused: As many are in work as may be (503).
        """
        limit = self.settings.limits.facade_turns
        if self.facade_turns >= limit:
            raise Refused(self._full(503, "The façade", limit, self.facade_turns))
        self.facade_turns += 1
        try:
            yield
        finally:
            self.facade_turns -= 1

    def _full(self, status: int, who: str, limit: int, in_flight: int) -> Refusal:
        self.refused["caller" if status == 429 else "service"] += 1
        details: dict[str, Any] = {"limit": limit, "in_flight": in_flight}
        return Refusal(
            status=status,
            kind="overloaded",
            message=f"{who} has {limit} requests in work already.",
            remedy="Wait as Retry-After says, then send it again.",
            retryable=True,
            retry_after_seconds=1.0,
            details=details,
        )
