"""What is put under load: a protocol of a few verbs, and how one is chosen.

::

    inproc                 open_runtime in this process, the whole of it
    stdio:CMD              a process that speaks actrio's JSON lines (default: actrio serve --stdio)
    http:URL               actrio's own HTTP (without a URL: actrio serve --http, started here)
    openai:URL             anything that streams OpenAI chat completions

Another target is one more function that gives a `Target`; nothing else in this room knows how many
there are.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Final, Literal, Protocol

import attrs

from actrio.actors import ActorSnapshot
from actrio.errors import InvalidRequest, NotSupported
from actrio.runtime import Settings
from actrio.stress._chaos import Chaos
from actrio.stress._turns import Asked, Ending, Listener

__all__ = [
    "KEY_VARIABLE",
    "TARGETS",
    "Look",
    "MailboxLook",
    "Seat",
    "StoreKind",
    "Target",
    "TargetKind",
    "TargetSetup",
    "check_chaos",
    "check_store",
    "look_at_tree",
    "split_target",
]

TARGETS: Final = ("inproc", "stdio:CMD", "http:URL", "openai:URL")

TargetKind = Literal["inproc", "stdio", "http", "openai"]
StoreKind = Literal["memory", "embedded"]

KEY_VARIABLE: Final = "ACTRIO_STRESS_API_KEY"
"""The only key that is sent: one that was given for this purpose, to the URL of the same command."""


@attrs.frozen(slots=True)
class MailboxLook:
    """The mailboxes of one kind of actor: how many actors, and the fullest of them."""

    actors: int
    depth: int
    peak_depth: int
    capacity: int
    waiting_senders: int


@attrs.frozen(slots=True, kw_only=True)
class Look:
    """What a target tells of itself; None where it has no way to.

    Attributes:
        mailboxes: By kind of actor.
        turns_waiting: Turns that wait for a slot.
        turns_peak: The most that ran.
        provider_waiting: Calls that wait for a connection now; ``provider_peak`` the most.
        restarts: Of actors.
        dead_letters: By reason.
    """

    mailboxes: Mapping[str, MailboxLook] = attrs.field(factory=dict)
    turns_waiting: int | None = None
    turns_peak: int | None = None
    provider_waiting: int | None = None
    provider_peak: int | None = None
    restarts: int | None = None
    dead_letters: Mapping[str, int] = attrs.field(factory=dict)


class Seat(Protocol):
    """One client's place at a target: a conversation that takes one turn at a time."""

    async def turn(self, asked: Asked, heard: Listener) -> Ending:
        """Run a turn to its end, whatever that is; what the target did wrong is the ending.

        *Cancellation*: the client leaves; what the target makes of it is not waited for.
        """


class Target(Protocol):
    """Something that takes turns.

    Attributes:
        name: For the report.
        pid: The process that is put under load; None where it is not on this machine.
        shares_process: Whether that is the very process that measures.
        provider_pid: The scripted provider's process, where there is one.
        gone: Whether it takes no more turns, ever.
        store: Where its sessions are kept; None where only it knows.
        residents: Tasks in this process that it has for good once it needed them, one per agent.
    """

    name: str
    pid: int | None
    shares_process: bool
    provider_pid: int | None
    store: StoreKind | None

    @property
    def gone(self) -> bool: ...

    @property
    def residents(self) -> int: ...

    def seat(self) -> AbstractAsyncContextManager[Seat]:
        """Give one client a place for the length of a block."""

    async def look(self) -> Look:
        """Return what the target tells of itself."""

    async def kill(self, chance: float) -> bool:
        """Crash an actor, chosen by a number from 0 to 1; False: there was none."""

    async def ended(self) -> Mapping[str, int]:
        """Return what the scripted provider has seen, once its connections are closed."""

    async def stored(self) -> Mapping[str, int]:
        """Return what its store holds at the end, where that can be looked at."""


@attrs.frozen(slots=True, kw_only=True)
class TargetSetup:
    """What a target needs to know.

    Attributes:
        model: The model, as it was asked for.
        sessions: How many seats there will be at most.
        connections: Calls to the provider at the same time.
        queue: Calls that may wait for one of these.
        session_turns: Turns after which a seat begins a new conversation.
        stall_seconds: How long a provider may be silent.
        settings: Of the runtime, with the keys' names.
        env: Where keys are.
        store: Where a runtime that is started for the run keeps its sessions.
        folder: Where the files of that store go; None for one in memory.
        key_variable: The variable that holds the key of a server that runs already.
    """

    model: str
    sessions: int
    connections: int
    queue: int
    session_turns: int
    stall_seconds: float
    settings: Settings
    env: Mapping[str, str] = attrs.field(repr=lambda env: f"<{len(env)} variables>")
    store: StoreKind = "memory"
    folder: Path | None = None
    key_variable: str = KEY_VARIABLE


def split_target(text: str) -> tuple[TargetKind, str]:
    """Return kind and rest of a target's name.

    Raises:
        InvalidRequest: It is none.
    """
    kind, _, rest = text.partition(":")
    if text == "inproc":
        return "inproc", ""
    if text.startswith(("http://", "https://")):
        return "http", text
    match kind:
        case "stdio" | "http" | "openai":
            return kind, rest
    raise InvalidRequest(
        f"There is no target {text[:80]!r}.", remedy=f"Use one of {', '.join(TARGETS)}."
    )


def check_store(kind: TargetKind, rest: str, store: StoreKind | None) -> StoreKind:
    """Return where the target's sessions are kept.

    Raises:
        NotSupported: The target runs already, so that cannot be chosen.
    """
    if store is not None and (kind == "openai" or (kind == "http" and rest)):
        raise NotSupported(
            f"{kind}:{rest[:80]} keeps its sessions where it was told to when it was started.",
            remedy="Leave --store out, or use --target inproc, stdio: or http: without a URL.",
        )
    # A stdio server's clients come back to their sessions, so there it keeps them in files, and in
    # memory they would stay for as long as it runs.
    return store or ("embedded" if kind == "stdio" else "memory")


def check_chaos(kind: TargetKind, chaos: Chaos, *, scripted: bool) -> None:
    """Raise `NotSupported` for what cannot be made to go wrong at such a target."""
    if chaos.needs_script and not scripted:
        raise NotSupported(
            "Only a scripted model fails on demand.",
            remedy="Leave provider_5xx and stall out, or use a scripted: model.",
        )
    if chaos.kill_actor and kind != "inproc":
        raise NotSupported(
            f"Actors behind {kind} cannot be crashed from outside.",
            remedy="Leave kill_actor out, or use --target inproc.",
        )
    if chaos.slow_client and kind == "stdio":
        raise NotSupported(
            "All sessions of a stdio server share one pipe, so one slow reader would slow all.",
            remedy="Leave slow_client out, or use --target inproc or http:.",
        )


def look_at_tree(nodes: list[ActorSnapshot]) -> dict[str, MailboxLook]:
    """Return the mailboxes of ``nodes`` by kind of actor."""
    found: dict[str, MailboxLook] = {}
    for node in nodes:
        box = node.mailbox
        if box is None or node.state not in {"running", "suspended"}:
            continue  # one that is on its way up or down has no kind to be counted under
        before = found.get(node.kind, MailboxLook(0, 0, 0, 0, 0))
        found[node.kind] = MailboxLook(
            before.actors + 1,
            max(before.depth, box.depth),
            max(before.peak_depth, box.peak_depth),
            max(before.capacity, box.capacity),
            before.waiting_senders + box.waiting_senders,
        )
    return found
