"""Writes the derived parts of docs/reference: tables that stand in the code already.

    python tools/write_reference.py            writes them
    python tools/write_reference.py --check    says which pages are out of date, and fails

A derived part stands between two comments, ``<!-- derived: NAME -->`` and ``<!-- end -->``; what
is around it is written by hand. Nobody edits between them, and tests/docs/test_reference.py fails
when they say something else than the code.
"""

from __future__ import annotations

import ast
import inspect
import json
import re
import sys
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import attrs
import docstring_parser

import actrio
from actrio import errors
from actrio.cli._app import make_app
from actrio.messages import Event, ModelOptions, TurnEvent, TurnResult
from actrio.providers import ConnectionLimits, ProviderSettings
from actrio.providers.local import LocalSettings
from actrio.rpc import ConnectionLimits as WireLimits
from actrio.runtime import AgentSettings, Limits, LogSettings, Settings, StoreSettings
from actrio.stdio._schema import described
from actrio.stdio._table import ASKED, METHODS, NOTIFICATIONS, Method

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = ROOT / "docs" / "reference"

_PART = re.compile(r"(?ms)^<!-- derived: (?P<name>[\w.-]+) -->\n.*?^<!-- end -->$")


# -- writing -------------------------------------------------------------------------------------


def main(arguments: list[str]) -> int:
    """Write the pages, or with ``--check`` say which are out of date."""
    stale = [page for page in sorted(REFERENCE.glob("*.md")) if derived(page) != page.read_text()]
    for page in stale:
        if "--check" in arguments:
            print(f"{page.relative_to(ROOT)} is out of date: run python tools/write_reference.py")
        else:
            page.write_text(derived(page))
            print(f"wrote {page.relative_to(ROOT)}")
    return 1 if stale and "--check" in arguments else 0


def derived(page: Path) -> str:
    """Return the text of ``page`` with its derived parts as the code has them now."""

    def part(found: re.Match[str]) -> str:
        lines = PARTS[found["name"]]()
        return "\n".join([f"<!-- derived: {found['name']} -->", "", *lines, "", "<!-- end -->"])

    return _PART.sub(part, page.read_text())


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    """Return a Markdown table."""
    head = list(head)
    lines = [_row(head), _row(["---"] * len(head))]
    return [*lines, *(_row(row) for row in rows)]


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def prose(text: str) -> str:
    """Return docstring text as one line of Markdown."""
    text = re.sub(r"``([^`]+)``", r"`\1`", " ".join(text.split()))
    return re.sub(r"\*([A-Z]\w+)\*:", r"\1:", text)


def first_paragraph(value: Any) -> str:
    """Return the first paragraph of what ``value`` is documented as."""
    return prose((inspect.getdoc(value) or "").split("\n\n")[0]).removesuffix("::")


# -- errors --------------------------------------------------------------------------------------


def error_tree() -> list[str]:
    """Return the classes as they stand below each other."""
    return ["```text", "ActrioError", *_branches(errors.ActrioError, ""), "```"]


def _branches(cls: type, indent: str) -> Iterator[str]:
    below = [each for each in cls.__subclasses__() if each.__module__ == errors.__name__]
    for each in below:
        last = each is below[-1]
        yield f"{indent}{'└── ' if last else '├── '}{each.__name__}"
        yield from _branches(each, indent + ("    " if last else "│   "))


def error_classes() -> list[str]:
    """Return each class with its kind and meaning."""
    return table(
        ["class", "kind", "meaning"],
        ([f"`{cls.__name__}`", f"`{cls.kind}`", first_paragraph(cls)] for cls in _error_classes()),
    )


def _error_classes() -> Iterator[type[errors.ActrioError]]:
    waiting: list[type[errors.ActrioError]] = [errors.ActrioError]
    while waiting:
        cls = waiting.pop(0)
        yield cls
        waiting[:0] = [each for each in cls.__subclasses__() if each.__module__ == errors.__name__]


def error_kinds() -> list[str]:
    """Return the one table of outward codes."""
    return table(
        ["kind", "JSON-RPC", "HTTP", "exit code"],
        (
            [f"`{kind}`", str(codes.jsonrpc), str(codes.http), str(codes.exit)]
            for kind, codes in errors.KINDS.items()
        ),
    )


def error_categories() -> list[str]:
    """Return the categories of a ProviderError."""
    retryable = errors.ProviderError._RETRYABLE  # noqa: SLF001 - told by the public `retryable`
    return table(
        ["category", "retryable"],
        (
            [f"`{each}`", "yes" if each in retryable else "no"]
            for each in get_args(errors.ErrorCategory)
        ),
    )


# -- events --------------------------------------------------------------------------------------


