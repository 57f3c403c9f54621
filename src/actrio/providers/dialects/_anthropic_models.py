"""What the Claude models take, as far as a request depends on it. Data and one lookup.

The vendor's own list of models (``GET /v1/models``) tells these facts; the table repeats them for
a call that has not asked for that list. What is unknown counts as the newest Claude, except for
models of others behind this wire format, which get what every endpoint is known to take.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, Literal

import attrs

from actrio.messages import ReasoningEffort

__all__ = [
    "ANSWER_TOKENS",
    "THINKING_TOKENS",
    "THINKING_TOKENS_MIN",
    "WHOLE_TOKENS_MAX",
    "ModelTraits",
    "traits_of",
]

THINKING_TOKENS_MIN: Final = 1_024
"""The vendor refuses a smaller budget."""

THINKING_TOKENS: Final[Mapping[ReasoningEffort, int]] = {
    "low": 2_048,
    "medium": 8_192,
    "high": 24_000,
}
"""Budgets for models that know no effort. ``high`` leaves room for an answer in 32,000 tokens,
the smallest bound of a model that thinks."""

ANSWER_TOKENS: Final = 4_096
"""Left for the answer where nobody bounded the output but somebody bounded the thinking."""

WHOLE_TOKENS_MAX: Final = 16_000
"""Default bound of an answer that is not streamed: the vendor cuts connections that are silent for
ten minutes, and its own client refuses to ask for more than 21,333 tokens without a stream."""

_OUTPUT_TOKENS: Final = 32_000
"""Default bound of an answer, because the format demands one. Every model since Claude 4 takes it;
more would be refused by models that add it to the prompt and compare that with their window."""


@attrs.frozen(slots=True)
class ModelTraits:
    """What one model takes.

    Attributes:
        max_tokens: The bound on output where the caller sets none.
        thinking: ``budget`` in tokens, ``adaptive`` with an effort, or ``none`` at all.
    """

    max_tokens: int
    thinking: Literal["none", "budget", "adaptive"]


_BY_VERSION: Final[tuple[tuple[tuple[int, int], ModelTraits], ...]] = (
    # The first row whose version is above the model's.
    ((3, 5), ModelTraits(4_096, "none")),
    ((3, 7), ModelTraits(8_192, "none")),
    ((4, 6), ModelTraits(_OUTPUT_TOKENS, "budget")),
)
_NEWEST: Final = ModelTraits(_OUTPUT_TOKENS, "adaptive")
_OTHERS: Final = ModelTraits(8_192, "budget")

# "claude-opus-4-1-20250805" is 4.1, "claude-3-5-haiku-latest" 3.5, "claude-opus-4@20250514" 4.0.
_VERSION: Final = re.compile(r"(?<!\d)(\d{1,2})(?!\d)(?:[-.](\d{1,2})(?!\d))?")


def traits_of(model: str) -> ModelTraits:
    """Return what ``model`` takes, by its name."""
    _, claude, name = model.lower().rpartition("claude")
    if not claude:
        return _OTHERS
    version = _VERSION.search(name)
    if version is None:
        return _NEWEST
    number = int(version[1]), int(version[2] or 0)
    return next((traits for below, traits in _BY_VERSION if number < below), _NEWEST)
