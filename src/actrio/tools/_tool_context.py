"""What a tool may know about the call it serves."""

from __future__ import annotations

import attrs

__all__ = ["ToolContext"]


@attrs.frozen(slots=True)
class ToolContext:
    """Injected into a parameter annotated with it; never part of the tool's schema.

    Attributes:
        session: The session's id.
        turn: The turn's id.
        agent: The agent's name.
        call_id: The call's id, as the model's provider gave it.
        tool: The tool's name.
        deadline: When the call is cut off, in Trio's clock (`trio.current_time`); ``inf`` where
            nothing limits it.
    """

    session: str
    turn: str
    agent: str
    call_id: str
    tool: str
    deadline: float
