"""What a client sends, as the protocol's schema (version 1) names it.

Members that are not read here are left out: the protocol wants unknown ones ignored, because later
versions of it and clients' own extensions (``_meta``) add some.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from actrio.rpc import Refused, fault

__all__ = [
    "Audio",
    "Block",
    "ClientCapabilities",
    "EmbeddedResource",
    "FileSystem",
    "ImageBlock",
    "Initialize",
    "ListSessions",
    "LoadSession",
    "NewSession",
    "OneSession",
    "PromptParams",
    "ResourceLink",
    "SetConfigOption",
    "TextBlock",
    "read_params",
]

P = TypeVar("P")


class _Params(msgspec.Struct, rename="camel", kw_only=True):
    """Parameters by name."""


class FileSystem(_Params):
    """Which of its files a client lends."""

    read_text_file: bool = False
    write_text_file: bool = False


class Elicitation(_Params):
    """How a client asks its user questions."""

    form: dict[str, Any] | None = None


class ClientSessionCapabilities(_Params):
    """What a client shows beside the conversation."""

    notices: dict[str, Any] | None = None


class ClientCapabilities(_Params):
    """What a client can do for its agent."""

    fs: FileSystem | None = None
    elicitation: Elicitation | None = None
    session: ClientSessionCapabilities | None = None


class Peer(_Params):
    """Who a client is."""

    name: str = ""
    version: str = ""


class Initialize(_Params):
    """``initialize``."""

    protocol_version: int
    client_capabilities: ClientCapabilities | None = None
    client_info: Peer | None = None


class NewSession(_Params):
    """``session/new``."""

    cwd: str
    mcp_servers: list[dict[str, Any]] | None = None


class LoadSession(_Params):
    """``session/load`` and ``session/resume``."""

    session_id: str
    cwd: str
    mcp_servers: list[dict[str, Any]] | None = None


class ListSessions(_Params):
    """``session/list``."""

    cwd: str | None = None
    cursor: str | None = None


class OneSession(_Params):
    """``session/close``, ``session/delete``, ``session/cancel``."""

    session_id: str


class SetConfigOption(_Params):
    """``session/set_config_option``."""

    session_id: str
    config_id: str
    value: str | bool


class _Block(msgspec.Struct, rename="camel", tag_field="type", kw_only=True):
    """One piece of content."""


class TextBlock(_Block, tag="text"):
    """Text."""

    text: str


class ImageBlock(_Block, tag="image"):
    """A picture, in base64."""

    data: str
    mime_type: str
    uri: str | None = None


class Audio(_Block, tag="audio"):
    """Sound; no dialect of ours takes it."""

    data: str
    mime_type: str


class ResourceLink(_Block, tag="resource_link"):
    """Something that is named and not included."""

    name: str
    uri: str
    description: str | None = None


class ResourceContents(_Params):
    """A file's content: ``text``, or ``blob`` in base64."""

    uri: str
    mime_type: str | None = None
    text: str | None = None
    blob: str | None = None


class EmbeddedResource(_Block, tag="resource"):
    """A file that is included."""

    resource: ResourceContents


Block = TextBlock | ImageBlock | Audio | ResourceLink | EmbeddedResource


class PromptParams(_Params):
    """``session/prompt``."""

    session_id: str
    prompt: list[Block]


def read_params(method: str, params: Mapping[str, Any], kind: type[P]) -> P:
    """Return ``params`` as what ``method`` takes.

    Raises:
        Refused: One is missing or of the wrong type; the answer says which.
    """
    try:
        return msgspec.convert(params, kind)
    except msgspec.ValidationError as error:
        text = str(error)
        told = fault("invalid_params", f"{method}: {text[:1].lower()}{text[1:500]}.")
        raise Refused(told) from error
