"""The wire as JSON Schema, made from the types that it uses.

One document: for each method the schema of its parameters and of its result, for each event its
schema, and the error's. ``$ref`` point into ``$defs``.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, Final, get_args

import attrs
import docstring_parser
import msgspec

from actrio.errors import KINDS, ActrioError
from actrio.messages import TurnEvent
from actrio.stdio._table import ASKED, METHODS, NOTIFICATIONS, PROTOCOL_VERSION, Method
from actrio.wire import EVENT_VERSION

__all__ = ["described", "wire_schema"]

_REF: Final = "#/$defs/{name}"

_ENVELOPE: Final[Mapping[str, str]] = {
    "session": "Whose event it is.",
    "turn": "Which turn's; empty where it belongs to none.",
    "seq": "Number of the session's last recorded event, this one included: the bookmark.",
    "ts": "Seconds since the epoch.",
    "n": "Of a live event, which no replay repeats: its number after `seq`.",
}


def wire_schema() -> dict[str, Any]:
    """Return the schema of everything that goes over the wire."""
    tables = (METHODS, NOTIFICATIONS, ASKED)
    kinds = list(dict.fromkeys(k for t in tables for each in t.values() for k in _kinds(each)))
    events = get_args(TurnEvent)
    schemas, components = msgspec.json.schema_components(
        [*kinds, *events], ref_template=_REF, schema_hook=_foreign
    )
    schema_of = dict(zip([*kinds, *events], schemas, strict=True))

    def told(table: Mapping[str, Method]) -> dict[str, Any]:
        return {
            name: {
                "description": method.about,
                "params": schema_of[method.params],
                "result": _one_of([schema_of[each] for each in _results(method)]),
            }
            for name, method in table.items()
        }

    definitions = {
        name: _tidied(name, part, _classes_by_name()) for name, part in components.items()
    }
    for event in events:
        _as_event(definitions[event.__name__], event)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"actrio wire {PROTOCOL_VERSION}",
        "protocol_version": PROTOCOL_VERSION,
        "methods": told(METHODS),
        "notifications": told(NOTIFICATIONS),
        "server_requests": told(ASKED),
        "event": {
            "description": "Parameters of the notification `event`.",
            "oneOf": [schema_of[each] for each in events],
        },
        "error": _error(),
        "$defs": dict(sorted(definitions.items())),
    }


def _kinds(method: Method) -> tuple[Any, ...]:
    return method.params, *_results(method)


def _results(method: Method) -> tuple[Any, ...]:
    return method.result if isinstance(method.result, tuple) else (method.result,)


def _one_of(schemas: list[Any]) -> Any:
    return schemas[0] if len(schemas) == 1 else {"anyOf": schemas}


def described(kind: type[Any]) -> dict[str, str]:
    """Return what each member of an attrs class is, by its name on the wire."""
    parsed = docstring_parser.parse(inspect.getdoc(kind) or "")
    about = {each.arg_name: " ".join((each.description or "").split()) for each in parsed.params}
    return {
        name: about.get(name, _ENVELOPE.get(name, ""))
        for name in (field.name.removesuffix("_") for field in attrs.fields(kind))
    }


def _classes_by_name() -> dict[str, type[Any]]:
    found: dict[str, type[Any]] = {cls.__name__: cls for cls in get_args(TurnEvent)}
    for module in ("actrio.stdio._params", "actrio.stdio._results", "actrio.messages"):
        for name, value in vars(__import__(module, fromlist=["x"])).items():
            if inspect.isclass(value) and attrs.has(value):
                found.setdefault(name, value)
    return found


def _tidied(name: str, part: dict[str, Any], classes: Mapping[str, type[Any]]) -> dict[str, Any]:
    """Return a definition with names as on the wire and a description of each member."""
    kind = classes.get(name)
    if kind is None or "properties" not in part:
        return part
    about = described(kind)
    properties = {}
    for field, schema in part["properties"].items():
        called = field.removesuffix("_")
        told = about.get(called, "")
        properties[called] = {"description": told, **schema} if told else schema
    doc = docstring_parser.parse(inspect.getdoc(kind) or "")
    return {**part, "description": doc.short_description or "", "properties": properties}


def _as_event(definition: dict[str, Any], event: type[Any]) -> None:
    """Add what the envelope has beside the class."""
    definition["properties"] = {
        "v": {"const": EVENT_VERSION},
        "type": {"const": event.type},
        **definition["properties"],
    }
    definition["required"] = ["v", "type", *definition["required"]]


def _foreign(kind: Any) -> dict[str, Any]:
    if isinstance(kind, type) and issubclass(kind, ActrioError):
        return {"type": "object", "description": "See `error`, `data`."}
    raise NotImplementedError


def _error() -> dict[str, Any]:
    return {
        "description": "The member `error` of an answer.",
        "type": "object",
        "properties": {
            "code": {"enum": sorted({codes.jsonrpc for codes in KINDS.values()})},
            "message": {"type": "string"},
            "data": {
                "type": "object",
                "properties": {
                    "kind": {"enum": sorted(KINDS)},
                    "message": {"type": "string"},
                    "remedy": {"type": "string"},
                    "retryable": {"type": "boolean"},
                    "pointers": {"type": "array", "items": {"type": "string"}},
                    "retry_after_ms": {"type": "integer"},
                    "limit": {"type": "integer"},
                    "in_flight": {"type": "integer"},
                    "scope": {"type": "string"},
                },
                "required": ["kind", "message", "retryable"],
            },
        },
        "required": ["code", "message", "data"],
    }
