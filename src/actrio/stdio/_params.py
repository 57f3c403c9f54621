"""What each method takes, and how a wrong parameter is told."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

import msgspec

from actrio.errors import NotSupported
from actrio.messages import Document, Image, Text
from actrio.rpc import Refused, fault

__all__ = [
    "SessionCreate",
    "SessionNamed",
    "Shutdown",
    "TurnCancel",
    "TurnNamed",
    "TurnStart",
    "read_params",
]


class _Params(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass


class _TextPart(_Params, frozen=True, tag="text"):
    text: str

    def part(self) -> Text:
        return Text(self.text)


class _ImagePart(_Params, frozen=True, tag="image"):
    media_type: str = "image/png"
    data: bytes | None = None
    url: str | None = None

    def part(self) -> Image:
        return Image(self.media_type, self.data, self.url)


class _DocumentPart(_Params, frozen=True, tag="document"):
    media_type: str = "application/pdf"
    name: str | None = None
    data: bytes | None = None
    url: str | None = None

    def part(self) -> Document:
        return Document(self.media_type, self.name, self.data, self.url)


class SessionCreate(_Params, frozen=True):
    agent: str | None = None
    model: str | None = None
    instructions: str | None = None
    if_busy: Literal["queue", "reject"] | None = None
    id: Annotated[str, msgspec.Meta(min_length=1, max_length=128)] | None = None


class SessionNamed(_Params, frozen=True):
    session: str


class TurnStart(_Params, frozen=True):
    session: str
    prompt: str | None = None
    parts: list[_TextPart | _ImagePart | _DocumentPart] | None = None
    if_busy: Literal["queue", "reject"] | None = None
    wait: bool = False

    def content(self) -> str | list[Text | Image | Document]:
        """Return what the user says.

        Raises:
            Refused: There is no content, or two.
        """
        if (self.prompt is None) == (self.parts is None):
            raise _wrong("turn/start", "needs exactly one of prompt and parts", "/prompt")
        if self.prompt is not None:
            return self.prompt
        return [part.part() for part in self.parts or ()]


class TurnNamed(_Params, frozen=True):
    turn: str


class TurnCancel(_Params, frozen=True):
    turn: str
    reason: str = "user"


class Shutdown(_Params, frozen=True):
    mode: Literal["drain", "now"] = "drain"


LATER = {
    "initialize": {"channels", "deltas", "flow"},
    "turn/start": {"deadline_ms", "idempotency_key"},
    "shutdown": {"deadline_ms"},
}
"""Parameters of the full protocol that would change what happens, so they are not just ignored."""

P = TypeVar("P", bound=_Params)


def read_params(method: str, params: Mapping[str, Any], kind: type[P]) -> P:
    """Return ``params`` as what ``method`` takes.

    Raises:
        NotSupported: One of them comes with the full protocol.
        Refused: One is missing, unknown or of the wrong type; the answer points at it.
    """
    refuse_later(method, params)
    try:
        return msgspec.convert(params, kind)
    except msgspec.ValidationError as error:
        text, _, place = str(error).partition(" - at `$")
        named = re.search(r"field `(.+)`", text)
        pointer = _pointer(place.rstrip("`")) + (f"/{named[1]}" if named else "")
        accepted = ", ".join(field.name for field in msgspec.structs.fields(kind))
        raise _wrong(method, text, pointer, f"It takes {accepted}.") from error


def refuse_later(method: str, params: Mapping[str, Any]) -> None:
    """Raise `NotSupported` for a parameter whose effect is not there yet."""
    later = sorted(LATER.get(method, set()) & params.keys())
    if later:
        raise NotSupported(
            f"{method} does not know {', '.join(later)} yet; it comes with the full protocol.",
            remedy="Leave it out.",
        )


def _wrong(method: str, text: str, pointer: str, remedy: str | None = None) -> Refused:
    message = f"{method}: {text[:1].lower()}{text[1:]}."
    return Refused(fault("invalid_params", message, remedy=remedy, pointers=[pointer]))


def _pointer(path: str) -> str:
    """Return a msgspec path (``.parts[0].type``) as a JSON pointer (``/parts/0/type``)."""
    return re.sub(r"[.\[]", "/", path).replace("]", "")
