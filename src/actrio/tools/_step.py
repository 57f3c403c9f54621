"""What all calls of one step have in common."""

from __future__ import annotations

import attrs

from actrio.filters import Filter
from actrio.tools._box import ToolBox
from actrio.tools._desk import TurnDesk
from actrio.tools._ledger import CallLedger

__all__ = ["Step"]


@attrs.frozen(slots=True)
class Step:
    """The calls of one model answer, by their ledger, and what they run with."""

    box: ToolBox
    ledger: CallLedger
    session: str
    turn: str
    agent: str
    filters: tuple[Filter, ...]
    desk: TurnDesk | None
