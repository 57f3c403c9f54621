"""What goes wrong on purpose: the grammar of ``--chaos``, and each turn's fate. Pure, seeded."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from typing import Final

import attrs

from actrio.errors import InvalidRequest

__all__ = ["CALM", "CHAOS_DEFAULT", "Chaos", "Fate"]

CHAOS_DEFAULT: Final = "provider_5xx=1%,stall=0.5%,kill_actor=1/s,slow_client=5%,cancel=10%"

STALL_AT: Final = 3
"""After how many deltas a stalled provider falls silent: in the stream, where it hurts most."""

CANCEL_AFTER_MAX: Final = 8
"""A client that leaves does so after at most so many pieces of text, or before the first."""

SHARES: Final = ("provider_5xx", "stall", "slow_client", "cancel")

_SHARE: Final = re.compile(r"(\d+(?:\.\d+)?)%")
_RATE: Final = re.compile(r"(\d+(?:\.\d+)?)/s")


@attrs.frozen(slots=True)
class Fate:
    """What happens to one turn.

    Attributes:
        fault: How its provider fails, in the scripted provider's words.
        cancel_after: After how many pieces of text its client leaves.
        slow: Whether its client reads slowly.
    """

    fault: str | None = None
    cancel_after: int | None = None
    slow: bool = False

    @property
    def unharmed(self) -> bool:
        """Whether its latency says something about the target."""
        return self.fault is None and self.cancel_after is None and not self.slow


CALM: Final = Fate()


@attrs.frozen(slots=True)
class Chaos:
    """Shares of turns (0 to 1) that something happens to, and actors killed per second.

    Attributes:
        provider_5xx: The provider answers with status 500, on every attempt.
        stall: The provider falls silent in the middle of its answer.
        slow_client: The client reads slowly.
        cancel: The client leaves early.
        kill_actor: Actors that are crashed, per second.
    """

    provider_5xx: float = 0.0
    stall: float = 0.0
    slow_client: float = 0.0
    cancel: float = 0.0
    kill_actor: float = 0.0

    @classmethod
    def parse(cls, text: str) -> Chaos:
        """Read ``provider_5xx=1%,stall=0.5%,kill_actor=1/s,slow_client=5%,cancel=10%``.

        Raises:
            InvalidRequest: A name or value is not known; says what is.
        """
        values: dict[str, float] = {}
        for pair in filter(None, (each.strip() for each in text.split(","))):
            name, _, value = pair.partition("=")
            if name not in (*SHARES, "kill_actor"):
                raise InvalidRequest(
                    f"There is no chaos {name!r}.",
                    remedy=f"Use {', '.join(SHARES)} (as 1%) and kill_actor (as 1/s).",
                )
            values[name] = _rate(value) if name == "kill_actor" else _share(name, value)
        made = cls(**values)
        if sum(getattr(made, name) for name in SHARES) > 1:
            raise InvalidRequest(
                "The shares of chaos come to more than 100 %.", remedy="One turn has one fate."
            )
        return made

    def fate(self, rng: random.Random) -> Fate:
        """Draw what happens to a turn: at most one thing, so that its end can be told apart."""
        if not self.harms_turns:
            return CALM
        drawn = rng.random()
        for name in SHARES:
            share: float = getattr(self, name)
            if drawn < share:
                return _fate(name, rng)
            drawn -= share
        return CALM

    @property
    def harms_turns(self) -> bool:
        return any(getattr(self, name) for name in SHARES)

    @property
    def needs_script(self) -> bool:
        """Whether the provider has to fail on demand."""
        return bool(self.provider_5xx or self.stall)

    def told(self) -> Mapping[str, float]:
        return {name: value for name, value in attrs.asdict(self).items() if value}


def _fate(name: str, rng: random.Random) -> Fate:
    match name:
        case "provider_5xx":
            return Fate(fault="status500")
        case "stall":
            return Fate(fault=f"stall@{STALL_AT}")
        case "cancel":
            return Fate(cancel_after=rng.randint(0, CANCEL_AFTER_MAX))
        case _:
            return Fate(slow=True)


def _share(name: str, value: str) -> float:
    found = _SHARE.fullmatch(value)
    if found is None or float(found[1]) > 100:
        raise InvalidRequest(f"{name}={value[:40]} is no share.", remedy=f"Write {name}=1%.")
    return float(found[1]) / 100


def _rate(value: str) -> float:
    found = _RATE.fullmatch(value)
    if found is None or float(found[1]) > 1000:
        raise InvalidRequest(
            f"kill_actor={value[:40]} is no rate.", remedy="Write kill_actor=1/s, at most 1000/s."
        )
    return float(found[1])
