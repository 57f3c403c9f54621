"""How much of the recorded traffic is read as its vendors mean it. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import attrs

from actrio.providers.contract._run import Outcome

__all__ = ["Report", "Tally", "report_of"]


@attrs.frozen(slots=True)
class Tally:
    """How many of some exchanges match."""

    matched: int
    total: int

    @property
    def rate(self) -> float:
        return self.matched / self.total if self.total else 1.0

    def __str__(self) -> str:
        return f"{self.matched}/{self.total} ({self.rate:.1%})"


@attrs.frozen(slots=True)
class Report:
    """What a run found.

    Attributes:
        kinds: By provider and kind.
        requests: By provider: how many of our requests equal the recorded client's.
        request_fields: By provider: how many requests differ at each path.
    """

    outcomes: tuple[Outcome, ...]
    total: Tally
    providers: dict[str, Tally]
    kinds: dict[tuple[str, str], Tally]
    requests: dict[str, Tally]
    request_fields: dict[str, Counter[str]]

    def below(self, threshold: float) -> list[str]:
        """Return what does not reach ``threshold``: providers, or ``all``."""
        found = [name for name, tally in self.providers.items() if tally.rate < threshold]
        return found if self.total.rate >= threshold else ["all", *found]

    def as_json(self, threshold: float, seed: int) -> dict[str, Any]:
        """Return the report as one JSON value."""
        return {
            "seed": seed,
            "threshold": threshold,
            "ok": not self.below(threshold),
            **_tally_json(self.total),
            "providers": {
                name: {
                    **_tally_json(tally),
                    "kinds": {
                        kind: _tally_json(of_kind)
                        for (provider, kind), of_kind in self.kinds.items()
                        if provider == name
                    },
                }
                for name, tally in self.providers.items()
            },
            "deviations": [
                attrs.asdict(one) for outcome in self.outcomes for one in outcome.differences
            ],
            "requests": {
                name: {**_tally_json(tally), "fields": dict(self.request_fields[name])}
                for name, tally in self.requests.items()
            },
            "request_deviations": [
                {"id": outcome.exchange.id, "fields": list(outcome.request_fields)}
                for outcome in self.outcomes
                if outcome.request_fields
            ],
        }

    def lines(self, threshold: float) -> Iterator[str]:
        """Return the report for people, line by line."""
        yield "answers"
        for name, tally in self.providers.items():
            yield f"  {name:<12} {tally}"
            for (provider, kind), of_kind in self.kinds.items():
                if provider == name:
                    yield f"    {kind:<12} {of_kind}"
        yield f"  {'all':<12} {self.total}"
        yield from self._deviation_lines()
        yield "requests, rebuilt from our own values"
        for name, tally in self.requests.items():
            yield f"  {name:<12} {tally} as the recorded client's"
            for field, count in self.request_fields[name].most_common():
                yield f"    {count:>4} × {field}"
        below = self.below(threshold)
        yield (
            f"below {threshold:.0%}: {', '.join(below)}" if below else f"all reach {threshold:.0%}"
        )

    def _deviation_lines(self) -> Iterator[str]:
        differing = [outcome for outcome in self.outcomes if outcome.differences]
        if differing:
            yield "deviations"
        for outcome in differing:
            yield f"  {outcome.exchange.id}"
            for one in outcome.differences:
                yield f"    {one.field}: expected {one.expected!r}, found {one.found!r}"


def report_of(outcomes: Iterable[Outcome]) -> Report:
    """Count ``outcomes``."""
    outcomes = tuple(outcomes)
    kinds: dict[tuple[str, str], list[bool]] = {}
    requests: dict[str, list[bool]] = {}
    fields: dict[str, Counter[str]] = {}
    for outcome in outcomes:
        provider, kind = outcome.exchange.provider, outcome.exchange.kind
        kinds.setdefault((provider, kind), []).append(not outcome.differences)
        if outcome.request_fields is not None:
            requests.setdefault(provider, []).append(not outcome.request_fields)
            fields.setdefault(provider, Counter()).update(outcome.request_fields)
    names = sorted({provider for provider, _ in kinds})
    return Report(
        outcomes,
        _tally(each for matches in kinds.values() for each in matches),
        {
            name: _tally(one for (who, _), them in kinds.items() if who == name for one in them)
            for name in names
        },
        {key: _tally(kinds[key]) for key in sorted(kinds)},
        {name: _tally(requests[name]) for name in sorted(requests)},
        fields,
    )


def _tally(matches: Iterable[bool]) -> Tally:
    listed = list(matches)
    return Tally(sum(listed), len(listed))


def _tally_json(tally: Tally) -> dict[str, Any]:
    return {"matched": tally.matched, "total": tally.total, "rate": round(tally.rate, 4)}
