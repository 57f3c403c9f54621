"""The methods of the wire in one table: what each takes, answers, and is for."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, Literal

import attrs

from actrio.stdio import _params as p
from actrio.stdio import _results as r

__all__ = ["ASKED", "METHODS", "NOTIFICATIONS", "PROTOCOL_VERSION", "Method"]

PROTOCOL_VERSION: Final = 1
"""Raised when something is taken away or changes its meaning; additions leave it as it is."""


@attrs.frozen(slots=True)
class Method:
    """One method.

    Attributes:
        params: What it takes.
        result: What it answers; one of several where it is a tuple.
        lane: ``control`` is acted on by the reader itself, ahead of everything that waits.
            ``urgent`` is taken also where too many requests are in flight.
        about: What it is for.
    """

    params: type[Any]
    result: Any
    lane: Literal["call", "urgent", "control"]
    about: str


METHODS: Final[Mapping[str, Method]] = MappingProxyType(
    {
        "initialize": Method(p.Initialize, r.Initialized, "control", "Begin; once, first."),
        "ping": Method(
            p.Nothing, r.Done, "control", "Say that you are there; also before `initialize`."
        ),
        "shutdown": Method(
            p.Shutdown, r.ShuttingDown, "control", "End the connection and the process."
        ),
        "agent/list": Method(p.Nothing, r.AgentList, "call", "Which agents there are."),
        "agent/get": Method(p.AgentNamed, r.AgentInfo, "call", "One agent in full."),
        "agent/register": Method(p.AgentRegister, r.AgentInfo, "call", "Define an agent."),
        "agent/set_tool": Method(p.AgentSetTool, r.Done, "call", "Switch a tool on or off."),
        "model/list": Method(p.Nothing, r.ModelList, "call", "Where models come from."),
        "session/create": Method(
            p.SessionCreate, r.SessionCreated, "call", "Open a session, new or kept."
        ),
        "session/list": Method(p.WholeList, r.SessionList, "call", "Which sessions there are."),
        "session/get": Method(p.SessionNamed, r.SessionInfo, "call", "One session, open or not."),
        "session/history": Method(p.SessionHistory, r.SessionMessages, "call", "What was said."),
        "session/fork": Method(p.SessionFork, r.Forked, "call", "Copy a session."),
        "session/close": Method(p.SessionClose, r.Closed, "call", "Let go of a session."),
        "session/subscribe": Method(
            p.SessionSubscribe, r.Subscribed, "call", "Get a session's events."
        ),
        "session/unsubscribe": Method(p.SessionNamed, r.Subscribed, "call", "Get them no more."),
        "turn/start": Method(
            p.TurnStart,
            (r.TurnAcceptedInfo, r.TurnResultInfo),
            "call",
            "Say something to a session.",
        ),
        "turn/wait": Method(p.TurnWait, r.TurnResultInfo, "call", "Wait for a turn's end."),
        "turn/steer": Method(
            p.TurnSteer, r.TurnAcceptedInfo, "call", "Say something to the running turn."
        ),
        "turn/cancel": Method(p.TurnCancel, r.Cancelled, "control", "Cancel a turn."),
        "approval/list": Method(p.WholeList, r.ApprovalList, "call", "What waits for a person."),
        "approval/resolve": Method(p.ApprovalResolve, r.Done, "urgent", "Decide it."),
        "runtime/stats": Method(p.Nothing, r.RuntimeStats, "call", "What is used, and the bounds."),
        "runtime/tree": Method(p.Nothing, Mapping[str, Any], "call", "The live tree of actors."),
        "blob/read": Method(p.BlobRead, r.BlobPiece, "call", "Read a value too large for a line."),
    }
)
"""Requests of the client."""

NOTIFICATIONS: Final[Mapping[str, Method]] = MappingProxyType(
    {
        "$/cancelRequest": Method(
            p.TakeBack, r.TakenBack, "control", "Take a request back; it answers -32800."
        ),
        "flow/ack": Method(p.FlowAck, r.Done, "control", "Grant more events, with `flow.window`."),
    }
)
"""Notifications of the client; sent as requests, they are answered."""

ASKED: Final[Mapping[str, Method]] = MappingProxyType(
    {
        "approval/request": Method(
            r.ApprovalRequest, r.ApprovalAnswer, "call", "May this tool call run?"
        ),
        "question/ask": Method(r.QuestionAsk, r.QuestionAnswer, "call", "A tool's question."),
        "tool/call": Method(r.ToolCallRequest, r.ToolAnswer, "call", "Run a tool of the client's."),
    }
)
"""Requests of the server, to clients that declared the capability."""
