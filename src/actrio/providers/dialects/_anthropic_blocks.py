"""The content blocks of an Anthropic answer, one after the other, as deltas. Pure.

A block begins, gets fragments, and stops. Text, reasoning and the arguments of calls leave at once;
what only makes sense as a whole leaves when its block stops: a signature, the citations of a text,
and every block that the vendor alone understands. The latter keeps its JSON as it came, because it
must go back unchanged; only the input of a server tool, which comes in fragments, is put in.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from actrio.messages import (
    Citation,
    CitationDelta,
    Delta,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    VendorItem,
    VendorItemDelta,
)
from actrio.providers.dialects._anthropic_errors import Peer

__all__ = ["BLOCKS_MAX", "BlockDelta", "Blocks"]

BLOCKS_MAX: Final = 4_096
"""Blocks of one answer. The longest recorded one, full of citations, has 25."""

_EMPTY_INPUTS: Final = {"", "{}", "null"}


class BlockDelta(msgspec.Struct):
    """A fragment. Members are read leniently: a new type of fragment may use them otherwise."""

    type: Any = ""
    text: Any = None
    partial_json: Any = None
    thinking: Any = None
    signature: Any = None
    citation: msgspec.Raw = msgspec.Raw()
    stop_reason: Any = None


class _Block(msgspec.Struct):
    type: str
    id: Any = None
    name: Any = None
    text: Any = None
    thinking: Any = None
    signature: Any = None
    input: msgspec.Raw = msgspec.Raw()
    citations: msgspec.Raw = msgspec.Raw()


class _Draft:
    """A block that has not stopped."""

    __slots__ = ("call", "changes", "citations", "fragments", "input", "kind", "raw", "signature")

    def __init__(self, kind: str, raw: str) -> None:
        self.kind = kind
        self.raw = raw
        self.call = 0  # number of the call, where it is one
        self.input = ""  # of a call that came whole
        self.fragments: list[str] = []
        self.signature = ""
        self.citations: list[Citation] = []
        self.changes: dict[str, Any] = {}


_decode_block = msgspec.json.Decoder(_Block).decode
_decode_raws = msgspec.json.Decoder(list[msgspec.Raw] | None).decode
_decode_object = msgspec.json.Decoder(dict[str, Any]).decode
_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class Blocks:
    """Turns the blocks of one answer into deltas.

    Args:
        peer: Who answers, for error texts.
        vendor: Whose items these are, for `VendorItem.vendor`.
    """

    __slots__ = ("_begun", "_calls", "_open", "_peer", "_vendor", "response_id")

    def __init__(self, peer: Peer, vendor: str) -> None:
        self._peer = peer
        self._vendor = vendor
        self._open: dict[int, _Draft] = {}
        self._begun = 0
        self._calls = 0
        self.response_id = ""

    def begin(self, index: int, block: msgspec.Raw, deltas: list[Delta]) -> None:
        """Take in the beginning of the block at ``index``; some come whole with it.

        Raises:
            ProviderProtocolError: It is no block, or one too many.
        """
        self._begun += 1
        if self._begun > BLOCKS_MAX:
            raise self._peer.protocol_error(f"has more than {BLOCKS_MAX} blocks")
        if index in self._open:
            self.stop(index, deltas)
        head = _decode_block(block)
        kind = head.type
        draft = self._open[index] = _Draft(kind, "")
        if kind == "text":
            _add_text(head.text, deltas)
            draft.citations.extend(_citation(raw) for raw in _raws(head.citations))
        elif kind == "thinking":
            _add_thinking(head.thinking, deltas)
            draft.signature = _string(head.signature)
        elif kind == "tool_use":
            self._begin_call(head, draft, deltas)
        else:
            _decode_object(block)  # what goes back later must be sound now
            draft.raw = str(bytes(block), "utf-8")

    def _begin_call(self, head: _Block, draft: _Draft, deltas: list[Delta]) -> None:
        draft.call = self._calls
        self._calls += 1
        draft.input = str(bytes(head.input), "utf-8")
        # A result must be able to name its call, so an id that is missing is made up.
        call_id = _string(head.id) or f"{self.response_id or 'call'}_{draft.call}"
        deltas.append(ToolCallDelta(draft.call, call_id, _string(head.name)))

    def extend(self, index: int, delta: BlockDelta, event: str, deltas: list[Delta]) -> None:
        """Take in a fragment of the block at ``index``; ``event`` is the JSON it came in.

        Raises:
            ProviderProtocolError: Arguments of a call that never began.
        """
        kind = delta.type
        if kind == "text_delta":
            _add_text(delta.text, deltas)
        elif kind == "thinking_delta":
            _add_thinking(delta.thinking, deltas)
        elif (draft := self._open.get(index)) is None:
            raise self._peer.protocol_error(f"has a fragment of block {index}, which is not open")
        elif kind == "input_json_delta":
            _add_input(draft, _string(delta.partial_json), deltas)
        elif kind == "signature_delta":
            draft.signature = _string(delta.signature)
        elif kind == "citations_delta":
            draft.citations.append(_citation(delta.citation))
        else:
            # Members of a kind that is not known yet replace those of the block they belong to.
            changes = _decode_object(event).get("delta")
            if isinstance(changes, dict):
                draft.changes.update((k, v) for k, v in changes.items() if k != "type")

    def stop(self, index: int, deltas: list[Delta]) -> None:
        """Complete the block at ``index``, if it is open."""
        draft = self._open.pop(index, None)
        if draft is None:
            return
        if draft.kind == "text":
            deltas.extend(CitationDelta(citation) for citation in draft.citations)
        elif draft.kind == "thinking":
            if draft.signature:
                deltas.append(ThinkingDelta("", draft.signature))
        elif draft.kind == "tool_use":
            if not draft.fragments and draft.input not in _EMPTY_INPUTS:
                deltas.append(ToolCallDelta(draft.call, arguments=draft.input))
        else:
            item = VendorItem(self._vendor, draft.kind, _completed(draft))
            deltas.append(VendorItemDelta(item))

    def stop_all(self, deltas: list[Delta]) -> None:
        """Complete what is still open: the answer has ended."""
        for index in list(self._open):
            self.stop(index, deltas)


def _add_text(text: Any, deltas: list[Delta]) -> None:
    if text and isinstance(text, str):
        deltas.append(TextDelta(text))


def _add_thinking(text: Any, deltas: list[Delta]) -> None:
    if text and isinstance(text, str):
        deltas.append(ThinkingDelta(text))


def _add_input(draft: _Draft, fragment: str, deltas: list[Delta]) -> None:
    if not fragment:
        return
    draft.fragments.append(fragment)
    if draft.kind == "tool_use":
        deltas.append(ToolCallDelta(draft.call, arguments=fragment))


def _completed(draft: _Draft) -> str:
    """Return the JSON of a vendor's block with what came in fragments."""
    changes = dict(draft.changes)
    if draft.fragments:
        # Cut by the token limit it is no JSON; then the block stays as it began.
        try:
            written = "".join(draft.fragments)
            _decode_object(written)
            changes["input"] = msgspec.Raw(written)
        except (msgspec.DecodeError, UnicodeError):
            pass
    if not changes:
        return draft.raw
    return msgspec.json.encode({**_decode_members(draft.raw), **changes}).decode()


def _citation(raw: msgspec.Raw) -> Citation:
    facts = _decode_object(raw)
    place = facts.get("document_index")
    titled = _string(facts.get("document_title")) or _string(facts.get("title"))
    source = _string(facts.get("url")) or _string(facts.get("source")) or titled
    if not source and isinstance(place, int):
        source = f"document {place}"
    quote = _string(facts.get("cited_text"))
    return Citation(source, titled, quote, str(bytes(raw), "utf-8"))


def _raws(raw: msgspec.Raw) -> list[msgspec.Raw]:
    return (_decode_raws(raw) or []) if bytes(raw) else []


def _string(value: Any) -> str:
    return value if isinstance(value, str) else ""
