"""``actrio contract``: recorded traffic through the real connection, and how much of it matches."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path

from actrio.cli._interrupt import Interruption, until_interrupted
from actrio.cli._outlet import Outlet
from actrio.errors import ConfigError
from actrio.providers.contract import Outcome, load_exchanges, replay, report_of
from actrio.wire import json_line

__all__ = ["check_contract"]

EXIT_BELOW = 1


async def check_contract(
    folder: Path,
    *,
    provider: str | None,
    as_json: bool,
    emit: Path | None,
    threshold: float,
    seed: int,
) -> int:
    """Print the match rates; 0 where all reach the threshold, else 1."""
    return await until_interrupted(
        partial(
            _check,
            Outlet(),
            folder,
            provider=provider,
            as_json=as_json,
            emit=emit,
            threshold=threshold,
            seed=seed,
        )
    )


async def _check(
    outlet: Outlet,
    folder: Path,
    _interruption: Interruption,
    *,
    provider: str | None,
    as_json: bool,
    emit: Path | None,
    threshold: float,
    seed: int,
) -> int:
    outcomes = await replay(load_exchanges(folder, provider), seed=seed)
    if emit is not None:
        _emit(emit, outcomes)
    report = report_of(outcomes)
    if as_json:
        await outlet.answer(json_line(report.as_json(threshold, seed)).decode())
    else:
        await outlet.answer("".join(f"{line}\n" for line in report.lines(threshold)))
    return EXIT_BELOW if report.below(threshold) else 0


def _emit(path: Path, outcomes: Iterable[Outcome]) -> None:
    try:
        with path.open("wb") as file:
            for outcome in outcomes:
                file.write(json_line(outcome.result.members()))
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be written: {error.strerror}.", remedy="Name another file for --emit."
        ) from None
