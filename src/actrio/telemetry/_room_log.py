"""The log of one room, which costs nothing until it has something to say.

structlog loads rich, pygments and asyncio, whatever is taken from it: a third of what a program
pays for starting, and most programs never log a line.
"""

from __future__ import annotations

import sys
from typing import Any

__all__ = ["RoomLog"]


class RoomLog:
    """Writes a room's lines to structlog, which is loaded with the first of them.

    The program's own configuration of structlog holds, whenever it was made; where there is none,
    `keep_logs_off_stdout` has the word before the line is written.

    Args:
        name: What the logger is called, ``actrio.`` and the room.
    """

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def debug(self, event: str, **fields: Any) -> None:
        """Tell a detail, where somebody has set up logs: by default nobody is shown it."""
        if "structlog" in sys.modules:
            self._logger().debug(event, **fields)

    def info(self, event: str, **fields: Any) -> None:
        """Tell what is as it should be, where somebody has set up logs."""
        if "structlog" in sys.modules:
            self._logger().info(event, **fields)

    def warning(self, event: str, **fields: Any) -> None:
        """Tell what somebody may want to change."""
        self._logger().warning(event, **fields)

    def error(self, event: str, **fields: Any) -> None:
        """Tell what went wrong and has no other way to be learned of."""
        self._logger().error(event, **fields)

    def _logger(self) -> Any:
        import structlog

        from actrio.telemetry._logging import keep_logs_off_stdout

        keep_logs_off_stdout()
        return structlog.get_logger(self.name)
