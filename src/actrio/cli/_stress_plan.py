"""From flags to a plan. Pure, but for the file that is replayed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from actrio.errors import InvalidRequest, NotFound
from actrio.stress import (
    CHAOS_DEFAULT,
    DEFAULT_MODEL,
    KEY_VARIABLE,
    Chaos,
    KneePlan,
    Objective,
    Profile,
    Stage,
    StressPlan,
    closed,
    open_loop,
    ramp,
    read_replay,
    replayed,
    sweep,
)

if TYPE_CHECKING:
    from pathlib import Path

    from actrio.cli._stress import Load

__all__ = ["duration_seconds", "plan_of"]

SESSIONS: Final = 100
SESSIONS_OPEN: Final = 500
SESSIONS_KNEE: Final = 1000

WARMUP_SHARE: Final = 0.1
WARMUP_SECONDS_MAX: Final = 5.0

STALL_SECONDS: Final = 2.0
"""Where stalls are made on purpose: long enough to be one, short enough to see many."""

CHAOS_STALL: Final = 30.0

SOAK_OBJECTIVES: Final = ("rss_slope<1MB/min", "error_rate<=0%", "loop_lag.p99.9<50ms")
CHAOS_OBJECTIVES: Final = ("error_rate<=0%",)
_CANNOT: Final = {
    "stdio": ("kill_actor", "slow_client"),
    **dict.fromkeys(("http", "https", "openai"), ("kill_actor",)),
}
"""What of the usual chaos cannot be made at which kind of target."""

KNEE_OBJECTIVES: Final = ("ttft.p95<300ms", "error_rate<1%")

_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)?")
_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, None: 1.0}
_STAGE: Final = re.compile(r"(\d+(?:\.\d+)?)(/s)?(?:@([0-9.]+(?:ms|s|m|h)?))?")
_RATE: Final = re.compile(r"(\d+(?:\.\d+)?)(?:/s)?")

DURATION_MAX: Final = 7 * 86_400.0


def duration_seconds(text: str, *, name: str = "--duration") -> float:
    """Read ``10s``, ``500ms``, ``5m``, ``1h`` or a number of seconds.

    Raises:
        InvalidRequest: It is none, or nothing, or longer than a week.
    """
    found = _DURATION.fullmatch(text.strip())
    seconds = float(found[1]) * _UNITS[found[2]] if found else -1.0
    if not 0 <= seconds <= DURATION_MAX:
        raise InvalidRequest(f"{name} {text[:40]!r} is no duration.", remedy="Write 10s, 5m or 1h.")
    return seconds


def plan_of(load: Load, *, slos: tuple[str, ...] = (), allow_saturated: bool = False) -> StressPlan:
    """Return the plan that the flags ask for.

    Raises:
        InvalidRequest: They contradict each other, or one of them cannot be read.
        NotFound: There is no file to replay.
    """
    profile = _profile(load)
    seconds = _seconds(load, profile)
    stages, knee = _stages(load, profile, seconds)
    chaos = Chaos.parse(load.chaos or (_default_chaos(load) if profile == "chaos" else ""))
    warmup = min(WARMUP_SHARE * seconds, WARMUP_SECONDS_MAX)
    if load.warmup is not None:
        warmup = duration_seconds(load.warmup, name="--warmup")
    defaults = {"soak": SOAK_OBJECTIVES, "chaos": CHAOS_OBJECTIVES, "knee": KNEE_OBJECTIVES}
    plan = StressPlan(
        target=load.target,
        model=load.model or DEFAULT_MODEL,
        profile=profile,
        stages=stages,
        knee=knee,
        session_turns=load.turns,
        warmup_seconds=0.0 if profile in {"sweep", "knee"} else warmup,
        chaos=chaos,
        objectives=tuple(Objective.parse(text) for text in slos or defaults.get(profile, ())),
        connections=load.connections,
        queue=load.queue,
        stall_seconds=STALL_SECONDS if chaos.stall else CHAOS_STALL,
        seed=load.seed,
        allow_saturated=allow_saturated,
        store=load.store,
        key_variable=load.key_env or KEY_VARIABLE,
    )
    return _with_prompt(plan, load.prompt)


def _with_prompt(plan: StressPlan, prompt: str | None) -> StressPlan:
    if prompt is None:
        return plan
    if not prompt.strip():
        raise InvalidRequest("--prompt is empty.", remedy="Say something.")
    import attrs

    return attrs.evolve(plan, prompt=prompt)


def _profile(load: Load) -> Profile:
    opens = load.rate is not None or load.replay is not None
    if load.profile is None:
        return "open" if opens else "closed"
    if load.profile == "open" and not opens:
        raise InvalidRequest(
            "An open run needs a rate.", remedy="Add --rate 50/s, or --replay FILE."
        )
    if opens and load.profile not in {"open", "knee", "sweep"}:
        raise InvalidRequest(
            f"--rate and --replay do not go with --profile {load.profile}.",
            remedy="Use --profile open, sweep or knee, or leave them out.",
        )
    return load.profile


def _seconds(load: Load, profile: Profile) -> float:
    if load.duration is not None:
        seconds = duration_seconds(load.duration)
        if not seconds:
            raise InvalidRequest("--duration is nothing.", remedy="Write 10s, for example.")
        return seconds
    return {"soak": 600.0, "sweep": 5.0, "knee": 5.0}.get(profile, 10.0)


def _default_chaos(load: Load) -> str:
    """Return the usual chaos, without what the target cannot do."""
    kind = load.target.partition(":")[0]
    without = _CANNOT.get(kind, ())
    if not (load.model or DEFAULT_MODEL).startswith("scripted:"):
        without = (*without, "provider_5xx", "stall")
    parts = CHAOS_DEFAULT.split(",")
    return ",".join(part for part in parts if not part.startswith(without))


def _stages(
    load: Load, profile: Profile, seconds: float
) -> tuple[tuple[Stage, ...], KneePlan | None]:
    rising = duration_seconds(load.ramp, name="--ramp") if load.ramp else 0.0
    if profile == "knee":
        return _knee(load, seconds)
    if load.replay is not None:
        arrivals = read_replay(_content(load.replay), source=str(load.replay))
        return replayed(arrivals, sessions=load.sessions or SESSIONS_OPEN), None
    if profile in {"ramp", "sweep"}:
        return _levels(load, profile, seconds), None
    if profile == "open":
        return open_loop(
            _rate(load.rate),
            seconds,
            sessions=load.sessions or SESSIONS_OPEN,
            kind=load.arrival,
            ramp_seconds=rising,
            seed=load.seed,
        ), None
    return closed(load.sessions or SESSIONS, seconds, ramp_seconds=rising), None


def _knee(load: Load, seconds: float) -> tuple[tuple[Stage, ...], KneePlan]:
    if load.rate is not None:
        start = _rate(load.rate)
        sessions = load.sessions or SESSIONS_KNEE
        room = Stage(name="knee", seconds=seconds, sessions=sessions)
        return (room,), KneePlan(start, start * 1000, seconds, rates=True)
    most = load.sessions or SESSIONS_KNEE
    return (), KneePlan(min(10, most), most, seconds, rates=False)


def _levels(load: Load, profile: Profile, seconds: float) -> tuple[Stage, ...]:
    """Return the stages that are written out, or four to ten that lead up to the full load."""
    if load.stages is not None:
        steps, rates = _written(load.stages, seconds)
    else:
        rates = load.rate is not None
        most = _rate(load.rate) if rates else float(load.sessions or SESSIONS)
        steps = _usual(most, seconds, profile, whole=not rates)
    sessions = load.sessions or SESSIONS_OPEN
    if profile == "ramp":
        return ramp(steps, sessions=sessions, rates=rates)
    stages = [sweep([level], each, sessions=sessions, rates=rates)[0] for level, each in steps]
    return tuple(stages)


def _usual(
    most: float, seconds: float, profile: Profile, *, whole: bool
) -> list[tuple[float, float]]:
    if profile == "ramp":
        return [(most * k / 4, seconds / 4) for k in range(1, 5)]
    levels = [most / 2**k for k in range(6, -1, -1)]
    kept = sorted({max(1.0, float(round(level))) for level in levels}) if whole else levels
    return [(level, seconds) for level in kept]


def _written(text: str, seconds: float) -> tuple[list[tuple[float, float]], bool]:
    steps, rates = [], set()
    for part in text.split(","):
        found = _STAGE.fullmatch(part.strip())
        if found is None or float(found[1]) <= 0:
            raise InvalidRequest(
                f"--stages: {part[:40]!r} is no stage.", remedy="Write 10@5s,50@5s or 20/s@5s."
            )
        rates.add(found[2] is not None)
        each = duration_seconds(found[3], name="--stages") if found[3] else seconds
        steps.append((float(found[1]), max(each, 0.001)))
    if len(rates) > 1:
        raise InvalidRequest(
            "--stages mixes sessions and rates.", remedy="Write all of them with /s, or none."
        )
    return steps, rates.pop()


def _rate(text: str | None) -> float:
    found = _RATE.fullmatch((text or "").strip())
    if found is None or not 0 < float(found[1]) <= 1_000_000:
        raise InvalidRequest(f"--rate {text!r} is no rate.", remedy="Write 50/s.")
    return float(found[1])


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise NotFound(
            f"{path} cannot be read: {error.strerror}.", remedy="Check the path."
        ) from error
