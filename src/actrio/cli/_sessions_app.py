"""The grammar of ``actrio sessions``; each command imports what it does only when it is called."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated

import cyclopts
from cyclopts import App, Parameter

from actrio.cli._app import Common, Who

__all__ = ["make_sessions_app"]

COMMON = Common()
NOBODY = Who()

EPILOGUE = """\
Examples:
  actrio sessions list
  actrio sessions show support-42
  actrio sessions fork support-42 --at 17 --as support-42-again
  actrio sessions export support-42 > support-42.jsonl
  actrio sessions prune --older-than 30d

Sessions are kept where the settings' [store] table says; by default in
ACTRIO_DATA_DIR, or else in your data folder.
"""


async def list_(
    *,
    after: str = "",
    limit: Annotated[int, Parameter(validator=cyclopts.validators.Number(gte=1, lte=10_000))] = 100,
    json: bool = False,
    common: Common = COMMON,
) -> int:
    """List the sessions that are kept.

    Parameters
    ----------
    after
        Begin behind this session.
    limit
        How many, at most.
    json
        Write JSON lines instead of text.
    """
    from actrio.cli._sessions import list_sessions

    return await list_sessions(after=after, limit=limit, as_json=json, common=common)


async def show(session: str, /, *, json: bool = False, common: Common = COMMON) -> int:
    """Show a session: its turns with their record numbers, its history, what it has used.

    Parameters
    ----------
    session
        Its id.
    json
        Write one JSON object instead of text.
    """
    from actrio.cli._sessions import show_session

    return await show_session(session, as_json=json, common=common)


async def replay(session: str, /, *, from_seq: int = 0, common: Common = COMMON) -> int:
    """Write a session's recorded events as JSON lines. No model is called, no tool is run.

    Parameters
    ----------
    session
        Its id.
    from_seq
        Begin behind this event.
    """
    from actrio.cli._sessions import replay_session

    return await replay_session(session, from_seq=from_seq, common=common)


async def fork(
    session: str,
    /,
    *,
    at: int | None = None,
    name: Annotated[str | None, Parameter(name="--as")] = None,
    common: Common = COMMON,
) -> int:
    """Make a session that begins with the history of another, and print its id.

    Parameters
    ----------
    session
        The one to begin with.
    at
        Its last record that counts; all by default.
    name
        The new session's id.
    """
    from actrio.cli._sessions import fork_session

    return await fork_session(session, at=at, name=name, common=common)


async def rewind(session: str, /, *, to: int, common: Common = COMMON) -> int:
    """Take back what came after a record. It stays in the journal, and no longer counts.

    Parameters
    ----------
    session
        Its id.
    to
        The last record that counts; show lists where turns begin and end.
    """
    from actrio.cli._sessions import rewind_session

    return await rewind_session(session, to=to, common=common)


async def export(session: str, file: Path | None = None, /, *, common: Common = COMMON) -> int:
    """Write a session as JSON lines, whole and by itself.

    Parameters
    ----------
    session
        Its id.
    file
        Where to; standard output by default.
    """
    from actrio.cli._sessions import export_session

    return await export_session(session, to=file, common=common)


async def import_(
    file: Path,
    /,
    *,
    name: Annotated[str | None, Parameter(name="--as")] = None,
    common: Common = COMMON,
) -> int:
    """Make a session of an exported file, and print its id.

    Parameters
    ----------
    file
        What export wrote.
    name
        The session's id; the exported one's by default.
    """
    from actrio.cli._sessions import import_session

    return await import_session(file, name=name, common=common)


async def answer(
    session: str,
    approval: str | None = None,
    /,
    *,
    deny: bool = False,
    text: str = "",
    note: Annotated[str, Parameter(help="What the model is told with the decision.")] = "",
    who: Who = NOBODY,
    common: Common = COMMON,
) -> int:
    """Approve, deny or answer what a session waits for, and run its turn to the end.

    Parameters
    ----------
    session
        Its id.
    approval
        What is decided; the oldest by default.
    deny
        Say no.
    text
        The answer to a tool's question.
    """
    from actrio.cli._sessions_answer import answer_approval

    return await answer_approval(
        session, approval, deny=deny, text=text, note=note, who=who, common=common
    )


async def verify(*, json: bool = False, common: Common = COMMON) -> int:
    """Check every byte that is kept; the exit code is 1 where something does not check.

    Parameters
    ----------
    json
        Write one JSON object instead of text.
    """
    from actrio.cli._sessions import verify_store

    return await verify_store(as_json=json, common=common)


async def repair(*, common: Common = COMMON) -> int:
    """Keep what is intact of a damaged store, and tell what was lost. It invents nothing."""
    from actrio.cli._sessions import repair_store

    return await repair_store(common=common)


async def prune(*, older_than: str, common: Common = COMMON) -> int:
    """Remove sessions that were not used for long, and give their room back.

    Parameters
    ----------
    older_than
        How long ago they were last written: a number and s, m, h, d or w, for example 30d.
    """
    from actrio.cli._sessions import prune_sessions

    return await prune_sessions(older_than=older_than, common=common)


def make_sessions_app() -> App:
    """Return the grammar of the commands about sessions."""
    app = App(
        name="sessions",
        help="What is kept of conversations.",
        help_epilogue=EPILOGUE,
        default_parameter=Parameter(negative=""),
    )
    named: dict[str, Callable[..., Awaitable[int]]] = {
        "list": list_,
        "show": show,
        "replay": replay,
        "fork": fork,
        "rewind": rewind,
        "export": export,
        "import": import_,
        "answer": answer,
        "verify": verify,
        "repair": repair,
        "prune": prune,
    }
    for name, command in named.items():
        app.command(command, name=name, help_epilogue="")
    return app
