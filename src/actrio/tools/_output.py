"""From what a tool returned to what a model reads, within a bound."""

from __future__ import annotations

from typing import Any

import msgspec

__all__ = ["bounded", "describe_error", "text_of"]

_ERRORS_MAX = 3
"""Exceptions of one group that a model is told about; more would only fill its window."""


def text_of(value: Any) -> str:
    """Return the text of a tool's return value: a string as it is, None as done, others as JSON.

    Raises:
        TypeError: JSON has no form for it; names the type.
    """
    if isinstance(value, str):
        return str(value)
    if value is None:
        # An empty result makes some models call again; one plain word does not.
        return "done"
    try:
        return msgspec.json.encode(value).decode()
    except (TypeError, ValueError, RecursionError) as error:
        raise TypeError(
            f"The tool returned a value of type {type(value).__name__}, which has no JSON form "
            f"({error})."
        ) from error


def bounded(text: str, bytes_max: int) -> str:
    """Return ``text`` if it fits, else its beginning with a line that says what was left out."""
    data = text.encode(errors="replace")
    if len(data) <= bytes_max:
        # Through the bytes, so that a lone surrogate cannot break a request later.
        return data.decode()
    head = data[:bytes_max].decode(errors="ignore")
    left_out = len(data) - len(head.encode())
    return f"{head}\n[{left_out} of {len(data)} bytes left out here; ask for less at once]"


def describe_error(error: BaseException) -> str:
    """Return type and message of ``error``; for a group, of what is in it."""
    leaves = list(_leaves(error))
    texts = [_one_line(each) for each in leaves[:_ERRORS_MAX]]
    if len(leaves) > _ERRORS_MAX:
        texts.append(f"and {len(leaves) - _ERRORS_MAX} more")
    return "; ".join(texts)


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for each in error.exceptions for leaf in _leaves(each)]
    return [error]


def _one_line(error: BaseException) -> str:
    message = str(error)
    return f"{type(error).__name__}: {message}" if message else type(error).__name__
