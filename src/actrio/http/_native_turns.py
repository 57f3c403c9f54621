"""Native routes: turns. A turn belongs to its session and goes on whoever listens."""

from __future__ import annotations

import hashlib
from typing import Any, Final

import msgspec

from actrio.errors import Conflict, InvalidRequest, NotFound, Overloaded
from actrio.http._call import Answer, Call, Refused, json_answer
from actrio.http._events import events_location, follow_turn
from actrio.http._native_types import SteerBody, TurnBody, TurnShown
from actrio.http._operations import Operation, Parameter, Reply
from actrio.http._problems import Refusal
from actrio.http._seed_types import timeout_seconds_of
from actrio.http._values import result_to_dict
from actrio.messages import Document, Image, Text, TurnAccepted
from actrio.sessions import Session

__all__ = ["NATIVE_TURNS", "RUNNING", "submit_turn"]

_TURN: Final = msgspec.json.Decoder(TurnBody)
_STEER: Final = msgspec.json.Decoder(SteerBody)

_KEY_CHARACTERS_MAX: Final = 200
RUNNING: Final = frozenset({"queued", "running", "waiting"})


async def _start(call: Call) -> Answer | None:
    body: TurnBody = await call.read(_TURN)
    wait = call.truth("wait") or False
    async with call.desk.held(call.path["session"]) as session:
        accepted = await submit_turn(call, session, body)
        location = (b"location", events_location(accepted).encode())
        if wait:
            return await _waited(call, session, accepted, location)
        if call.wants_events:
            try:
                await follow_turn(call, session, accepted, headers=(location,))
            except Overloaded:
                # Too many listen already. It is accepted all the same: 202, and listen later.
                pass
            else:
                return None
        state = "queued" if accepted.position else "running"
        if accepted.joined:
            turns = (await session.view()).turns
            state = next((each.state for each in turns if each.turn == accepted.turn), "ended")
    shown = TurnShown(
        accepted.turn,
        accepted.session,
        state,
        accepted.position,
        accepted.seq,
        accepted.joined,
    )
    return json_answer(shown, 202, (location,))


async def _waited(
    call: Call, session: Session, accepted: TurnAccepted, location: tuple[bytes, bytes]
) -> Answer:
    """Return the result of a turn, or raise its failure, for a client that has only this request.

    Raises:
        ActrioError: The turn failed or was cancelled.
        Gone: The client left.
    """
    result = None
    try:
        async with call.while_here():
            result = await session.wait(accepted.turn)
    finally:
        if result is None and call.desk.settings.on_disconnect == "cancel":
            session.cancel(accepted.turn, reason="client_gone")
    assert result is not None
    result.raise_for_outcome()
    told = result_to_dict(result)
    shown = TurnShown(accepted.turn, accepted.session, result.outcome, result=told)
    return json_answer(shown, 200, (location,))


def _deadline_seconds(call: Call, session: Session, body: TurnBody) -> float | None:
    if body.deadline_ms is not None:
        return body.deadline_ms / 1000
    try:
        return timeout_seconds_of(call.desk.agents.get(session.agent.name))
    except NotFound:
        return None  # an agent of the program that is not offered here


async def submit_turn(call: Call, session: Session, body: TurnBody) -> TurnAccepted:
    """Hand a turn to its session.

    With an ``Idempotency-Key`` the turn's id tells which body it was made of, so that the same key
    with another body is found out, also after a restart.

    Raises:
        InvalidRequest: There is no content, or two.
        Conflict: The session is busy, and the policy is to refuse.
        Overloaded: As many turns wait as may.
        Refused: The key was used with another body (422).
    """
    key = call.headers.get("idempotency-key", "")
    if len(key) > _KEY_CHARACTERS_MAX or not key.isprintable():
        raise InvalidRequest(
            "The Idempotency-Key cannot be used.",
            remedy=f"Send at most {_KEY_CHARACTERS_MAX} printable characters.",
        )
    id = body.id
    if key and id is None:
        id = f"t_{_digest(key.encode(), 12)}{_digest(msgspec.json.encode(body), 12)}"
    seconds = _deadline_seconds(call, session, body)
    if seconds is not None:
        call.desk.deadlines.check_room()
    accepted = await session.submit(
        _content(body), if_busy=body.if_busy, id=id, key=key, caller=call.caller.name
    )
    if accepted.joined and accepted.turn != id:
        raise Refused(
            Refusal(
                status=422,
                kind="invalid_params",
                message="This Idempotency-Key was used with another body.",
                remedy="Use a new key for another turn.",
                details={"turn": accepted.turn},
            )
        )
    call.desk.remember_turn(accepted)
    if seconds is not None and not accepted.joined:
        await call.desk.deadlines.add(session.id, accepted.turn, seconds)
    return accepted


def _digest(data: bytes, length: int) -> str:
    return hashlib.sha256(data).hexdigest()[:length]


def _content(body: TurnBody) -> str | list[Text | Image | Document]:
    if (body.prompt is None) == (body.parts is None):
        raise InvalidRequest(
            "A turn needs exactly one of prompt and parts.",
            remedy="Send one of them.",
            data={"pointer": "/prompt"},
        )
    if body.prompt is not None:
        return body.prompt
    return [each.part() for each in body.parts or ()]


