"""Tools: what a model may call, and the one path on which every call travels."""

from actrio.tools._arguments import ARGUMENTS_BYTES_MAX as ARGUMENTS_BYTES_MAX
from actrio.tools._box import ToolBox as ToolBox
from actrio.tools._box import ToolBoxStatistics as ToolBoxStatistics
from actrio.tools._box import ToolLimits as ToolLimits
from actrio.tools._desk import Leave as Leave
from actrio.tools._desk import TurnDesk as TurnDesk
from actrio.tools._ledger import CallLedger as CallLedger
from actrio.tools._ledger import CallProgress as CallProgress
from actrio.tools._ledger import CallState as CallState
from actrio.tools._ledger import seal as seal
from actrio.tools._ledger import sealing_text as sealing_text
from actrio.tools._path import CallObserver as CallObserver
from actrio.tools._path import StepObserver as StepObserver
from actrio.tools._path import run_calls as run_calls
from actrio.tools._tool import OUTPUT_BYTES_MAX as OUTPUT_BYTES_MAX
from actrio.tools._tool import TIMEOUT_SECONDS as TIMEOUT_SECONDS
from actrio.tools._tool import Tool as Tool
from actrio.tools._tool import ToolApproval as ToolApproval
from actrio.tools._tool import tool as tool
from actrio.tools._tool_context import ToolContext as ToolContext
