"""``actrio run --input``: many prompts, some at a time, results in the order of the lines.

::

    input ──► window ──► N at a time ──► runtime (its own limits) ──► results, in order
                           lines of one session: one after another

The window bounds how far the first unfinished line may lie behind the last one begun, and with it
the results that wait for their turn.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs
import trio

from actrio.cli._batch_lines import Asked, BatchLines, open_lines_of
from actrio.cli._batch_results import Result, Results, ResultsOut, open_results_file
from actrio.cli._folders import kept_in_files
from actrio.cli._interrupt import Interruption, until_interrupted
from actrio.cli._outlet import Outlet
from actrio.cli._run import FREE_ENDS, load, nobody_decides, say_choice
from actrio.cli._who import Chosen, choose_agent
from actrio.errors import KINDS, ActrioError, Conflict, NotFound
from actrio.messages import ApprovalRequested, TurnResult
from actrio.runtime import Agent, LoadedSettings, Runtime, Session, open_runtime
from actrio.telemetry import redact
from actrio.wire import error_to_dict

if TYPE_CHECKING:
    from actrio.cli._app import Common, Who

__all__ = ["BatchPlan", "run_batch"]

WINDOW_FACTOR: Final = 8
"""Lines begun ahead of the first unfinished one, for each of those that run at a time: one slow
answer holds up the others only when it takes as long as eight of them."""

RESUMES_MAX: Final = 10
"""How often one line's turn may be continued after the process was killed in it."""

PROGRESS_SECONDS: Final = 0.1

BAR_CHARACTERS: Final = 30


@attrs.frozen(slots=True, kw_only=True)
class BatchPlan:
    """What was said about a batch: a file or standard input, how many at a time, and where to."""

    source: str
    parallel: int
    output: Path | None


async def run_batch(plan: BatchPlan, *, who: Who, common: Common) -> int:
    """Run all lines; 0 where each ended by itself, else the code of the first that did not."""
    return await until_interrupted(partial(_run, plan, who=who, common=common))


async def _run(plan: BatchPlan, _interruption: Interruption, *, who: Who, common: Common) -> int:
    outlet = Outlet()
    loaded = load(who, common)
    agents = _Agents(who, loaded)
    await say_choice(outlet, agents.first)
    settings = kept_in_files(loaded.settings)
    async with open_lines_of(plan.source) as (lines, total):
        with _results(plan, outlet) as results:
            async with open_runtime(settings, env=loaded.env) as runtime:
                batch = _Batch(runtime, agents, results, plan.parallel, total)
                await batch.run(lines, outlet)
    return batch.code


@contextmanager
def _results(plan: BatchPlan, outlet: Outlet) -> Iterator[Results]:
    if plan.output is None:
        yield ResultsOut(outlet)
    else:
        with open_results_file(plan.output) as results:
            yield results


class _Agents:
    """Who answers which line."""

    def __init__(self, who: Who, loaded: LoadedSettings) -> None:
        self._who = who
        self._loaded = loaded
        self.first: Chosen = choose_agent(who, loaded)
        self._chosen: dict[tuple[str | None, str | None], Agent] = {(None, None): self.first.agent}

    def of(self, asked: Asked) -> Agent:
        """Return the agent of a line.

        Raises:
            ActrioError: There is none of that name, or it cannot be made.
        """
        key = (asked.agent, asked.model)
        found = self._chosen.get(key)
        if found is None:
            who = attrs.evolve(
                self._who,
                agent=asked.agent or self._who.agent,
                model=asked.model or (None if asked.agent else self._who.model),
            )
            found = choose_agent(who, self._loaded).agent
            if asked.model is not None or found != self._named(found.name, found):
                # A runtime knows one definition per name; the same line gives the same name.
                mark = hashlib.sha256(repr(key).encode()).hexdigest()[:12]
                found = attrs.evolve(found, name=f"{found.name[:51]}.{mark}")
            self._chosen[key] = found
        return found

    def _named(self, name: str, default: Agent) -> Agent:
        return next((each for each in self._chosen.values() if each.name == name), default)


