"""The ordering rules of the wire as a checker. Pure: it is told of lines, and says what is wrong.

For the tests of this server and of clients: every line that leaves and every line that comes is
shown to it, in the order in which the client saw them.

====  =========================================================================================
R1    events of a session come in the order of ``(seq, n)``; recorded ones without a gap
R2    the answer to ``turn/wait``, or to ``turn/start`` with ``wait``, comes after the turn's events
R3    ``item.started`` < ``item.delta`` < ``item.completed``, and the deltas are its beginning
R4    ``approval.requested`` < its request; ``approval.resolved`` before the turn's end
ends  an accepted turn has exactly one last event, nothing of it comes later
ids   each request has one answer, with its id; the server's ids are new each time
line  no line is longer than the bound, each is JSON-RPC 2.0
====  =========================================================================================

R5 (fairness) and R6 (control overtakes) are about time; the tests and benchmarks measure them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import attrs

from actrio.sansio import ID_LENGTH_MAX

__all__ = ["WireRules"]

LINE_BYTES_MAX: Final = 1024 * 1024

_TERMINAL: Final = frozenset({"turn.completed", "turn.failed", "turn.cancelled"})


@attrs.define(slots=True)
class _Heard:
    """What came of one session."""

    position: tuple[int, int] | None = None
    recorded: int | None = None
    # Subscriptions by which the numbers may go back, once each.
    restarts: int = 0
    items: dict[str, str] = attrs.field(factory=dict)
    completed: set[str] = attrs.field(factory=set)


@attrs.define(slots=True)
class WireRules:
    """Checks a transcript.

    Attributes:
        whole: Whether the client gets all events: then recorded ones have no gap, and deltas are
            the beginning of what is completed. Not so with ``channels``, ``deltas`` or after the
            client has slept.
        problems: What is wrong, in words; empty where nothing is.
    """

    whole: bool = True
    problems: list[str] = attrs.field(factory=list)
    _sessions: dict[str, _Heard] = attrs.field(factory=dict)
    # By id, whether each request that is open answers behind a turn's events.
    _asked: dict[Any, list[bool]] = attrs.field(factory=dict)
    _ended: dict[str, str] = attrs.field(factory=dict)
    _answered_turns: set[str] = attrs.field(factory=set)
    _approvals: dict[str, tuple[str, str]] = attrs.field(factory=dict)
    _server_ids: set[str] = attrs.field(factory=set)

    def sent(self, message: Any) -> None:
        """Hear of a message that the client sends."""
        if not isinstance(message, dict):
            return
        params = message.get("params")
        params = params if isinstance(params, dict) else {}
        name = None
        if message.get("method") == "session/subscribe":
            name = params.get("session")
        elif message.get("method") == "session/create":
            name = params.get("id")
            name = name if isinstance(name, str) and name in self._sessions else None
        if isinstance(name, str):
            self._sessions.setdefault(name, _Heard()).restarts += 1
            self._answered_turns.clear()
        answers = "method" not in message and ("result" in message or "error" in message)
        if _is_id(message.get("id")) and not answers:
            waits = message.get("method") == "turn/wait" or params.get("wait") is True
            self._asked.setdefault(_key(message["id"]), []).append(waits)

    def received(self, message: Any, *, line_bytes: int = 0) -> None:
        """Hear of a message that the client receives."""
        if line_bytes > LINE_BYTES_MAX + 1:
            self._wrong("line", f"a line of {line_bytes} bytes")
        if not isinstance(message, dict) or message.get("jsonrpc") != "2.0":
            self._wrong("line", f"no JSON-RPC 2.0: {str(message)[:100]}")
        elif message.get("method") == "event":
            self._event(message["params"])
        elif "method" in message:
            self._request(message)
        else:
            self._answer(message)

    def _wrong(self, rule: str, text: str) -> None:
        self.problems.append(f"{rule}: {text}")

    # Answers and requests

    def _answer(self, message: Mapping[str, Any]) -> None:
        if ("result" in message) == ("error" in message):
            self._wrong("line", f"neither or both of result and error: {message}")
        if message.get("id") is None:
            if "error" not in message:
                self._wrong("ids", "a result without an id")
            return
        asked = self._asked.get(_key(message["id"]))
        if not asked:
            self._wrong("ids", f"an answer to nothing: {message['id']!r}")
            return
        waits = asked.pop(0)
        result = message.get("result")
        if waits and isinstance(result, dict) and "outcome" in result:
            self._answered_turns.add(result["turn"])

    def _request(self, message: Mapping[str, Any]) -> None:
        id = message.get("id")
        if id is None:
            return
        if not isinstance(id, str) or not id.startswith("srv-") or id in self._server_ids:
            self._wrong("ids", f"a server's id that is not new: {id!r}")
        self._server_ids.add(str(id))
        approval = message["params"].get("approval")
        asks = message["method"] in {"approval/request", "question/ask"}
        if asks and self.whole and approval not in self._approvals:
            self._wrong("R4", f"{message['method']} before approval.requested of {approval}")

    # Events

    def _event(self, event: Mapping[str, Any]) -> None:
        name = event.get("session", "")
        if not name or event["type"] == "subscription.ended":
            return
        heard = self._sessions.setdefault(name, _Heard())
        self._order(heard, event)
        turn = event["turn"]
        if turn in self._answered_turns and not heard.restarts:
            self._wrong("R2", f"{event['type']} after the answer about {turn}")
        if turn in self._ended and turn:
            self._wrong("ends", f"{event['type']} after the end of {turn}")
        self._item(heard, event)
        self._approval(event)
        if event["type"] in _TERMINAL:
            self._end(event)

    def _order(self, heard: _Heard, event: Mapping[str, Any]) -> None:
        place = (event["seq"], event.get("n", 0))
        seq, live = event["seq"], "n" in event
        # A long delta comes in several lines with one number.
        again = place == heard.position and event["type"] == "item.delta"
        if heard.position is not None and place <= heard.position and not again:
            if not heard.restarts:
                self._wrong("R1", f"{event['type']} {place} after {heard.position}")
            heard.restarts = max(0, heard.restarts - 1)
            self._restart(heard, event["session"])
        elif (
            not live
            and self.whole
            and heard.recorded is not None
            and event["type"] != "gap"
            and seq != heard.recorded + 1
            and not heard.restarts
        ):
            self._wrong("R1", f"{event['type']} {seq} after {heard.recorded}")
        heard.position = place
        if not live or event["type"] == "gap":
            heard.recorded = seq

    def _restart(self, heard: _Heard, session: str) -> None:
        """Forget what was heard: it comes again."""
        self._answered_turns.clear()
        heard.items.clear()
        heard.completed.clear()
        self._ended = {turn: of for turn, of in self._ended.items() if of != session}
        self._approvals = {one: of for one, of in self._approvals.items() if of[0] != session}

    def _item(self, heard: _Heard, event: Mapping[str, Any]) -> None:
        kind, item = event["type"], event.get("item", "")
        if kind == "item.started":
            if item in heard.items or item in heard.completed:
                self._wrong("R3", f"{item} begins twice")
            heard.items[item] = ""
        elif kind == "item.delta":
            if item in heard.completed:
                self._wrong("R3", f"a delta after {item} was completed")
            if item not in heard.items and self.whole:
                self._wrong("R3", f"a delta before {item} began")
            heard.items[item] = heard.items.get(item, "") + event["text"]
        elif kind == "item.completed":
            if item in heard.completed:
                self._wrong("R3", f"{item} is completed twice")
            text, said = event.get("text", ""), heard.items.pop(item, "")
            if self.whole and isinstance(text, str) and not text.startswith(said):
                self._wrong("R3", f"{item} said something else than its deltas")
            heard.completed.add(item)

    def _approval(self, event: Mapping[str, Any]) -> None:
        if event["type"] == "approval.requested":
            self._approvals[event["approval"]] = (event["session"], event["turn"])
        elif event["type"] == "approval.resolved":
            known = self._approvals.pop(event["approval"], None)
            if known is None and self.whole:
                self._wrong("R4", f"{event['approval']} is resolved and was not requested")

    def _end(self, event: Mapping[str, Any]) -> None:
        turn = event["turn"]
        self._ended[turn] = event["session"]
        left = [approval for approval, of in self._approvals.items() if of[1] == turn]
        if left and self.whole:
            self._wrong("R4", f"{turn} ended with {left} not resolved")

    @property
    def unanswered(self) -> list[Any]:
        """Ids of requests that have no answer yet."""
        return [key[1] for key, open in self._asked.items() for _ in open]


def _is_id(value: Any) -> bool:
    """Whether the server can answer with this id."""
    if isinstance(value, str):
        return len(value) <= ID_LENGTH_MAX
    return isinstance(value, int) and not isinstance(value, bool)


def _key(id: Any) -> Any:
    """Return the id with its type: 1 and "1" are two requests."""
    return (type(id).__name__, id)
