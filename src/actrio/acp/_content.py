"""Content blocks of the protocol as parts of a message, and back."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import unquote, urlsplit

from actrio.acp._params import Audio, Block, EmbeddedResource, ImageBlock, ResourceLink, TextBlock
from actrio.messages import Document, Image, Text, UserMessage
from actrio.rpc import Refused, fault

__all__ = ["blocks_of", "parts_of", "text_block"]


def parts_of(blocks: Sequence[Block]) -> list[Text | Image | Document]:
    """Return what a user said as parts of a message.

    A resource that is text stands in the message itself, under its name: every model reads that.
    A link stands there as a link; the agent's tools may read what it leads to.

    Raises:
        Refused: A block is audio, or is not base64.
    """
    return [_part(block, number) for number, block in enumerate(blocks)]


def _part(block: Block, number: int) -> Text | Image | Document:
    match block:
        case TextBlock(text=text):
            return Text(text)
        case ImageBlock(data=data, mime_type=mime_type, uri=uri):
            if not data and uri:
                return Image(mime_type, url=uri)
            return Image(mime_type, data=_decoded(data, number))
        case ResourceLink(name=name, uri=uri, description=description):
            more = f" ({description})" if description else ""
            return Text(f"\n[{name}]({uri}){more}\n")
        case EmbeddedResource():
            return _resource(block, number)
        case Audio():
            raise _wrong("audio is not taken", "Send text, images or files.")


def _resource(block: EmbeddedResource, number: int) -> Text | Image | Document:
    resource = block.resource
    if resource.text is not None:
        return Text(f'\n<resource uri="{resource.uri}">\n{resource.text}\n</resource>\n')
    if resource.blob is None:
        raise _wrong(f"prompt[{number}].resource has neither text nor blob", "Send one of them.")
    data = _decoded(resource.blob, number)
    mime_type = resource.mime_type or "application/octet-stream"
    if mime_type.startswith("image/"):
        return Image(mime_type, data=data)
    name = unquote(urlsplit(resource.uri).path).rpartition("/")[2]
    return Document(mime_type, name=name or None, data=data)


def _decoded(data: str, number: int) -> bytes:
    try:
        return base64.b64decode(data, validate=True)
    except binascii.Error as error:
        raise _wrong(f"prompt[{number}] is not base64", "Encode it by RFC 4648.") from error


def _wrong(text: str, remedy: str) -> Refused:
    return Refused(fault("invalid_params", f"session/prompt: {text}.", remedy=remedy))


def blocks_of(message: UserMessage) -> Iterator[dict[str, Any]]:
    """Yield what a user said as the protocol has it."""
    for number, part in enumerate(message.parts):
        match part:
            case Text(text):
                yield text_block(text)
            case Image(media_type, data, None):
                yield {"type": "image", "mimeType": media_type, "data": _encoded(data)}
            case Document(media_type, name, data, None):
                resource = {
                    "uri": f"attachment:{number}/{name or 'document'}",
                    "mimeType": media_type,
                    "blob": _encoded(data),
                }
                yield {"type": "resource", "resource": resource}
            case Image(url=url) | Document(url=url):
                yield {"type": "resource_link", "name": url or "", "uri": url or ""}


def text_block(text: str) -> dict[str, Any]:
    """Return text as a content block."""
    return {"type": "text", "text": text}


def _encoded(data: bytes | None) -> str:
    return base64.b64encode(data or b"").decode()
