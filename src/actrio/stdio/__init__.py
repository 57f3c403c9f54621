"""A whole runtime behind standard input and output: JSON-RPC, one message per line."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from actrio.stdio._rules import WireRules as WireRules
    from actrio.stdio._schema import wire_schema as wire_schema
    from actrio.stdio._serve import serve_stdio as serve_stdio
else:
    from actrio._doors import open_door

    __getattr__, __dir__, __all__ = open_door(
        __name__,
        {
            "_rules": "WireRules",
            "_schema": "wire_schema",
            "_serve": "serve_stdio",
        },
    )
