"""The way back from a constrained answer: JSON text, cut anywhere, to text or a tool call.

The grammar writes ``{"tool": NAME, "arguments": OBJECT}`` or ``{"answer": VALUE}``, with the keys
in this order and whitespace wherever JSON allows it. The reader walks these stages::

    head ──"answer":, text wanted──► words ──────closing quote──► tail
      ├────"answer":, own schema───► value ──────end of value───► tail
      ├────"arguments":────────────► arguments ──end of value───► tail
      └────anything else───────────► raw

``raw`` passes everything on: where a server ignored the schema, nothing is lost. Deltas that are
not text always pass. Pure.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Final, Literal

import attrs

from actrio.messages import Delta, FinishDelta, TextDelta, ToolCallDelta

__all__ = ["ConstrainedReader"]

_HEAD_CHARACTERS_MAX: Final = 4096
"""Longest text before a value begins. A tool's name is short; the grammar bounds whitespace."""

_ANSWER: Final = re.compile(r'\s*\{\s*"answer"\s*:\s*(?=\S)')
_CALL: Final = re.compile(
    r'\s*\{\s*"tool"\s*:\s*("(?:[^"\\]|\\.)*")\s*,\s*"arguments"\s*:\s*(?=\S)', re.DOTALL
)

_Stage = Literal["head", "words", "value", "arguments", "tail", "raw"]


class ConstrainedReader:
    """Turns the deltas of one constrained answer into what they mean.

    Args:
        schema_answer: Whether ``answer`` holds a value of the caller's own schema, which is
            passed on as JSON text; otherwise it holds a string, which is decoded.
        call_number: How many calls the conversation holds already; makes the new id unique in it.
    """

    __slots__ = ("_call_id", "_called", "_head", "_schema_answer", "_stage", "_string", "_value")

    def __init__(self, *, schema_answer: bool = False, call_number: int = 0) -> None:
        self._schema_answer = schema_answer
        self._call_id = f"call_{call_number}"
        self._called = False
        self._stage: _Stage = "head"
        self._head = ""
        self._string = _StringDecoder()
        self._value = _ValueScanner()

    def read(self, deltas: Iterable[Delta]) -> list[Delta]:
        """Return what one batch amounts to; empty while nothing can be told yet."""
        out: list[Delta] = []
        for delta in deltas:
            if isinstance(delta, TextDelta):
                out.extend(self._text(delta.text))
            elif isinstance(delta, FinishDelta):
                out.extend(self._finish(delta))
            else:
                out.append(delta)
        return out

    def _text(self, text: str) -> list[Delta]:
        out: list[Delta] = []
        if self._stage == "head":
            text = self._begin(self._head + text, out)
        match self._stage:
            case "words":
                piece, ended = self._string.feed(text), self._string.ended
            case "value" | "arguments":
                piece, ended = self._value.feed(text), self._value.ended
            case "raw":
                piece, ended = text, False
            case _:
                return out
        if piece:
            call = self._stage == "arguments"
            out.append(ToolCallDelta(0, arguments=piece) if call else TextDelta(piece))
        if ended:
            self._stage = "tail"
        return out

    def _begin(self, head: str, out: list[Delta]) -> str:
        """Choose the stage that follows the head; return the text that belongs to it."""
        if found := _ANSWER.match(head):
            self._stage = "value" if self._schema_answer else "words"
            if not self._schema_answer and head[found.end()] != '"':
                self._stage = "value"
        elif found := _CALL.match(head):
            self._stage, self._called = "arguments", True
            out.append(ToolCallDelta(0, id=self._call_id, name=json.loads(found[1])))
        elif len(head) > _HEAD_CHARACTERS_MAX or head.lstrip()[:1] not in {"", "{"}:
            self._stage = "raw"
        else:
            self._head = head
            return ""
        self._head = ""
        return head[found.end() :] if found else head

    def _finish(self, finish: FinishDelta) -> list[Delta]:
        """Tell the reason of what was meant.

        A whole value is whole even if the limit cut the closing brace after it. A head that was
        cut has no meaning yet and is dropped; if the model ended there by itself, it is passed
        on, because then it is not the form that was asked for.
        """
        if self._stage == "tail" and finish.reason in {"stop", "length"}:
            return [attrs.evolve(finish, reason="tool_calls" if self._called else "stop")]
        if self._stage == "head" and self._head and finish.reason != "length":
            return [TextDelta(self._head), finish]
        return [finish]


