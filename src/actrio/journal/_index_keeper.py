"""Writing the index file while appends go on."""

from __future__ import annotations

import functools
from contextlib import suppress
from typing import Final

import trio

from actrio.errors import StorageError
from actrio.journal._writer import Writer

__all__ = ["keep_index", "write_index"]

INDEX_STEP: Final = 500
"""Sessions whose rows are made in one go: that holds the loop for half a millisecond."""


async def keep_index(writer: Writer) -> None:
    """Write the index file whenever opening would have to read much without it."""
    while writer.ended is None:
        if not writer.files.index_due:
            await writer.index_due.park()
        else:
            with suppress(StorageError):  # the store is being closed, or writes nothing more
                await write_index(writer)


async def write_index(writer: Writer) -> bool:
    """Write the index file: rows are gathered in steps, so that appends go on.

    A file that cannot be written is no loss: opening reads the segments instead.

    Returns:
        Whether it was written.
    """
    files = writer.files
    head = await writer.between(files.index_head)
    rows: list[bytes] = []
    after = ""
    while True:
        found = await writer.between(functools.partial(files.index_rows, after, INDEX_STEP))
        if found is None:
            break
        after, more = found
        rows += more
        await trio.lowlevel.checkpoint()
    if not await writer.synced():
        return False
    try:
        return await writer.in_thread(
            files.write_index, head, rows, limiter=trio.CapacityLimiter(1)
        )
    except StorageError:
        files.index_put_off(head)
        return False
