"""The older contract's messages: one turn, whole or as a stream of ``token``, ``tool_call``, ``end``."""

from __future__ import annotations

import time
from typing import Any, Final

import msgspec
import trio

from actrio.errors import ActrioError, Conflict, DeadlineExceeded, InvalidRequest
from actrio.http._call import Answer, Call, json_answer
from actrio.http._operations import Operation, Parameter, Reply
from actrio.http._problems import problem, refusal_of
from actrio.http._seed import degraded_of, session_of, session_state
from actrio.http._seed_types import (
    MessageRequest,
    MessageResponse,
    SessionState,
    ToolInvocation,
    UsageSeed,
    timeout_seconds_of,
)
from actrio.http._sse import retry_frame
from actrio.http._stream import EventStream
from actrio.messages import (
    TERMINAL_EVENTS,
    Event,
    ItemCompleted,
    ItemDelta,
    ToolResult,
    TurnAccepted,
    TurnResult,
)
from actrio.sessions import Session
from actrio.wire import json_line

__all__ = ["SEED_MESSAGES"]

_MESSAGE: Final = msgspec.json.Decoder(MessageRequest)

_STATES: Final[dict[str, SessionState]] = {
    "completed": "completed",
    "failed": "errored",
    "cancelled": "cancelled",
}
_FINISH: Final = {"end_turn": "stop", "max_tokens": "length", "refusal": "content_filter"}


async def _post(call: Call) -> Answer | None:
    body: MessageRequest = await call.read(_MESSAGE)
    prompt = _prompt(body)
    view, served = await session_of(call)
    streams = call.truth("stream")
    if session_state(view) == "streaming":
        raise Conflict(
            f"Session {view.session} is streaming.", remedy="Wait for its end, or cancel it."
        )
    degraded = [msgspec.to_builtins(each) for each in degraded_of(served)]
    timeout_seconds = body.timeout_ms / 1000 if body.timeout_ms else timeout_seconds_of(served)
    async with call.desk.held(view.session) as session:
        accepted = await session.submit(prompt, if_busy="reject", caller=call.caller.name)
        call.desk.remember_turn(accepted)
        answer = _Answering(session, accepted, timeout_seconds, degraded)
        if streams or (streams is None and call.wants_events):
            await answer.stream(call)
            return None
        async with call.while_here():
            return json_answer(await answer.whole())
    raise AssertionError("while_here either returns or raises")


def _prompt(body: MessageRequest) -> str:
    if body.tools:
        raise InvalidRequest(
            "Tools are the agent's here.",
            remedy="Give the agent its tools when it is created.",
            data={"pointer": "/tools"},
        )
    if any(message.role != "user" for message in body.messages):
        raise InvalidRequest(
            "A session keeps its own history, so only the user's messages are taken.",
            remedy="Send role user only; use /v1/chat/completions with a history of your own.",
            data={"pointer": "/messages"},
        )
    return "\n\n".join(message.content for message in body.messages)


