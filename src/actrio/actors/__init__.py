"""The kernel: cells, mailboxes, references, supervision. It has never heard of models.

A cell owns what waits; an activation comes and goes; a supervisor decides whether it comes back.
"""

from actrio.actors._actor import Actor as Actor
from actrio.actors._actor import Context as Context
from actrio.actors._actor import Deferred as Deferred
from actrio.actors._dead_letters import DeadLetters as DeadLetters
from actrio.actors._ref import Ref as Ref
from actrio.actors._ref import ReplyStream as ReplyStream
from actrio.actors._restart_window import Backoff as Backoff
from actrio.actors._restart_window import RestartWindow as RestartWindow
from actrio.actors._routes import RouteStatistics as RouteStatistics
from actrio.actors._slot import Slot as Slot
from actrio.actors._system import ActorCrashed as ActorCrashed
from actrio.actors._system import ActorSystem as ActorSystem
from actrio.actors._system import SupervisorRef as SupervisorRef
from actrio.actors._system import open_actor_system as open_actor_system
from actrio.actors._threads import ThreadDoor as ThreadDoor
from actrio.actors._timers import Timers as Timers
from actrio.actors._values import ActorSnapshot as ActorSnapshot
from actrio.actors._values import ActorState as ActorState
from actrio.actors._values import ChildSpec as ChildSpec
from actrio.actors._values import DeadLetter as DeadLetter
from actrio.actors._values import DeadLetterReason as DeadLetterReason
from actrio.actors._values import DrainReport as DrainReport
from actrio.actors._values import ExitReason as ExitReason
from actrio.actors._values import MailboxSpec as MailboxSpec
from actrio.actors._values import MailboxStatistics as MailboxStatistics
from actrio.actors._values import Restart as Restart
from actrio.actors._values import RouteSpec as RouteSpec
from actrio.actors._values import SupervisorSpec as SupervisorSpec
from actrio.actors._values import Terminated as Terminated
from actrio.actors._values import Trace as Trace
from actrio.actors._values import WhenFull as WhenFull
from actrio.actors._watchdog import LoopStalled as LoopStalled