async def _get(call: Call) -> Answer:
    name, turn = call.path["session"], call.path["turn"]
    wait = call.truth("wait") or False
    view = await call.desk.runtime.view(name)
    found = next((each for each in view.turns if each.turn == turn), None)
    if found is not None and found.state in RUNNING and not wait:
        return json_answer(TurnShown(turn, name, found.state))
    async with call.while_here(), call.desk.held(name) as session:
        result = await session.wait(turn)
    shown = TurnShown(turn, name, result.outcome, result=result_to_dict(result))
    return json_answer(shown)


async def _cancel(call: Call) -> Answer:
    turn = call.path["turn"]
    name = call.path.get("session") or _session_of(call, turn)
    async with call.desk.held(name) as session:
        view = await session.view()
        found = next((each for each in view.turns if each.turn == turn), None)
        if found is None:
            raise _no_turn(turn)
        running = found.state in RUNNING
        if running:
            session.cancel(turn)
    return json_answer({"turn": turn, "session": name, "cancelled": running})


async def _steer(call: Call) -> Answer:
    turn = call.path["turn"]
    body: SteerBody = await call.read(_STEER)
    name = call.path.get("session") or _session_of(call, turn)
    async with call.desk.held(name) as session:
        view = await session.view()
        found = next((each for each in view.turns if each.turn == turn), None)
        if found is None:
            raise _no_turn(turn)
        if found.state != "running":
            raise Conflict(
                f"Turn {turn} does not run: it is {found.state}.",
                remedy="Send the message as a turn of its own.",
            )
        accepted = await session.submit(body.prompt, if_busy="steer", caller=call.caller.name)
    call.desk.remember_turn(accepted)
    shown = TurnShown(accepted.turn, name, "queued", accepted.position, accepted.seq)
    return json_answer(shown, 202)


async def _resume(call: Call) -> Answer:
    async with call.desk.held(call.path["session"]) as session:
        accepted = await session.resume(call.path["turn"])
    call.desk.remember_turn(accepted)
    shown = TurnShown(accepted.turn, accepted.session, "queued", accepted.position, accepted.seq)
    return json_answer(shown, 202, ((b"location", events_location(accepted).encode()),))


def _session_of(call: Call, turn: str) -> str:
    name = call.desk.session_of(turn)
    if name is None:
        raise NotFound(
            f"This server has not begun a turn {turn[:100]!r} lately.",
            remedy="Name its session: /v1/sessions/{session}/turns/{turn}:cancel.",
        )
    return name


def _no_turn(turn: str) -> NotFound:
    return NotFound(f"The session has no turn {turn[:100]!r}.", remedy="GET the session.")


_ANY: Final = dict[str, Any]
_KEY: Final = Parameter(
    "Idempotency-Key", "The same key and body join the same turn.", place="header"
)


def _named(id: str, path: str) -> tuple[Operation, Operation]:
    """Return cancel and steer below ``path``."""
    return (
        Operation(
            id=f"cancel{id}",
            method="POST",
            path=f"{path}:cancel",
            summary="End a turn; one that has ended is left as it is.",
            tag="turns",
            endpoint=_cancel,
            replies={200: Reply("Whether there was something to cancel.", _ANY)},
            fails=(404, 409, 422, 507),
        ),
        Operation(
            id=f"steer{id}",
            method="POST",
            path=f"{path}:steer",
            summary="Let the running turn take in a message before its next step.",
            tag="turns",
            endpoint=_steer,
            body=SteerBody,
            replies={202: Reply("The message, as a turn.", TurnShown)},
            fails=(404, 409, 507),
        ),
    )


NATIVE_TURNS = (
    Operation(
        id="startTurn",
        method="POST",
        path="/v1/sessions/{session}/turns",
        summary="Say something. 202 at acceptance, or with Accept: text/event-stream its events.",
        tag="turns",
        endpoint=_start,
        body=TurnBody,
        parameters=(
            _KEY,
            Parameter("wait", "Answer when the turn has ended.", schema={"type": "boolean"}),
        ),
        replies={
            200: Reply(
                "The turn's events; with ?wait=true its result.",
                TurnShown,
                ("application/json", "text/event-stream"),
            ),
            202: Reply("It is recorded and goes on by itself.", TurnShown),
        },
        fails=(404, 409, 501, 502, 504, 507),
        streams=True,
    ),
    Operation(
        id="getTurn",
        method="GET",
        path="/v1/sessions/{session}/turns/{turn}",
        summary="A turn; with ?wait=true when it has ended.",
        tag="turns",
        endpoint=_get,
        parameters=(Parameter("wait", "Wait for its end.", schema={"type": "boolean"}),),
        replies={200: Reply("The turn.", TurnShown)},
        fails=(404, 409, 422, 507),
    ),
    Operation(
        id="resumeTurn",
        method="POST",
        path="/v1/sessions/{session}/turns/{turn}:resume",
        summary="Continue a turn that a shutdown or a crash cut off.",
        tag="turns",
        endpoint=_resume,
        replies={202: Reply("The new turn.", TurnShown)},
        fails=(404, 409, 422, 507),
    ),
    *_named("Turn", "/v1/sessions/{session}/turns/{turn}"),
    *_named("TurnByItself", "/v1/turns/{turn}"),
)
