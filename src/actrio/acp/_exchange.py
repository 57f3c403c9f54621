"""One client: its methods put together, and how its connection begins and ends.

::

    reader   session/prompt A ──► session/set_config_option ──► session/prompt B    (plain, in order)
                  │                       │                          │
    tasks         └─ A has its turn ──────┴─ kept ───────────────────┴─ B has its turn, …

    session/cancel    called by the reader itself: ahead of everything that waits
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import trio

from actrio._version import own_version
from actrio.acp import _params as p
from actrio.acp._files import file_tools
from actrio.acp._models import MODEL_OPTION, Models
from actrio.acp._permission import Permissions
from actrio.acp._prompting import Prompting, acp_fault
from actrio.acp._replay import replayed_updates
from actrio.acp._sessions import AcpSession, AcpSessions
from actrio.errors import ActrioError, InvalidRequest
from actrio.rpc import Call, Connection, Ending, Methods, Refused, fault
from actrio.runtime import Agent, Runtime
from actrio.sessions import exported
from actrio.telemetry import RoomLog

__all__ = ["PROTOCOL_VERSION", "AcpExchange"]

PROTOCOL_VERSION: Final = 1

_LET_GO_SECONDS: Final = 1.0
"""For letting go of the sessions at the end; their actors end within their own bounds."""

_log = RoomLog("actrio.acp")


class AcpExchange:
    """Serves one connection from a runtime.

    Args:
        connection: The client.
        runtime: Where its sessions live.
        agent: Whose they are.
        env: Where installed models are looked for.
        on_eof: Called when the client's lines have ended.
    """

    def __init__(
        self,
        connection: Connection,
        runtime: Runtime,
        agent: Agent,
        *,
        env: Mapping[str, str],
        on_eof: Callable[[], None] | None = None,
    ) -> None:
        self._on_eof = on_eof
        self._connection = connection
        self._runtime = runtime
        self._capabilities: p.ClientCapabilities | None = None
        self._models = Models(runtime, agent.model, env)
        self._sessions = AcpSessions(runtime, agent, self._models)
        self._permissions = Permissions(connection)
        self._prompting = Prompting(connection, self._sessions, self._permissions)

    # Its life

    async def run(self) -> Ending:
        """Serve until the connection ends; its sessions are let go of then."""
        try:
            return await self._connection.run(self._methods())
        finally:
            with trio.move_on_after(_LET_GO_SECONDS, shield=True):
                await self._sessions.let_go()

    def stop(self) -> None:
        """End all turns as a shutdown does, and the connection within its flush time."""
        for own in self._sessions:
            own.cancel("shutdown")
        self._connection.finish(grace_seconds=self._connection.limits.flush_seconds)

    def _input_ended(self) -> None:
        if self._on_eof is not None:
            self._on_eof()
        self.stop()

    def _methods(self) -> Methods:
        calls: dict[str, Callable[[Call], Awaitable[Any]]] = {
            "authenticate": self._authenticate,
            "session/new": self._new,
            "session/load": self._load,
            "session/resume": self._resume,
            "session/list": self._list,
            "session/close": self._close,
            "session/delete": self._delete,
            "session/prompt": self._prompt,
            "session/set_config_option": self._set_config_option,
        }
        return Methods(
            calls={name: _telling(method) for name, method in calls.items()},
            controls={"initialize": self._initialize, "session/cancel": self._cancel},
            admit=self._admit,
            unknown=_unknown,
            ended=self._input_ended,
            cancel_method="$/cancel_request",
            shrink=_shrink,
        )

    def _admit(self, method: str) -> dict[str, Any] | None:
        if self._capabilities is not None or method == "initialize":
            return None
        return fault(
            "not_initialized",
            f"{method[:100]!r} came before initialize.",
            remedy="Send initialize first.",
        )

    # Controls

    def _initialize(self, params: Mapping[str, Any]) -> Any:
        if self._capabilities is not None:
            raise Refused(
                fault(
                    "not_initialized",
                    "This connection is initialized already.",
                    remedy="Send initialize once.",
                )
            )
        wanted = p.read_params("initialize", params, p.Initialize)
        able = self._capabilities = wanted.client_capabilities or p.ClientCapabilities()
        if wanted.client_info is not None and wanted.client_info.name:
            self._permissions.by = wanted.client_info.name[:100]
        self._permissions.takes_questions = (
            able.elicitation is not None and able.elicitation.form is not None
        )
        lent = able.fs or p.FileSystem()
        self._sessions.lend(file_tools(lent, self._connection, self._sessions.folder_of))
        return {
            "protocolVersion": PROTOCOL_VERSION,
            "agentInfo": {"name": "actrio", "title": "actrio", "version": own_version()},
            "agentCapabilities": {
                "loadSession": True,
                "promptCapabilities": {"image": True, "audio": False, "embeddedContext": True},
                "mcpCapabilities": {"http": False, "sse": False},
                "sessionCapabilities": {"list": {}, "resume": {}, "close": {}, "delete": {}},
            },
            "authMethods": [],
        }

    def _cancel(self, params: Mapping[str, Any]) -> Any:
        wanted = p.read_params("session/cancel", params, p.OneSession)
        self._sessions.find(wanted.session_id).cancel("user")
        return {}

    # Calls

    async def _authenticate(self, _call: Call) -> Any:
        raise InvalidRequest(
            "There is no such authentication method.",
            remedy="None is needed: leave authenticate out.",
        )

    async def _new(self, call: Call) -> Any:
        wanted = p.read_params(call.method, call.params, p.NewSession)
        own = await self._sessions.create(wanted.cwd)
        await self._without_servers(own, wanted.mcp_servers)
        return {"sessionId": own.id, "configOptions": self._models.options(own.model)}

    async def _load(self, call: Call) -> Any:
        wanted = p.read_params(call.method, call.params, p.LoadSession)
        own = await self._sessions.open_again(wanted.session_id, wanted.cwd)
        records = await exported(self._runtime.store, own.id)
        for update in replayed_updates(own.id, records, own.tools):
            await self._update(own, update)
        return await self._opened(call, own, wanted)

    async def _resume(self, call: Call) -> Any:
        wanted = p.read_params(call.method, call.params, p.LoadSession)
        own = await self._sessions.open_again(wanted.session_id, wanted.cwd)
        return await self._opened(call, own, wanted)

    async def _opened(self, call: Call, own: AcpSession, wanted: p.LoadSession) -> Any:
        await self._without_servers(own, wanted.mcp_servers)
        call.channel = own.id  # behind what was replayed
        return {"configOptions": self._models.options(own.model)}

    async def _without_servers(self, own: AcpSession, servers: list[dict[str, Any]] | None) -> None:
        """Tell that MCP servers are not connected to; a session is of use without them."""
        if not servers:
            return
        _log.warning("acp.mcp_not_supported", servers=len(servers))
        able = self._capabilities
        if able is not None and able.session is not None and able.session.notices is not None:
            notice = {
                "sessionUpdate": "notice",
                "severity": "warning",
                "title": "actrio does not connect to MCP servers; their tools are missing here.",
            }
            await self._update(own, notice)

    async def _update(self, own: AcpSession, update: dict[str, Any]) -> None:
        params = {"sessionId": own.id, "update": update}
        await self._connection.notify(own.id, "session/update", params)

    async def _list(self, call: Call) -> Any:
        wanted = p.read_params(call.method, call.params, p.ListSessions)
        return await self._sessions.page(wanted.cwd, wanted.cursor)

    async def _close(self, call: Call) -> Any:
        wanted = p.read_params(call.method, call.params, p.OneSession)
        await self._sessions.close(wanted.session_id)
        self._permissions.forget(wanted.session_id)
        return {}

    async def _delete(self, call: Call) -> Any:
        wanted = p.read_params(call.method, call.params, p.OneSession)
        await self._sessions.delete(wanted.session_id)
        self._permissions.forget(wanted.session_id)
        return {}

    def _prompt(self, call: Call) -> Awaitable[Any]:
        wanted = p.read_params(call.method, call.params, p.PromptParams)
        return self._prompting.begin(call, self._sessions.find(wanted.session_id), wanted.prompt)

    def _set_config_option(self, call: Call) -> Awaitable[Any]:
        wanted = p.read_params(call.method, call.params, p.SetConfigOption)
        own = self._sessions.find(wanted.session_id)
        if wanted.config_id != MODEL_OPTION:
            raise InvalidRequest(
                f"There is no config option {wanted.config_id[:100]!r}.",
                remedy=f"There is {MODEL_OPTION!r}.",
            )
        before, after = own.stand_in_line()

        async def choose() -> Any:
            try:
                await before.wait()
                await self._sessions.choose_model(own, await self._models.check(wanted.value))
            finally:
                after.set()
            return {"configOptions": self._models.options(own.model)}

        return choose()


def _telling(method: Callable[[Call], Awaitable[Any]]) -> Callable[[Call], Awaitable[Any]]:
    """Return ``method`` with its errors told as this protocol tells them."""

    def called(call: Call) -> Awaitable[Any]:
        try:
            work = method(call)
        except ActrioError as error:
            raise acp_fault(error) from error

        async def told() -> Any:
            try:
                return await work
            except ActrioError as error:
                raise acp_fault(error) from error

        return told()

    return called


def _unknown(method: str) -> dict[str, Any]:
    return fault(
        "method_not_found",
        f"There is no method {method[:100]!r}.",
        remedy="docs/reference/acp.md lists what there is.",
    )


async def _shrink(message: dict[str, Any]) -> dict[str, Any]:
    """Say in the place of content that no line can hold how long it is; the journal has it."""
    await trio.lowlevel.checkpoint()
    params = message.get("params")
    if not isinstance(params, dict) or not isinstance(update := params.get("update"), dict):
        return message
    told = {"type": "text", "text": "(This is too long for one message of the protocol.)"}
    kept = {name: value for name, value in update.items() if name not in {"content", "rawInput"}}
    is_call = update.get("sessionUpdate") in {"tool_call", "tool_call_update"}
    kept["content"] = [{"type": "content", "content": told}] if is_call else told
    return {**message, "params": {**params, "update": kept}}
