"""Secrets out of records, before they are written and before they count."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping

from actrio.journal import Record, record_codec, redact_record
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
    # As JSON writes them, and as they are: a secret rarely needs an escape.
    told = {form.encode() for each in secrets for form in (each, json.dumps(each)[1:-1])}
    marks = (*told, *(f'"{name}"'.encode() for name in names))

    def text_of(text: str) -> str:
        for secret in secrets:
            text = text.replace(secret, REDACTED)
        return text

    rewrite = redact_record(text=text_of, fields=names)

    def redacted(record: Record) -> Record:
        plain = record_codec.to_json((record,))
        if not any(mark in plain for mark in marks):
            return record
        found: Record = record_codec.from_dict(rewrite(record_codec.to_dict(record)))
        return found

    return redacted