def event_types() -> list[str]:
    """Return each event with its own fields."""
    envelope = {field.name for field in attrs.fields(Event)}
    return table(
        ["type", "class", "recorded", "fields beside the envelope", "meaning"],
        (
            [
                f"`{cls.type}`",
                f"`{cls.__name__}`",
                "yes" if cls.recorded else "live only",
                ", ".join(f"`{f.name}`" for f in attrs.fields(cls) if f.name not in envelope),
                first_paragraph(cls),
            ]
            for cls in get_args(TurnEvent)
        ),
    )


def turn_result() -> list[str]:
    """Return the fields of a TurnResult."""
    reasons = attributes_of(TurnResult) | {"turn": "The turn's id."}
    return table(
        ["field", "meaning"],
        ([f"`{f.name}`", reasons.get(f.name, "")] for f in attrs.fields(TurnResult)),
    )


# -- settings ------------------------------------------------------------------------------------

_NOT_SAID_IN_CODE = {
    LogSettings: {
        "level": "The lowest level that is written: `debug`, `info`, `warning`, `error` or "
        "`critical`. A program that answers questions should be silent unless something is wrong.",
        "json": "One JSON object per line in place of text for people.",
    },
    ModelOptions: {
        "temperature": "How freely the model chooses; 0 is the likeliest word each time.",
        "top_p": "The share of likely words that it chooses among.",
        "max_tokens": "Tokens that one answer may have; reaching it gives `max_tokens` as the "
        "stop reason.",
        "stop": "Texts at which the model stops.",
        "seed": "For providers that can repeat themselves.",
        "tool_choice": "`auto`, `none` (offer tools, call none) or `required` (call one).",
        "response_schema": "A JSON Schema that the answer must have; in Python give the agent an "
        "output type instead, which is also checked.",
    },
}
"""Reasons for keys whose class documents no attributes; a documented one wins."""


def attributes_of(cls: type) -> dict[str, str]:
    """Return the meaning of each attribute, from the class's docstring."""
    told = docstring_parser.parse(inspect.getdoc(cls) or "").params
    said = {each.arg_name: prose(each.description or "") for each in told}
    return _NOT_SAID_IN_CODE.get(cls, {}) | said


def settings_of(cls: type) -> Callable[[], list[str]]:
    """Return what writes the table of one settings class."""

    def rows() -> Iterator[list[str]]:
        reasons = attributes_of(cls)
        for field in attrs.fields(cls):
            yield [f"`{field.name}`", _default(field), reasons.get(field.name, "")]

    return lambda: table(["key", "default", "meaning and reason"], rows())


def _default(field: attrs.Attribute[Any]) -> str:
    default = field.default
    if default is attrs.NOTHING:
        return "required"
    if isinstance(default, attrs.Factory) or attrs.has(type(default)):  # type: ignore[arg-type]
        return "its own defaults" if _is_table(field) else "empty"
    if default is None:
        return "not set"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if default in ((), ""):
        return "empty"
    return f"`{default:,}`".replace(",", "_") if isinstance(default, int) else f"`{default}`"


def _is_table(field: attrs.Attribute[Any]) -> bool:
    return "Mapping" not in str(field.type)


# -- the command line ----------------------------------------------------------------------------

SESSIONS_COMMANDS = (
    "list",
    "show",
    "replay",
    "fork",
    "rewind",
    "export",
    "import",
    "answer",
    "verify",
    "repair",
    "prune",
)


def command_options(*path: str) -> Callable[[], list[str]]:
    """Return what writes the options of one command."""

    def rows() -> Iterator[list[str]]:
        app = make_app(actrio.__version__)
        for name in path:
            app = app[name]
        for argument in app.assemble_argument_collection(parse_docstring=True):
            names = [n for n in argument.names if n != "*" and not n.startswith("--no-")]
            if names:
                help_text = prose(argument.parameter.help or "")
                yield [" ".join(f"`{name}`" for name in names), help_text]

    return lambda: table(["argument", "meaning"], rows())


# -- the wire of actrio serve --stdio -------------------------------------------------------------


def wire_methods(methods: Mapping[str, Method]) -> Callable[[], list[str]]:
    """Return what writes one line for each method, with links to what it takes and answers."""

    def rows() -> Iterator[list[str]]:
        for name, method in methods.items():
            results = method.result if isinstance(method.result, tuple) else (method.result,)
            answers = " or ".join(_wire_link(each) for each in results)
            yield [f"`{name}`", _wire_link(method.params), answers, method.about]

    return lambda: table(["method", "takes", "answers", "for"], rows())


def wire_types() -> list[str]:
    """Return the members of everything that the wire's methods take and answer."""
    lines: list[str] = []
    for kind in _wire_classes():
        lines += [f"### {kind.__name__}", "", first_paragraph(kind), ""]
        about = described(kind)
        if about:
            hints = get_type_hints(kind, include_extras=True)
            rows = [
                [f"`{name}`", _wire_kind(hints[field.name]), _wire_default(field), about[name]]
                for name, field in zip(about, attrs.fields(kind), strict=True)
            ]
            lines += [*table(["member", "type", "default", "meaning"], rows), ""]
    return lines[:-1]


