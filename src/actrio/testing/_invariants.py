"""What must hold of every run of the kernel, and the ledger that it is checked against.

The simulated actors and senders write down what they did and saw; the kernel is looked at only
through its introspection. The rules, by their numbers in the design:

====  ============================================================================================
I1    an accepted message has exactly one outcome
I2    messages from one task to one actor are begun in the order in which they were sent
I3    an asker gets at most one answer, its own; later ones are counted
I4    a mailbox never holds more than it may, in items and bytes
I5    restarts within a period never exceed the intensity
I6    the system ends within its bound, and nothing is left
I7    an address has at most one activation, and that begins one message at a time
I8    a cancelled tell leaves no trace; when a cancelled ask returns, its handling has ended
I9    when nothing is injected any more, everything comes to rest and nobody waits
I10   a stream is a prefix in order, never further ahead than its credit, with one terminal
I11   timers, tasks and watches end with the activation that made them
I12   `Terminated` comes exactly once for each watch
I13   filters see each message once, in order, and its answer in reverse
====  ============================================================================================
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from typing import Any, Final

import attrs
import trio

from actrio.actors import ActorCrashed, ActorSnapshot, DeadLetter, Ref, Terminated, Trace

__all__ = ["ASKS", "Fate", "Ledger", "Life"]

FINAL: Final = ("dropped", "replaced", "stopped", "quarantined", "filtered")
"""Reasons that say a message was never begun; the others only comment on one that was."""

OUTCOMES: Final = ("handled", "failed", "interrupted", "skipped", "dead")

FILTERS: Final = ["send 0", "send 1", "in 0", "in 1", "out 1", "out 0"]


@attrs.define(eq=False)
class Fate:
    """What became of one message, as its sender, its handler and the kernel saw it."""

    number: int
    kind: str
    path: str
    sender: int
    seq: int
    traced: bool
    sent: str = "pending"
    error: str = ""
    begun: int = 0
    running: bool = False
    answers: int = 0
    letters: list[str] = attrs.field(factory=list)
    trace: list[str] = attrs.field(factory=list)
    filters: list[str] = attrs.field(factory=list)
    emitted: int = 0
    credit: int = 0
    got: list[Any] = attrs.field(factory=list)


@attrs.define(eq=False)
class Life:
    """One activation, from its factory to the end of its ``on_stop``."""

    number: int
    path: str
    began: float
    concurrency: int
    inline: Fate | None = None
    deferred: set[int] = attrs.field(factory=set)
    tasks: int = 0
    controls: int = 0
    interrupted: Fate | None = None
    timers: dict[int, Any] = attrs.field(factory=dict)
    watches: dict[Ref[Any], int] = attrs.field(factory=dict)
    over: bool = False


class Ledger:
    """Everything that happened in one run, and what was wrong about it."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.fates: list[Fate] = []
        self.live: dict[str, Life] = {}
        self.lives = 0
        self.counts: Counter[str] = Counter()
        self.traced: set[str] = set()
        self.suspended: set[str] = set()
        self.control: Counter[str] = Counter()  # sent to an actor that is up, and not yet heard
        self.jumps: list[tuple[float, float]] = []  # of the clock: when, and by how many seconds
        self.restarts: defaultdict[str, list[float]] = defaultdict(list)
        self.budgets: list[tuple[str, list[float]]] = []  # of addresses that were made anew
        self._sequences: Counter[tuple[int, str]] = Counter()
        self._latest: dict[tuple[int, str], int] = {}
        self._senders: dict[trio.lowlevel.Task, int] = {}
        self._hash = hashlib.blake2b(digest_size=16)

    def wrong(self, rule: str, text: str) -> None:
        """Note that ``rule`` did not hold."""
        self.problems.append(f"{rule} at {trio.current_time():.3f}: {text}")

    def note(self, *facts: object) -> None:
        """Let ``facts`` be part of what the run is compared by."""
        self._hash.update(f"{trio.current_time():.6f}{facts}\n".encode())

    @property
    def digest(self) -> str:
        """What is the same for two runs in which the same happened."""
        return self._hash.hexdigest()

    # -- messages ------------------------------------------------------------------------------------

    def order(self, kind: str, path: str, *, timer: bool = False) -> Fate:
        """Write down a message that the running task is about to send."""
        task = trio.lowlevel.current_task()
        sender = -1 if timer else self._senders.setdefault(task, len(self._senders))
        self._sequences[sender, path] += 1
        fate = Fate(
            len(self.fates), kind, path, sender, self._sequences[sender, path], path in self.traced
        )
        if kind in ("control", "tick"):
            fate.traced = False  # tracing follows messages of the data lane, by their own name
        self.fates.append(fate)
        self.counts["messages"] += 1
        return fate

    def begin(self, fate: Fate, life: Life) -> None:
        """A handler begins with a message."""
        self.note("begin", fate.number, life.number)
        fate.begun += 1
        fate.running = True
        if fate.begun > 1:
            self.wrong("I1", f"{_named(fate)} is handled a second time")
        if life.inline is not None:
            self.wrong("I7", f"{life.path} begins {_named(fate)} within {_named(life.inline)}")
        if len(life.deferred) >= life.concurrency:
            self.wrong("I4", f"{life.path} begins {_named(fate)} beyond its concurrency")
        if life.interrupted is not None:
            self.wrong("I8", f"{_named(life.interrupted)} was interrupted, and {life.path} goes on")
        if fate.kind in ASKS and fate.sent in ("cancelled", "left"):
            self.wrong("I8", f"{_named(fate)} is begun after its asker left")
        if life.over or self.live.get(life.path) is not life:
            self.wrong("I7", f"{life.path} begins {_named(fate)} after its end")
        if life.path in self.suspended:
            self.wrong("I7", f"{life.path} begins {_named(fate)} although it is suspended")
        if self.control[life.path] > 0:
            self.wrong("lanes", f"{life.path} begins {_named(fate)} while control waits")
        if fate.sender >= 0:
            key = fate.sender, fate.path
            if self._latest.get(key, 0) >= fate.seq:
                self.wrong("I2", f"{_named(fate)} is begun after a later one of the same sender")
            self._latest[key] = fate.seq
        life.inline = fate

    def leave(self, fate: Fate, life: Life, how: str) -> None:
        """A handler is through with a message, or with the part of it that is not deferred."""
        self.note("end", fate.number, how)
        life.inline = None
        if how == "cancelled" and fate.kind not in ASKS:
            life.interrupted = fate  # nobody but the activation's end may do that
        fate.running = False

    def letter(self, letter: DeadLetter) -> None:
        """The kernel made a dead letter."""
        fate = getattr(letter.message, "fate", None)
        self.note("letter", letter.path, letter.reason, fate.number if fate is not None else -1)
        self.counts[f"letter {letter.reason}"] += 1
        if isinstance(fate, Fate):
            fate.letters.append(letter.reason)

    def trace(self, trace: Trace) -> None:
        """The kernel told of one step of a message."""
        fate = getattr(trace.message, "fate", None)
        if isinstance(fate, Fate):
            self.note("trace", fate.number, trace.step)
            fate.trace.append(trace.step)
            life = getattr(trace.message, "life", None)
            if trace.step == "accepted" and life is not None and life.over:
                self.wrong("I11", f"a timer of {life.path} outlives its activation {life.number}")

    def ended(self, fate: Fate, how: str) -> None:
        """The asker of ``fate`` has returned: unless it was answered, its handling is over."""
        fate.sent = how
        self.note("sent", fate.number, how)
        if how in ("cancelled", "error", "left") and fate.running and "stuck" not in fate.letters:
            self.wrong("I8", f"the asker of {_named(fate)} left, its handler still runs")

    # -- lives ---------------------------------------------------------------------------------------

    def start(self, path: str, concurrency: int) -> Life:
        """An activation begins."""
        life = Life(self.lives, path, trio.current_time(), concurrency)
        self.lives += 1
        self.note("start", path, life.number)
        if path in self.live:
            self.wrong("I7", f"{path} has two activations")
        self.live[path] = life
        return life

    def stopping(self, life: Life) -> None:
        """Its ``on_stop`` begins: everything that belongs to it has ended."""
        self.note("stopping", life.number)
        if life.tasks or life.inline is not None:
            self.wrong("I11", f"{life.path} stops while {life.tasks} of its tasks run")
        life.deferred.clear()
        life.timers.clear()
        life.over = True

    def stopped(self, life: Life) -> None:
        """Its ``on_stop`` is over."""
        self.note("stopped", life.number)
        if self.live.get(life.path) is life:
            del self.live[life.path]
        self.control[life.path] = 0

    def crashed(self, crash: ActorCrashed) -> None:
        """The kernel told observers of a crash."""
        self.note("crash", crash.path, crash.restart_in_seconds)
        if crash.restart_in_seconds is not None:
            self.counts["restarts"] += 1
            self.restarts[crash.path].append(trio.current_time())

    def terminated(self, notice: Terminated, life: Life) -> None:
        """A watcher is told."""
        self.note("terminated", notice.ref.path, life.number, notice.reason)
        left = life.watches.get(notice.ref, 0)
        if notice.ref.path in self.traced and left == 0:
            self.wrong("I12", f"{life.path} is told twice, or unasked, of {notice.ref.path}'s end")
        life.watches[notice.ref] = max(0, left - 1)

    # -- looking -------------------------------------------------------------------------------------

    def look(self, tree: ActorSnapshot) -> None:
        """Check what the tree shows at this moment."""
        for node in tree.walk():
            box = node.mailbox
            if box is None:
                continue
            if max(box.depth, box.peak_depth) > box.capacity:
                self.wrong("I4", f"{node.path} holds {box.peak_depth} of {box.capacity}")
            settled = sum(node.outcomes.values()) + box.depth + len(node.current)
            if node.accepted != settled:
                self.wrong("I1", f"{node.path} accepted {node.accepted}, accounts for {settled}")

    def close(self) -> None:
        """Check everything that can be said only at the end."""
        for fate in self.fates:
            self._check(fate)
        for path, life in self.live.items():
            self.wrong("I6", f"{path} (activation {life.number}) is still there")

    def _check(self, fate: Fate) -> None:
        if fate.kind == "every":
            return  # each of its ticks is looked at on its own
        final = [reason for reason in fate.letters if reason in FINAL]
        ends = fate.begun + len(final)
        if ends > 1:
            self.wrong("I1", f"{_named(fate)} has {ends} outcomes: {final}")
        if fate.sent in ("accepted", "door") and ends != 1:
            self.wrong("I1", f"{_named(fate)} was accepted and has {ends} outcomes")
        if fate.sent == "answered" and fate.begun != 1:
            self.wrong("I3", f"{_named(fate)} was answered by nobody")
        if fate.sent in ("refused", "cancelled") and fate.kind == "tell" and ends:
            self.wrong("I8", f"{_named(fate)} was {fate.sent} and has an outcome")
        if fate.sent == "pending" and fate.kind in ASKS:
            self.wrong("I9", f"the sender of {_named(fate)} never came back")
        if fate.running:
            self.wrong("I6", f"{_named(fate)} is still being handled")
        if fate.traced:
            self._check_trace(fate)
        if fate.filters:
            self._check_filters(fate)

    def _check_trace(self, fate: Fate) -> None:
        accepted = fate.trace.count("accepted")
        outcomes = [step for step in fate.trace if step in OUTCOMES]
        if len(outcomes) != accepted or accepted > 1:
            self.wrong("I1", f"{_named(fate)} went through {fate.trace}")
        if accepted and outcomes and fate.trace[0] != "accepted":
            self.wrong("I1", f"{_named(fate)} has an outcome before it was accepted")
        begun = bool(outcomes) and outcomes[0] in ("handled", "failed", "interrupted")
        if begun != bool(fate.begun):
            self.wrong("I1", f"{_named(fate)} was begun {fate.begun} times, and {fate.trace}")
        if fate.sent == "accepted" and not accepted:
            self.wrong("I1", f"{_named(fate)} was accepted and is not traced")

    def _check_filters(self, fate: Fate) -> None:
        seen = fate.filters
        if seen != FILTERS[: len(seen)] or (fate.begun and len(seen) != len(FILTERS)):
            self.wrong("I13", f"{_named(fate)} went through {seen}")


ASKS: Final = ("ask", "stream")


def _named(fate: Fate) -> str:
    error = f", {fate.error}" if fate.error else ""
    return f"message {fate.number} ({fate.kind} to {fate.path}, {fate.sent}{error})"
