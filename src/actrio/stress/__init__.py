"""The stress harness: puts load on a target, and tells honestly what came of it.

`stress` opens a target and gives a `StressRun`, whose ``run()`` returns the report as JSON values
(schema ``actrio.stress/1``). What it may look like is decided before, in a `StressPlan`.
"""

from actrio.stress._arrivals import Arrival as Arrival
from actrio.stress._arrivals import ArrivalKind as ArrivalKind
from actrio.stress._arrivals import Segment as Segment
from actrio.stress._arrivals import Stage as Stage
from actrio.stress._arrivals import closed as closed
from actrio.stress._arrivals import open_loop as open_loop
from actrio.stress._arrivals import planned as planned
from actrio.stress._arrivals import ramp as ramp
from actrio.stress._arrivals import read_replay as read_replay
from actrio.stress._arrivals import replayed as replayed
from actrio.stress._arrivals import sweep as sweep
from actrio.stress._chaos import CHAOS_DEFAULT as CHAOS_DEFAULT
from actrio.stress._chaos import Chaos as Chaos
from actrio.stress._compare import Comparison as Comparison
from actrio.stress._compare import Row as Row
from actrio.stress._compare import compare as compare
from actrio.stress._compare import read_report as read_report
from actrio.stress._compare import tuning_hints as tuning_hints
from actrio.stress._histogram import Histogram as Histogram
from actrio.stress._html import report_html as report_html
from actrio.stress._live import live_json as live_json
from actrio.stress._live import panel as panel
from actrio.stress._objectives import METRICS as METRICS
from actrio.stress._objectives import Objective as Objective
from actrio.stress._open import stress as stress
from actrio.stress._plan import DEFAULT_MODEL as DEFAULT_MODEL
from actrio.stress._plan import KneePlan as KneePlan
from actrio.stress._plan import Profile as Profile
from actrio.stress._plan import StressPlan as StressPlan
from actrio.stress._provider import ScriptedProcess as ScriptedProcess
from actrio.stress._provider import scripted_process as scripted_process
from actrio.stress._report import SCHEMA as SCHEMA
from actrio.stress._run import StressRun as StressRun
from actrio.stress._targets import KEY_VARIABLE as KEY_VARIABLE
from actrio.stress._targets import StoreKind as StoreKind
from actrio.stress._text import comparison_text as comparison_text
from actrio.stress._text import report_text as report_text
from actrio.stress._text import series_csv as series_csv
from actrio.stress._watch import Live as Live
