"""Records of a journal as JSON and back; their classes are told by whoever owns them.

::

    {"kind":"tool.started", "v":1, "body":{"turn":"t_1", "call_id":"c_1", "name":"send"}}

A field at its default is left out. Values of a union (parts, messages) carry their ``type`` or
``role``; bytes are base64. A body of an older version is taken through the migrations, one
version at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from actrio.errors import InvalidRequest, NotSupported
from actrio.wire._json import json_line

if TYPE_CHECKING:
    from actrio.wire._record_converter import RecordConverter

__all__ = ["Migration", "RecordCodec", "RecordType"]

Migration = Callable[[dict[str, Any]], dict[str, Any]]
"""Takes a body of one version and returns that of the next."""


class RecordType(Protocol):
    """What a record's class says of itself."""

    kind: str
    v: int


class RecordCodec:
    """Writes and reads the records of the given classes.

    Args:
        classes: attrs classes with class variables ``kind`` and ``v``.
        migrations: ``(kind, v)`` → how a body of that version becomes one of ``v + 1``.
    """

    def __init__(
        self,
        classes: Iterable[type[Any]],
        *,
        migrations: Mapping[tuple[str, int], Migration] | None = None,
    ) -> None:
        self._classes: dict[str, type[Any]] = {cls.kind: cls for cls in classes}
        self._migrations = dict(migrations or {})
        self._made: RecordConverter | None = None

    def to_dict(self, record: Any) -> dict[str, Any]:
        """Return ``record`` as ``{"kind", "v", "body"}``, made of builtins and JSON values."""
        body = self._converter().writers[type(record)](record)
        return {"kind": record.kind, "v": record.v, "body": body}

    def to_json(self, records: Iterable[Any]) -> bytes:
        """Return ``records`` as one JSON array on one line.

        Raises:
            InvalidRequest: A value in one of them has no JSON form.
        """
        writers = self._converter().writers
        return json_line(
            [
                {"kind": record.kind, "v": record.v, "body": writers[type(record)](record)}
                for record in records
            ]
        )

    def from_dict(self, told: Mapping[str, Any]) -> Any:
        """Return the record that `to_dict` wrote, in this version's class.

        Raises:
            NotSupported: A newer actrio wrote it.
            InvalidRequest: It is no such record.
        """
        kind, version, body = told.get("kind"), told.get("v"), told.get("body")
        if not isinstance(kind, str) or type(version) is not int or not isinstance(body, dict):
            raise InvalidRequest("A record needs kind, v and body.")
        cls = self._classes.get(kind)
        if cls is None or version > cls.v:
            raise NotSupported(
                f"A record {kind!r} of version {version} is not known here.",
                remedy="Open it with the version of actrio that wrote it, or a newer one.",
            )
        for step in range(version, cls.v):
            migrate = self._migrations.get((kind, step))
            if migrate is None:
                raise NotSupported(
                    f"A record {kind!r} of version {step} cannot be brought to version {cls.v}.",
                    remedy="Open it with an actrio that still has this migration.",
                )
            body = migrate(body)
        return self._converter().structure(body, cls, kind)

    def _converter(self) -> RecordConverter:
        if self._made is None:
            # Made when the first record is written or read: it takes cattrs and longer than all
            # else of starting, and what stays in memory needs no bytes.
            from actrio.wire._record_converter import RecordConverter

            self._made = RecordConverter(self._classes.values())
        return self._made
