"""``actrio sessions``: what is kept, and what can be done with it."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs
import trio

from actrio.cli._folders import kept_in_files
from actrio.cli._interrupt import Interruption, until_interrupted
from actrio.cli._outlet import Outlet
from actrio.errors import ActrioError, Conflict, InvalidRequest, NotFound, StorageUnavailable
from actrio.journal import (
    Record,
    RepairReport,
    StoredRecord,
    VerifyReport,
    record_codec,
    repair,
    verify,
)
from actrio.messages import (
    AssistantMessage,
    SessionView,
    ToolMessage,
    UserMessage,
)
from actrio.runtime import (
    LoadedSettings,
    Runtime,
    duration_seconds,
    load_settings,
    open_runtime,
    store_place,
)
from actrio.sessions import exported, fold
from actrio.wire import event_to_json, json_line, plain

if TYPE_CHECKING:
    from actrio.cli._app import Common

__all__ = [
    "export_session",
    "fork_session",
    "import_session",
    "in_runtime",
    "list_sessions",
    "prune_sessions",
    "repair_store",
    "replay_session",
    "rewind_session",
    "show_session",
    "verify_store",
]

EXPORT_FORMAT: Final = "actrio.session/1"

LINE_BYTES_MAX: Final = 128 * 1024 * 1024
"""Longest line of an exported session: one record with the largest value that a blob may have."""

IMPORT_AT_ONCE: Final = 100
"""Records of one append: few enough for one frame of the store."""


async def in_runtime(
    common: Common, work: Callable[[Runtime, Outlet, LoadedSettings], Awaitable[int]]
) -> int:
    async def opened(_interruption: Interruption) -> int:
        loaded = load_settings(config=common.config)
        async with open_runtime(kept_in_files(loaded.settings), env=loaded.env) as runtime:
            return await work(runtime, Outlet(), loaded)

    return await until_interrupted(opened)


async def list_sessions(*, after: str, limit: int, as_json: bool, common: Common) -> int:
    """Print the sessions of the store, one line each."""

    async def work(runtime: Runtime, outlet: Outlet, _loaded: LoadedSettings) -> int:
        entries = await runtime.sessions(after=after, limit=limit)
        if as_json:
            for entry in entries:
                await outlet.raw(json_line(attrs.asdict(entry)))
            return 0
        for entry in entries:
            marks = [f"{entry.last_seq} records"]
            if entry.owner:
                marks.append(f"open in {entry.owner}")
            if entry.waiting:
                marks.append("waits for a person")
            await outlet.answer(f"{entry.session}  {_when(entry.updated)}  {', '.join(marks)}\n")
        if len(entries) == limit:
            await outlet.remark(f"(more: actrio sessions list --after {entries[-1].session})")
        elif not entries:
            await outlet.remark("(no session is kept here)")
        return 0

    return await in_runtime(common, work)


async def show_session(session: str, *, as_json: bool, common: Common) -> int:
    """Print one session: what it is, its latest turns with their record numbers, its history."""

    async def work(runtime: Runtime, outlet: Outlet, _loaded: LoadedSettings) -> int:
        view = await runtime.view(session)
        if as_json:
            await outlet.raw(json_line(plain(view)))
        else:
            await outlet.answer("".join(f"{line}\n" for line in _view_lines(view)))
        return 0

    return await in_runtime(common, work)


def _when(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def _view_lines(view: SessionView) -> Sequence[str]:
    metrics = view.metrics
    lines = [
        f"session   {view.session}  ({view.status})",
        f"agent     {view.agent}" + (f" on {view.model}" if view.model else ""),
        f"created   {_when(view.created_at)}, last written {_when(view.updated_at)}",
        f"records   {view.last_seq}, events {view.seq}",
        f"used      {metrics.runs} turns, {metrics.steps} model calls, {metrics.tool_calls} tools",
        f"tokens    {metrics.usage.input_tokens} in, {metrics.usage.output_tokens} out",
    ]
    if view.user:
        lines.insert(2, f"user      {view.user}")
    if view.parent:
        lines.append(f"fork of   {view.parent} at record {view.parent_seq}")
    if view.state:
        lines.append(f"state     {json.dumps(dict(view.state), ensure_ascii=False)}")
    if view.turns:
        lines += ["", "latest turns (first record, last record):"]
    for turn in view.turns:
        ending = f" ({turn.reason})" if turn.reason else ""
        more = ", can be continued" if turn.resumable else ""
        lines.append(f"  {turn.turn}  {turn.seq}-{turn.end_seq or '…'}  {turn.state}{ending}{more}")
    for pending in view.approvals:
        lines += ["", f"waits for a person: {pending.approval}: {pending.question}"]
        if pending.call is not None:
            lines.append(f"  {pending.call.name} {pending.call.arguments}")
    lines += ["", "history:"]
    for message in view.history:
        match message:
            case UserMessage():
                lines.append(f"  user: {message.text}")
            case AssistantMessage():
                lines.append(f"  agent: {message.shown}")
                lines += [f"    → {call.name} {call.arguments}" for call in message.tool_calls]
            case ToolMessage(results):
                lines += [f"    ← {result.name} {result.text}" for result in results]
    return lines


async def replay_session(session: str, *, from_seq: int, common: Common) -> int:
    """Print a session's recorded events as JSON lines; nothing is called or run."""

    async def work(runtime: Runtime, outlet: Outlet, _loaded: LoadedSettings) -> int:
        await runtime.view(session)
        seq = from_seq
        while events := await runtime.events(session, from_seq=seq):
            for event in events:
                await outlet.raw(event_to_json(event))
            seq = events[-1].seq
        return 0

    return await in_runtime(common, work)