class _Batch:
    """One run over the lines of a batch."""

    def __init__(
        self,
        runtime: Runtime,
        agents: _Agents,
        results: Results,
        parallel: int,
        total: int | None,
    ) -> None:
        self._runtime = runtime
        self._agents = agents
        self._results = results
        self._parallel = parallel
        self._total = total
        self._places = trio.Semaphore(parallel)
        self._moved = trio.lowlevel.ParkingLot()
        # The end of the last line of each session that has not ended, for the next one of it.
        self._last: dict[str, trio.Event] = {}
        self._done = self._kept = self._failed = 0
        self._first_failure = math.inf
        self.code = 0

    async def run(self, lines: BatchLines, outlet: Outlet) -> None:
        async with trio.open_nursery() as showing:
            if outlet.err_is_tty:
                showing.start_soon(self._show, outlet)
            async with trio.open_nursery() as working:
                while (asked := await lines.next()) is not None:
                    await self._begin(asked, working)
            showing.cancel_scope.cancel(reason="all lines have ended")
        await self._say_end(outlet)

    async def _begin(self, asked: Asked, working: trio.Nursery) -> None:
        known = self._results.known(asked.number, asked.id)
        if known is not None:
            self._kept += 1
            self._count(asked.number, known)
            await self._results.add(asked.number, known)
            return
        while asked.number - self._results.written > self._parallel * WINDOW_FACTOR:
            await self._moved.park()
        before = after = None
        if asked.session is not None:
            before, after = self._last.get(asked.session), trio.Event()
            self._last[asked.session] = after
        else:
            # Those of a session take their place when it is their turn.
            await self._places.acquire()
        working.start_soon(self._work, asked, before, after)

    async def _work(
        self, asked: Asked, before: trio.Event | None, after: trio.Event | None
    ) -> None:
        held = asked.session is None
        try:
            if before is not None:
                await before.wait()
            if not held:
                await self._places.acquire()
                held = True
            result = await self._answer(asked)
            if _code_of(result):
                # What fails while this is being ended may fail because of it: the line comes again.
                await trio.lowlevel.checkpoint_if_cancelled()
            self._count(asked.number, result)
            await self._results.add(asked.number, result)
        finally:
            if held:
                self._places.release()
            if after is not None:
                after.set()
                if self._last.get(asked.session or "") is after:
                    del self._last[asked.session or ""]
        self._moved.unpark_all()

    async def _answer(self, asked: Asked) -> Result:
        told: dict[str, Any] = {"id": asked.id}
        if asked.session is not None:
            told["session"] = asked.session
        try:
            if asked.problem is not None:
                raise asked.problem
            agent = self._agents.of(asked)
            if asked.session is None:
                result = await self._alone(agent, asked.prompt)
            else:
                result = await self._in_session(agent, asked)
        except ActrioError as error:
            return {**told, "error": _error(error)}
        return {**told, **_told(result)}

    async def _alone(self, agent: Agent, prompt: str) -> TurnResult:
        async with self._runtime.session(agent) as session, session.turn(prompt) as turn:
            async for event in turn:
                if isinstance(event, ApprovalRequested):
                    await _deny(session, event)
        return turn.result

    async def _in_session(self, agent: Agent, asked: Asked) -> TurnResult:
        """Run a turn of a kept session once, also where an earlier run has begun or ended it."""
        assert asked.session is not None
        session = await self._runtime.open_session(agent, id=asked.session)
        outcome: TurnResult | ActrioError
        async with trio.open_nursery() as denying:
            try:
                await denying.start(_deny_all, session)
                outcome = await self._once(session, asked)
            except ActrioError as error:
                outcome = error
            denying.cancel_scope.cancel(reason="the turn has ended")
        # Not where this is cancelled: then the runtime's end leaves the turn to be continued.
        await self._runtime.close_session(session.id)
        if isinstance(outcome, ActrioError):
            raise outcome
        return outcome

    async def _once(self, session: Session, asked: Asked) -> TurnResult:
        key = f"batch {self._results.batch} line {asked.number}"
        turn = f"t_{hashlib.sha256(key.encode()).hexdigest()[:12]}"
        accepted = await session.submit(asked.prompt, id=turn, key=key, caller="batch")
        result = await session.wait(accepted.turn)
        return await _continued(session, turn, result) if accepted.joined else result

    # -- how it goes -----------------------------------------------------------------------------

    def _count(self, number: int, result: Result) -> None:
        self._done += 1
        code = _code_of(result)
        if code:
            self._failed += 1
            if number < self._first_failure:
                self._first_failure, self.code = number, code

    async def _show(self, outlet: Outlet) -> None:
        began = trio.current_time()
        while True:
            seconds = max(trio.current_time() - began, PROGRESS_SECONDS)
            await outlet.progress(self._bar((self._done - self._kept) / seconds))
            await trio.sleep(PROGRESS_SECONDS)

    def _bar(self, per_second: float) -> str:
        told = f"{self._failed} failed  {per_second:.1f}/s"
        if not self._total:
            return f"{self._done} done  {told}"
        filled = BAR_CHARACTERS * min(self._done, self._total) // self._total
        bar = "█" * filled + "░" * (BAR_CHARACTERS - filled)
        return f"{bar} {self._done}/{self._total}  {told}"

    async def _say_end(self, outlet: Outlet) -> None:
        if outlet.err_is_tty:
            await outlet.progress("")
        kept = f", {self._kept} of them by an earlier run" if self._kept else ""
        await outlet.remark(f"({self._done} lines{kept}; {self._failed} failed)")


