"""Recorded exchanges (``llm-exchange/1``): one JSON file each, from a folder."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import attrs
import msgspec

from actrio.errors import InvalidRequest, NotFound

__all__ = ["SCHEMA", "Exchange", "load_exchanges"]

SCHEMA: Final = "llm-exchange/1"

_ELIDED: Final = re.compile("<elided[^<>]*>")

FILE_BYTES_MAX: Final = 64 * 1024 * 1024
"""Of one exchange. The largest recorded one has 2 MB; a list of vectors may be larger."""


@attrs.frozen(slots=True)
class Exchange:
    """One request that a client sent, what the vendor answered, and what that amounts to.

    Attributes:
        api: The vendor's interface, for example ``openai.chat``.
        kind: ``chat``, ``chat_stream``, ``embedding``, ``models`` or ``error``.
        url: Where the request went.
        stream: Whether a stream was asked for.
        asked: The request's body, where it was JSON.
        body: The answer's bytes.
        expected: The result that the vendor's own client reads.
    """

    id: str
    provider: str
    api: str
    kind: str
    url: str
    stream: bool
    asked: Mapping[str, Any] | None
    status: int
    headers: Mapping[str, str]
    body: bytes = attrs.field(repr=lambda body: f"<{len(body)} bytes>")
    expected: Mapping[str, Any]

    @property
    def model(self) -> str:
        """The model asked for; some vendors have it in the path."""
        in_body = (self.asked or {}).get("model")
        in_path = self.url.partition("/models/")[2].partition(":")[0]
        return in_path or (in_body if isinstance(in_body, str) else "") or "unnamed"


def load_exchanges(folder: Path, provider: str | None = None) -> list[Exchange]:
    """Return the exchanges below ``folder``, in the order of their ids.

    Args:
        folder: Searched with all folders below it; JSON files of another schema are passed over.
        provider: Only this provider's.

    Raises:
        NotFound: There is no such folder, or no exchange in it.
        InvalidRequest: A file says that it is an exchange, and is none.
    """
    if not folder.is_dir():
        raise NotFound(f"There is no folder {folder}.", remedy="Check the path.")
    found = [_load(path) for path in sorted(folder.rglob("*.json"))]
    exchanges = [one for one in found if one and provider in {None, one.provider}]
    if not exchanges:
        whose = f" of provider {provider!r}" if provider else ""
        raise NotFound(
            f"There is no exchange{whose} in {folder}.",
            remedy=f'Name a folder with files whose "schema" is "{SCHEMA}".',
        )
    return sorted(exchanges, key=lambda one: one.id)


def _load(path: Path) -> Exchange | None:
    if path.stat().st_size > FILE_BYTES_MAX:
        raise InvalidRequest(
            f"{path} is larger than {FILE_BYTES_MAX} bytes.", remedy="Leave it out of the folder."
        )
    try:
        value = msgspec.json.decode(path.read_bytes())
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"{path} is no JSON: {error}.", remedy="Remove it.") from None
    if not isinstance(value, dict) or value.get("schema") != SCHEMA:
        return None
    try:
        return _exchange(value)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise InvalidRequest(
            f"{path} is no whole exchange: {type(error).__name__} at {error}.",
            remedy="See the schema's page for its members.",
        ) from None


def _exchange(value: dict[str, Any]) -> Exchange:
    request, response = value["request"], value["response"]
    asked = request.get("body")
    return Exchange(
        id=str(value["id"]),
        provider=str(value["provider"]),
        api=str(value["api"]),
        kind=str(value["kind"]),
        url=str(request.get("url", "")),
        stream=bool(request.get("stream")),
        asked=_without_elisions(asked) if isinstance(asked, dict) else None,
        status=int(response["status"]),
        headers={str(name).lower(): str(told) for name, told in response["headers"].items()},
        body=response["body"].encode(),
        expected=dict(value["expected"]),
    )


def _without_elisions(value: Any) -> Any:
    """Put base64 where a long value was taken out: some of these values were base64 before."""
    if isinstance(value, str):
        return _ELIDED.sub(lambda found: base64.b64encode(found[0].encode()).decode(), value)
    if isinstance(value, list):
        return [_without_elisions(item) for item in value]
    if isinstance(value, dict):
        return {name: _without_elisions(item) for name, item in value.items()}
    return value
