"""The version, for the rooms that tell it to a client.

The package's metadata know it too, but asking them loads the parsers of mail, CSV and zip files:
30 ms before a server's first answer. No room imports the root package, which holds the number; a
room that runs has been reached through it, so it is there to be asked.
"""

from __future__ import annotations

import sys

__all__ = ["own_version"]


def own_version() -> str:
    """Return ``actrio.__version__``."""
    version: str = sys.modules["actrio"].__version__
    return version
