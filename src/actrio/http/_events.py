"""Event streams of sessions: from a bookmark on, live, and over when their turn is.

A client that comes back with ``Last-Event-ID`` gets every recorded event behind it, once. Deltas
carry no id: after a break, ``item.completed`` stands for those that were missed.
"""

from __future__ import annotations

from functools import partial
from typing import Final

from actrio.errors import NotFound
from actrio.feeds import Subscription
from actrio.http._call import Answer, Call, json_answer
from actrio.http._native_types import EventsPage
from actrio.http._operations import Operation, Parameter, Reply
from actrio.http._sse import event_frame, named_frame, retry_frame, starting_point
from actrio.http._stream import EventStream
from actrio.http._values import event_as_told, view_to_dict
from actrio.messages import TERMINAL_EVENTS, Gap, TurnAccepted
from actrio.sessions import Session
from actrio.wire import event_to_dict, json_line

__all__ = ["EVENTS", "events_location", "follow_turn", "stopping_frame"]

_PAGE_MAX: Final = 1000
_ENDED: Final = frozenset({"completed", "failed", "cancelled"})


def events_location(accepted: TurnAccepted) -> str:
    """Return the address of a turn's event stream."""
    return f"/v1/sessions/{accepted.session}/events?turn={accepted.turn}&from={_begin(accepted)}"


def _begin(accepted: TurnAccepted) -> int:
    # A turn that was joined may have begun, or ended, long before.
    return 0 if accepted.joined else accepted.seq


def stopping_frame() -> bytes:
    """Return what a native stream is told when the service stops; it can be resumed later."""
    told = {"message": "The service is stopping; the session stays.", "retry_after_ms": 2000}
    return b"retry: 2000\n" + named_frame("stopping", json_line(told))


async def follow_turn(
    call: Call,
    session: Session,
    accepted: TurnAccepted,
    *,
    headers: tuple[tuple[bytes, bytes], ...] = (),
) -> None:
    """Stream a turn's events to whoever started it; it waits for this reader, within bounds.

    *Cancellation*: the turn goes on, or is cancelled, as ``on_disconnect`` says.

    Raises:
        Overloaded: The session has as many subscribers as it may; nothing was sent.
    """
    settings = call.desk.settings
    stream = EventStream(call, status=settings.stream_status, headers=headers)

    async with session.subscribe(_begin(accepted), pace=True) as events:
        try:
            await stream.run(
                partial(_send_events, call, session, events, accepted.turn),
                last_words=stopping_frame,
            )
        finally:
            if stream.gone and settings.on_disconnect == "cancel":
                session.cancel(accepted.turn, reason="client_gone")


async def _send_events(
    call: Call, session: Session, events: Subscription, turn: str | None, stream: EventStream
) -> None:
    await stream.send(retry_frame(call.desk.settings.retry_ms, call.desk.jitter))
    async for event in events:
        if isinstance(event, Gap):
            await stream.send(event_frame(event))
            view = await call.desk.runtime.view(session.id)
            await stream.send(named_frame("snapshot", json_line(view_to_dict(view))))
            if turn is not None and not _runs(view.turns, turn):
                return
            continue
        if turn is not None and event.turn != turn:
            continue
        await stream.send(event_frame(event))
        if turn is not None and isinstance(event, TERMINAL_EVENTS):
            return


def _runs(turns: object, turn: str) -> bool:
    assert isinstance(turns, tuple)
    return any(each.turn == turn and each.state not in _ENDED for each in turns)


async def _stream(call: Call) -> Answer | None:
    name, turn = call.path["session"], call.query("turn")
    from_seq = starting_point(call.headers.get("last-event-id"), call.query("from"))
    if not call.wants_events and "application/json" in call.headers.get("accept", ""):
        return await _page(call, name, from_seq or 0)
    desk = call.desk
    if turn is not None and await _is_over(call, name, turn, from_seq or 0):
        return Answer(204)
    start = 0 if turn is not None and from_seq is None else from_seq
    # No context manager: its generator would stay in memory for as long as the stream idles.
    session = await desk.runtime.reopen(name)
    try:
        async with session.subscribe(start) as events:
            send = partial(_send_events, call, session, events, turn)
            await EventStream(call).run(send, last_words=stopping_frame)
    finally:
        await desk.runtime.close_session(name, mode="detach")
    return None


async def _is_over(call: Call, name: str, turn: str, from_seq: int) -> bool:
    """Whether a client has had the terminal event of its turn: 204 makes an EventSource stop.

    Raises:
        NotFound: The session has had no such turn.
    """
    runtime = call.desk.runtime
    view = await runtime.view(name)
    if _runs(view.turns, turn):
        return False
    known = any(each.turn == turn for each in view.turns)
    position = from_seq
    while True:
        found = await runtime.events(name, from_seq=position, limit=_PAGE_MAX)
        if any(each.turn == turn for each in found):
            return False
        if len(found) < _PAGE_MAX:
            break
        position = found[-1].seq
    if not known and not from_seq:
        raise NotFound(f"The session has no turn {turn[:100]!r}.", remedy="GET the session.")
    return True


async def _page(call: Call, name: str, from_seq: int) -> Answer:
    limit = call.count("limit", 100, most=_PAGE_MAX)
    found = await call.desk.runtime.events(name, from_seq=from_seq, limit=limit)
    last = found[-1].seq if found else from_seq
    return json_answer(EventsPage([event_to_dict(event_as_told(each)) for each in found], last))


EVENTS = (
    Operation(
        id="getEvents",
        method="GET",
        path="/v1/sessions/{session}/events",
        summary="A session's events as they happen; with Accept: application/json those recorded.",
        tag="turns",
        endpoint=_stream,
        parameters=(
            Parameter("from", "The number of the last event already seen; 0 for all."),
            Parameter("turn", "Only this turn's; the stream ends with it."),
            Parameter("limit", "Most events of a page.", schema={"type": "integer", "minimum": 1}),
            Parameter("Last-Event-ID", "As from, and stronger.", place="header"),
        ),
        replies={
            200: Reply("Events.", EventsPage, ("application/json", "text/event-stream")),
            204: Reply("The turn is over, and the client has had its terminal event."),
        },
        fails=(404, 409, 422, 507),
        streams=True,
    ),
)
