"""Scripted vectors: the same text gives the same vector, and that is all they mean."""

from __future__ import annotations

import math
import random
from typing import Final

from actrio.messages import EmbedInput, EmbedOutput, Usage

__all__ = ["scripted_vectors"]

DIMENSIONS: Final = 64
"""Length of a vector where the caller does not choose: long enough to look like one."""


def scripted_vectors(call: EmbedInput) -> EmbedOutput:
    """Return a unit vector for each text, drawn at random from the text alone."""
    length = call.dimensions or DIMENSIONS
    words = sum(len(text.split()) for text in call.texts)
    vectors = tuple(_vector(text, length) for text in call.texts)
    return EmbedOutput(vectors, Usage(input_tokens=words), call.model)


def _vector(text: str, length: int) -> tuple[float, ...]:
    rng = random.Random(text)
    raw = [rng.gauss(0.0, 1.0) for _ in range(length)]
    norm = math.sqrt(sum(value * value for value in raw))
    return tuple(value / norm for value in raw)
