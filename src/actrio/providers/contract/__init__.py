"""Recorded traffic of real vendors, through the real connection: does it read what they mean?"""

from actrio.providers.contract._compare import Difference as Difference
from actrio.providers.contract._exchange import Exchange as Exchange
from actrio.providers.contract._exchange import load_exchanges as load_exchanges
from actrio.providers.contract._report import Report as Report
from actrio.providers.contract._report import Tally as Tally
from actrio.providers.contract._report import report_of as report_of
from actrio.providers.contract._result import Result as Result
from actrio.providers.contract._run import Outcome as Outcome
from actrio.providers.contract._run import replay as replay
