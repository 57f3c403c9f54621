"""The work that every program does: what is asked, what is answered, and the one tool.

Imported in every peer's environment, so it needs nothing but the standard library.
"""

from __future__ import annotations

from typing import Final

CHUNKS: Final = 128
"""Pieces of text in one answer; one piece stands for one token."""

MODEL: Final = "scripted-128"

_ANSWER: Final = ["amber", "basalt", "cedar", "delta", "ember", "fjord", "grove", "heron"]
_ASKED: Final = [
    "harvest",
    "orchard",
    "lantern",
    "tunnel",
    "glacier",
    "velvet",
    "compass",
    "thistle",
    "meadow",
    "quarry",
    "anchor",
    "saffron",
]

PIECES: Final = tuple(("" if at == 0 else " ") + _ANSWER[at % 8] for at in range(CHUNKS))
ANSWER: Final = "".join(PIECES)
"""What each answer says. A turn that heard anything else has lost text."""

TOOL_NAME: Final = "get_weather"
TOOL_TEXT: Final = "Get the weather for a city."
TOOL: Final = {
    "type": "function",
    "function": {
        "name": TOOL_NAME,
        "description": TOOL_TEXT,
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}


def prompt(number: int) -> str:
    """Return about 128 tokens, different for each turn, so that nothing can be cached."""
    words = (_ASKED[(number + at) % len(_ASKED)] for at in range(124))
    return f"Question {number}: {' '.join(words)}"


def weather(city: str) -> str:
    return f"Sunny, 21 degrees in {city}"


async def get_weather(city: str) -> str:
    """Get the weather for a city."""
    # Async, because some libraries run plain functions in threads and others in the loop.
    return weather(city)