async def _deny(session: Session, event: ApprovalRequested) -> None:
    decision, note = await nobody_decides(event)
    try:
        await session.answer(event.approval, decision, by="user", note=note)
    except (NotFound, Conflict):
        return  # decided elsewhere, or its turn has ended


async def _deny_all(
    session: Session, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    async with session.subscribe() as events:
        task_status.started()
        async for event in events:
            if isinstance(event, ApprovalRequested):
                await _deny(session, event)


async def _continued(session: Session, turn: str, result: TurnResult) -> TurnResult:
    """Return the result of a turn that a killed process has left, continued where it was cut off.

    Each continuation has a name that follows from the turn's, so that there is never a second one.
    """
    last = turn
    for number in range(1, RESUMES_MAX + 1):
        name = f"{turn}-{number}"
        try:
            result = await session.wait(name)
        except NotFound:
            try:
                await session.resume(last, id=name)
            except Conflict:
                return result  # it had ended by itself
            return await session.wait(name)
        last = name
    return result


def _told(result: TurnResult) -> dict[str, Any]:
    told: dict[str, Any] = {
        "turn": result.turn,
        "outcome": result.outcome,
        "stop_reason": result.stop_reason,
        "text": redact(result.text),
        "usage": attrs.asdict(result.usage),
        "steps": result.steps,
    }
    if result.output is not None:
        told["output"] = result.output
    if result.error is not None:
        told["error"] = _error(result.error)
    return told


def _error(error: ActrioError) -> dict[str, Any]:
    told = error_to_dict(error)
    return told | {name: redact(told[name]) for name in ("message", "remedy") if name in told}


def _code_of(result: Result) -> int:
    """Return the exit code that a result stands for; 0 only where the turn ended by itself."""
    error = result.get("error")
    if isinstance(error, dict):
        codes = KINDS.get(str(error.get("kind")), KINDS["internal"])
        again = error.get("kind") == "provider_error" and error.get("retryable")
        return KINDS["overloaded"].exit if again else codes.exit
    return 0 if result.get("stop_reason") in FREE_ENDS else 1
