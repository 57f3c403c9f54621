"""Large values out of records and back: a record names a blob where a long string would stand.

A picture that was said once stands in the journal once, also where checkpoint after checkpoint
repeats the history that it is part of; and reading a session's records stays quick.

A name is a string of its own form, ``NUL blob: ID``. A value that happens to begin like one is put
away as well, so none is ever taken for another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

import attrs

from actrio.journal._blobs import BlobPort, CollectReport, blob_id
from actrio.journal._records import (
    Checkpoint,
    InputAccepted,
    ModelOutcome,
    Record,
    StateChanged,
    StepBegun,
    StoredRecord,
    ToolFinished,
    TurnBegun,
)
from actrio.journal._store import (
    READ_BYTES_MAX,
    Claim,
    CompactReport,
    HousekeepingPort,
    SessionEntry,
    StorePort,
    VerifyReport,
)

__all__ = ["BLOB_AT_BYTES", "LargeValues"]

BLOB_AT_BYTES: Final = 16 * 1024
"""From this length on a string or its bytes become a blob: a file of its own pays from about here."""

_MARK: Final = "\0blob:"
_MARK_BYTES: Final = _MARK.encode()

_MAY_BE_LARGE: Final = (
    InputAccepted,
    TurnBegun,
    StepBegun,
    ModelOutcome,
    ToolFinished,
    StateChanged,
    Checkpoint,
)
"""Kinds that hold what others said; the rest is written by this program and short."""


class _Store(StorePort, HousekeepingPort, Protocol):
    @property
    def blobs(self) -> BlobPort: ...


def _swapped(value: Any, swap: Callable[[str | bytes], Any]) -> Any:
    """Return ``value`` with every string in it swapped; the same object where nothing changed."""
    if isinstance(value, (str, bytes)):
        return swap(value)
    if isinstance(value, Mapping):
        items = {key: _swapped(each, swap) for key, each in value.items()}
        return items if any(items[key] is not value[key] for key in items) else value
    if isinstance(value, (list, tuple)):
        row = [_swapped(each, swap) for each in value]
        if all(new is old for new, old in zip(row, value, strict=True)):
            return value
        return row if isinstance(value, list) else tuple(row)
    if attrs.has(type(value)):
        changed = {}
        for field in attrs.fields(type(value)):
            old = getattr(value, field.name)
            new = _swapped(old, swap)
            if new is not old:
                changed[field.alias] = new
        return attrs.evolve(value, **changed) if changed else value
    return value


def _is_large(value: str | bytes) -> bool:
    if len(value) >= BLOB_AT_BYTES:
        return True
    return value.startswith(_MARK) if isinstance(value, str) else value.startswith(_MARK_BYTES)


class LargeValues:
    """A store whose records may hold large values, on top of one whose records should not.

    Args:
        store: Where records and blobs go.
    """

    def __init__(self, store: _Store) -> None:
        self._store = store
        self.blobs = store.blobs

    async def append(
        self,
        session: str,
        epoch: int,
        expected_seq: int,
        records: Sequence[Record],
        *,
        sync: bool = False,
        ts: float | None = None,
    ) -> int:
        """Put large values away, then add the records; see `StorePort.append`."""
        large: dict[str, bytes] = {}

        def away(value: str | bytes) -> str | bytes:
            if not _is_large(value):
                return value
            data = value if isinstance(value, bytes) else value.encode(errors="surrogatepass")
            name = blob_id(data)
            large[name] = data
            mark = f"{_MARK}{name}"
            return mark if isinstance(value, str) else mark.encode()

        records = [
            _swapped(each, away) if isinstance(each, _MAY_BE_LARGE) else each for each in records
        ]
        for data in large.values():
            await self.blobs.put(data, media_type="application/octet-stream")
        return await self._store.append(session, epoch, expected_seq, records, sync=sync, ts=ts)

    async def read(
        self, session: str, from_seq: int | None = None, *, bytes_max: int = READ_BYTES_MAX
    ) -> tuple[StoredRecord, ...]:
        """Return the session's records with their large values; see `StorePort.read`."""
        stored = await self._store.read(session, from_seq, bytes_max=bytes_max)
        names = _names(stored)
        if not names:
            return stored
        found = {name: await self.blobs.get(name) for name in names}

        def back(value: str | bytes) -> str | bytes:
            if isinstance(value, bytes):
                if not value.startswith(_MARK_BYTES):
                    return value
                return found[value[len(_MARK_BYTES) :].decode()]
            if not value.startswith(_MARK):
                return value
            return found[value[len(_MARK) :]].decode(errors="surrogatepass")

        return tuple(
            attrs.evolve(each, record=_swapped(each.record, back))
            if isinstance(each.record, _MAY_BE_LARGE)
            else each
            for each in stored
        )

    async def collect(self, older_than_seconds: float) -> CollectReport:
        """Remove the blobs that no record names any more; reads every session once."""
        live: set[str] = set()
        after = ""
        while entries := await self.list(after=after, limit=1000):
            after = entries[-1].session
            for entry in entries:
                live |= _names(await self._store.read(entry.session, entry.first_seq))
        return await self.blobs.collect(live, older_than_seconds)

    # --- the rest is the store's own

    async def claim(self, session: str, owner: str, *, insist: bool = False) -> Claim:
        return await self._store.claim(session, owner, insist=insist)

    async def renew(self, claim: Claim) -> None:
        await self._store.renew(claim)

    async def watch(self, session: str, after_seq: int) -> int:
        return await self._store.watch(session, after_seq)

    async def release(self, claim: Claim) -> None:
        await self._store.release(claim)

    async def list(
        self, *, after: str = "", limit: int = 1000, waiting_only: bool = False
    ) -> tuple[SessionEntry, ...]:
        return await self._store.list(after=after, limit=limit, waiting_only=waiting_only)

    async def trim(self, claim: Claim, before_seq: int) -> None:
        await self._store.trim(claim, before_seq)

    async def remove(self, claim: Claim) -> None:
        await self._store.remove(claim)

    async def compact(self, *, bytes_max: int | None = None) -> CompactReport:
        return await self._store.compact(bytes_max=bytes_max)

    async def verify(self) -> VerifyReport:
        return await self._store.verify()


def _names(stored: Sequence[StoredRecord]) -> set[str]:
    """Return the blobs that records name."""
    names: set[str] = set()

    def look(value: str | bytes) -> str | bytes:
        if isinstance(value, bytes):
            if value.startswith(_MARK_BYTES):
                names.add(value[len(_MARK_BYTES) :].decode())
        elif value.startswith(_MARK):
            names.add(value[len(_MARK) :])
        return value

    for each in stored:
        if isinstance(each.record, _MAY_BE_LARGE):
            _swapped(each.record, look)
    return names
