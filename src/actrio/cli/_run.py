"""``actrio run``: one turn, streamed."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import attrs
import trio

from actrio.cli._app import STANDARD_INPUT
from actrio.cli._folders import kept_in_files
from actrio.cli._interrupt import Interruption, until_interrupted
from actrio.cli._narrate import Narrator, ending_of
from actrio.cli._outlet import Outlet
from actrio.cli._who import Chosen, choose_agent
from actrio.errors import Conflict, InvalidRequest, LimitExceeded, NotFound, codes_for
from actrio.messages import PROMPT_BYTES_MAX, ApprovalRequested, TurnResult
from actrio.runtime import LoadedSettings, Session, load_settings, open_runtime
from actrio.telemetry import configure_logging
from actrio.wire import event_to_json

if TYPE_CHECKING:
    from actrio.cli._app import Common, Who

__all__ = [
    "FREE_ENDS",
    "Decide",
    "RunOptions",
    "conclude",
    "load",
    "nobody_decides",
    "play",
    "run_as_told",
    "run_once",
    "say_choice",
]

FREE_ENDS = frozenset({"end_turn", "short_circuit"})


def load(who: Who | None, common: Common) -> LoadedSettings:
    """Read the settings and set up logging by them."""
    loaded = load_settings(flags=who.flags() if who else None, config=common.config)
    log = loaded.settings.log
    configure_logging(json=log.json, level=log.level, env=loaded.env)
    return loaded


Decide = Callable[
    [ApprovalRequested], Awaitable[tuple[Literal["approved", "denied", "answered"], str]]
]
"""Has a person decide: the decision, and the answer or the reason."""


@attrs.frozen(slots=True)
class RunOptions:
    """What was said about what to ask: one prompt, or a file of them."""

    prompt: str | None
    as_json: bool
    session: str | None
    source: str | None
    parallel: int
    output: Path | None


async def run_as_told(options: RunOptions, *, who: Who, common: Common) -> int:
    """Run one turn, or a batch of them, and return the exit code.

    Raises:
        InvalidRequest: Neither was asked for, or both.
    """
    if options.source is None:
        if options.prompt is None:
            raise InvalidRequest(
                "There is nothing to ask.",
                remedy='Write actrio run "PROMPT", or actrio run --input FILE.jsonl.',
            )
        if options.output is not None:
            raise InvalidRequest(
                "--output is for the results of --input.", remedy="Redirect with > instead."
            )
        return await run_once(
            options.prompt,
            as_json=options.as_json,
            session=options.session,
            who=who,
            common=common,
        )
    for given, what, remedy in (
        (options.prompt, "a prompt", "Write it as a line of the input."),
        (options.as_json, "--json", "Results of --input are JSON lines anyway."),
        (options.session, "--session", 'Name it in the lines: {"prompt": …, "session": …}.'),
    ):
        if given:
            raise InvalidRequest(f"--input and {what} do not go together.", remedy=remedy)
    from actrio.cli._batch import BatchPlan, run_batch

    plan = BatchPlan(source=options.source, parallel=options.parallel, output=options.output)
    return await run_batch(plan, who=who, common=common)


async def run_once(
    prompt: str, *, as_json: bool, session: str | None, who: Who, common: Common
) -> int:
    """Run one turn and return the exit code; an error of the turn is raised."""
    outlet = Outlet()
    return await until_interrupted(
        partial(_answer, outlet, prompt, as_json=as_json, name=session, who=who, common=common)
    )


async def _answer(
    outlet: Outlet,
    prompt: str,
    interruption: Interruption,
    *,
    as_json: bool,
    name: str | None,
    who: Who,
    common: Common,
) -> int:
    loaded = load(who, common)
    chosen = choose_agent(who, loaded)
    text = await read_prompt(prompt, outlet)
    await say_choice(outlet, chosen)
    settings = kept_in_files(loaded.settings) if name is not None else loaded.settings
    async with (
        open_runtime(settings, env=loaded.env) as runtime,
        runtime.session(chosen.agent, id=name) as session,
    ):
        result = await play(session, text, outlet, interruption, as_json=as_json)
    return await conclude(result, outlet)


async def say_choice(outlet: Outlet, chosen: Chosen) -> None:
    """Tell a choice that was made for the person, in one line."""
    if chosen.remark:
        await outlet.remark(f"({chosen.remark})")


async def nobody_decides(
    _asked: ApprovalRequested,
) -> tuple[Literal["approved", "denied", "answered"], str]:
    """Deny what a person would have to decide, where none is there."""
    return "denied", "nobody was there to decide"


async def play(
    session: Session,
    text: str,
    outlet: Outlet,
    interruption: Interruption,
    *,
    as_json: bool,
    decide: Decide = nobody_decides,
) -> TurnResult:
    """Run one turn and show it; return its result, whatever came of it.

    A signal cancels the turn, whose last events are still shown.
    """
    narrator = Narrator()
    deciding = trio.CancelScope()

    def end() -> None:
        session.cancel(turn.id, reason="user")
        deciding.cancel(reason="the turn is cancelled")

    async with session.turn(text) as turn:
        interruption.gently = end
        async for event in turn:
            if as_json:
                await outlet.raw(event_to_json(event))
            else:
                for piece in narrator.tell(event):
                    await outlet.speak(piece)
            if isinstance(event, ApprovalRequested):
                with deciding:
                    decision, said = await decide(event)
                    await _answer_it(session, event, decision, said)
                if not deciding.cancelled_caught:
                    deciding = trio.CancelScope()  # one can be entered once
    interruption.gently = None
    await outlet.end_line()
    return turn.result


async def _answer_it(
    session: Session,
    asked: ApprovalRequested,
    decision: Literal["approved", "denied", "answered"],
    said: str,
) -> None:
    try:
        await session.answer(asked.approval, decision, answer=said, by="user", note=said)
    except (Conflict, NotFound):
        return  # its turn has ended in the meantime


async def conclude(result: TurnResult, outlet: Outlet) -> int:
    """Return the exit code of a turn; 0 only where the model ended by itself."""
    if result.error is not None:
        if result.outcome == "cancelled":
            await outlet.remark("(interrupted)")
            return codes_for(result.error).exit
        raise result.error
    if remark := ending_of(result):
        await outlet.complain(remark)
    return 0 if result.stop_reason in FREE_ENDS else 1


async def read_prompt(prompt: str, outlet: Outlet) -> str:
    """Return the prompt, from standard input where it is `STANDARD_INPUT`.

    Raises:
        LimitExceeded: It is longer than a prompt may be.
        InvalidRequest: It is not UTF-8 text.
    """
    if prompt != STANDARD_INPUT:
        # What the shell passed as other bytes than UTF-8 stands there as lone surrogates.
        return prompt.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    if os.isatty(0):
        await outlet.remark("(write the prompt, then end it with Ctrl-D)")
    content = await trio.to_thread.run_sync(_read_all, 0, abandon_on_cancel=True)
    if len(content) > PROMPT_BYTES_MAX:
        raise LimitExceeded(
            f"The prompt on standard input is longer than {PROMPT_BYTES_MAX} bytes.",
            remedy="Send less, or give the agent a tool that reads the file.",
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidRequest(
            f"The prompt on standard input is not UTF-8 text (byte {error.start}).",
            remedy="Convert it, for example with iconv.",
        ) from error


def _read_all(descriptor: int) -> bytes:
    """Read to the end, or a little past what a prompt may have. See `Outlet` for why not sys.stdin."""
    content = bytearray()
    while len(content) <= PROMPT_BYTES_MAX and (piece := os.read(descriptor, 65536)):
        content += piece
    return bytes(content)
