"""What a client said of itself in ``initialize``, made ready for use."""

from __future__ import annotations

from typing import Literal

import attrs

from actrio.messages import Event
from actrio.stdio._event_lines import channel_of
from actrio.stdio._params import Capabilities, Initialize

__all__ = ["ClientProfile", "How"]

How = Literal["request", "event", "no"]
"""How a client wants to be asked: by a request, by an event that it answers, or not at all."""


@attrs.frozen(slots=True, kw_only=True)
class ClientProfile:
    """One client's wishes.

    Attributes:
        name: What it calls itself.
        approval: How it wants to be asked about tool calls.
        question: How it wants to be asked what tools want to know.
        tools: Whether it runs tools.
        channels: Which events it wants.
        deltas: Whether it wants each delta, longer ones, or none.
        window: Events of a session that may leave unacknowledged; ``None``: any number.
    """

    name: str = "client"
    approval: How = "no"
    question: How = "no"
    tools: bool = False
    channels: frozenset[str] = frozenset({"progress", "control"})
    deltas: Literal["all", "coalesced", "none"] = "all"
    window: int | None = None

    @classmethod
    def of(cls, params: Initialize) -> ClientProfile:
        """Return the profile of a client that sent ``params``."""
        capabilities = params.capabilities
        return cls(
            name=params.client.name or "client",
            approval=_how(capabilities.approval),
            question=_how(capabilities.question),
            tools=capabilities.tools,
            channels=frozenset(params.channels),
            deltas=params.deltas,
            window=params.flow.window,
        )

    def wants(self, event: Event) -> bool:
        """Whether ``event`` is sent to this client, deltas aside."""
        channel = channel_of(event)
        return channel == "always" or channel in self.channels

    def capabilities(self) -> Capabilities:
        """Return what is in force, as `initialize` answers it."""

        def told(how: How) -> bool | Literal["request", "event"]:
            return False if how == "no" else how

        return Capabilities(
            approval=told(self.approval), question=told(self.question), tools=self.tools
        )


def _how(declared: bool | Literal["request", "event"]) -> How:
    if declared is True:
        return "request"
    return declared or "no"
