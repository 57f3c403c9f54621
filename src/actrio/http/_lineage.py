"""Responses as places in sessions: how ``previous_response_id`` outlives the process.

A response that is kept is a turn of a kept session, and its id names both, so nothing else has to
be remembered. Going on from the last one is the session's next turn; going on from an earlier one,
or from one that another request goes on from already, is a fork by reference at its record::

    resp_A·1 ── resp_A·2 ── resp_A·3          one session, A
         └── resp_B·4 ── resp_B·5             B, forked from A where turn 1 ended

A session cannot carry what the client alone knows: its own tools' calls, a history that it brings,
another model in the middle. Such responses are on the shelf (`actrio.http._shelf`), in memory. So
are all where sessions are in memory too: they would end with it, and a shelf is bounded.
"""

from __future__ import annotations

import re
import secrets
from typing import Final

import attrs

from actrio.errors import Conflict, NotFound
from actrio.journal import StoredRecord, TurnEnded
from actrio.messages import Message, SessionView, TurnEvent
from actrio.runtime import Runtime
from actrio.sessions import oldest_records, read_state

__all__ = [
    "LABEL",
    "Place",
    "events_of",
    "forget",
    "goes_on",
    "history_at",
    "new_line",
    "new_turn",
    "place_of",
    "previous_of",
    "response_id",
]

LABEL: Final = "openai.model"
"""Label of such a session: the model's name as the client gave it."""

_ID: Final = re.compile(r"resp_([0-9a-f]{16})([0-9a-f]{16})")

_PAGE: Final = 1000


@attrs.frozen(slots=True)
class Place:
    """Where a response stands.

    Attributes:
        seq: Number of the record that ended its turn.
        agent: Whose session it is.
    """

    session: str
    turn: str
    seq: int
    agent: str


def new_line() -> str:
    """Return the id of a session that begins."""
    return f"resp_{secrets.token_hex(8)}"


def new_turn() -> str:
    """Return the id of a turn that begins."""
    return f"t_{secrets.token_hex(8)}"


def response_id(session: str, turn: str) -> str:
    """Return the id of the response that is a turn of `new_turn` in a session of `new_line`."""
    return session + turn.removeprefix("t_")


def goes_on(view: SessionView, place: Place) -> bool:
    """Whether a response is the last thing that happened in its session."""
    return (
        view.status == "idle"
        and bool(view.turns)
        and view.turns[-1].turn == place.turn
        and view.turns[-1].state == "completed"
    )


async def place_of(runtime: Runtime, id: str) -> Place:
    """Return where a response stands.

    Raises:
        NotFound: It is not kept.
        StorageError: Its session cannot be read.
    """
    found = _ID.fullmatch(id)
    if found is None:
        raise no_response(id)
    session, turn = f"resp_{found[1]}", f"t_{found[2]}"
    try:
        view = await runtime.view(session)
    except NotFound:
        raise no_response(id) from None
    for each in view.turns:
        if each.turn == turn:
            if each.state != "completed":
                raise no_response(id)
            return Place(session, turn, each.end_seq, view.agent)
    # Only the latest turns are part of the state; older ones are in the records.
    for seq, ended in await _ended(runtime, session):
        if ended.turn == turn and ended.outcome == "completed":
            return Place(session, turn, seq, view.agent)
    raise no_response(id)


def no_response(id: str) -> NotFound:
    """Return the error of a response that is not there."""
    return NotFound(
        f"There is no response {id[:100]!r}, or it is no longer kept.",
        remedy="Send the conversation itself as input.",
        data={"param": "previous_response_id"},
    )


async def _ended(runtime: Runtime, session: str) -> list[tuple[int, TurnEnded]]:
    records: tuple[StoredRecord, ...] = await oldest_records(runtime.store, session)
    return [
        (stored.seq, stored.record) for stored in records if isinstance(stored.record, TurnEnded)
    ]


async def history_at(runtime: Runtime, place: Place) -> tuple[Message, ...]:
    """Return the conversation up to and with a response.

    Raises:
        NotFound: Its records are no longer kept.
    """
    return tuple((await read_state(runtime.store, place.session, place.seq)).history)


async def previous_of(runtime: Runtime, place: Place) -> str | None:
    """Return the id of the response that a response went on from."""
    before = [
        ended.turn
        for seq, ended in await _ended(runtime, place.session)
        if seq < place.seq and ended.outcome == "completed"
    ]
    if before:
        return response_id(place.session, before[-1])
    view = await runtime.view(place.session)
    if not view.parent:
        return None
    for seq, ended in await _ended(runtime, view.parent):
        if seq == view.parent_seq:
            return response_id(view.parent, ended.turn)
    return None


async def events_of(runtime: Runtime, place: Place) -> list[TurnEvent]:
    """Return the recorded events of a response's turn."""
    found: list[TurnEvent] = []
    position = 0
    while True:
        page = await runtime.events(place.session, from_seq=position, limit=_PAGE)
        found += [event for event in page if event.turn == place.turn]
        if len(page) < _PAGE:
            return found
        position = page[-1].seq


async def forget(runtime: Runtime, place: Place) -> None:
    """Remove the session of a response, where it holds no other one.

    Raises:
        Conflict: It does.
    """
    others = [ended.turn for _, ended in await _ended(runtime, place.session)]
    if others != [place.turn]:
        raise Conflict(
            "This response is one of a conversation that is kept as a whole.",
            remedy=f"DELETE /v1/sessions/{place.session} removes all of it.",
        )
    await runtime.delete_session(place.session)