async def fork_session(session: str, *, at: int | None, name: str | None, common: Common) -> int:
    """Make a session that begins with the history of another; print its id."""

    async def work(runtime: Runtime, outlet: Outlet, _loaded: LoadedSettings) -> int:
        child = await runtime.fork(session, at=at, new_id=name)
        await outlet.answer(f"{child}\n")
        return 0

    return await in_runtime(common, work)


async def rewind_session(session: str, *, to: int, common: Common) -> int:
    """Take back what came after a record."""

    async def work(runtime: Runtime, outlet: Outlet, _loaded: LoadedSettings) -> int:
        view = await runtime.rewind(session, to)
        await outlet.remark(f"({session} goes on from record {to}: {len(view.history)} messages)")
        return 0

    return await in_runtime(common, work)


async def export_session(session: str, *, to: Path | None, common: Common) -> int:
    """Write a session as JSON lines: one that says what follows, then its records."""

    async def work(runtime: Runtime, outlet: Outlet, _loaded: LoadedSettings) -> int:
        records = await exported(runtime.store, session)
        lines = [json_line({"format": EXPORT_FORMAT, "session": session})]
        for stored in records:
            place = {"seq": stored.seq, "ts": stored.ts}
            lines.append(json_line({**place, **record_codec.to_dict(stored.record)}))
        if to is None:
            for line in lines:
                await outlet.raw(line)
        else:
            try:
                await trio.Path(to).write_bytes(b"".join(lines))
            except OSError as error:
                raise StorageUnavailable(
                    f"{to} cannot be written: {error.strerror}.", remedy="Name another file."
                ) from error
            await outlet.remark(f"({len(records)} records in {to})")
        return 0

    return await in_runtime(common, work)


async def import_session(file: Path, *, name: str | None, common: Common) -> int:
    """Make a session of what `export_session` wrote."""

    async def work(runtime: Runtime, outlet: Outlet, _loaded: LoadedSettings) -> int:
        lines = (await _content_of(file)).splitlines()
        session, records = _read_export(file, lines)
        session = name or session
        if not session or "/" in session:
            raise InvalidRequest(
                f"{session!r} cannot be a session's id.",
                remedy="Import under --as NAME, without a slash.",
            )
        claim = await runtime.store.claim(session, "import")
        try:
            if claim.last_seq:
                raise Conflict(
                    f"There is a session {session} already.", remedy="Import under --as NAME."
                )
            for begin in range(0, len(records), IMPORT_AT_ONCE):
                part = records[begin : begin + IMPORT_AT_ONCE]
                await runtime.store.append(session, claim.epoch, begin, part)
        finally:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + 1):
                await runtime.store.release(claim)
        await runtime.view(session)
        await outlet.answer(f"{session}\n")
        return 0

    return await in_runtime(common, work)


