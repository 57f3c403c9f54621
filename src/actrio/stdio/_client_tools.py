"""Tools that the client runs: on this side they wait for its answer.

A call of such a tool goes the one tool path like any other (arguments, approval, deadline, bound);
only its function is somewhere else. Where the client did not declare that it runs tools, or has
left, the model is told so and nothing hangs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

import attrs
import msgspec
import trio

from actrio.errors import InvalidRequest, PeerError, ToolFailed
from actrio.messages import ToolSpec
from actrio.rpc import Connection, Refused
from actrio.stdio._params import ClientTool
from actrio.stdio._read import read_params
from actrio.stdio._results import ToolAnswer, ToolCallRequest
from actrio.tools import Tool, ToolContext, tool

__all__ = ["ClientTools", "is_client_tool"]

TOOLS_MAX: Final = 4096
"""Tools of one client that are remembered, so that declared twice they are one tool."""

_CONTEXT: Final = "\0context"
"""The name under which the call's context comes; no schema has a property of that name."""

_TYPES: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "string": str,
        "integer": int,
        "number": float,
        "boolean": bool,
        "array": list[Any],
        "object": dict[str, Any],
    }
)


class _Remote:
    """The function of a client tool."""

    def __init__(self, name: str, connection: Connection, declared: Callable[[], bool]) -> None:
        self.__name__ = name
        self._connection = connection
        self._declared = declared

    async def __call__(self, **given: Any) -> Any:
        context: ToolContext = given.pop(_CONTEXT)
        if not self._declared():
            raise ToolFailed(
                f"The client that {context.tool} belongs to did not declare that it runs tools. "
                "Nothing was run."
            )
        params = ToolCallRequest(
            session=context.session,
            turn=context.turn,
            call=context.call_id,
            tool=context.tool,
            arguments=given,
        )
        try:
            answer = await self._connection.request(
                "tool/call", attrs.asdict(params, recurse=False), channel=context.session
            )
        except trio.BrokenResourceError:
            raise ToolFailed(
                f"The client that runs {context.tool} has left. Whether it ran is unknown."
            ) from None
        except PeerError as error:
            raise ToolFailed(f"{context.tool} failed: {error.data['message']}") from error
        return _value(context.tool, answer)


def _value(name: str, answer: Any) -> Any:
    """Return what the model reads; raises ToolFailed where that is an error."""
    try:
        result = read_params("tool/call", answer if isinstance(answer, dict) else {}, ToolAnswer)
    except Refused as error:
        raise ToolFailed(f"The client's result of {name} cannot be read: {error}") from None
    if result.error:
        text = result.text if result.text is not None else msgspec.json.encode(result.value)
        raise ToolFailed(text if isinstance(text, str) else text.decode())
    return result.value if result.text is None else result.text


class ClientTools:
    """Makes tools of what one client declares.

    Args:
        connection: The client.
        declared: Says whether the client declared that it runs tools.
    """

    def __init__(self, connection: Connection, declared: Callable[[], bool]) -> None:
        self._connection = connection
        self._declared = declared
        # By everything that was said about it. A runtime wants one definition per agent, and two
        # functions would make two.
        self._made: dict[bytes, Tool] = {}

    def make(self, params: ClientTool) -> Tool:
        """Return the tool that ``params`` describe; the same for the same.

        Raises:
            InvalidRequest: Its parameters are no schema of an object.
        """
        key = msgspec.json.encode(params, order="deterministic")
        made = self._made.get(key)
        if made is None:
            if len(self._made) >= TOOLS_MAX:
                del self._made[next(iter(self._made))]
            made = self._made[key] = self._new(params)
        return made

    def _new(self, params: ClientTool) -> Tool:
        schema = {"type": "object", "properties": {}, **params.parameters}
        properties, required = schema["properties"], schema.get("required", [])
        if schema["type"] != "object" or not _is_object_of_objects(properties):
            raise InvalidRequest(
                f"The parameters of the tool {params.name!r} are no schema of an object.",
                remedy='Send {"type":"object","properties":{…},"required":[…]}.',
            )
        template = tool(
            name=params.name,
            description=params.description,
            timeout_seconds=params.timeout_ms / 1000,
            read_only=params.read_only,
            exclusive=params.exclusive,
            approval=params.approval,
        )(_nothing)
        signature = attrs.evolve(
            template.signature,
            parameters=tuple(
                _parameter(name, each, required=name in required)
                for name, each in properties.items()
            ),
            injected=(_CONTEXT,),
        )
        made: Tool = attrs.evolve(
            template,
            function=_Remote(params.name, self._connection, self._declared),
            spec=ToolSpec(params.name, params.description, schema),
            signature=signature,
        )
        return made


def is_client_tool(given: Tool) -> bool:
    """Whether some client runs it."""
    return isinstance(given.function, _Remote)


def _is_object_of_objects(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(each, dict) for each in value.values())


async def _nothing() -> None:
    """Stand in for a function until the tool has its own."""


def _parameter(name: str, schema: Mapping[str, Any], *, required: bool) -> Any:
    """Return how an argument is read: by its plain type; the client checks the rest."""

    async def template(value: Any) -> None: ...

    template.__annotations__ = {"value": _TYPES.get(str(schema.get("type")), Any)}
    (parameter,) = tool(template).signature.parameters
    return attrs.evolve(parameter, name=name, required=required, schema=schema)
