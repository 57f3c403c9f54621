"""Native routes: sessions, and what can be done with one beside turns."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from actrio.http._call import Answer, Call, json_answer
from actrio.http._native_turns import RUNNING
from actrio.http._native_types import (
    CloseBody,
    CompactBody,
    ForkBody,
    RewindBody,
    SessionBody,
    SessionListed,
    SessionsPage,
    StateBody,
)
from actrio.http._operations import Operation, Parameter, Reply
from actrio.http._values import view_to_dict
from actrio.wire import plain

__all__ = ["NATIVE_SESSIONS"]

_SESSION: Final = msgspec.json.Decoder(SessionBody)
_CLOSE: Final = msgspec.json.Decoder(CloseBody)
_FORK: Final = msgspec.json.Decoder(ForkBody)
_REWIND: Final = msgspec.json.Decoder(RewindBody)
_COMPACT: Final = msgspec.json.Decoder(CompactBody)
_STATE: Final = msgspec.json.Decoder(StateBody)

_PAGE_MAX: Final = 1000


async def _list(call: Call) -> Answer:
    limit = call.count("limit", 100, most=_PAGE_MAX)
    found = await call.desk.runtime.sessions(after=call.query("after") or "", limit=limit)
    listed = [
        SessionListed(each.session, each.updated, each.created, each.waiting, each.owner)
        for each in found
    ]
    after = found[-1].session if len(found) == limit else ""
    return json_answer(SessionsPage(listed, after))


async def _create(call: Call) -> Answer:
    body: SessionBody = await call.read(_SESSION)
    desk = call.desk
    agent = desk.agents.get(body.agent).agent
    session = await desk.runtime.open_session(
        agent, id=body.id, user=body.user, labels=body.labels, insist=body.insist
    )
    try:
        view = await session.view()
    finally:
        await desk.runtime.close_session(session.id, mode="detach")
    location = (b"location", f"/v1/sessions/{session.id}".encode())
    return json_answer(view_to_dict(view), 201, (location,))


async def _get(call: Call) -> Answer:
    return json_answer(view_to_dict(await call.desk.runtime.view(call.path["session"])))


async def _delete(call: Call) -> Answer:
    await call.desk.runtime.delete_session(call.path["session"])
    return Answer(204)


async def _close(call: Call) -> Answer:
    body: CloseBody = await call.read(_CLOSE)
    # Other requests may hold it as well, so its turns are ended here and not by letting go.
    async with call.while_here(), call.desk.held(call.path["session"]) as session:
        turns = [each for each in (await session.view()).turns if each.state in RUNNING]
        for each in turns if body.mode == "cancel" else ():
            session.cancel(each.turn, reason="closed")
        for each in turns if body.mode != "detach" else ():
            if body.mode == "cancel" or each.state != "waiting":  # for a person, perhaps for days
                await session.wait(each.turn)
        view = await session.view()
    return json_answer(view_to_dict(view))


async def _fork(call: Call) -> Answer:
    body: ForkBody = await call.read(_FORK)
    runtime = call.desk.runtime
    new_id = await runtime.fork(call.path["session"], at=body.at, new_id=body.id)
    location = (b"location", f"/v1/sessions/{new_id}".encode())
    return json_answer(view_to_dict(await runtime.view(new_id)), 201, (location,))


async def _rewind(call: Call) -> Answer:
    body: RewindBody = await call.read(_REWIND)
    view = await call.desk.runtime.rewind(call.path["session"], body.to)
    return json_answer(view_to_dict(view))


async def _compact(call: Call) -> Answer:
    body: CompactBody = await call.read(_COMPACT)
    async with call.desk.held(call.path["session"]) as session:
        view = await session.compact(body.summary, messages=body.messages)
    return json_answer(view_to_dict(view))


async def _state(call: Call) -> Answer:
    body: StateBody = await call.read(_STATE)
    async with call.desk.held(call.path["session"]) as session:
        state = await session.change_state(body.values, remove=body.remove, by=call.caller.name)
    return json_answer({"state": plain(state)})


_VIEW: Final = dict[str, Any]

NATIVE_SESSIONS = (
    Operation(
        id="listSessions",
        method="GET",
        path="/v1/sessions",
        summary="All sessions of the store, in the order of their ids.",
        tag="sessions",
        endpoint=_list,
        parameters=(
            Parameter("after", "Begin behind this id."),
            Parameter(
                "limit",
                "Most sessions of one answer.",
                schema={"type": "integer", "minimum": 1, "maximum": _PAGE_MAX},
            ),
        ),
        replies={200: Reply("A page.", SessionsPage)},
        fails=(507,),
    ),
    Operation(
        id="createSession",
        method="POST",
        path="/v1/sessions",
        summary="Open a session.",
        tag="sessions",
        endpoint=_create,
        body=SessionBody,
        replies={201: Reply("The session.", _VIEW)},
        fails=(404, 409, 507),
    ),
    Operation(
        id="getSessionNative",
        method="GET",
        path="/v1/sessions/{session}",
        summary="A session: history, state, turns, approvals, usage.",
        tag="sessions",
        endpoint=_get,
        replies={200: Reply("The session.", _VIEW)},
        fails=(404, 422, 507),
    ),
    Operation(
        id="deleteSession",
        method="DELETE",
        path="/v1/sessions/{session}",
        summary="End its turns and remove it with all its records.",
        tag="sessions",
        endpoint=_delete,
        replies={204: Reply("It is gone.")},
        fails=(404, 409, 422, 507),
    ),
    Operation(
        id="closeSession",
        method="POST",
        path="/v1/sessions/{session}:close",
        summary="Let go of it: its turns go on, are waited for, or end now.",
        tag="sessions",
        endpoint=_close,
        body=CloseBody,
        body_required=False,
        replies={200: Reply("The session.", _VIEW)},
        fails=(404, 409, 507),
    ),
    Operation(
        id="forkSession",
        method="POST",
        path="/v1/sessions/{session}:fork",
        summary="A new session that begins with the history of this one.",
        tag="sessions",
        endpoint=_fork,
        body=ForkBody,
        body_required=False,
        replies={201: Reply("The new session.", _VIEW)},
        fails=(404, 409, 507),
    ),
    Operation(
        id="rewindSession",
        method="POST",
        path="/v1/sessions/{session}:rewind",
        summary="Take back what came after a record.",
        tag="sessions",
        endpoint=_rewind,
        body=RewindBody,
        replies={200: Reply("The session.", _VIEW)},
        fails=(404, 409, 507),
    ),
    Operation(
        id="compactSession",
        method="POST",
        path="/v1/sessions/{session}:compact",
        summary="Let a summary stand for the oldest messages.",
        tag="sessions",
        endpoint=_compact,
        body=CompactBody,
        replies={200: Reply("The session.", _VIEW)},
        fails=(404, 409, 507),
    ),
    Operation(
        id="changeState",
        method="PATCH",
        path="/v1/sessions/{session}/state",
        summary="Change the session's state.",
        tag="sessions",
        endpoint=_state,
        body=StateBody,
        replies={200: Reply("The state.", _VIEW)},
        fails=(404, 409, 507),
    ),
)
