"""The grammar of scripted models: ``KIND?name=value&…``. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, get_args
from urllib.parse import unquote

import attrs

from actrio.errors import InvalidRequest

__all__ = ["FaultKind", "ScriptKind", "ScriptSpec"]

ScriptKind = Literal["demo", "echo", "tokens", "json"]

FaultKind = Literal[
    "status401",
    "status429",
    "status500",
    "context",
    "cut",
    "stall",
    "reset",
    "badjson",
    "badargs",
    "unknowntool",
    "slow",
]

KINDS: Final = get_args(ScriptKind)
FAULTS: Final = get_args(FaultKind)
FAULTS_WITH_PLACE: Final = frozenset({"cut", "stall", "reset", "badjson"})

TOKENS_MAX: Final = 1_000_000  # a day's worth of one stream at 12 ms; beyond that it is a typo
TOOLS_MAX: Final = 64  # more calls in one step than any vendor makes
SECONDS_MAX: Final = 3600.0  # a delay beyond an hour is a typo

_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s)")


@attrs.frozen(slots=True)
class ScriptSpec:
    """What a scripted model does.

    Attributes:
        kind: ``demo`` says that it is scripted and calls the first offered tool once per turn;
            ``echo`` repeats the user's last text; ``tokens`` counts ``w1 w2 …``; ``json`` gives a
            small valid instance of the response schema.
        ttft_seconds: Time to the first delta.
        itl_seconds: Time between two deltas.
        tokens: Exact number of text deltas; ``None`` is the text's own length (``tokens``: 16).
        tool: Name of the tool to call; ``None`` is the first one offered.
        tools: How many calls one step makes; ``None`` is one for ``demo`` and where ``tool`` is
            given, else none.
        seed: Seeds ids and made-up argument values.
        fault: What goes wrong.
        fault_at: After how many deltas it goes wrong, for faults that have a place.
        text: Text to answer with in place of the kind's own.
    """

    kind: ScriptKind = "demo"
    ttft_seconds: float = 0.0
    itl_seconds: float = 0.0
    tokens: int | None = None
    tool: str | None = None
    tools: int | None = None
    seed: int = 0
    fault: FaultKind | None = None
    fault_at: int = 0
    text: str | None = None

    @property
    def tool_count(self) -> int:
        """How many calls one step makes where tools are offered."""
        if self.tools is not None:
            return self.tools
        asks = self.kind == "demo" or self.tool is not None
        return 1 if asks or self.fault in {"badargs", "unknowntool"} else 0

    @classmethod
    def parse(cls, text: str) -> ScriptSpec:
        """Read ``KIND?ttft=80ms&itl=12ms&tokens=128&tool=NAME&tools=2&seed=7&fault=KIND@N&text=…``.

        Raises:
            InvalidRequest: A kind, name or value is not known; it lists what is.
        """
        kind, _, query = text.partition("?")
        if kind not in KINDS:
            raise InvalidRequest(
                f"There is no scripted model {kind!r}.", remedy=f"Use one of {', '.join(KINDS)}."
            )
        fields: dict[str, Any] = {"kind": kind}
        for pair in query.split("&") if query else ():
            name, _, value = pair.partition("=")
            read = _READERS.get(name)
            if read is None:
                known = ", ".join(_READERS)
                raise InvalidRequest(
                    f"A scripted model has no parameter {name!r}.", remedy=f"Use one of {known}."
                )
            fields.update(read(name, unquote(value)))
        return cls(**fields)


def _seconds(name: str, value: str) -> dict[str, Any]:
    found = _DURATION.fullmatch(value)
    seconds = float(found[1]) * (0.001 if found[2] == "ms" else 1.0) if found else SECONDS_MAX + 1
    if seconds > SECONDS_MAX:
        raise InvalidRequest(
            f"{name}={value} is not a duration.", remedy="Write 80ms or 1.5s, at most 3600s."
        )
    return {f"{name}_seconds": seconds}


def _whole(maximum: int) -> Callable[[str, str], dict[str, Any]]:
    def read(name: str, value: str) -> dict[str, Any]:
        # The length first: int() of a very long text is slow, and refused by Python itself.
        if not value.isdecimal() or len(value) > 18 or int(value) > maximum:
            raise InvalidRequest(
                f"{name}={value[:40]} is not a number from 0 to {maximum}.",
                remedy=f"Write {name}=7, for example.",
            )
        return {name: int(value)}

    return read


def _words(name: str, value: str) -> dict[str, Any]:
    return {name: value}


def _fault(_name: str, value: str) -> dict[str, Any]:
    kind, at, place = value.partition("@")
    if kind not in FAULTS:
        raise InvalidRequest(
            f"There is no scripted fault {kind!r}.",
            remedy=f"Use one of {', '.join(FAULTS)}; with @N: {', '.join(sorted(FAULTS_WITH_PLACE))}.",
        )
    if bool(at) and kind not in FAULTS_WITH_PLACE:
        raise InvalidRequest(
            f"The fault {kind} has no place.", remedy=f"Write fault={kind}, without @{place}."
        )
    place_read = _whole(TOKENS_MAX)("fault_at", place) if at else {}
    return {"fault": kind, **place_read}


_READERS: Final[Mapping[str, Callable[[str, str], dict[str, Any]]]] = {
    "ttft": _seconds,
    "itl": _seconds,
    "tokens": _whole(TOKENS_MAX),
    "tool": _words,
    "tools": _whole(TOOLS_MAX),
    "seed": _whole(2**53),
    "fault": _fault,
    "text": _words,
}
