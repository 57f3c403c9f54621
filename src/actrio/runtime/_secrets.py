"""Secrets out of records, before they are written and before they count."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping

from actrio.journal import Record, RecordFilter, record_codec, redact_record
from actrio.telemetry import REDACTED, secrets_of

__all__ = ["record_redactor"]


def record_redactor(
    env: Mapping[str, str], fields: Iterable[str]
) -> Callable[[Record], Record] | None:
    """Return what takes the environment's secrets and ``fields`` out of a record.

    None where there is nothing to take out. A record without a secret costs one look at its JSON.
    """
    secrets = secrets_of(env)
    names = tuple(fields)
    if not secrets and not names:
        return None
    # As they are and as JSON writes them, within a text too: a secret rarely needs an escape.
    forms = dict.fromkeys(form for each in secrets for form in _forms(each))
    told = {json.dumps(form, ensure_ascii=False)[1:-1].encode() for form in forms}
    marks = (*told, *(name.encode() for name in names))

    def text_of(text: str) -> str:
        # The arguments of a call, and most of what tools return, are JSON within a text.
        if text[:1] in ("{", "[") and any(name in text for name in names):
            text = _without_fields(text, within)
        for secret in forms:
            text = text.replace(secret, REDACTED)
        return text

    within = redact_record(fields=names)
    rewrite = redact_record(text=text_of, fields=names)

    def redacted(record: Record) -> Record:
        plain = record_codec.to_json((record,))
        if not any(mark in plain for mark in marks):
            return record
        found: Record = record_codec.from_dict(rewrite(record_codec.to_dict(record)))
        return found

    return redacted


def _forms(secret: str) -> tuple[str, ...]:
    plain = json.dumps(secret, ensure_ascii=False)[1:-1]
    return (secret, plain, json.dumps(secret)[1:-1])


def _without_fields(text: str, within: RecordFilter) -> str:
    try:
        value = json.loads(text)
    except ValueError:
        return text
    clean = within({"body": value})["body"]
    return text if clean == value else json.dumps(clean, ensure_ascii=False)
