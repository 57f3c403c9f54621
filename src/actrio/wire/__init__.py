"""Values at the edge: events as JSON and back, settings out of plain data. cattrs lives here."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from actrio.wire._documents import DocumentFormat as DocumentFormat
    from actrio.wire._documents import parse_document as parse_document
    from actrio.wire._errors import error_from_dict as error_from_dict
    from actrio.wire._errors import error_to_dict as error_to_dict
    from actrio.wire._events import EVENT_VERSION as EVENT_VERSION
    from actrio.wire._events import event_from_dict as event_from_dict
    from actrio.wire._events import event_to_dict as event_to_dict
    from actrio.wire._events import event_to_json as event_to_json
    from actrio.wire._json import json_line as json_line
    from actrio.wire._plain import plain as plain
    from actrio.wire._records import RecordCodec as RecordCodec
    from actrio.wire._structure import structure as structure
else:
    from actrio._doors import open_door

    __getattr__, __dir__, __all__ = open_door(
        __name__,
        {
            "_documents": "DocumentFormat parse_document",
            "_errors": "error_from_dict error_to_dict",
            "_events": "EVENT_VERSION event_from_dict event_to_dict event_to_json",
            "_json": "json_line",
            "_plain": "plain",
            "_records": "RecordCodec",
            "_structure": "structure",
        },
    )
