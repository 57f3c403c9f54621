"""``session/prompt``: one turn, told as it happens, and how it ended."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Sequence
from typing import Any

import trio

from actrio.acp._content import parts_of
from actrio.acp._params import Block
from actrio.acp._permission import Permissions
from actrio.acp._sessions import AcpSession, AcpSessions, RunningPrompt
from actrio.acp._updates import STOP_REASONS, TurnUpdates
from actrio.errors import KINDS, ActrioError, NotConfigured, ProviderError
from actrio.messages import ApprovalRequested, ApprovalResolved, TurnResult, TurnStarted
from actrio.rpc import Call, Connection, Refused, fault_of
from actrio.runtime import Session, Turn

__all__ = ["Prompting", "acp_fault"]


class Prompting:
    """Runs one client's prompts.

    Args:
        connection: The client.
        sessions: Its sessions.
        permissions: Asks its user.
    """

    def __init__(
        self, connection: Connection, sessions: AcpSessions, permissions: Permissions
    ) -> None:
        self._connection = connection
        self._sessions = sessions
        self._permissions = permissions

    def begin(self, call: Call, own: AcpSession, blocks: Sequence[Block]) -> Awaitable[Any]:
        """Stand in the session's line; the rest is awaited.

        Raises:
            Refused: The content cannot be taken.
        """
        parts = parts_of(blocks)
        prompt = RunningPrompt(f"t_{secrets.token_hex(6)}")
        own.prompts.append(prompt)
        before, after = own.stand_in_line()
        call.channel = own.id
        # In order: what the turn still says leaves before the answer.
        call.on_cancel = lambda: own.cancel_one(prompt, "request cancelled")

        async def run() -> Any:
            try:
                await before.wait()
                result = await self._run(own, prompt, parts, after)
            finally:
                after.set()
                own.prompts.remove(prompt)
            return _answer(result, cancelled=prompt.cancelled)

        return run()

    async def _run(
        self, own: AcpSession, prompt: RunningPrompt, parts: list[Any], after: trio.Event
    ) -> TurnResult | None:
        """Run a turn; ``None`` where it was cancelled before it could begin."""
        if prompt.cancelled:
            return None
        session = await self._sessions.ready(own)
        turn = session.turn(parts, id=prompt.turn)
        own.running += 1
        try:
            async with turn, trio.open_nursery() as asking:
                after.set()
                await self._tell(own, prompt, turn, asking)
                asking.cancel_scope.cancel(reason="the turn has ended")
        finally:
            own.running -= 1
        return turn.result

    async def _tell(
        self, own: AcpSession, prompt: RunningPrompt, turn: Turn, asking: trio.Nursery
    ) -> None:
        session = own.session
        updates = TurnUpdates(own.tools)
        questions: dict[str, trio.CancelScope] = {}
        async for event in turn:
            if prompt.cancelled and isinstance(event, TurnStarted):
                # A cancel that came while the turn was on its way to the session missed it there.
                session.cancel(turn.id, reason="user")
            for update in updates.of(event):
                params = {"sessionId": own.id, "update": update}
                await self._connection.notify(own.id, "session/update", params)
            if isinstance(event, ApprovalRequested):
                scope = questions[event.approval] = trio.CancelScope()
                asking.start_soon(self._ask, own, session, event, scope)
            elif isinstance(event, ApprovalResolved) and event.approval in questions:
                questions.pop(event.approval).cancel(reason="it was decided")

    async def _ask(
        self, own: AcpSession, session: Session, event: ApprovalRequested, scope: trio.CancelScope
    ) -> None:
        with scope:
            if not await self._permissions.ask(session, event, own.tools):
                # The protocol's "cancelled" speaks of the whole turn.
                own.cancel("user")


def _answer(result: TurnResult | None, *, cancelled: bool) -> dict[str, str]:
    """Return the answer to a prompt.

    Raises:
        Refused: The turn failed, and nobody had cancelled it.
    """
    if cancelled or result is None:
        return {"stopReason": "cancelled"}
    reason = STOP_REASONS.get(result.stop_reason)
    if reason is not None:
        return {"stopReason": reason}
    assert result.error is not None
    raise acp_fault(result.error)


def acp_fault(error: ActrioError) -> Refused:
    """Return how a failure is told.

    What only a key can mend is the protocol's "authentication required": editors show that one
    with the way out.
    """
    told = fault_of(error)
    refused = isinstance(error, ProviderError) and error.category == "auth"
    if refused or (isinstance(error, NotConfigured) and "missing_env" in error.data):
        told = {**told, "code": KINDS["unauthorized"].jsonrpc}
    if error.remedy:
        # Most clients show the message and nothing else.
        told = {**told, "message": f"{error.message} {error.remedy}"}
    return Refused(told)
