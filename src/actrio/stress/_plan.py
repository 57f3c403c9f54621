"""A run as it is asked for: everything that decides what happens, as one frozen value."""

from __future__ import annotations

import hashlib
from typing import Any, Final, Literal, get_args

import attrs
import msgspec

from actrio.stress._arrivals import Stage
from actrio.stress._chaos import Chaos
from actrio.stress._objectives import Objective
from actrio.stress._targets import KEY_VARIABLE, StoreKind

__all__ = ["DEFAULT_MODEL", "PROFILES", "KneePlan", "Profile", "StressPlan"]

Profile = Literal["closed", "open", "ramp", "sweep", "knee", "soak", "chaos"]
PROFILES: Final = get_args(Profile)

DEFAULT_MODEL: Final = "scripted:tokens?ttft=50ms&itl=10ms&tokens=64"
"""A brisk hosted model: 50 ms to the first token, a hundred tokens per second, 64 in all."""

STALL_SECONDS: Final = 30.0
"""How long a provider may be silent. In a calm run that is a failure of the target."""

QUEUE_MAX: Final = 2000
"""Calls that may wait for a connection, as by default in the settings."""

GRACE_SECONDS: Final = 30.0
"""How long turns may go on when the time is over, before they are cut off and said to be."""


@attrs.frozen(slots=True)
class KneePlan:
    """Where a search for the knee begins and ends, see `Knee`."""

    start: float
    most: float
    seconds: float
    rates: bool


@attrs.frozen(slots=True, kw_only=True)
class StressPlan:
    """A run.

    Attributes:
        target: What is put under load, see `split_target`.
        model: Which model answers; a ``scripted:`` one in a process of its own.
        profile: What the stages were made from.
        stages: What happens; of a search for the knee nothing is known before.
        knee: That search.
        session_turns: Turns of one conversation; then its session is closed and a new one begun.
            Five is what people do, and keeps the history from growing for as long as the run is.
        warmup_seconds: At the beginning, in which latencies and rates do not count.
        chaos: What goes wrong on purpose.
        objectives: What has to be reached.
        connections: Calls to the scripted provider at once; as many as sessions where None.
        queue: Calls that may wait for one of these.
        turns_max: The runtime's own bound of turns in flight; that of the settings where None.
        stall_seconds: How long a provider may be silent.
        grace_seconds: How long turns may go on after the end.
        prompt: What is said; ``{turn}`` stands for a number.
        seed: Of everything that is drawn by chance.
        allow_saturated: Whether a result counts that the generator itself may have spoilt.
        store: Where a runtime that is started for the run keeps its sessions: ``memory``, or
            ``embedded`` in files of a folder that is removed afterwards. None: in memory, but in
            files behind ``stdio:``, as that command does.
        key_variable: The variable with the key that a server which runs already asks for.
    """

    target: str = "inproc"
    model: str = DEFAULT_MODEL
    profile: Profile = "closed"
    stages: tuple[Stage, ...] = ()
    knee: KneePlan | None = None
    session_turns: int = 5
    warmup_seconds: float = 0.0
    chaos: Chaos = Chaos()
    objectives: tuple[Objective, ...] = ()
    connections: int | None = None
    queue: int = QUEUE_MAX
    turns_max: int | None = None
    stall_seconds: float = STALL_SECONDS
    grace_seconds: float = GRACE_SECONDS
    prompt: str = "Question {turn}: what do you see?"
    seed: int = 1
    allow_saturated: bool = False
    store: StoreKind | None = None
    key_variable: str = KEY_VARIABLE

    @property
    def sessions_max(self) -> int:
        """How many seats the run needs."""
        if self.knee is not None:
            return round(self.knee.most) if not self.knee.rates else self._open_sessions()
        return max(stage.sessions for stage in self.stages)

    def _open_sessions(self) -> int:
        return max((stage.sessions for stage in self.stages), default=1000)

    def told(self) -> dict[str, Any]:
        """Return it as JSON values."""
        stages = [
            {
                "name": stage.name,
                "seconds": stage.seconds,
                "sessions": stage.sessions,
                "offered_per_second": stage.offered_per_second,
                "arrivals": stage.kind if stage.segments else None,
            }
            for stage in self.stages[:100]
        ]
        plain = attrs.asdict(self, recurse=False)
        del plain["stages"], plain["knee"], plain["chaos"], plain["objectives"]
        return {
            **plain,
            "stages": stages,
            "knee": attrs.asdict(self.knee) if self.knee else None,
            "chaos": dict(self.chaos.told()),
            "slos": [each.text for each in self.objectives],
        }

    @property
    def digest(self) -> str:
        """A short mark that is the same for the same load."""
        told = self.told()
        for name in ("slos", "allow_saturated", "key_variable"):
            del told[name]  # what is asked of a load does not change it
        content = msgspec.json.encode(told, order="sorted")
        return hashlib.sha256(content).hexdigest()[:12]
