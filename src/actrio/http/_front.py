"""The outermost ASGI application: who may come in, and where every failure ends.

One broken endpoint harms nobody: what it raises becomes its own request's answer, or, where that
has begun, the end of its connection.
"""

from __future__ import annotations

import traceback
from collections.abc import Coroutine, MutableMapping, Sequence
from typing import Any, Final

import attrs

from actrio.errors import ActrioError
from actrio.http._call import Answer, Call, Gone, Receive, Refused, Send
from actrio.http._desk import Desk
from actrio.http._gate import OPEN_PATHS, Denied, admit
from actrio.http._operations import Operation, make_paths
from actrio.http._problems import Refusal, openai_error, problem, refusal_headers, refusal_of
from actrio.telemetry import RoomLog, redact
from actrio.wire import json_line

__all__ = ["Front"]

_log = RoomLog("actrio.http")

_PREFLIGHT: Final = (
    (b"access-control-allow-methods", b"GET, POST, PATCH, PUT, DELETE"),
    (
        b"access-control-allow-headers",
        b"authorization, content-type, last-event-id, idempotency-key",
    ),
    (b"access-control-max-age", b"600"),
)


class Front:
    """An ASGI application (``http`` and ``lifespan``).

    Args:
        desk: What its requests share.
        operations: What it can do.
    """

    def __init__(self, desk: Desk, operations: Sequence[Operation]) -> None:
        self._desk = desk
        self._paths = make_paths(operations)

    def __call__(
        self, scope: MutableMapping[str, Any], receive: Receive, send: Send
    ) -> Coroutine[Any, Any, None]:
        """Return what answers; no frame of ours stays below it while a stream idles."""
        if scope["type"] == "http":
            return self._serve(scope, receive, send)
        return self._live(receive, send) if scope["type"] == "lifespan" else _refuse(receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                self._desk.stops.expire()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return

    async def _serve(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        call = Call(self._desk, scope, receive, send, self._desk.new_request_id())
        refusal: Refusal | None = None
        try:
            peer = (scope.get("client") or ("unknown", 0))[0]
            caller = admit(scope["path"], call.headers, peer, self._desk.rules)
            if isinstance(caller, Denied):
                raise Refused(_denied(caller))
            call.caller = caller
            await self._dispatch(call)
        except Gone:
            return
        except Refused as error:
            refusal = error.refusal
        except ActrioError as error:
            refusal = refusal_of(error, caller=True)
        except Exception as error:  # the boundary: nobody else's request may hear of it
            refusal = self._unwrapped(error, call)
        if refusal is not None:
            await self._refuse(call, refusal)

    async def _dispatch(self, call: Call) -> None:
        if call.method == "OPTIONS" and call.caller.origin:
            await call.answer(Answer(204, headers=_PREFLIGHT))
            return
        path = call.scope["path"]
        if self._desk.stops.begun and path not in OPEN_PATHS:
            raise Refused(_stopping())
        self._desk.enter(call.caller.name)
        try:
            app, parameters = self._paths.find(path)
            answer = await app.choose(call, parameters).endpoint(call)
            if answer is not None:
                await call.answer(answer)
        finally:
            self._desk.leave(call.caller.name)

    def _unwrapped(self, error: Exception, call: Call) -> Refusal | None:
        """Return the refusal of what came out of a nursery, or of a bug, which is logged."""
        leaf: BaseException = error
        while isinstance(leaf, BaseExceptionGroup) and len(leaf.exceptions) == 1:
            leaf = leaf.exceptions[0]
        if isinstance(leaf, Gone):
            return None
        if isinstance(leaf, Refused):
            return leaf.refusal
        if not isinstance(leaf, ActrioError):
            _log.error(
                "request failed",
                request=call.request_id,
                route=call.template,
                error=redact(repr(error)),
                # As text: a renderer of exceptions may print local variables, and with them secrets.
                traceback=redact("".join(traceback.format_exception(error))),
            )
        return refusal_of(leaf, caller=True)

    async def _refuse(self, call: Call, refusal: Refusal) -> None:
        if call.started:
            # Its head is out: a cut body is the one honest sign that is left.
            _log.warning("answer cut", request=call.request_id, route=call.template)
            return
        operation = call.operation
        if operation is not None and operation.strict and refusal.status == 422:
            refusal = attrs.evolve(refusal, status=400)
        headers = tuple(refusal_headers(refusal))
        is_openai = operation is not None and operation.shape == "openai"
        if is_openai or (operation is None and call.scope["path"].startswith("/v1/chat")):
            body = json_line(openai_error(refusal))
            await call.answer(Answer(refusal.status, body, headers=headers))
            return
        body = json_line(problem(refusal, call.request_id))
        answer = Answer(refusal.status, body, b"application/problem+json", headers)
        await call.answer(answer)


async def _refuse(receive: Receive, send: Send) -> None:
    """End a websocket's handshake: there is none here."""
    await receive()
    await send({"type": "websocket.close", "code": 1000})


def _denied(denied: Denied) -> Refusal:
    headers: tuple[tuple[bytes, bytes], ...] = ()
    if denied.status == 401:
        headers = ((b"www-authenticate", b'Bearer realm="actrio"'),)
    return Refusal(
        status=denied.status,
        kind="unauthorized",
        message=denied.message,
        remedy=denied.remedy,
        headers=headers,
    )


def _stopping() -> Refusal:
    return Refusal(
        status=503,
        kind="overloaded",
        message="The service is stopping.",
        remedy="Come back when it has started again.",
        retryable=True,
        retry_after_seconds=2.0,
        headers=((b"connection", b"close"),),
    )
