"""``actrio`` and ``python -m actrio``: answer ``--version`` at once, leave the rest to the room."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from actrio import __version__


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    ``--version`` is answered before anything is imported, because scripts ask it often and
    importing the rest costs twenty times as much.
    """
    given = sys.argv[1:] if arguments is None else list(arguments)
    if given in (["--version"], ["-V"]):
        sys.stdout.write(f"actrio {__version__}\n")
        return 0
    from actrio.cli import run_command_line

    return run_command_line(given, version=__version__)


if __name__ == "__main__":
    sys.exit(main())
