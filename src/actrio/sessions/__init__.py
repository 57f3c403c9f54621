"""Sessions: one conversation, one writer, and a journal that outlives both."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from actrio.sessions._desk import STATE_BYTES_MAX as STATE_BYTES_MAX
    from actrio.sessions._fold import apply as apply
    from actrio.sessions._fold import fold as fold
    from actrio.sessions._fold import replayed as replayed
    from actrio.sessions._journal import Store as Store
    from actrio.sessions._journal import exported as exported
    from actrio.sessions._journal import oldest_records as oldest_records
    from actrio.sessions._journal import read_state as read_state
    from actrio.sessions._journal import replay_from as replay_from
    from actrio.sessions._line import TurnSlots as TurnSlots
    from actrio.sessions._pool import PoolLimits as PoolLimits
    from actrio.sessions._pool import SessionPool as SessionPool
    from actrio.sessions._session import Session as Session
    from actrio.sessions._session import Turn as Turn
    from actrio.sessions._session_actor import SessionActor as SessionActor
    from actrio.sessions._state import SessionState as SessionState
else:
    from actrio._doors import open_door

    __getattr__, __dir__, __all__ = open_door(
        __name__,
        {
            "_desk": "STATE_BYTES_MAX",
            "_fold": "apply fold replayed",
            "_journal": "Store exported oldest_records read_state replay_from",
            "_line": "TurnSlots",
            "_pool": "PoolLimits SessionPool",
            "_session": "Session Turn",
            "_session_actor": "SessionActor",
            "_state": "SessionState",
        },
    )