_ESCAPES: Final = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_SPECIAL: Final = re.compile(r'["\\]')
_UNKNOWN: Final = "\ufffd"


class _StringDecoder:
    """Decodes one JSON string as it arrives; keeps at most one escape (12 characters) back."""

    __slots__ = ("_opened", "_pending", "ended")

    def __init__(self) -> None:
        self._opened = False
        self._pending = ""
        self.ended = False

    def feed(self, text: str) -> str:
        """Return the characters that are certain now. What follows the closing quote is dropped."""
        text, self._pending = self._pending + text, ""
        position = 0
        if not self._opened and text:
            self._opened = True
            position = 1
        out: list[str] = []
        while position < len(text):
            special = _SPECIAL.search(text, position)
            if special is None:
                out.append(text[position:])
                break
            out.append(text[position : special.start()])
            if special[0] == '"':
                self.ended = True
                break
            decoded = _unescape(text[special.start() : special.start() + 12])
            if decoded is None:
                self._pending = text[special.start() :]
                break
            out.append(decoded[0])
            position = special.start() + decoded[1]
        return "".join(out)


def _unescape(text: str) -> tuple[str, int] | None:
    r"""Return the character of the escape that ``text`` begins with, and the escape's length.

    Returns ``None`` where more text is needed: for ``\``, ``\u00`` and half a surrogate pair.
    Half a pair that stays alone is no character and becomes U+FFFD.
    """
    if len(text) < 2:
        return None
    if text[1] != "u":
        return _ESCAPES.get(text[1], text[1]), 2
    if len(text) < 6:
        return None
    first = _code_unit(text[2:6])
    if first is None or 0xDC00 <= first <= 0xDFFF:
        return _UNKNOWN, 6
    if not 0xD800 <= first <= 0xDBFF:
        return chr(first), 6
    follower = text[6:12]
    if not "\\u".startswith(follower[:2]):
        return _UNKNOWN, 6
    if len(follower) < 6:
        return None
    second = _code_unit(follower[2:6])
    if second is None or not 0xDC00 <= second <= 0xDFFF:
        return _UNKNOWN, 6
    return chr(0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00)), 12


def _code_unit(digits: str) -> int | None:
    return int(digits, 16) if re.fullmatch(r"[0-9a-fA-F]{4}", digits) else None


class _ValueScanner:
    """Finds the end of one JSON value as it arrives, and passes its text on unchanged."""

    __slots__ = ("_depth", "_escaped", "_scalar", "_started", "_within_string", "ended")

    def __init__(self) -> None:
        self._started = False
        self._scalar = False
        self._depth = 0
        self._within_string = False
        self._escaped = False
        self.ended = False

    def feed(self, text: str) -> str:
        """Return the part of ``text`` that belongs to the value."""
        for position, character in enumerate(text):
            if not self._started:
                self._started = True
                self._scalar = character not in '{["'
            if self._scalar:
                if character in " \t\r\n,}]":
                    self.ended = True
                    return text[:position]
            elif self._ends_with(character):
                self.ended = True
                return text[: position + 1]
        return text

    def _ends_with(self, character: str) -> bool:
        if self._within_string:
            if self._escaped:
                self._escaped = False
            elif character == "\\":
                self._escaped = True
            elif character == '"':
                self._within_string = False
        elif character == '"':
            self._within_string = True
        elif character in "{[":
            self._depth += 1
        elif character in "}]":
            self._depth -= 1
        return not self._depth and not self._within_string
