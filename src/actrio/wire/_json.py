"""Values as JSON bytes that every reader of lines and every strict parser accepts.

msgspec writes JSON fast and turns NaN and the infinities into ``null``. Two things it leaves to us:

- U+2028, U+2029 and U+0085 are legal inside JSON strings, but Python's ``splitlines`` and some
  editors end a line there, so one event would be read as two. They leave as escapes.
- A lone surrogate (half of an emoji that a model's tokens split) has no UTF-8 form, and msgspec
  refuses it. Such a value takes the slower road through the standard library, which escapes it.
"""

from __future__ import annotations

import json
import math
from typing import Any

import msgspec

from actrio.errors import InvalidRequest

__all__ = ["builtins_of", "json_line"]

# A UTF-8 lead byte never occurs inside another character, so replacing bytes is exact; and in
# JSON non-ASCII characters stand in strings only, so an escape is always in its place.
_LINE_BREAKS = (
    (b"\xe2\x80\xa8", b"\\u2028"),
    (b"\xe2\x80\xa9", b"\\u2029"),
    (b"\xc2\x85", b"\\u0085"),
)

_encoder = msgspec.json.Encoder()


def json_line(value: Any) -> bytes:
    """Return ``value`` as one line of strict JSON, ending with a line feed.

    NaN and infinities become ``null``; the line holds no line break but the last one.

    Args:
        value: Anything msgspec can write: builtins, attrs classes, dataclasses, datetimes.

    Raises:
        InvalidRequest: Something in it has no JSON form.
    """
    try:
        encoded = _encoder.encode(value)
    except UnicodeEncodeError:
        plain = _without_nan(builtins_of(value))
        return json.dumps(plain, separators=(",", ":"), allow_nan=False).encode("ascii") + b"\n"
    except (TypeError, ValueError) as error:
        raise _no_json(value, error) from error
    if not encoded.isascii():
        for raw, escaped in _LINE_BREAKS:
            if raw in encoded:
                encoded = encoded.replace(raw, escaped)
    return encoded + b"\n"


def builtins_of(value: Any) -> Any:
    """Return ``value`` as dicts, lists, strings, numbers, booleans and ``None``.

    Raises:
        InvalidRequest: Something in it has no JSON form.
    """
    try:
        return msgspec.to_builtins(value, str_keys=True)
    except (TypeError, ValueError) as error:
        raise _no_json(value, error) from error


def _no_json(value: Any, error: Exception) -> InvalidRequest:
    return InvalidRequest(
        f"A value of type {type(value).__name__} cannot be written as JSON: {error}.",
        remedy="Use attrs classes, dataclasses, dicts, lists, strings and numbers.",
    )


def _without_nan(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(item) for item in value]
    return value