def _wire_classes() -> list[type]:
    waiting: list[Any] = []
    for method in (*METHODS.values(), *NOTIFICATIONS.values(), *ASKED.values()):
        results = method.result if isinstance(method.result, tuple) else (method.result,)
        waiting += [method.params, *results]
    found: list[type] = []
    while waiting:
        kind = waiting.pop(0)
        if attrs.has(kind) and kind not in found:
            found.append(kind)
            waiting[:0] = get_type_hints(kind).values()
        else:
            waiting[:0] = [each for each in get_args(kind) if each is not type(None)]
    return sorted(found, key=lambda kind: kind.__name__)


def _wire_link(kind: Any) -> str:
    return f"[{kind.__name__}](#{kind.__name__.lower()})" if attrs.has(kind) else "an object"


def _wire_kind(hint: Any) -> str:
    """Return a type in the words of JSON."""
    if hint is type(None):
        return ""
    if attrs.has(hint):
        return _wire_link(hint)
    if get_origin(hint) is Annotated:
        bounds = [
            f"{name} {value}"
            for meta in hint.__metadata__
            for name in ("ge", "le", "min_length", "max_length", "pattern")
            if (value := getattr(meta, name)) is not None
        ]
        return _wire_kind(hint.__origin__) + (f" ({', '.join(bounds)})" if bounds else "")
    if get_origin(hint) is Literal:
        return ", ".join(f"`{each}`" for each in get_args(hint))
    if get_origin(hint) is list:
        return f"list of {_wire_kind(get_args(hint)[0])}"
    if get_origin(hint) in (Union, types.UnionType):
        return " or ".join(told for each in get_args(hint) if (told := _wire_kind(each)))
    names = {str: "text", int: "integer", float: "number", bool: "boolean", bytes: "base64"}
    return names.get(hint, "any JSON" if hint is Any else "object")


def _wire_default(field: attrs.Attribute[Any]) -> str:
    if isinstance(field.default, attrs.Factory):  # type: ignore[arg-type]
        value = field.default.factory()
        return f"`{json.dumps(value)}`" if value else "empty"
    return "" if attrs.has(type(field.default)) else _default(field).replace("not set", "left out")


def wire_limits() -> list[str]:
    """Return the bounds of a connection, each with its reason."""
    return settings_of(WireLimits)()


# -- public names --------------------------------------------------------------------------------


def public_names(module: str) -> Callable[[], list[str]]:
    """Return what writes one line for each public name of a room."""

    rooms = _rooms()

    def rows() -> Iterator[list[str]]:
        for name in sorted(actrio.__all__):
            value = getattr(actrio, name)
            if rooms.get(name) == module:
                yield [f"`{name}`", _said_of(name, value)]

    return lambda: table(["name", "what it is"], rows())


def _rooms() -> dict[str, str]:
    """Return the room of each public name, as the package's own imports tell it."""
    tree = ast.parse(inspect.getsource(actrio))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    rooms = {
        alias.name: str(node.module).removeprefix("actrio.")
        for node in imports
        for alias in node.names
    }
    return {name: rooms[name] for name in actrio.__all__ if name in rooms}


def _said_of(name: str, value: Any) -> str:
    if name == "TurnEvent":
        return "Any event of a session: the union of all event classes."
    if name == "IfBusy":
        return "What a session does with a message while a turn runs."
    return first_paragraph(value)


PARTS: dict[str, Callable[[], list[str]]] = {
    "error-tree": error_tree,
    "error-classes": error_classes,
    "error-kinds": error_kinds,
    "error-categories": error_categories,
    "event-types": event_types,
    "turn-result": turn_result,
    "settings": settings_of(Settings),
    "settings.limits": settings_of(Limits),
    "settings.store": settings_of(StoreSettings),
    "settings.providers": settings_of(ProviderSettings),
    "settings.providers.limits": settings_of(ConnectionLimits),
    "settings.local": settings_of(LocalSettings),
    "settings.agents": settings_of(AgentSettings),
    "settings.options": settings_of(ModelOptions),
    "settings.log": settings_of(LogSettings),
    "stdio.methods": wire_methods(METHODS),
    "stdio.notifications": wire_methods(NOTIFICATIONS),
    "stdio.asked": wire_methods(ASKED),
    "stdio.types": wire_types,
    "stdio.limits": wire_limits,
    **{
        f"command.{'-'.join(path)}": command_options(*path)
        for path in (
            ("run",),
            ("chat",),
            ("demo",),
            ("doctor",),
            ("providers",),
            ("contract",),
            ("serve",),
            ("acp",),
            *(("sessions", name) for name in SESSIONS_COMMANDS),
            ("stress",),
            ("stress", "compare"),
            ("model", "install"),
            ("model", "list"),
        )
    },
    **{f"names.{room}": public_names(room) for room in dict.fromkeys(_rooms().values())},
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