async def _content_of(file: Path) -> bytes:
    try:
        return await trio.Path(file).read_bytes()
    except FileNotFoundError as error:
        raise NotFound(f"There is no file {file}.", remedy="Check its name.") from error
    except OSError as error:
        raise StorageUnavailable(
            f"{file} cannot be read: {error.strerror}.", remedy="Check who may read it."
        ) from error


def _read_export(file: Path, lines: Sequence[bytes]) -> tuple[str, list[Record]]:
    """Return the id and the records of an exported session; all of it is checked.

    Raises:
        InvalidRequest: It is something else, or what it tells makes no session.
    """
    try:
        head, *rows = (json.loads(line) for line in lines if line.strip())
        if head.get("format") != EXPORT_FORMAT:
            raise ValueError(f"its format is not {EXPORT_FORMAT}")
        records = [
            record_codec.from_dict({key: row.get(key) for key in ("kind", "v", "body")})
            for row in rows
        ]
        # What cannot be folded must not get into the store: it could never be opened.
        state = fold("", (StoredRecord(n, 0, 0.0, each) for n, each in enumerate(records, 1)))
        if not state.agent:
            raise ValueError("it does not begin with a session's creation")
    except (ValueError, AttributeError, LookupError, AssertionError, ActrioError) as error:
        told = error.message if isinstance(error, ActrioError) else str(error)
        raise InvalidRequest(
            f"{file} is no exported session: {told.rstrip('.')}.",
            remedy="Pass a file that `actrio sessions export` wrote.",
        ) from error
    return str(head.get("session") or ""), records


async def verify_store(*, as_json: bool, common: Common) -> int:
    """Check every byte of the store; 1 where something does not check."""

    async def work(_interruption: Interruption) -> int:
        outlet, place = Outlet(), _place(common)
        report = await verify(place) if place.exists() else VerifyReport(0, 0, 0, ())
        if as_json:
            await outlet.raw(json_line(attrs.asdict(report)))
        else:
            for problem in report.problems:
                whose = f" (session {problem.session})" if problem.session else ""
                where = f"{problem.file} at byte {problem.offset}"
                await outlet.answer(f"{where}: {problem.problem}{whose}\n")
            verdict = "all of it checks" if report.ok else "run: actrio sessions repair"
            await outlet.remark(
                f"({report.files} files, {report.frames} frames, {report.sessions} sessions:"
                f" {verdict})"
            )
        return 0 if report.ok else 1

    return await until_interrupted(work)


async def repair_store(*, common: Common) -> int:
    """Keep what is intact of a damaged store, and tell what was lost."""

    async def work(_interruption: Interruption) -> int:
        outlet, place = Outlet(), _place(common)
        report = await repair(place) if place.exists() else RepairReport()
        for lost in report.lost:
            await outlet.answer(
                f"lost: records {lost.first_seq} to {lost.last_seq} of session {lost.session}\n"
            )
        for file in report.files:
            await outlet.answer(f"rewritten: {file.file}, copied before to {file.copy}\n")
        if not (report.files or report.lost or report.ranges):
            await outlet.remark("(nothing was damaged)")
        return 0

    return await until_interrupted(work)


def _place(common: Common) -> Path:
    loaded = load_settings(config=common.config)
    return store_place(loaded.settings.store, loaded.env)


async def prune_sessions(*, older_than: str, common: Common) -> int:
    """Remove sessions that were not used for long, and give back the room."""
    seconds = duration_seconds(older_than, "--older-than")

    async def work(runtime: Runtime, outlet: Outlet, _loaded: LoadedSettings) -> int:
        removed = await runtime.prune(seconds)
        compacted = await runtime.store.compact()
        blobs = await runtime.store.collect(3600)
        await outlet.remark(
            f"({removed} sessions removed; records {compacted.bytes_before} →"
            f" {compacted.bytes_after} bytes; blobs {blobs.bytes_before} → {blobs.bytes_after}"
            " bytes)"
        )
        return 0

    return await in_runtime(common, work)
