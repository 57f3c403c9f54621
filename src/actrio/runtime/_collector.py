"""Settings of Python's garbage collector for a process that carries many turns at once.

A turn leaves nothing to the collector: what it made is freed as it ends, by reference counts. But the
collector looks all the same, as often as 700 more things are there than before, and each time it has
looked ten by ten times it looks through everything: the more sessions, the longer it stops all of
them. Measured with the load of ``python -m bench.peers --only S4``, a thousand streams at once for
13 s (Python 3.11, one EPYC core, 2026-11)::

                                 looks   in all of them   longest stop   CPU per turn
    Python's own (700, 10, 10)   2,126           4.9 s          269 ms         2.8 ms
    10,000, 20, 50                 204           1.6 s          200 ms         2.3 ms
    these (50,000, 20, 50)         133           0.2 s           25 ms         2.2 ms

With these the young things of a thousand turns come and go without a look; those above are the
start's, before the call. What was imported is put out of the collector's sight: none of it ever
goes.
"""

from __future__ import annotations

import gc
from typing import Final

__all__ = ["COLLECTOR_THRESHOLDS", "tune_collector"]

COLLECTOR_THRESHOLDS: Final = (50_000, 20, 50)
"""New things between two looks at them, and how many of those looks make a longer one, twice."""


def tune_collector() -> None:
    """Let the garbage collector stop this process more rarely, and for less.

    Call it once the program is imported and started. It is a setting of the whole process, so only
    whoever owns the process may choose it: the commands ``serve``, ``stress`` and ``demo`` do, the
    library never does. Cyclic garbage of the program's own stays a little longer. Calling it again
    changes nothing.
    """
    if gc.get_threshold() == COLLECTOR_THRESHOLDS:
        return
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECTOR_THRESHOLDS)
