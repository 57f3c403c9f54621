"""What is run: the scenarios, and what actrio is to reach in each."""

from __future__ import annotations

from typing import Any, Final, Literal

import attrs

from bench.peers.work import CHUNKS

Row = Literal["actrio", "actrio, embedded journal"]


@attrs.frozen
class Target:
    """What a row is to reach: ``metric`` of at most or at least ``value``."""

    row: Row
    metric: str
    sense: Literal["≤", "≥"]
    value: float
    unit: str = ""

    def reached(self, found: float) -> bool:
        return found <= self.value if self.sense == "≤" else found >= self.value


@attrs.frozen(kw_only=True)
class Scenario:
    """A load.

    Args:
        name: As in the issue's table.
        what: In words.
        sessions: Turns in flight at once, each session one after the other.
        first_ms: From a request to its first piece of text.
        gap_ms: From a piece to the next; 0 sends all at once.
        tools: One tool call for each turn.
        warm_seconds: Before the window.
        seconds: The window.
        slow_times: How much longer both are for the big libraries, whose turns take that long.
        stagger_seconds: Over which the sessions begin.
        targets: What actrio is to reach.
        tune: What to look at where tokens/s is off its baseline.
    """

    name: str
    what: str
    sessions: int
    first_ms: float = 0.0
    gap_ms: float = 0.0
    tools: bool = False
    warm_seconds: float = 3.0
    seconds: float = 8.0
    slow_times: float = 2.0
    stagger_seconds: float = 1.0
    targets: tuple[Target, ...] = ()
    tune: str = ""

    @property
    def ideal_ms(self) -> float | None:
        """How long a turn takes where nobody computes; None where nothing else takes time."""
        return self.first_ms + (CHUNKS - 1) * self.gap_ms if self.gap_ms else None

    @property
    def server_args(self) -> list[str]:
        paced = ["--first-ms", str(self.first_ms), "--gap-ms", str(self.gap_ms)]
        return [*paced, *(["--tools"] if self.tools else [])]

    @property
    def dataset(self) -> dict[str, Any]:
        """The size of the work, for the record."""
        return {
            "sessions": self.sessions,
            "prompt_tokens": 128,
            "answer_pieces": CHUNKS,
            "first_ms": self.first_ms,
            "gap_ms": self.gap_ms,
            "tool_calls": int(self.tools),
        }


_PER_READ = "credit of the turn's stream, pieces per message, filters on the path"

SCENARIOS: Final = (
    Scenario(
        name="S1",
        what="100 sessions, 128 pieces, no delay",
        sessions=100,
        targets=(
            Target("actrio", "cpu_ms_per_turn", "≤", 1.0, "ms"),
            Target("actrio", "turns_per_second", "≥", 1000),
            Target("actrio, embedded journal", "cpu_ms_per_turn", "≤", 1.5, "ms"),
        ),
        tune=_PER_READ,
    ),
    Scenario(
        name="S2",
        what="100 sessions, 50 ms to the first piece, 10 ms for each",
        sessions=100,
        first_ms=50,
        gap_ms=10,
        warm_seconds=3.5,
        stagger_seconds=1.3,
        targets=(
            Target("actrio", "p95_above_ideal_ms", "≤", 5, "ms"),
            Target("actrio", "cpu_percent", "≤", 50, "%"),
        ),
        tune="work for each read: one schedule point, one message; collector pauses",
    ),
    Scenario(
        name="S3",
        what="as S1, with one tool call in each turn",
        sessions=100,
        tools=True,
        targets=(Target("actrio", "turns_per_second", "≥", 500),),
        tune=f"the tool path, and what a step costs; {_PER_READ}",
    ),
    Scenario(
        name="S4",
        what="1,000 sessions, 50 ms to the first piece, 20 ms for each",
        sessions=1000,
        first_ms=50,
        gap_ms=20,
        warm_seconds=6.0,
        seconds=10.0,
        slow_times=3.0,
        stagger_seconds=2.6,
        targets=(
            Target("actrio", "p95_above_ideal_ms", "≤", 150, "ms"),
            Target("actrio", "turns_per_second", "≥", 375),
            Target("actrio", "peak_rss_mb", "≤", 110, "MB"),
            Target("actrio", "errors", "≤", 0),
            Target("actrio", "lost", "≤", 0),
        ),
        tune="max_connections, work for each read, collector thresholds",
    ),
)


def quick(scenario: Scenario) -> Scenario:
    """Return the scenario with short windows: good to see a change, not to publish."""
    return attrs.evolve(
        scenario,
        warm_seconds=scenario.warm_seconds * (0.9 if scenario.gap_ms else 0.5),
        seconds=scenario.seconds * 0.5,
        slow_times=scenario.slow_times * 0.75,
    )
