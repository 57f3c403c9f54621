"""The route table: each operation is one value, from which both routing and OpenAPI are made."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Literal

import attrs
import msgspec
from starlette.routing import compile_path

from actrio.errors import NotFound
from actrio.http._call import Answer, Call, Refused
from actrio.http._problems import Refusal

__all__ = ["Operation", "Parameter", "Paths", "Reply", "Shape", "make_paths"]

Shape = Literal["problem", "openai"]
"""How an operation tells failures."""

Endpoint = Callable[[Call], Awaitable[Answer | None]]
"""Answers a request; ``None``: it has sent its answer itself."""


@attrs.frozen(slots=True)
class Parameter:
    """A parameter of the query or a header, for OpenAPI."""

    name: str
    description: str
    place: Literal["query", "header"] = "query"
    schema: Mapping[str, Any] = attrs.field(factory=lambda: {"type": "string"}, hash=False)


@attrs.frozen(slots=True)
class Reply:
    """One way to answer, for OpenAPI. ``type`` is what msgspec writes; ``None``: no body.

    Attributes:
        media: Content types; an event stream has no schema of its own.
    """

    description: str
    type: Any = None
    media: tuple[str, ...] = ("application/json",)


@attrs.frozen(slots=True, kw_only=True, eq=False)
class Operation:
    """One method of one path.

    Attributes:
        id: OpenAPI's operationId.
        endpoint: What answers.
        body: What the JSON body is decoded as.
        replies: By status; failures beside those of every operation are named in ``fails``.
        fails: Statuses of failures, beside those that the front gives to every request.
        shape: How failures are told.
        streams: Whether it may answer with a stream (a HEAD would never end).
        strict: The older contract: what is wrong with a request is 400 there, never 422.
    """

    id: str
    method: Literal["GET", "POST", "PATCH", "PUT", "DELETE"]
    path: str
    summary: str
    tag: str
    endpoint: Endpoint
    body: Any = None
    body_required: bool = True
    parameters: tuple[Parameter, ...] = ()
    replies: Mapping[int, Reply] = attrs.field(factory=dict)
    fails: tuple[int, ...] = ()
    shape: Shape = "problem"
    streams: bool = False
    strict: bool = False
    decoder: msgspec.json.Decoder[Any] | None = attrs.field(init=False)

    @decoder.default
    def _made_decoder(self) -> msgspec.json.Decoder[Any] | None:
        return None if self.body is None else msgspec.json.Decoder(self.body)


class _PathApp:
    """An ASGI application for one path: picks the operation by method."""

    def __init__(self, template: str, operations: Sequence[Operation]) -> None:
        self._template = template
        self._by_method: dict[str, Operation] = {each.method: each for each in operations}
        self._allowed = ", ".join(sorted(self._by_method))

    def choose(self, call: Call, parameters: dict[str, str]) -> Operation:
        """Return the operation that a call is for.

        Raises:
            Refused: The path does not know its method (405).
        """
        call.path = parameters
        call.template = self._template
        method = call.method
        operation = self._by_method.get(method)
        if method == "HEAD":
            operation = self._by_method.get("GET")
            operation = None if operation is None or operation.streams else operation
        call.operation = operation or next(iter(self._by_method.values()))
        if operation is None:
            raise Refused(
                Refusal(
                    status=405,
                    kind="method_not_found",
                    message=f"{self._template} does not know {method[:20]}.",
                    remedy=f"It knows {self._allowed}.",
                    headers=((b"allow", self._allowed.encode()),),
                )
            )
        return operation


class Paths:
    """Finds the application of a path.

    Starlette compiles the paths; its router's frames would cost an idle stream a kilobyte.
    """

    def __init__(self, apps: Sequence[tuple[str, _PathApp]]) -> None:
        self._literal = {path: app for path, app in apps if "{" not in path}
        self._patterns = [(compile_path(path)[0], app) for path, app in apps if "{" in path]

    def find(self, path: str) -> tuple[_PathApp, dict[str, str]]:
        """Return what serves ``path``, and the parameters in it.

        Raises:
            NotFound: Nothing does.
        """
        if (literal := self._literal.get(path)) is not None:
            return literal, {}
        for pattern, app in self._patterns:
            if (match := pattern.match(path)) is not None:
                return app, match.groupdict()
        raise NotFound(
            f"There is nothing at {path[:200]!r}.", remedy="GET /openapi.json lists the paths."
        )


def make_paths(operations: Sequence[Operation]) -> Paths:
    """Return the paths of ``operations``."""
    by_path: dict[str, list[Operation]] = {}
    for operation in operations:
        by_path.setdefault(operation.path, []).append(operation)
    # A literal path before one that takes a parameter in its place.
    ordered = sorted(by_path.items(), key=lambda item: _specificity(item[0]))
    return Paths([(path, _PathApp(path, found)) for path, found in ordered])


def _specificity(path: str) -> tuple[int, int, str]:
    """Order paths so that ``{id}:cancel`` is tried before ``{id}``."""
    return (path.count("{"), -len(path), path)
