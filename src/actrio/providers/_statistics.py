"""What a connection tells of itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import attrs

from actrio.errors import ActrioError, ProviderError
from actrio.messages import Usage
from actrio.providers._admission import AdmissionStatistics
from actrio.providers._circuit import CircuitState
from actrio.providers._pace import ReadPace

__all__ = ["ConnectionStatistics", "Counts"]


@attrs.frozen(slots=True, kw_only=True)
class ConnectionStatistics:
    """How one connection's calls stand, and what became of those before.

    A measured peak is called ``peak``, a configured bound ``max``.

    Attributes:
        lanes: HTTP clients of ten connections each.
        calls_in_work: Attempts that have a connection now.
        peak_calls_in_work: The most attempts at the same time.
        max_connections: The bound of these.
        limit: How many attempts may be in work now; it follows what the provider takes.
        waiting: Calls that wait for an attempt.
        peak_waiting: The most of them.
        parked: Calls between two attempts.
        queue_max: The bound of those that wait and those between two attempts.
        pause_seconds: How long nothing is sent, because the provider asked for it.
        pauses: How often it did.
        circuit: ``closed`` is well, ``open`` fails at once, ``half_open`` tries one call.
        circuit_opened: How often it opened.
        refused: Calls that never got an attempt: queue, circuit or a long pause.
        calls: Model and embedding calls.
        requests: HTTP requests, retries and batches included.
        retries: Attempts after a call's first.
        fallbacks: Calls that another model answered.
        failures: Failed attempts by error category.
        usage: Tokens, as the provider reported them.
        rest_seconds: How long a stream rests between two reads while the runtime's loop is late;
            0 while it is not. This and the next are of all connections together.
        rests: How often one did.
    """

    lanes: int
    calls_in_work: int
    peak_calls_in_work: int
    max_connections: int
    limit: int
    waiting: int
    peak_waiting: int
    parked: int
    queue_max: int
    pause_seconds: float
    pauses: int
    circuit: CircuitState
    circuit_opened: int
    refused: int
    calls: int
    requests: int
    retries: int
    fallbacks: int
    failures: Mapping[str, int]
    usage: Usage
    rest_seconds: float
    rests: int


class Counts:
    """What is only counted."""

    __slots__ = ("_failures", "_usage", "calls", "fallbacks", "requests", "retries")

    def __init__(self) -> None:
        self.calls = self.requests = self.retries = self.fallbacks = 0
        self._failures: Counter[str] = Counter()
        self._usage = Usage()

    def note(self, error: ActrioError) -> None:
        """Count a failed attempt."""
        self._failures[error.category if isinstance(error, ProviderError) else error.kind] += 1

    def spend(self, usage: Usage) -> None:
        self._usage += usage

    def told(
        self, admission: AdmissionStatistics, pace: ReadPace, *, lanes: int, calls_in_work: int
    ) -> ConnectionStatistics:
        return ConnectionStatistics(
            lanes=lanes,
            calls_in_work=calls_in_work,
            peak_calls_in_work=admission.peak_running,
            max_connections=admission.limit_max,
            limit=admission.limit,
            waiting=admission.waiting,
            peak_waiting=admission.peak_waiting,
            parked=admission.parked,
            queue_max=admission.queue_max,
            pause_seconds=admission.pause_seconds,
            pauses=admission.pauses,
            circuit=admission.circuit,
            circuit_opened=admission.circuit_opened,
            refused=admission.refused,
            calls=self.calls,
            requests=self.requests,
            retries=self.retries,
            fallbacks=self.fallbacks,
            failures=dict(self._failures),
            usage=self._usage,
            rest_seconds=pace.period,
            rests=pace.rests,
        )
