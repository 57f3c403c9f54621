"""From a plan to a run: the target is opened, and closed when the block is left."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

import attrs
import trio

from actrio.runtime import Settings
from actrio.stress._environment import environment
from actrio.stress._http import open_http
from actrio.stress._inproc import open_inproc
from actrio.stress._openai import open_openai
from actrio.stress._plan import StressPlan
from actrio.stress._provider import SCRIPTED, Promise
from actrio.stress._run import StressRun
from actrio.stress._served import store_folder
from actrio.stress._stdio import open_stdio
from actrio.stress._targets import (
    Target,
    TargetKind,
    TargetSetup,
    check_chaos,
    check_store,
    split_target,
)
from actrio.stress._turn_lines import turn_lines
from actrio.stress._watch import Live

__all__ = ["stress"]


async def _quiet(_live: Live) -> None:
    await trio.lowlevel.checkpoint()


@asynccontextmanager
async def stress(
    plan: StressPlan,
    *,
    settings: Settings | None = None,
    env: Mapping[str, str] | None = None,
    show: Callable[[Live], Awaitable[None]] = _quiet,
    turns_file: Path | None = None,
) -> AsyncIterator[StressRun]:
    """Open the target of a run; inside the block `StressRun.run` runs it and gives the report.

    Args:
        plan: What to do.
        settings: Of a runtime in this process, and where the providers' keys are named.
        env: Where keys are looked up.
        show: Told once a second how it goes; keep it quick.
        turns_file: Where each turn is written as a line of JSON, a million at most.

    *Cancellation*: every process and session of it has ended when the block has been left.

    Raises:
        InvalidRequest: The plan contradicts itself.
        NotSupported: The target cannot do what is asked; says what can.
        ProviderUnreachable: The target cannot be started or reached.
        ConfigError: The file for the turns cannot be made.
    """
    kind, rest = split_target(plan.target)
    store = check_store(kind, rest, plan.store)
    check_chaos(kind, plan.chaos, scripted=plan.model.startswith(SCRIPTED))
    Promise(plan.model)  # refuses a model that cannot be measured before anything is started
    setup = attrs.evolve(_setup(plan, settings or Settings(), env or {}), store=store)
    async with AsyncExitStack() as stack:
        if store == "embedded":
            folder = await stack.enter_async_context(store_folder())
            setup = attrs.evolve(setup, folder=folder)
        facts = await environment(setup.settings)
        target = await stack.enter_async_context(_OPENERS[kind](rest, setup))
        lines = await stack.enter_async_context(turn_lines(turns_file))
        yield StressRun(plan, target, show, environment=facts, lines=lines)


def _inproc(_rest: str, setup: TargetSetup) -> AbstractAsyncContextManager[Target]:
    return open_inproc(setup)


_OPENERS: Final[
    Mapping[TargetKind, Callable[[str, TargetSetup], AbstractAsyncContextManager[Target]]]
] = {"inproc": _inproc, "stdio": open_stdio, "http": open_http, "openai": open_openai}


def _setup(plan: StressPlan, settings: Settings, env: Mapping[str, str]) -> TargetSetup:
    if plan.turns_max is not None:
        settings = attrs.evolve(
            settings, limits=attrs.evolve(settings.limits, turns=plan.turns_max)
        )
    return TargetSetup(
        model=plan.model,
        sessions=plan.sessions_max,
        connections=plan.connections or plan.sessions_max,
        queue=plan.queue,
        session_turns=plan.session_turns,
        stall_seconds=plan.stall_seconds,
        settings=settings,
        env=env,
        key_variable=plan.key_variable,
    )
