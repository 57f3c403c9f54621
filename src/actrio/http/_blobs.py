"""Native route: a large value by its id, whole or a part of it."""

from __future__ import annotations

import re
from typing import Final

from actrio.http._call import Answer, Call, Refused
from actrio.http._operations import Operation, Parameter, Reply
from actrio.http._problems import Refusal

__all__ = ["BLOBS"]

_PIECE_BYTES: Final = 1024 * 1024
"""Read and written at a time, so that a blob of 64 MiB costs a megabyte."""

_PART_BYTES_MAX: Final = 8 * 1024 * 1024
"""Of one partial answer; who asked for more sees by ``Content-Range`` where to go on."""

_RANGE: Final = re.compile(r"bytes=([0-9]{1,18})-([0-9]{0,18})")
"""One range with a beginning. Others are ignored, as HTTP allows: the answer is the whole."""


async def _get(call: Call) -> Answer | None:
    id, blobs = call.path["blob"], call.desk.runtime.blobs
    tag = f'"{id}"'
    headers = (
        (b"accept-ranges", b"bytes"),
        (b"etag", tag.encode("latin-1", "replace")),
        # What is in it is anybody's, and must not run as a page of ours.
        (b"x-content-type-options", b"nosniff"),
        (b"content-disposition", b"attachment"),
    )
    found = _RANGE.fullmatch(call.headers.get("range", ""))
    first = int(found[1]) if found is not None else 0
    # Also so that a wrong or missing id has its status before the head is out.
    piece = await blobs.read(id, first, _wanted(found))
    if tag in call.headers.get("if-none-match", ""):
        return Answer(304, headers=headers[:2])
    if found is not None:
        return _part(first, piece, _wanted(found), headers)
    if len(piece) < _PIECE_BYTES:
        return Answer(200, piece, b"application/octet-stream", headers)
    await call.start(200, ((b"content-type", b"application/octet-stream"), *headers))
    position = 0
    while piece:
        if call.method != "HEAD":
            await call.write(piece)
        position += len(piece)
        piece = await blobs.read(id, position, _PIECE_BYTES)
    await call.write(b"", more=False)
    return None


def _wanted(found: re.Match[str] | None) -> int:
    """Return how many bytes the first read takes."""
    if found is None:
        return _PIECE_BYTES
    if not found[2]:
        return _PART_BYTES_MAX
    return max(0, min(int(found[2]) - int(found[1]) + 1, _PART_BYTES_MAX))


def _part(
    first: int, piece: bytes, wanted: int, headers: tuple[tuple[bytes, bytes], ...]
) -> Answer:
    if not piece:
        raise Refused(
            Refusal(
                status=416,
                kind="invalid_params",
                message=f"The blob has nothing at byte {first}.",
                remedy="Begin before its end.",
            )
        )
    last = first + len(piece) - 1
    # A read that came back short has seen the end; else the size is not known without reading on.
    size = str(last + 1) if len(piece) < wanted else "*"
    place = (b"content-range", f"bytes {first}-{last}/{size}".encode())
    return Answer(206, piece, b"application/octet-stream", (*headers, place))


_BYTES: Final = ("application/octet-stream",)

BLOBS = (
    Operation(
        id="getBlob",
        method="GET",
        path="/v1/blobs/{blob}",
        summary="A large value by its id (b_ and 40 digits), whole or a part of it.",
        tag="runtime",
        endpoint=_get,
        parameters=(
            Parameter("Range", "bytes=FIRST-LAST or bytes=FIRST-; others: all.", place="header"),
        ),
        replies={
            200: Reply("The bytes.", str, _BYTES),
            206: Reply("A part of them, at most 8 MiB.", str, _BYTES),
            304: Reply("They are what If-None-Match names; an id never changes its bytes."),
        },
        fails=(400, 404, 416, 422, 507),
    ),
)
