"""Sessions: one conversation, one writer."""

from actrio.sessions._pool import SessionPool as SessionPool
from actrio.sessions._record import SessionRecord as SessionRecord
from actrio.sessions._session import Session as Session
from actrio.sessions._session import Turn as Turn
from actrio.sessions._session_actor import SessionActor as SessionActor
from actrio.sessions._session_actor import TurnSlots as TurnSlots
