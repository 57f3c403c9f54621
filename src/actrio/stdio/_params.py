"""What each method takes: one attrs class per method. The reference page and the JSON Schema are
made from these classes, so the wire cannot differ from what is written about it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import attrs
from msgspec import Meta

from actrio.messages import IfBusy
from actrio.stdio._turn_params import (
    Name,
    PartParams,
    TurnCancel,
    TurnStart,
    TurnSteer,
    TurnWait,
)

__all__ = [
    "AgentNamed",
    "AgentRegister",
    "AgentSetTool",
    "ApprovalResolve",
    "BlobRead",
    "Capabilities",
    "ClientTool",
    "FlowAck",
    "FlowOptions",
    "Initialize",
    "Nothing",
    "PartParams",
    "Peer",
    "SessionClose",
    "SessionCreate",
    "SessionFork",
    "SessionHistory",
    "SessionNamed",
    "SessionSubscribe",
    "Shutdown",
    "TakeBack",
    "TurnCancel",
    "TurnStart",
    "TurnSteer",
    "TurnWait",
    "WholeList",
]

Text4k = Annotated[str, Meta(max_length=4096)]
"""A remark or an answer of a person; what is longer is no remark."""


@attrs.frozen(kw_only=True, eq=False, repr=False, slots=False)
class Nothing:
    """No parameters."""


@attrs.frozen(kw_only=True, eq=False, repr=False, slots=False)
class Peer:
    """Who somebody is.

    Attributes:
        name: A program's name.
        version: Its version.
    """

    name: Annotated[str, Meta(max_length=128)] = ""
    version: Annotated[str, Meta(max_length=128)] = ""


@attrs.frozen(kw_only=True, eq=False, repr=False, slots=False)
class Capabilities:
    """What the client can be asked.

    Attributes:
        approval: `request` (or `true`): calls that need leave are asked by `approval/request`.
            `event`: the client answers `approval.requested` events by `approval/resolve`. `false`:
            such calls are denied, and the model is told so.
        question: The same for questions of tools, by `question/ask`.
        tools: Whether it runs tools of its own, by `tool/call`.
    """

    approval: bool | Literal["request", "event"] = False
    question: bool | Literal["request", "event"] = False
    tools: bool = False


@attrs.frozen(kw_only=True, eq=False, repr=False, slots=False)
class FlowOptions:
    """How far the server may run ahead.

    Attributes:
        window: Events of a session that may leave without a `flow/ack`; without it only the
            pipe's fullness counts.
    """

    window: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None


Channel = Literal["progress", "control", "monitor"]


@attrs.frozen(kw_only=True, eq=False, repr=False, slots=False)
class Initialize:
    """The first request. Members that are not listed are ignored, for newer clients' sake.

    Attributes:
        protocol_version: The newest version that the client speaks; the answer says which is
            spoken.
        client: Who connects; stands in the log, and as `by` in what it decides.
        capabilities: What it can be asked.
        channels: Which events it wants: `progress` (turns and what is in them, state, history),
            `control` (approvals and questions), `monitor` (its own stalls).
        deltas: `all`; `coalesced`: joined over about 100 ms; `none`: only completed items.
        flow: Credit.
    """

    protocol_version: int = 1
    client: Peer = Peer()
    capabilities: Capabilities = Capabilities()
    channels: list[Channel] = attrs.field(factory=lambda: ["progress", "control"])
    deltas: Literal["all", "coalesced", "none"] = "all"
    flow: FlowOptions = FlowOptions()


@attrs.frozen(kw_only=True, eq=False, repr=False, slots=False)
class Shutdown:
    """End the connection, and with it the process.

    Attributes:
        mode: `drain` lets running turns finish, `now` cancels them.
        deadline_ms: What runs after this long is cancelled too.
    """

    mode: Literal["drain", "now"] = "drain"
    deadline_ms: Annotated[int, Meta(ge=0, le=86_400_000)] | None = None


@attrs.frozen(kw_only=True, eq=False, repr=False, slots=False)
class TakeBack:
    """A request is taken back.

    Attributes:
        id: The request's id. `$/cancel_request` takes it as `requestId`.
    """

    id: str | int


@attrs.frozen(kw_only=True, eq=False, repr=False, slots=False)
class FlowAck:
    """The client has taken in a session's events.

    Attributes:
        session: Which session's.
        seq: Up to the recorded event of this number, and the live ones that carry it.
        n: Of the live events that carry `seq`, only up to this one.
    """

    session: Name
    seq: Annotated[int, Meta(ge=0)]
    n: Annotated[int, Meta(ge=0)] | None = None


@attrs.frozen(kw_only=True, eq=False, repr=False, slots=False)
class ClientTool:
    """A tool that the client runs when it is asked by `tool/call`.

    Attributes:
        name: What models call it.
        description: What it is for, for the model.
        parameters: JSON Schema of its arguments: an object with properties.
        timeout_ms: How long one call may take.
        approval: Whether a person is asked before each call.
        read_only: Declares that it has no side effects.
        exclusive: Lets it run alone among the calls of its step.
    """

    name: Annotated[str, Meta(pattern="^[a-zA-Z0-9_-]{1,64}$")]
    description: Annotated[str, Meta(max_length=16_384)] = ""
    parameters: Mapping[str, Any] = attrs.field(factory=dict)
    timeout_ms: Annotated[int, Meta(ge=1, le=86_400_000)] = 60_000
    approval: Literal["never", "ask"] = "never"
    read_only: bool = False
    exclusive: bool = False


@attrs.frozen(kw_only=True, eq=False, repr=False, slots=False)
class AgentNamed:
    """One agent.

    Attributes:
        agent: Its name.
    """

    agent: Name


@attrs.frozen(kw_only=True, eq=False, repr=False, slots=False)
class AgentRegister:
    """Define an agent for this process.

    Attributes:
        name: Its name; one that is taken is defined anew where it has no open session.
        model: Its model, `provider:model`; the default model where it is not given.
        instructions: What the model is told before the conversation.
        tools: Tools that the client runs.
        steps_max: Model calls in one turn.
        if_busy: What a session does with a message while a turn runs.
        queue_max: Messages that may wait.
    """

    name: Annotated[str, Meta(pattern="^[A-Za-z0-9_.-]{1,64}$")]
    model: str | None = None
    instructions: str = ""
    tools: Annotated[list[ClientTool], Meta(max_length=128)] = attrs.field(factory=list)
    steps_max: Annotated[int, Meta(ge=1)] | None = None
    if_busy: IfBusy = "queue"
    queue_max: Annotated[int, Meta(ge=0)] | None = None


@attrs.frozen(kw_only=True, eq=False, repr=False, slots=False)
class AgentSetTool:
    """Switch one of an agent's tools, from the next turn on.

    Attributes:
        agent: The agent's name.
        tool: The tool's name.
        enabled: On or off.
    """

    agent: Name
    tool: Name
    enabled: bool


@attrs.frozen(kw_only=True, eq=False, repr=False, slots=False)
class SessionCreate:
    """Open a session; one that exists under this `id` goes on with its history.

    Attributes:
        agent: An agent of the settings, or one that was registered; without it the session gets
            an assistant without tools.
        model: In place of the agent's own; the changed agent has a mark behind its name.
        instructions: In place of the agent's own.
        tools: Tools that the client runs, beside the agent's own.
        id: Its id, without `/`; a random one where it is not given.
        user: Whose it is.
        labels: Texts to find it by.
        if_busy: What it does with a message while a turn runs.
        subscribe: Whether its events are sent.
        from: Recorded events behind this number are replayed first.
    """

    agent: Name | None = None
    model: str | None = None
    instructions: str | None = None
    tools: Annotated[list[ClientTool], Meta(max_length=128)] = attrs.field(factory=list)
    id: Annotated[str, Meta(min_length=1, max_length=128, pattern="^[^/]*$")] | None = None
    user: Annotated[str, Meta(max_length=128)] = ""
    labels: Annotated[dict[str, str], Meta(max_length=64)] = attrs.field(factory=dict)
    if_busy: IfBusy | None = None
    subscribe: bool = True
    from_: Annotated[int, Meta(ge=0)] | None = None


@attrs.frozen(kw_only=True, eq=False, repr=False, slots=False)
class SessionNamed:
    """One session.

    Attributes:
        session: Its id.
    """

    session: Name


@attrs.frozen(kw_only=True, eq=False, repr=False, slots=False)
class WholeList:
    """A part of a list.

    Attributes:
        after: Begin behind this one, the last of the part before.
        limit: Entries at most.
    """

    after: str = ""
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100


@attrs.frozen(kw_only=True, eq=False, repr=False, slots=False)
class SessionHistory:
    """What a model is shown of the past.

    Attributes:
        session: Its id.
        after: Leave out this many messages from the beginning.
        limit: Messages at most; fewer where they are long.
    """

    session: Name
    after: Annotated[int, Meta(ge=0)] = 0
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100


@attrs.frozen(kw_only=True, eq=False, repr=False, slots=False)
class SessionFork:
    """Make a session that begins as this one did.

    Attributes:
        session: The session to copy.
        at: A record's number (`seq` or `end_seq` of a turn in `session/get`) up to which it is
            copied; all of it where it is not given.
        id: The new one's id.
    """

    session: Name
    at: Annotated[int, Meta(ge=0)] | None = None
    id: Annotated[str, Meta(min_length=1, max_length=128, pattern="^[^/]*$")] | None = None


@attrs.frozen(kw_only=True, eq=False, repr=False, slots=False)
class SessionClose:
    """Let go of a session; it stays in the store.

    Attributes:
        session: Its id.
        mode: What becomes of its turns: `cancel`; `after_turn`: the running one may end; `detach`:
            all go on.
    """

    session: Name
    mode: Literal["cancel", "after_turn", "detach"] = "cancel"


@attrs.frozen(kw_only=True, eq=False, repr=False, slots=False)
class SessionSubscribe:
    """Send a session's events, from now on or from a bookmark; replaces a subscription it has.

    Attributes:
        session: Its id.
        from: Recorded events behind this number are replayed first, then it goes live without gap
            or duplicate. Where they are no longer kept, a `gap` event says so.
    """

    session: Name
    from_: Annotated[int, Meta(ge=0)] | None = None


@attrs.frozen(kw_only=True, eq=False, repr=False, slots=False)
class ApprovalResolve:
    """Decide what a turn waits for.

    Attributes:
        session: Whose turn waits.
        approval: Which of its approvals.
        decision: `approved` or `denied` for a call, `answered` (or `denied`) for a question.
        answer: The answer to a question.
        note: For the model to read.
        by: Who decided; the client's name where it is not given.
    """

    session: Name
    approval: Name
    decision: Literal["approved", "denied", "answered"]
    answer: Annotated[str, Meta(max_length=1_000_000)] = ""
    note: Text4k = ""
    by: Annotated[str, Meta(max_length=128)] = ""


@attrs.frozen(kw_only=True, eq=False, repr=False, slots=False)
class BlobRead:
    """Read a value that was too large for its line.

    Attributes:
        blob: The id in `{"$blob": …}`.
        offset: Where to begin, in bytes.
        size: Bytes at most.
    """

    blob: Name
    offset: Annotated[int, Meta(ge=0)] = 0
    size: Annotated[int, Meta(ge=1, le=524_288)] = 262_144
