"""The JSON-RPC connection over lines that every such front end shares."""

from actrio.rpc._connection import Connection as Connection
from actrio.rpc._faults import Refused as Refused
from actrio.rpc._faults import fault as fault
from actrio.rpc._faults import fault_of as fault_of
from actrio.rpc._limits import ConnectionLimits as ConnectionLimits
from actrio.rpc._limits import ConnectionStatistics as ConnectionStatistics
from actrio.rpc._limits import Ending as Ending
from actrio.rpc._methods import Call as Call
from actrio.rpc._methods import CancelMethod as CancelMethod
from actrio.rpc._methods import Methods as Methods
from actrio.rpc._methods import Shrink as Shrink
from actrio.rpc._outbox import Mergeable as Mergeable
from actrio.rpc._outbox import Outbox as Outbox
from actrio.rpc._outbox import OutboxStatistics as OutboxStatistics