class _Answering:
    """One turn on its way to a client of the older contract."""

    def __init__(
        self,
        session: Session,
        accepted: TurnAccepted,
        timeout_seconds: float | None,
        degraded: list[dict[str, Any]],
    ) -> None:
        self._session = session
        self._accepted = accepted
        self._timeout_seconds = timeout_seconds
        self._degraded = degraded
        self._began = time.perf_counter()
        self._calls: list[ToolInvocation] = []

    async def _events(self, take: Any) -> TurnResult:
        """Give ``take`` every event of the turn and return its result."""
        deadline = trio.current_time() + (self._timeout_seconds or float("inf"))
        turn = self._accepted.turn
        with trio.CancelScope(deadline=deadline) as patience:
            async with self._session.subscribe(self._accepted.seq, pace=True) as events:
                async for event in events:
                    if event.turn != turn:
                        continue
                    if isinstance(event, TERMINAL_EVENTS):
                        return event.result
                    if isinstance(event, ItemCompleted) and event.call is not None:
                        self._calls.append(_invocation(event))
                    await take(event)
        if patience.cancelled_caught:
            self._session.cancel(turn, reason="deadline")
            raise DeadlineExceeded(
                f"The message took longer than {self._timeout_seconds:g} s.",
                remedy="Raise timeoutMs of the message or the agent.",
            )
        raise Conflict("The session ended.", remedy="Open it again.")

    async def whole(self) -> MessageResponse:
        """Return the whole answer.

        Raises:
            ActrioError: The turn failed.
        """

        async def take(_event: Event) -> None:
            return

        result = await self._events(take)
        result.raise_for_outcome()
        return MessageResponse(
            message_id=self._accepted.turn,
            content=result.text,
            tool_calls=self._calls,
            usage=self._usage(result),
            state=_STATES[result.outcome],
            finish_reason=_FINISH.get(result.stop_reason, result.stop_reason),
            degraded=self._degraded,  # type: ignore[arg-type]  # builtins of the same shape
        )

    async def stream(self, call: Call) -> None:
        """Send the answer as a stream; the last frame is ``end`` or ``error``."""
        settings = call.desk.settings
        stream = EventStream(call, status=settings.stream_status)

        async def produce(stream: EventStream) -> None:
            await stream.send(retry_frame(settings.retry_ms, call.desk.jitter))
            try:
                result = await self._events(lambda event: self._send(stream, event))
            except ActrioError as error:
                await stream.send(_frame({"type": "error", "done": True, **_error(error)}))
                return
            await stream.send(_frame(self._end(result)))

        await stream.run(produce, last_words=_stopping)
        if stream.gone and settings.on_disconnect == "cancel":
            self._session.cancel(self._accepted.turn, reason="client_gone")

    async def _send(self, stream: EventStream, event: Event) -> None:
        if isinstance(event, ItemDelta) and event.kind == "message":
            await stream.send(_frame({"type": "token", "delta": event.text, "done": False}))
        elif isinstance(event, ItemCompleted) and event.call is not None:
            told = {"type": "tool_call", "toolCall": self._calls[-1], "done": False}
            await stream.send(_frame(told))

    def _end(self, result: TurnResult) -> dict[str, Any]:
        if result.error is not None:
            told = {"type": "error", "state": _STATES[result.outcome], **_error(result.error)}
            return {**told, "usage": self._usage(result), "done": True}
        return {
            "type": "end",
            "messageId": self._accepted.turn,
            "state": _STATES[result.outcome],
            "finishReason": _FINISH.get(result.stop_reason, result.stop_reason),
            "usage": self._usage(result),
            "degraded": self._degraded,
            "done": True,
        }

    def _usage(self, result: TurnResult) -> UsageSeed:
        usage = result.usage
        latency_ms = round((time.perf_counter() - self._began) * 1000)
        return UsageSeed(usage.input_tokens, usage.output_tokens, latency_ms)


def _invocation(event: ItemCompleted) -> ToolInvocation:
    assert event.call is not None
    result: ToolResult | None = event.result
    state = "pending" if result is None else result.state
    try:
        args: Any = msgspec.json.decode(event.call.arguments)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        args = event.call.arguments  # as the model wrote it
    return ToolInvocation(
        event.call.id,
        event.call.name,
        args,
        "error" if state == "sealed" else state,
        None if result is None else result.text,
    )


def _error(error: ActrioError) -> dict[str, Any]:
    told = problem(refusal_of(error))
    return {"error": {name: told[name] for name in ("code", "message", "details")}}


def _frame(told: dict[str, Any]) -> bytes:
    return b"event: message\ndata: %s\n" % json_line(told)


def _stopping() -> bytes:
    error = {"code": "backpressure", "message": "The service is stopping.", "details": {}}
    return _frame({"type": "error", "error": error, "done": True})


SEED_MESSAGES = (
    Operation(
        id="postMessage",
        method="POST",
        path="/agents/{agentId}/sessions/{sessionId}/messages",
        summary="Say something to the agent; whole, or with ?stream=true as it is said.",
        tag="contract",
        endpoint=_post,
        body=MessageRequest,
        parameters=(Parameter("stream", "As it is said.", schema={"type": "boolean"}),),
        replies={
            200: Reply("The answer.", MessageResponse, ("application/json", "text/event-stream")),
            207: Reply("As 200, where the settings want it.", str, ("text/event-stream",)),
        },
        fails=(404, 409, 501, 502, 504, 507),
        streams=True,
        strict=True,
    ),
)
