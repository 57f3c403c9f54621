"""The config option ``model``: which models a session can have."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from typing import Any, Final

from actrio.errors import ActrioError, InvalidRequest
from actrio.providers.local import installed_models
from actrio.runtime import Runtime

__all__ = ["MODEL_OPTION", "Models"]

MODEL_OPTION: Final = "model"

SCRIPTED_MODEL: Final = "scripted:demo"


class Models:
    """Which models there are to choose from.

    No provider is asked for its list: offered are the models that the settings name, those
    installed on this machine, and the scripted one; any other ``provider:model`` can be set too.

    Args:
        runtime: Whose providers.
        default: The agent's own model.
        env: Where installed models are looked for.
    """

    def __init__(self, runtime: Runtime, default: str, env: Mapping[str, str]) -> None:
        self._runtime = runtime
        self.default = default
        settings = runtime.settings
        named = [default, settings.model, *(each.model for each in settings.agents.values())]
        if importlib.util.find_spec("xllamacpp") is not None:
            named += [f"local:{model.name}" for model in installed_models(env)]
        usable = {each.name for each in runtime.connections.status() if each.state == "available"}
        found = (each for each in (*named, SCRIPTED_MODEL) if each)
        # The agent's own is offered in any case: what is missing is told when it is used.
        self._offered = tuple(
            dict.fromkeys(
                each for each in found if each == default or each.partition(":")[0] in usable
            )
        )

    def options(self, current: str) -> list[dict[str, Any]]:
        """Return the config options of a session whose model is ``current``."""
        offered = dict.fromkeys((*self._offered, current))
        return [
            {
                "id": MODEL_OPTION,
                "name": "Model",
                "category": "model",
                "type": "select",
                "currentValue": current,
                "options": [{"value": each, "name": each} for each in offered],
            }
        ]

    async def check(self, model: object) -> str:
        """Return ``model`` if a connection to it can be opened; nothing is asked of it.

        Raises:
            InvalidRequest: It is not of the form ``provider:model``.
            ActrioError: There is no such provider, or something is missing for it.
        """
        if not isinstance(model, str) or not model.partition(":")[2]:
            raise InvalidRequest(
                f"{model!r} is no model.", remedy="Write provider:model, as in the options."
            )
        try:
            await self._runtime.connections.open(model)
        except ActrioError:
            if model == self.default:
                return model
            raise
        return model
