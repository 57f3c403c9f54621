"""The sessions of one client: made, opened again, listed, let go of.

A session of this protocol is one of the store's, under the id that the client knows. Its model may
change between two prompts, so each has an agent of its own, a copy of the one that is served::

    assistant ──► assistant.5f1c2a90b7d3   tools: its own, and those on the client's files
                                           model: that of the config option, kept in the state

The folder that the client works in is a label of the session, and makes it appear in the list.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any, Final

import attrs
import trio

from actrio.acp._models import Models
from actrio.acp._replay import title_of
from actrio.acp._updates import READ_FILE, WRITE_FILE, Toolbox
from actrio.errors import Conflict, InvalidRequest, NotFound
from actrio.messages import SessionView
from actrio.runtime import Agent, Runtime, Session
from actrio.tools import Tool

__all__ = ["AcpSession", "AcpSessions", "RunningPrompt"]

FOLDER_LABEL: Final = "acp.cwd"
MODEL_KEY: Final = "acp.model"

PAGE_MAX: Final = 50
"""Sessions of one page of the list: a screen or two of an editor."""

SCANNED_MAX: Final = 500
"""Sessions of the store that one page looks at; each is read, some milliseconds for a long one."""


def _free() -> trio.Event:
    event = trio.Event()
    event.set()
    return event


@attrs.define(slots=True, eq=False)
class RunningPrompt:
    """One ``session/prompt`` from its line to its answer.

    Attributes:
        turn: Its turn's id.
        cancelled: Whether the client has cancelled the session's prompts since.
    """

    turn: str
    cancelled: bool = False


@attrs.define(slots=True, eq=False)
class AcpSession:
    """A session that this client uses.

    Attributes:
        id: Its id.
        cwd: The client's folder.
        model: The model of the next prompt.
        session: The session, opened.
        tools: How its calls are shown.
        prompts: Those without an answer.
        running: How many of these have a turn.
        line: Set when the next request may act on it: requests do so in the order of their lines.
    """

    id: str
    cwd: str
    model: str
    session: Session
    tools: Toolbox
    prompts: list[RunningPrompt] = attrs.field(factory=list)
    running: int = 0
    line: trio.Event = attrs.field(factory=_free)

    def stand_in_line(self) -> tuple[trio.Event, trio.Event]:
        """Return what to wait for, and what to set when the next one may go."""
        before, self.line = self.line, trio.Event()
        return before, self.line

    def cancel(self, reason: str) -> None:
        """End its prompts, those that wait too."""
        for prompt in self.prompts:
            self.cancel_one(prompt, reason)

    def cancel_one(self, prompt: RunningPrompt, reason: str) -> None:
        """End one prompt."""
        prompt.cancelled = True
        self.session.cancel(prompt.turn, reason=reason)


class AcpSessions:
    """The sessions of one connection.

    Args:
        runtime: Where they live.
        agent: Whose they are.
        models: Which models they can have.
    """

    def __init__(self, runtime: Runtime, agent: Agent, models: Models) -> None:
        self._runtime = runtime
        self._agent = agent
        self._models = models
        self._sessions: dict[str, AcpSession] = {}
        self._lent: tuple[Tool, ...] = ()

    def lend(self, tools: tuple[Tool, ...]) -> None:
        """Give sessions that are opened from now on these tools too; the agent's own come first."""
        own = {each.name for each in self._agent.tools}
        self._lent = tuple(each for each in tools if each.name not in own)

    def __iter__(self) -> Any:
        return iter(tuple(self._sessions.values()))

    def find(self, id: str) -> AcpSession:
        """Return an open session.

        Raises:
            NotFound: The client has not opened it.
        """
        found = self._sessions.get(id)
        if found is None:
            raise NotFound(
                f"There is no open session {id[:100]!r}.",
                remedy="Open it with session/new, session/load or session/resume.",
            )
        return found

    def folder_of(self, id: str) -> str:
        """Return the client's folder of a session."""
        return self.find(id).cwd

    # Coming

    async def create(self, cwd: str) -> AcpSession:
        """Make a session.

        Raises:
            InvalidRequest: ``cwd`` is not absolute.
            ActrioError: It cannot be opened.
        """
        _check_folder(cwd)
        id = f"s_{secrets.token_hex(6)}"
        agent = self._copy(self._name(id), self._models.default)
        return await self._open(id, cwd, agent, labels={FOLDER_LABEL: cwd})

    async def open_again(self, id: str, cwd: str) -> AcpSession:
        """Open a session that there is.

        Raises:
            InvalidRequest: ``cwd`` is not absolute.
            NotFound: There is no such session.
            Conflict: It is another agent's, waits for somebody else's decision, or is open in
                another process.
        """
        _check_folder(cwd)
        if (known := self._sessions.get(id)) is not None:
            known.cwd = cwd
            known.tools = self._toolbox(known.session.agent, cwd)
            return known
        view = await self._runtime.view(id)
        if view.agent not in (self._name(id), self._agent.name):
            raise Conflict(
                f"Session {id} belongs to agent {view.agent!r}.",
                remedy="Serve that agent: actrio acp --agent NAME.",
            )
        model = view.state.get(MODEL_KEY)
        model = model if isinstance(model, str) else self._models.default
        own = await self._open(id, cwd, self._copy(view.agent, model))
        try:
            await self._end_left(own, view)
        except BaseException:
            await self.close(id)
            raise
        return own

    async def _end_left(self, own: AcpSession, view: SessionView) -> None:
        """End turns that wait for a person since a process was killed: their editor has left.

        Raises:
            Conflict: It is not an editor's session, so somebody else may want to decide.
        """
        for pending in view.approvals:
            if FOLDER_LABEL not in view.labels:
                raise Conflict(
                    f"Session {own.id} waits for a person since before.",
                    remedy=f"Decide it first: actrio sessions answer {own.id}.",
                )
            own.session.cancel(pending.turn, reason="client_left")
            await own.session.wait(pending.turn)

    async def _open(
        self, id: str, cwd: str, agent: Agent, *, labels: dict[str, str] | None = None
    ) -> AcpSession:
        session = await self._runtime.open_session(agent, id=id, labels=labels)
        own = AcpSession(id, cwd, agent.model, session, self._toolbox(agent, cwd))
        self._sessions[id] = own
        return own

    def _name(self, id: str) -> str:
        return f"{self._agent.name[:51]}.{hashlib.sha256(id.encode()).hexdigest()[:12]}"

    def _copy(self, name: str, model: str) -> Agent:
        tools = (*self._agent.tools, *self._lent)
        return attrs.evolve(self._agent, name=name, model=model, tools=tools)

    def _toolbox(self, agent: Agent, cwd: str) -> Toolbox:
        lent = frozenset(each.name for each in self._lent) & {READ_FILE, WRITE_FILE}
        return Toolbox(agent.tools, cwd, lent)

    # The model

    async def choose_model(self, own: AcpSession, model: str) -> None:
        """Let the session's next prompt go to ``model``; kept for later openings too."""
        await own.session.change_state({MODEL_KEY: model}, by="acp")
        own.model = model

    async def ready(self, own: AcpSession) -> Session:
        """Return the session with the model that was chosen for it; called in line.

        While a prompt of it runs the model stays, because a running turn keeps its agent.
        """
        agent = own.session.agent
        if agent.model != own.model and not own.running:
            await self._runtime.close_session(own.id)
            own.session = await self._runtime.open_session(
                attrs.evolve(agent, model=own.model), id=own.id
            )
        return own.session

    # Going

    async def close(self, id: str) -> None:
        """End a session's prompts and let go of it.

        Raises:
            NotFound: The client has not opened it.
        """
        own = self.find(id)
        own.cancel("closed")
        del self._sessions[id]
        await self._runtime.close_session(id)

    async def delete(self, id: str) -> None:
        """Remove a session with all its records; only one that the list shows.

        Raises:
            NotFound: There is none.
            SessionOwned: Another process has it open.
        """
        if FOLDER_LABEL not in (await self._runtime.view(id)).labels:
            raise NotFound(
                f"Session {id[:100]!r} was not made by an editor.",
                remedy="What other front ends keep is theirs to remove.",
            )
        if id in self._sessions:
            await self.close(id)
        await self._runtime.delete_session(id)

    async def let_go(self) -> None:
        """Let go of all sessions."""
        for id in list(self._sessions):
            await self.close(id)

    # The list

    async def page(self, cwd: str | None, cursor: str | None) -> dict[str, Any]:
        """Return one page of the sessions that editors made, in the order of their ids."""
        found: list[dict[str, Any]] = []
        after, scanned = cursor or "", 0
        while len(found) < PAGE_MAX and scanned < SCANNED_MAX:
            entries = await self._runtime.sessions(after=after, limit=PAGE_MAX - len(found))
            if not entries:
                return {"sessions": found}
            for entry in entries:
                view = await self._runtime.view(entry.session)
                if cwd is None or view.labels.get(FOLDER_LABEL) == cwd:
                    found += _info(view)
            after, scanned = entries[-1].session, scanned + len(entries)
        return {"sessions": found, "nextCursor": after}


def _info(view: SessionView) -> list[dict[str, Any]]:
    folder = view.labels.get(FOLDER_LABEL)
    if folder is None:
        return []
    told = {
        "sessionId": view.session,
        "cwd": folder,
        "updatedAt": datetime.fromtimestamp(view.updated_at, UTC).isoformat(),
    }
    title = title_of(view.history)
    return [told | ({"title": title} if title else {})]


def _check_folder(cwd: str) -> None:
    if not PurePosixPath(cwd).is_absolute():
        raise InvalidRequest(
            f"cwd is {cwd[:100]!r}, which is no absolute path.", remedy="Send the whole path."
        )
