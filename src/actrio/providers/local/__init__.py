"""``local:`` models: a real model on this machine, served by llama.cpp in a child process."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from actrio.providers.local._install import install_model as install_model
    from actrio.providers.local._models import BUNDLED_MODELS as BUNDLED_MODELS
    from actrio.providers.local._models import BundledModel as BundledModel
    from actrio.providers.local._models import InstalledModel as InstalledModel
    from actrio.providers.local._models import find_model as find_model
    from actrio.providers.local._models import installed_models as installed_models
    from actrio.providers.local._process import ServerFacts as ServerFacts
    from actrio.providers.local._server import Adapt as Adapt
    from actrio.providers.local._server import LocalModel as LocalModel
    from actrio.providers.local._server import open_local as open_local
    from actrio.providers.local._settings import LocalSettings as LocalSettings
else:
    from actrio._doors import open_door

    __getattr__, __dir__, __all__ = open_door(
        __name__,
        {
            "_install": "install_model",
            "_models": "BUNDLED_MODELS BundledModel InstalledModel find_model installed_models",
            "_process": "ServerFacts",
            "_server": "Adapt LocalModel open_local",
            "_settings": "LocalSettings",
        },
    )
