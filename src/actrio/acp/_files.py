"""Tools that work on the client's files, as its editor shows them, unsaved changes included."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Annotated, Any, Final

import msgspec
import trio

from actrio.acp._params import FileSystem
from actrio.acp._updates import READ_FILE, WRITE_FILE
from actrio.errors import PeerError, ToolFailed
from actrio.rpc import Connection
from actrio.tools import Tool, ToolContext, tool

__all__ = ["file_tools"]

FILE_TIMEOUT_SECONDS: Final = 30.0
"""An editor answers from memory or its own disk; one that does not is stuck."""

Path = Annotated[str, msgspec.Meta(min_length=1)]


def file_tools(
    lent: FileSystem, connection: Connection, folder_of: Callable[[str], str]
) -> tuple[Tool, ...]:
    """Return a tool for each thing that the client lets be done with its files.

    Args:
        lent: What it declared.
        connection: The client.
        folder_of: Returns the folder of a session, from which relative paths count.
    """
    tools = []
    files = _ClientFiles(connection, folder_of)
    if lent.read_text_file:
        tools.append(
            tool(name=READ_FILE, read_only=True, timeout_seconds=FILE_TIMEOUT_SECONDS)(files.read)
        )
    if lent.write_text_file:
        write = tool(name=WRITE_FILE, approval="ask", timeout_seconds=FILE_TIMEOUT_SECONDS)
        tools.append(write(files.write))
    return tuple(tools)


class _ClientFiles:
    """The files of one client."""

    def __init__(self, connection: Connection, folder_of: Callable[[str], str]) -> None:
        self._connection = connection
        self._folder_of = folder_of

    async def read(
        self,
        context: ToolContext,
        path: Path,
        line: Annotated[int, msgspec.Meta(ge=1)] | None = None,
        limit: Annotated[int, msgspec.Meta(ge=1)] | None = None,
    ) -> str:
        """Read a text file of the user's project.

        Args:
            path: Which; a relative path counts from the project's folder.
            line: The first line to read, counted from 1.
            limit: How many lines to read, at most.
        """
        answer = await self._ask(context, "fs/read_text_file", path, line=line, limit=limit)
        content = answer.get("content") if isinstance(answer, dict) else None
        if not isinstance(content, str):
            raise ToolFailed(f"The editor's answer about {path} has no content.")
        return content

    async def write(self, context: ToolContext, path: Path, content: str) -> str:
        """Write a text file of the user's project, in the place of what it holds.

        Args:
            path: Which; a relative path counts from the project's folder.
            content: All that it is to hold.
        """
        await self._ask(context, "fs/write_text_file", path, content=content)
        return f"{path} is written"

    async def _ask(self, context: ToolContext, method: str, path: str, **more: Any) -> Any:
        session = context.session
        place = str(PurePosixPath(self._folder_of(session)) / path)
        given = {name: value for name, value in more.items() if value is not None}
        params = {"sessionId": session, "path": place, **given}
        try:
            return await self._connection.request(method, params, channel=session)
        except PeerError as error:
            raise ToolFailed(f"{place}: {error.data['message']}") from error
        except trio.BrokenResourceError:
            raise ToolFailed(
                f"The editor has left; whether {place} was touched is unknown."
            ) from None
