"""What a session is when nobody runs it.

The record outlives the activation: a crashed session comes back with it, not with what its
constructor got. It is in memory; the journal takes its place behind the same door.
"""

from __future__ import annotations

from actrio.agents import Agent
from actrio.feeds import Numbering
from actrio.messages import Message

__all__ = ["SessionRecord"]


class SessionRecord:
    """History and counters of one session. Only its actor writes."""

    __slots__ = ("agent", "history", "id", "numbering", "turns")

    def __init__(self, session_id: str, agent: Agent) -> None:
        self.id = session_id
        self.agent = agent
        # Valid for a provider at all times: every tool call has its result.
        self.history: list[Message] = []
        self.numbering = Numbering()
        self.turns = 0  # ended, however they ended
