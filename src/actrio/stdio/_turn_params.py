"""What ``turn/*`` takes; see `_params`."""

from __future__ import annotations

from typing import Annotated, Literal

import attrs
from msgspec import Meta

from actrio.errors import InvalidRequest
from actrio.messages import Document, IfBusy, Image, Text

__all__ = [
    "Name",
    "PartParams",
    "TurnCancel",
    "TurnStart",
    "TurnSteer",
    "TurnWait",
]

Name = Annotated[str, Meta(min_length=1, max_length=128)]
"""Of an agent, session, turn, approval or blob."""


@attrs.frozen(kw_only=True, eq=False, repr=False, slots=False)
class PartParams:
    """A part of a message: a text, or a picture or document as base64 or as a link.

    Attributes:
        type: Which of them.
        text: Of a `text`.
        media_type: Of an `image` (image/png) or a `document` (application/pdf).
        name: Of a `document`.
        data: The bytes, as base64.
        url: In place of `data`.
    """

    type: Literal["text", "image", "document"]
    text: str | None = None
    media_type: str | None = None
    name: str | None = None
    data: bytes | None = None
    url: str | None = None

    def part(self) -> Text | Image | Document:
        """Return the part.

        Raises:
            InvalidRequest: It has not what its type asks for.
        """
        if self.type == "text":
            if self.text is None:
                raise InvalidRequest(
                    "A text part needs text.", remedy='Send {"type":"text","text":…}.'
                )
            return Text(self.text)
        if self.type == "image":
            return Image(self.media_type or "image/png", self.data, self.url)
        return Document(self.media_type or "application/pdf", self.name, self.data, self.url)


@attrs.frozen(kw_only=True, eq=False, repr=False, slots=False)
class TurnStart:
    """Say something to a session.

    Attributes:
        session: Its id.
        prompt: What the user says, as text.
        parts: In place of `prompt`: what the user says, as parts.
        resume: In place of both: go on with the turn that a shutdown or a crash cut off; `true`
            for the last one, or its id.
        if_busy: `queue`, `reject`, `interrupt`, `steer` or `rollback`; in place of the session's
            own.
        wait: Answer at the turn's end, behind its events, with the result.
        deadline_ms: The turn is cancelled (reason `deadline`) when it has not ended by then.
        idempotency_key: A second request with it joins the first one's turn.
    """

    session: Name
    prompt: str | None = None
    parts: Annotated[list[PartParams], Meta(max_length=1024)] | None = None
    resume: bool | str | None = None
    if_busy: IfBusy | None = None
    wait: bool = False
    deadline_ms: Annotated[int, Meta(ge=1, le=86_400_000)] | None = None
    idempotency_key: Annotated[str, Meta(min_length=1, max_length=256)] | None = None


@attrs.frozen(kw_only=True, eq=False, repr=False, slots=False)
class TurnWait:
    """Wait for a turn's end.

    Attributes:
        turn: Its id.
        session: Its session, where another client or process has begun it.
    """

    turn: Name
    session: Name | None = None


@attrs.frozen(kw_only=True, eq=False, repr=False, slots=False)
class TurnSteer:
    """Say something to the turn that runs; where none runs, it is the next turn.

    Attributes:
        session: Its session.
        prompt: What the user says, as text.
        parts: In place of `prompt`.
    """

    session: Name
    prompt: str | None = None
    parts: Annotated[list[PartParams], Meta(max_length=1024)] | None = None


@attrs.frozen(kw_only=True, eq=False, repr=False, slots=False)
class TurnCancel:
    """Cancel a turn; one that has ended is left as it is, which is no error.

    Attributes:
        turn: Its id.
        session: Its session, where another client or process has begun it.
        reason: Stands in the turn's end.
    """

    turn: Name
    session: Name | None = None
    reason: Annotated[str, Meta(max_length=256)] = "user"
