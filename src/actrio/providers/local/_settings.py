"""The ``[local]`` settings: how a model on this machine is run."""

from __future__ import annotations

import os
from typing import Any, Final, Literal

import attrs

from actrio.errors import ConfigError

__all__ = ["LocalSettings", "ToolStyle"]

ToolStyle = Literal["auto", "native", "constrained"]

_TOOL_STYLES: Final = ("auto", "native", "constrained")


def _between(low: float, high: float) -> Any:
    """Return a validator that accepts numbers from ``low`` to ``high``."""

    def check(_instance: Any, attribute: Any, value: Any) -> None:
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not number or not low <= value <= high:
            raise ConfigError(
                f"local.{attribute.name} is {value!r}.",
                remedy=f"Set it to a number between {low:g} and {high:g}.",
            )
        if isinstance(low, int) and not isinstance(value, int):
            raise ConfigError(
                f"local.{attribute.name} is {value!r}.", remedy="Set it to a whole number."
            )

    return check


def _tool_style(_instance: Any, _attribute: Any, value: Any) -> None:
    if value not in _TOOL_STYLES:
        raise ConfigError(
            f"local.tools is {value!r}.", remedy=f"Set it to one of {', '.join(_TOOL_STYLES)}."
        )


@attrs.frozen(slots=True, kw_only=True)
class LocalSettings:
    """How a model on this machine is run.

    Attributes:
        context_tokens: Tokens that one conversation may hold, its answer included. The server
            keeps ``context_tokens`` × ``parallel`` of them in memory (23 KB each for smollm2).
        threads: Threads that compute; ``None`` is one less than the cores, at least one.
        parallel: Requests answered at the same time; further ones wait in the server.
        tools: ``native`` hands tools to the model's own chat template. ``constrained`` describes
            every tool in the instructions and bounds the answer by a schema, so that a call is
            always well-formed. ``auto`` takes ``native`` where the template knows tools, else
            ``constrained``; a bundled model is then offered only tools that share a word with
            the question, and chooses by the question alone.
        tool_rounds: Constrained only: after so many rounds of tool calls on one user message
            the model must answer in words. Small models would call forever.
        start_seconds: How long the server may take until it answers.
    """

    context_tokens: int = attrs.field(default=4096, validator=_between(256, 1_048_576))
    threads: int | None = attrs.field(
        default=None, validator=attrs.validators.optional(_between(1, 1024))
    )
    parallel: int = attrs.field(default=2, validator=_between(1, 64))
    tools: ToolStyle = attrs.field(default="auto", validator=_tool_style)
    tool_rounds: int = attrs.field(default=1, validator=_between(0, 100))
    start_seconds: float = attrs.field(default=120, validator=_between(0.001, 86_400.0))

    def thread_count(self) -> int:
        """Return how many threads compute.

        llama.cpp's threads meet at a spinning barrier many times per token. With as many threads
        as cores, one other busy task makes all of them wait for the scheduler: measured on two
        cores beside one busy process, 65 tokens/s with two threads and 165 with one; on an idle
        machine 175 and 160.
        """
        return self.threads or max(1, (os.cpu_count() or 1) - 1)
