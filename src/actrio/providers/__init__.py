"""Ways to a model: each connection an actor, each wire format pure, each provider data.

`actrio.providers.scripted` and `actrio.providers.local` are the two providers that need no key;
nothing of them is loaded here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from actrio.providers._connection import Adapt as Adapt
    from actrio.providers._connection import ProviderConnection as ProviderConnection
    from actrio.providers._endpoint import Endpoint as Endpoint
    from actrio.providers._http import Answer as Answer
    from actrio.providers._http import HttpLibrary as HttpLibrary
    from actrio.providers._http import Transport as Transport
    from actrio.providers._http import load_http as load_http
    from actrio.providers._limits import ConnectionLimits as ConnectionLimits
    from actrio.providers._open import Connections as Connections
    from actrio.providers._open import split_model as split_model
    from actrio.providers._settings import HttpChoice as HttpChoice
    from actrio.providers._settings import ProviderSettings as ProviderSettings
    from actrio.providers._settings import ProviderState as ProviderState
    from actrio.providers._settings import ProviderStatus as ProviderStatus
    from actrio.providers._statistics import ConnectionStatistics as ConnectionStatistics
else:
    from actrio._doors import open_door

    __getattr__, __dir__, __all__ = open_door(
        __name__,
        {
            "_connection": "Adapt ProviderConnection",
            "_endpoint": "Endpoint",
            "_http": "Answer HttpLibrary Transport load_http",
            "_limits": "ConnectionLimits",
            "_open": "Connections split_model",
            "_settings": "HttpChoice ProviderSettings ProviderState ProviderStatus",
            "_statistics": "ConnectionStatistics",
        },
    )
