"""What is said to session and agent actors."""

from __future__ import annotations

from typing import Literal

import attrs

from actrio.messages._parts import UserMessage

__all__ = ["CancelTurn", "PrepareTurn", "SetTool", "StartTurn"]


@attrs.frozen(slots=True)
class StartTurn:
    """To a session: take this as the next turn. Streamed: events; the answer: a TurnResult."""

    turn: str
    message: UserMessage
    if_busy: Literal["queue", "reject"] | None = None


@attrs.frozen(slots=True)
class CancelTurn:
    """To a session, on the control lane: end this turn, or (None) the running one."""

    turn: str | None
    reason: str = "user"


@attrs.frozen(slots=True)
class PrepareTurn:
    """To an agent: the definition as it is to be used for a turn that begins now."""


@attrs.frozen(slots=True)
class SetTool:
    """To an agent: switch one of its tools on or off, from the next turn on."""

    name: str
    enabled: bool
