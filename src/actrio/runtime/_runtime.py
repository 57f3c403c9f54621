"""The composition root: opens the tree that everything runs in.

::

    /                    root supervisor
    ├── providers        one connection actor per provider, and the local model's server
    ├── agents           one actor per definition: tool switches, limits
    └── sessions         one actor per open session, each with a restart budget of its own

Started in this order and stopped in reverse: sessions end while their providers still answer.
"""

from __future__ import annotations

import os
import secrets
import time
import traceback
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Literal

import attrs
import structlog
import trio

from actrio.actors import ActorCrashed, ActorSnapshot, ActorSystem, open_actor_system
from actrio.agents import Agent, IfBusy
from actrio.errors import InvalidRequest
from actrio.filters import Filter
from actrio.messages import EmbedInput, EmbedOutput, SetTool
from actrio.providers import Connections
from actrio.runtime._settings import Settings
from actrio.sessions import Session, SessionPool
from actrio.telemetry import keep_logs_off_stdout

__all__ = ["Runtime", "RuntimeStatistics", "open_runtime"]

_log = structlog.get_logger("actrio.runtime")


@attrs.frozen(slots=True, kw_only=True)
class RuntimeStatistics:
    """How full the runtime is. Each pair is what is measured, and the configured bound."""

    turns_running: int
    turns_waiting: int
    turns_peak: int
    turns_max: int
    sessions_open: int
    sessions_max: int
    restarts: int
    dead_letters: Mapping[str, int]


class Runtime:
    """A running actrio; made by `open_runtime`."""

    def __init__(
        self,
        system: ActorSystem,
        settings: Settings,
        connections: Connections,
        pool: SessionPool,
    ) -> None:
        self.system = system
        self.settings = settings
        self.connections = connections
        self._pool = pool

    @asynccontextmanager
    async def session(
        self, agent: Agent, *, id: str | None = None, if_busy: IfBusy | None = None
    ) -> AsyncIterator[Session]:
        """Open a session for the length of a block.

        A session with an ``id`` can be opened again later, and by several blocks at once; one
        without is forgotten when its block is left.

        *Cancellation*: the session's turns have ended when the block has been left.

        Raises:
            Conflict: The id belongs to another agent's session.
            Overloaded: As many sessions are open as there may be.
        """
        session = await self._pool.open(agent, id=id, if_busy=if_busy)
        try:
            yield session
        finally:
            with trio.CancelScope(shield=True) as scope:
                scope.deadline = trio.current_time() + self.system.cancel_grace_seconds
                await self._pool.close(session.id)

    async def open_session(
        self, agent: Agent, *, id: str | None = None, if_busy: IfBusy | None = None
    ) -> Session:
        """Open a session that stays open until `close_session`, for servers.

        Raises:
            Conflict, Overloaded: As in `session`.
        """
        return await self._pool.open(agent, id=id, if_busy=if_busy)

    async def close_session(self, id: str) -> None:
        """Let go of a session that `open_session` opened; unknown ids are left as they are."""
        await self._pool.close(id)

    async def set_tool(self, agent: Agent, name: str, *, enabled: bool) -> None:
        """Switch one of an agent's tools on or off, from the next turn on.

        Raises:
            NotFound: The agent has no such tool.
        """
        ref = await self._pool.agent(agent)
        await ref.ask(SetTool(name, enabled))

    async def embed(
        self,
        model: str,
        texts: Sequence[str],
        *,
        dimensions: int | None = None,
        purpose: Literal["query", "document"] | None = None,
    ) -> EmbedOutput:
        """Return one vector for each text, in order; as many requests as the vendor needs.

        Args:
            model: ``provider:model``, for example ``openai:text-embedding-3-small``.
            texts: What to embed.
            dimensions: Length of the vectors, where the model can choose.
            purpose: What they are for, where the vendor makes a difference.

        *Cancellation*: the provider's connections are closed when this returns.

        Raises:
            InvalidRequest: There is no text, or one of them is empty.
            NotSupported: The provider has no embeddings; says who has.
            ProviderError: As for a model call.
        """
        if isinstance(texts, str) or not texts or not all(text.strip() for text in texts):
            raise InvalidRequest(
                "embed needs at least one text, and no empty ones.",
                remedy="Pass a list of non-empty strings.",
            )
        connection, name = await self.connections.open(model)
        output: EmbedOutput = await connection.ask(
            EmbedInput(name, tuple(texts), dimensions, purpose)
        )
        return output

    def tree(self) -> ActorSnapshot:
        """Return the live tree of actors."""
        return self.system.tree()

    def statistics(self) -> RuntimeStatistics:
        return RuntimeStatistics(
            turns_running=self._pool.slots.taken,
            turns_waiting=self._pool.slots.waiting,
            turns_peak=self._pool.slots.peak,
            turns_max=self.settings.limits.turns,
            sessions_open=self._pool.open_count,
            sessions_max=self.settings.limits.sessions,
            restarts=sum(node.restarts for node in self.tree().walk()),
            dead_letters={str(k): v for k, v in self.system.dead_letters.counts.items()},
        )


@asynccontextmanager
async def open_runtime(
    settings: Settings | None = None,
    *,
    filters: Sequence[Filter] = (),
    env: Mapping[str, str] | None = None,
    clock: Callable[[], float] = time.time,
    new_id: Callable[[str], str] | None = None,
) -> AsyncIterator[Runtime]:
    """Open a runtime inside the running Trio program; leaving the block stops all of it.

    Several runtimes can live in one program: nothing is shared and nothing is global. No signal
    is handled and no event loop started.

    Args:
        settings: Providers, limits, local model; defaults where None.
        filters: Filters around every agent's own.
        env: Where keys are looked up; the process's environment where None.
        clock: Seconds since the epoch, for events.
        new_id: Makes an id from its prefix; random where None.

    *Cancellation*: every turn, stream, tool and child process has ended when the block has been
    left.

    *Failure*: a crash inside is handled by supervision and shows in `Runtime.tree`; the block
    raises only its own errors, and `RestartBudgetExceeded` if a part that everything needs
    cannot be kept alive.
    """
    settings = settings if settings is not None else Settings()
    keep_logs_off_stdout()
    async with open_actor_system() as system:
        system.observe(_log_crash)
        connections = Connections(
            system,
            settings=settings.providers,
            env=os.environ if env is None else env,
            local=settings.local,
        )
        await connections.start()
        pool = SessionPool(
            system,
            open_model=connections.open,
            filters=tuple(filters),
            turns_max=settings.limits.turns,
            sessions_max=settings.limits.sessions,
            tool_threads_max=settings.limits.tool_threads,
            clock=clock,
            new_id=new_id or _random_id,
        )
        await pool.start()
        yield Runtime(system, settings, connections, pool)


def _random_id(prefix: str) -> str:
    return f"{prefix}_{secrets.token_hex(6)}"


def _log_crash(notice: ActorCrashed) -> None:
    _log.error(
        "actor crashed",
        path=notice.path,
        error=repr(notice.error),
        restart_in_seconds=notice.restart_in_seconds,
        # As text: a renderer of exceptions may print local variables, and with them secrets.
        traceback="".join(traceback.format_exception(notice.error)) if notice.error else None,
    )
