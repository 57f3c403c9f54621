"""``actrio chat``: a conversation at the terminal.

Ctrl-C stops the answer and not the program; at the prompt it hints how to leave, and pressed
again it leaves, as does Ctrl-D. An error ends its turn only; the conversation goes on.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Final, Literal

import attrs
import trio

from actrio.agents import Agent
from actrio.cli._folders import data_folder, kept_in_files
from actrio.cli._interrupt import Interruption, exit_code_of
from actrio.cli._lines import Lines, open_lines
from actrio.cli._outlet import Outlet
from actrio.cli._run import conclude, load, play, say_choice
from actrio.cli._who import choose_agent
from actrio.errors import ActrioError, codes_for
from actrio.messages import (
    ApprovalRequested,
    AssistantMessage,
    Message,
    ToolMessage,
    UserMessage,
)
from actrio.runtime import Runtime, Session, open_runtime
from actrio.telemetry import redact

if TYPE_CHECKING:
    from actrio.cli._app import Common, Who

__all__ = ["chat"]

PROMPT: Final = "you › "

HELP: Final = """\
/help         this list
/tools        the agent's tools
/history      what was said so far
/new          begin anew, with the same agent
/model NAME   begin anew, with another model
/quit         leave; so does Ctrl-D
Ctrl-C stops an answer. A line that begins with // is sent with one slash.
"""


async def chat(*, session: str | None, who: Who, common: Common) -> int:
    """Talk until the person leaves; 0, or 130 where Ctrl-C did it.

    From a pipe, each line is one message, and the code is that of the last turn that failed.
    """
    loaded = load(who, common)
    chosen = choose_agent(who, loaded)
    outlet = Outlet()
    await say_choice(outlet, chosen)
    history = data_folder(loaded.env) / "chat-history"
    with open_lines(prompt=PROMPT, history=history, commands=list(_COMMANDS)) as lines:
        settings = kept_in_files(loaded.settings) if session is not None else loaded.settings
        async with open_runtime(settings, env=loaded.env) as runtime:
            conversation = Conversation(runtime, chosen.agent, outlet, lines, name=session)
            return await conversation.run()


class Conversation:
    """What goes on between a person's lines and a session."""

    def __init__(
        self,
        runtime: Runtime,
        agent: Agent,
        outlet: Outlet,
        lines: Lines,
        *,
        name: str | None = None,
    ) -> None:
        self._name = name
        self._runtime = runtime
        self._agent = agent
        self._outlet = outlet
        self._lines = lines
        self._session: Session
        self._first_name = agent.name
        self._changes = 0
        self._at_terminal = os.isatty(0)
        self._interruption = Interruption()
        # Ctrl-C was pressed once already: in this turn, or at this prompt.
        self._warned = False
        self._leaving = False
        self._failed = 0

    async def run(self) -> int:
        await self._begin(self._agent)
        if self._at_terminal:
            await self._outlet.remark(
                f"{self._agent.name} on {self._agent.model}; /help shows the commands"
            )
        try:
            async with trio.open_nursery() as nursery:
                with trio.CancelScope() as talk:
                    await nursery.start(self._listen, talk)
                    await self._talk()
                nursery.cancel_scope.cancel()
        finally:
            with trio.CancelScope(shield=True) as closing:
                closing.deadline = trio.current_time() + self._runtime.system.cancel_grace_seconds
                await self._runtime.close_session(self._session.id)
        if self._interruption.signal is not None:
            return exit_code_of(self._interruption.signal)
        return 0 if self._at_terminal else self._failed

    async def _begin(self, agent: Agent) -> None:
        # A name is that of the first conversation; /new and /model begin one without.
        name, self._name = self._name, None
        self._session = await self._runtime.open_session(agent, id=name)
        self._agent = agent

    async def _talk(self) -> None:
        while not self._leaving and (line := await self._next_line()) is not None:
            self._warned = False
            try:
                await self._take(line.strip())
            except ActrioError as error:
                self._failed = codes_for(error).exit
                await self._complain(error)
            self._warned = False
        if self._at_terminal and not self._leaving:
            await self._outlet.answer("\n")  # Ctrl-D leaves the cursor behind the prompt

    async def _next_line(self) -> str | None:
        if self._lines.going_on:
            await self._outlet.answer(self._lines.unfinished)
        return await self._lines.next()

    async def _take(self, line: str) -> None:
        if line.startswith("/") and not line.startswith("//"):
            name, _, rest = line.partition(" ")
            command = _COMMANDS.get(name)
            if command is None:
                await self._outlet.complain(f"there is no command {name}; /help lists them")
            else:
                await command(self, rest.strip())
        elif line:
            await self._say(line.removeprefix("/") if line.startswith("//") else line)

    async def _say(self, text: str) -> None:
        result = await play(
            self._session,
            text,
            self._outlet,
            self._interruption,
            as_json=False,
            decide=self._decide,
        )
        await conclude(result, self._outlet)

    async def _decide(
        self, asked: ApprovalRequested
    ) -> tuple[Literal["approved", "denied", "answered"], str]:
        """Have the person at the prompt decide; the end of the input is a no."""
        if asked.about == "question":
            said = await self._lines.next()
            return ("answered", said) if said is not None else ("denied", "nobody answered")
        await self._outlet.remark("  y to allow it; anything else is the reason why not")
        said = await self._lines.next()
        if said is not None and said.strip().lower() in {"y", "yes"}:
            return "approved", ""
        return "denied", (said or "").strip()

    async def _complain(self, error: ActrioError) -> None:
        await self._outlet.complain(redact(f"error: {error.message}"))
        if error.remedy:
            await self._outlet.remark(redact(f"  what to do: {error.remedy}"))

    # -- signals ---------------------------------------------------------------------------------

    async def _listen(self, talk: trio.CancelScope, *, task_status: trio.TaskStatus[None]) -> None:
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            task_status.started()
            async for number in signals:
                if number == signal.SIGTERM or self._warned:
                    self._interruption.signal = number
                    talk.cancel(reason=signal.Signals(number).name)
                    return
                self._warned = True
                if self._interruption.gently is not None:
                    self._interruption.gently()
                else:
                    await self._outlet.remark("\n(Ctrl-C again, or Ctrl-D, leaves)")
                    await self._outlet.answer(self._lines.unfinished)

    # -- commands --------------------------------------------------------------------------------

    async def show_help(self, _rest: str) -> None:
        await self._outlet.answer(HELP)

    async def show_tools(self, _rest: str) -> None:
        for one in self._agent.tools:
            summary = next(iter(one.spec.description.splitlines()), "")
            await self._outlet.answer(f"{one.name}  {summary}\n")
        if not self._agent.tools:
            await self._outlet.answer("this agent has no tools\n")

    async def show_history(self, _rest: str) -> None:
        for message in (await self._session.view()).history:
            for line in _told(message):
                await self._outlet.answer(f"{line}\n")

    async def start_anew(self, _rest: str) -> None:
        await self._change(self._agent)

    async def change_model(self, rest: str) -> None:
        if not rest:
            await self._outlet.answer(f"{self._agent.model}\n")
            return
        # A model that cannot be opened is told now, and the conversation at hand is kept.
        await self._runtime.connections.open(rest)
        # A runtime knows one definition per name, so each change of model gets its own.
        self._changes += 1
        name = f"{self._first_name[:50]}.{self._changes}"
        await self._change(attrs.evolve(self._agent, name=name, model=rest))

    async def _change(self, agent: Agent) -> None:
        old = self._session
        await self._begin(agent)
        await self._runtime.close_session(old.id)
        await self._outlet.remark(f"(a new conversation, with {agent.model})")

    async def leave(self, _rest: str) -> None:
        self._leaving = True


_COMMANDS: Final[Mapping[str, Callable[[Conversation, str], Awaitable[None]]]] = {
    "/help": Conversation.show_help,
    "/tools": Conversation.show_tools,
    "/history": Conversation.show_history,
    "/new": Conversation.start_anew,
    "/model": Conversation.change_model,
    "/quit": Conversation.leave,
    "/exit": Conversation.leave,
}


def _told(message: Message) -> list[str]:
    match message:
        case UserMessage():
            return [f"you: {message.text}"]
        case AssistantMessage():
            calls = [f"  → {call.name} {call.arguments}" for call in message.tool_calls]
            return [*([f"agent: {message.text}"] if message.text else []), *calls]
        case ToolMessage(results):
            return [f"  ← {result.name} {result.text}" for result in results]
