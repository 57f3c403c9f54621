"""The lines of a stdio server: only what is looked at is decoded. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from actrio.stress._targets import MailboxLook
from actrio.stress._turns import Ending

__all__ = [
    "TERMINALS",
    "WIRE_MESSAGES",
    "RequestRefused",
    "ServerEnded",
    "WireEvent",
    "WireFault",
    "WireMessage",
    "WireResult",
    "ending_of",
    "ending_of_fault",
    "facts_of",
    "mailboxes_of",
]

TERMINALS: Final = frozenset({"turn.completed", "turn.failed", "turn.cancelled"})


class WireUsage(msgspec.Struct, frozen=True):
    output_tokens: int = 0


class WireFault(msgspec.Struct, frozen=True):
    kind: str = "internal"
    message: str = ""
    category: str = ""
    retry_after_ms: float | None = None
    retry_after_seconds: float | None = None


class WireResult(msgspec.Struct, frozen=True):
    outcome: str = ""
    usage: WireUsage = WireUsage()
    error: WireFault | None = None


class WireEvent(msgspec.Struct, frozen=True):
    type: str = ""
    session: str = ""
    turn: str = ""
    kind: str = ""
    text: str = ""
    status: str = ""
    result: WireResult | None = None


class WireError(msgspec.Struct, frozen=True):
    message: str = ""
    data: WireFault = WireFault()


class WireMessage(msgspec.Struct, frozen=True):
    """A line from the server: only what is looked at is decoded."""

    id: int | str | None = None
    method: str | None = None
    params: WireEvent | None = None
    result: msgspec.Raw = msgspec.Raw(b"null")
    error: WireError | None = None


class RequestRefused(Exception):
    """The server answered a request with an error; never leaves the stdio target."""

    def __init__(self, fault: WireFault) -> None:
        super().__init__(fault.message)
        self.fault = fault


class ServerEnded(Exception):
    """The server is gone; never leaves the stdio target."""


WIRE_MESSAGES: Final = msgspec.json.Decoder(WireMessage)


def ending_of(result: WireResult) -> Ending:
    match result.outcome:
        case "completed":
            return Ending("completed", tokens=result.usage.output_tokens)
        case "cancelled":
            return Ending("cancelled", "cancelled", tokens=result.usage.output_tokens)
        case _:
            return ending_of_fault(result.error or WireFault(message="it told no error"))


def ending_of_fault(fault: WireFault) -> Ending:
    after = fault.retry_after_seconds
    if fault.retry_after_ms is not None:
        after = fault.retry_after_ms / 1000
    label = f"{fault.kind} ({fault.category})" if fault.category else fault.kind
    if fault.kind == "overloaded" or fault.category in {"overloaded", "rate_limit"}:
        return Ending("rejected", label, fault.message, retry_after_seconds=after)
    return Ending("failed", label, fault.message)


def _nodes(tree: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    found = [tree]
    for child in tree.get("children") or ():
        found.extend(_nodes(child))
    return found


def facts_of(tree: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [node["facts"] for node in _nodes(tree) if node.get("facts")]


def mailboxes_of(tree: Mapping[str, Any]) -> dict[str, MailboxLook]:
    found: dict[str, MailboxLook] = {}
    for node in _nodes(tree):
        box = node.get("mailbox")
        if not box or node.get("state") not in {"running", "suspended"}:
            continue  # one that is on its way up or down has no kind to be counted under
        kind = str(node.get("kind", "actor"))
        before = found.get(kind, MailboxLook(0, 0, 0, 0, 0))
        found[kind] = MailboxLook(
            before.actors + 1,
            max(before.depth, int(box.get("depth", 0))),
            max(before.peak_depth, int(box.get("peak_depth", 0))),
            max(before.capacity, int(box.get("capacity", 0))),
            before.waiting_senders + int(box.get("waiting_senders", 0)),
        )
    return found
