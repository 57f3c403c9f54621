"""Secrets and configured fields out of records before they are written.

What is written stays for as long as the session, in files that are copied and sent about; so a
secret is taken out before the record becomes bytes. Acknowledged and replayed is the record
without it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

__all__ = ["REDACTED", "RecordFilter", "redact_record"]

REDACTED: Final = "[redacted]"

RecordFilter = Callable[[dict[str, Any]], dict[str, Any]]
"""Takes a record as ``{"kind", "v", "body"}`` and returns it as it may be written."""


def redact_record(
    *, text: Callable[[str], str] | None = None, fields: Iterable[str] = ()
) -> RecordFilter:
    """Return a filter that goes through all of a record's body.

    Args:
        text: Applied to every string, for example one that knows how keys look. Signatures and
            vendors' items are strings too: a pattern that matches them makes them useless.
        fields: Names whose values are replaced, wherever they stand.
    """
    names = frozenset(fields)

    def value_of(value: Any) -> Any:
        if isinstance(value, str):
            return text(value) if text is not None else value
        if isinstance(value, dict):
            return {
                value_of(key): REDACTED if key in names and item is not None else value_of(item)
                for key, item in value.items()
            }
        if isinstance(value, (list, tuple)):
            return [value_of(item) for item in value]
        return value

    def filtered(record: dict[str, Any]) -> dict[str, Any]:
        return {**record, "body": value_of(record["body"])}

    return filtered
