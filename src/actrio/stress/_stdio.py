"""A process that speaks actrio's JSON lines on its standard streams, under load from outside."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any, Final

import msgspec
import trio

from actrio.sansio import Line, LineReader
from actrio.stress._process import (
    END_SECONDS,
    START_SECONDS,
    LastWords,
    started,
    unreachable,
    words_of,
)
from actrio.stress._provider import SCRIPTED, ScriptedProcess, faulty, scripted_process
from actrio.stress._served import folder_figures, served_model, variables_of
from actrio.stress._stdio_wire import (
    TERMINALS,
    WIRE_MESSAGES,
    RequestRefused,
    ServerEnded,
    WireEvent,
    WireMessage,
    WireResult,
    ending_of,
    ending_of_fault,
    facts_of,
    mailboxes_of,
)
from actrio.stress._targets import Look, StoreKind, Target, TargetSetup
from actrio.stress._turns import Asked, Ending, Listener, unwrapped
from actrio.wire import json_line

__all__ = ["open_stdio"]

EVENTS_MAX: Final = 1024
"""Events of one session that wait for its client; beyond it the pipe is not read, as intended."""

_READ_BYTES: Final = 65536


@asynccontextmanager
async def open_stdio(command: str, setup: TargetSetup) -> AsyncIterator[Target]:
    """Start ``command`` and greet it.

    Raises:
        ProviderUnreachable: It cannot be started, or does not answer.
        InvalidRequest: It is no command line.
    """
    async with AsyncExitStack() as stack:
        stack.enter_context(unwrapped())
        provider: ScriptedProcess | None = None
        env = {**os.environ, **setup.env}
        if setup.model.startswith(SCRIPTED):
            provider = await stack.enter_async_context(scripted_process())
        env.update(variables_of(setup, provider.base_url if provider else None))
        words = _words(command)
        process = await stack.enter_async_context(started(words, env, name="stdio"))
        assert process.stderr is not None
        nursery = await stack.enter_async_context(trio.open_nursery())
        target = _Stdio(process, setup, provider, f"stdio:{command}" if command else "stdio")
        nursery.start_soon(target.read)
        nursery.start_soon(target.last_words.drain, process.stderr)
        try:
            await target.greet()
            yield target
        finally:
            with trio.CancelScope(shield=True) as scope:
                scope.deadline = trio.current_time() + END_SECONDS
                await target.part()
            nursery.cancel_scope.cancel()


def _words(command: str) -> list[str]:
    if not command.strip():
        return [sys.executable, "-m", "actrio", "serve", "--stdio"]
    return words_of(command)


class _Stdio:
    """See `Target`: one connection, shared by all seats."""

    shares_process = False
    residents = 0

    def __init__(
        self,
        process: trio.Process,
        setup: TargetSetup,
        provider: ScriptedProcess | None,
        name: str,
    ) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self.name = name
        self.store: StoreKind | None = setup.store
        self.setup = setup
        self.pid: int | None = process.pid
        self.provider_pid = provider.pid if provider else None
        self._provider = provider
        self._process = process
        self._in, self._out = process.stdin, process.stdout
        self._writing = trio.Lock()
        self._last_id = 0
        self._answers: dict[int, trio.MemorySendChannel[WireMessage]] = {}
        self._sessions: dict[str, trio.MemorySendChannel[WireEvent]] = {}
        self.gone = False
        self.last_words = LastWords()

    # -- the connection ----------------------------------------------------------------------------

    async def read(self) -> None:
        """Hand every line to whom it is for, until there are no more."""
        reader, decode = LineReader(line_bytes_max=64 * 1024 * 1024), WIRE_MESSAGES.decode
        try:
            while data := await self._out.receive_some(_READ_BYTES):
                for line in reader.feed(data):
                    if isinstance(line, Line):
                        await self._hand_over(decode(line.data))
        except (trio.BrokenResourceError, trio.ClosedResourceError, msgspec.MsgspecError):
            pass  # what it sent last is no protocol, so nothing after it can be
        finally:
            self.gone = True
            for answer in self._answers.values():
                answer.close()
            for events in self._sessions.values():
                events.close()

    async def _hand_over(self, message: WireMessage) -> None:
        if message.method == "event" and message.params is not None:
            events = self._sessions.get(message.params.session)
            if events is not None:
                # The session may be ended while the reader waits for its client.
                with suppress(trio.ClosedResourceError, trio.BrokenResourceError):
                    try:
                        events.send_nowait(message.params)
                    except trio.WouldBlock:
                        await events.send(message.params)
        elif isinstance(message.id, int) and (answer := self._answers.pop(message.id, None)):
            answer.send_nowait(message)

    async def request(self, method: str, params: Mapping[str, Any]) -> Any:
        """Return the answer to a request."""
        if self.gone:
            raise ServerEnded
        self._last_id += 1
        number = self._last_id
        send, receive = trio.open_memory_channel[WireMessage](1)
        self._answers[number] = send
        try:
            await self.write(method, params, number)
            answer = await receive.receive()
        except (trio.EndOfChannel, trio.BrokenResourceError, trio.ClosedResourceError):
            raise ServerEnded from None
        finally:
            self._answers.pop(number, None)
        if answer.error is not None:
            raise RequestRefused(answer.error.data)
        return msgspec.json.decode(answer.result)

    async def write(self, method: str, params: Mapping[str, Any], number: int) -> None:
        line = json_line({"jsonrpc": "2.0", "id": number, "method": method, "params": params})
        async with self._writing:
            with trio.CancelScope(shield=True) as scope:  # half a line would be the last one
                scope.deadline = trio.current_time() + START_SECONDS
                await self._in.send_all(line)

    async def greet(self) -> None:
        """Say hello.

        Raises:
            ProviderUnreachable: There is no answer.
        """
        with trio.move_on_after(START_SECONDS):
            try:
                await self.request("initialize", {})
            except (ServerEnded, RequestRefused) as error:
                what = f"{self.name} did not greet back{self.last_words.told}."
                raise unreachable(what, name="stdio") from error
            return
        what = f"{self.name} did not greet back within {START_SECONDS:g} s."
        raise unreachable(what, name="stdio")

    async def part(self) -> None:
        """Close the input and wait for the end."""
        await self._in.aclose()
        await self._process.wait()

    # -- for the seats -----------------------------------------------------------------------------

    async def begin_session(
        self, fault: str | None
    ) -> tuple[str, trio.MemoryReceiveChannel[WireEvent]]:
        model = served_model(faulty(self.setup.model, fault))
        created = await self.request("session/create", {"model": model})
        name = created["session"]
        send, receive = trio.open_memory_channel[WireEvent](EVENTS_MAX)
        self._sessions[name] = send
        if self.gone:
            send.close()
        return name, receive

    async def end_session(self, name: str) -> None:
        channel = self._sessions.pop(name, None)
        if channel is not None:
            channel.close()
        with suppress(ServerEnded, RequestRefused):  # it is closed either way
            await self.request("session/close", {"session": name})

    @asynccontextmanager
    async def seat(self) -> AsyncIterator[_Seat]:
        seat = _Seat(self)
        try:
            yield seat
        finally:
            with trio.CancelScope(shield=True) as scope:
                scope.deadline = trio.current_time() + END_SECONDS
                await seat.rise()

    # -- looking -----------------------------------------------------------------------------------

    async def look(self) -> Look:
        try:
            statistics = (await self.request("runtime/stats", {}))["runtime"]
            tree = await self.request("runtime/tree", {})
        except (ServerEnded, RequestRefused, KeyError):
            return Look()
        return Look(
            mailboxes=mailboxes_of(tree),
            turns_waiting=statistics.get("turns_waiting"),
            turns_peak=statistics.get("turns_peak"),
            provider_waiting=sum(int(facts.get("waiting", 0)) for facts in facts_of(tree)),
            restarts=statistics.get("restarts"),
            dead_letters=statistics.get("dead_letters") or {},
        )

    async def kill(self, chance: float) -> bool:  # noqa: ARG002 - see `check_chaos`
        await trio.lowlevel.checkpoint()
        return False

    async def ended(self) -> Mapping[str, int]:
        return await self._provider.settled() if self._provider else {}

    async def stored(self) -> Mapping[str, int]:
        return await folder_figures(self.setup.folder)


class _Seat:
    """See `Seat`."""

    def __init__(self, target: _Stdio) -> None:
        self._target = target
        self._session: str | None = None
        self._events: trio.MemoryReceiveChannel[WireEvent]
        self._turns = 0

    async def turn(self, asked: Asked, heard: Listener) -> Ending:
        fault = asked.fate.fault
        try:
            if fault is not None or self._turns >= self._target.setup.session_turns:
                await self.rise()
            if self._session is None:
                self._session, self._events = await self._target.begin_session(fault)
                self._turns = 0 if fault is None else 1_000_000  # only for this turn
            self._turns += 1
            return await self._turn(asked, heard)
        except RequestRefused as refused:
            return ending_of_fault(refused.fault)
        except ServerEnded:
            return Ending("lost", "the target ended")

    async def _turn(self, asked: Asked, heard: Listener) -> Ending:
        heard.begins()
        params = {"session": self._session, "prompt": asked.prompt}
        turn = (await self._target.request("turn/start", params))["turn"]
        left = False
        async for event in self._events:
            if event.turn != turn:
                continue
            if event.type == "item.delta":
                if event.kind == "message":
                    heard.text(event.text)
            elif event.type == "item.completed":
                heard.completed(event)
            elif event.type in TERMINALS:
                return ending_of(event.result or WireResult())
            if heard.leaves and not left:
                left = True
                await self._target.request("turn/cancel", {"turn": turn})
        return Ending("lost", "no end")

    async def rise(self) -> None:
        """End the conversation."""
        session, self._session = self._session, None
        if session is not None:
            await self._target.end_session(session)
