"""``actrio sessions answer``: a person's decision, and the turn that waited for it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from actrio.cli._outlet import Outlet
from actrio.cli._run import conclude
from actrio.cli._sessions import in_runtime
from actrio.cli._who import choose_agent, importable_from
from actrio.errors import NotFound
from actrio.feeds import Subscription
from actrio.messages import (
    TERMINAL_EVENTS,
    ApprovalRequested,
    ApprovalResolved,
    PendingApproval,
    SessionView,
)
from actrio.runtime import Agent, LoadedSettings, Runtime, Session, build_agent
from actrio.telemetry import redact

if TYPE_CHECKING:
    from actrio.cli._app import Common, Who

__all__ = ["answer_approval"]


async def answer_approval(
    session: str,
    approval: str | None,
    *,
    deny: bool,
    text: str,
    note: str,
    who: Who,
    common: Common,
) -> int:
    """Decide what a session waits for, and run it to the end of its turn."""

    async def work(runtime: Runtime, outlet: Outlet, loaded: LoadedSettings) -> int:
        view = await runtime.view(session)
        asked = _asked_of(view, approval)
        runtime.register(_agent_of(view, who, loaded))
        opened = await runtime.reopen(session)
        decision: Any = (
            "denied" if deny else ("answered" if asked.about == "question" else "approved")
        )
        async with opened.subscribe(view.seq) as events:
            await opened.answer(asked.approval, decision, answer=text, by="user", note=note)
            return await _to_the_end(opened, asked.turn, events, outlet)

    return await in_runtime(common, work)


def _asked_of(view: SessionView, approval: str | None) -> PendingApproval:
    """Return what is decided: the approval of that name, or the oldest.

    Raises:
        NotFound: The session does not wait for it.
    """
    if not view.approvals:
        raise NotFound(
            f"Session {view.session} waits for nobody.",
            remedy="`actrio sessions list` shows which do.",
        )
    for pending in view.approvals:
        if approval in (None, pending.approval):
            return pending
    raise NotFound(
        f"Session {view.session} does not wait for {approval}.",
        remedy=f"It waits for {', '.join(each.approval for each in view.approvals)}.",
    )


async def _to_the_end(session: Session, turn: str, events: Subscription, outlet: Outlet) -> int:
    """Wait for the turn's end, or until it waits for a person again; return the exit code."""
    async for event in events:
        if event.turn != turn:
            continue
        if isinstance(event, ApprovalRequested | ApprovalResolved):
            waiting = [each for each in (await session.view()).approvals if each.turn == turn]
            if waiting:
                await outlet.remark(f"(it waits for {waiting[0].approval} now)")
                return 0
        elif isinstance(event, TERMINAL_EVENTS):
            if event.result.text:
                await outlet.answer(f"{redact(event.result.text)}\n")
            return await conclude(event.result, outlet)
    return 0


def _agent_of(view: SessionView, who: Who, loaded: LoadedSettings) -> Agent:
    """Return the agent of a session: that of the flags, or the one of its name.

    Raises:
        NotFound: The settings have none of that name, or the flags mean another one.
    """
    importable_from(Path.cwd())
    if who.agent is not None or who.model is not None:
        agent = choose_agent(who, loaded).agent
    else:
        agent = _of_settings(view.agent, loaded)
    if agent.name != view.agent:
        raise NotFound(
            f"Session {view.session} belongs to agent {view.agent!r}, not {agent.name!r}.",
            remedy="Name its agent with --agent.",
        )
    return agent


def _of_settings(name: str, loaded: LoadedSettings) -> Agent:
    # One at a time: another agent's mistakes do not matter here.
    who = _nobody()
    for given, found in loaded.settings.agents.items():
        if (found.name or given) == name:
            model = found.model or choose_agent(who, loaded).agent.model
            named = attrs.evolve(found, name=name)
            return build_agent(named, model, loaded.settings.limits)
    agent = choose_agent(who, loaded).agent
    if agent.name == name:
        return agent
    raise NotFound(
        f"The session's agent {name!r} is not among the settings' agents.",
        remedy="Name it with --agent, or write an [agents] table.",
    )


def _nobody() -> Who:
    from actrio.cli._app import Who

    return Who()
