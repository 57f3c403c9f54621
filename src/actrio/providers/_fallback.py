"""Other models in a model's place, when its own provider fails for a reason that would pass."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import attrs

from actrio.actors import Ref
from actrio.errors import ActrioError
from actrio.messages import ModelInput, ModelOutput
from actrio.providers._reading import Outlet

__all__ = ["OpenModel", "fall_back"]

OpenModel = Callable[[str], Awaitable[tuple[Ref[Any], str]]]
"""Gives the connection of a model (``provider:name``) and the model's name in requests."""


async def fall_back(
    call: ModelInput,
    error: ActrioError,
    models: Iterable[str],
    *,
    open_model: OpenModel,
    outlet: Outlet,
) -> ModelOutput:
    """Ask ``models`` in order, until one answers or has shown something.

    The call that is passed on may not fall back itself, so lists that name each other end.

    *Failure*: if none answers, ``error`` is raised, with what became of each in its data.

    Args:
        call: What was asked.
        error: Why its own provider did not answer.
        models: Each ``provider:name``.
        open_model: Opens one.
        outlet: Where deltas go.
    """
    tried: dict[str, str] = {}
    for model in models:
        try:
            ref, name = await open_model(model)
            forwarded = attrs.evolve(call, model=name, fallback=False)
            return await _pass_on(ref, forwarded, outlet)
        except ActrioError as failure:
            if outlet.shown:
                raise
            tried[model] = failure.message
    error.data = {**error.data, "fallback": tried}
    raise error


async def _pass_on(ref: Ref[Any], call: ModelInput, outlet: Outlet) -> ModelOutput:
    output: ModelOutput = await ref.ask(call, each=outlet.emit if outlet.wanted else None)
    return output
