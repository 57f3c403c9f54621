"""What native routes take and give. Unknown members are errors: a typo must not pass silently."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from actrio.messages import Document, Image, Text

__all__ = [
    "AgentBody",
    "AgentShown",
    "AnswerBody",
    "CloseBody",
    "CompactBody",
    "EventsPage",
    "ForkBody",
    "RewindBody",
    "SessionBody",
    "SessionsPage",
    "StateBody",
    "SteerBody",
    "ToolBody",
    "TurnBody",
    "TurnShown",
]

Id = Annotated[str, msgspec.Meta(min_length=1, max_length=200, pattern=r"^[A-Za-z0-9_.~-]+$")]
IfBusy = Literal["queue", "reject", "interrupt", "steer", "rollback"]


class _Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass


class _TextPart(_Body, frozen=True, tag="text"):
    text: str

    def part(self) -> Text:
        return Text(self.text)


class _ImagePart(_Body, frozen=True, tag="image"):
    media_type: str = "image/png"
    data: bytes | None = None
    url: str | None = None

    def part(self) -> Image:
        return Image(self.media_type, self.data, self.url)


class _DocumentPart(_Body, frozen=True, tag="document"):
    media_type: str = "application/pdf"
    name: str | None = None
    data: bytes | None = None
    url: str | None = None

    def part(self) -> Document:
        return Document(self.media_type, self.name, self.data, self.url)


Parts = Annotated[
    list[_TextPart | _ImagePart | _DocumentPart], msgspec.Meta(min_length=1, max_length=1000)
]


class AgentBody(_Body, frozen=True):
    """An agent to make. ``tools`` names tools that agents of this service have already."""

    name: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
    model: Annotated[str, msgspec.Meta(min_length=3, max_length=256)] | None = None
    instructions: str = ""
    tools: Annotated[list[str], msgspec.Meta(max_length=128)] = []
    steps_max: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 10
    if_busy: IfBusy = "queue"


class ToolShown(msgspec.Struct, frozen=True):
    name: str
    description: str
    parameters: dict[str, Any]
    enabled: bool


class AgentShown(msgspec.Struct, frozen=True):
    """An agent as it is."""

    name: str
    model: str
    instructions: str
    tools: list[ToolShown]
    steps_max: int
    if_busy: str


class ToolBody(_Body, frozen=True):
    enabled: bool


class SessionBody(_Body, frozen=True):
    """A session to open; with an ``id`` that there is, that session."""

    agent: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    id: Id | None = None
    user: Annotated[str, msgspec.Meta(max_length=200)] = ""
    labels: Annotated[dict[str, str], msgspec.Meta(max_length=64)] = {}
    insist: bool = False


class SessionListed(msgspec.Struct, frozen=True):
    session: str
    updated_at: float
    created_at: float
    waiting: int
    owner: str | None = None


class SessionsPage(msgspec.Struct, frozen=True):
    """``next``: send it as ``after`` for the next page; empty: there is none."""

    sessions: list[SessionListed]
    next: str


class TurnBody(_Body, frozen=True):
    """What the user says: ``prompt``, or ``parts``.

    ``deadline_ms``: the turn is cancelled (reason ``deadline``) when it has not ended by then, from
    its acceptance on; where absent, as long as the agent's creator said.
    """

    prompt: str | None = None
    parts: Parts | None = None
    if_busy: IfBusy | None = None
    id: Id | None = None
    deadline_ms: Annotated[int, msgspec.Meta(ge=1, le=86_400_000)] | None = None


class SteerBody(_Body, frozen=True):
    prompt: Annotated[str, msgspec.Meta(min_length=1)]


class TurnShown(msgspec.Struct, frozen=True, omit_defaults=True):
    """A turn; ``result`` once it has ended."""

    turn: str
    session: str
    state: str
    position: int | None = None
    seq: int | None = None
    joined: bool | None = None
    result: dict[str, Any] | None = None


class EventsPage(msgspec.Struct, frozen=True):
    """Recorded events; ``next`` is the ``from`` of the next page."""

    events: list[dict[str, Any]]
    next: int


class CloseBody(_Body, frozen=True):
    mode: Literal["detach", "after_turn", "cancel"] = "cancel"


class ForkBody(_Body, frozen=True):
    """``at``: the last record that counts, see ``turns[].seq`` and ``end_seq`` of the session."""

    at: Annotated[int, msgspec.Meta(ge=0)] | None = None
    id: Id | None = None


class RewindBody(_Body, frozen=True):
    to: Annotated[int, msgspec.Meta(ge=0)]


class CompactBody(_Body, frozen=True):
    summary: Annotated[str, msgspec.Meta(min_length=1, max_length=1_000_000)]
    messages: Annotated[int, msgspec.Meta(ge=1)] | None = None


class StateBody(_Body, frozen=True):
    """Keys to set, and keys to remove."""

    values: dict[str, Any] = {}
    remove: list[str] = []


class AnswerBody(_Body, frozen=True):
    """A person's decision; ``session`` saves looking for it."""

    decision: Literal["approved", "denied", "answered"]
    answer: str = ""
    note: str = ""
    session: str = ""
