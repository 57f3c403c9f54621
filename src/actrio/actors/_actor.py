"""What an actor is written as, and what it is given while it handles a message."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import attrs

from actrio.actors._envelope import Envelope, ItemExchange
from actrio.errors import Conflict

if TYPE_CHECKING:
    from actrio.actors._activation import Activation
    from actrio.actors._ref import Ref
    from actrio.actors._system import ActorSystem
    from actrio.actors._timers import Timers
    from actrio.actors._values import ExitReason

__all__ = ["Actor", "Context", "Deferred"]

M = TypeVar("M")


class Actor(Generic[M]):
    """State with one writer: override `receive`, and what else is needed.

    An instance lives for one activation. After a crash a fresh one is made by the factory of its
    `ChildSpec`; what waited in the mailbox is handled by it.
    """

    async def on_start(self, ctx: Context) -> None:
        """Get ready. An error here fails the `spawn`, or counts as a crash on a restart."""

    async def receive(self, message: M, ctx: Context) -> Any:
        """Handle one message; the return value answers an ask and ends a stream.

        Keep it short: control waits while it runs. Long work goes on by
        ``return ctx.defer(fn, *args)``.

        *Failure*: an `ActrioError` that is no `BugError` is a result: the asker gets it, the actor
        lives on. Anything else is a crash.
        """
        raise NotImplementedError(f"{type(self).__name__} does not override receive().")

    async def on_control(self, message: Any, ctx: Context) -> None:
        """Handle a message of the control lane, which never waits behind data."""

    def may_sleep(self) -> bool:
        """Whether it may be passivated now, while it is idle. Plain and quick; for routed actors."""
        return True

    def facts(self) -> Mapping[str, Any]:
        """What a snapshot of the tree shows of this actor beside the kernel's own figures.

        Plain and quick: it is called whenever somebody looks. No secrets.
        """
        return {}

    async def on_stop(self, ctx: Context, reason: ExitReason) -> None:
        """Clean up, whatever the reason, also when `on_start` did not get through.

        *Cancellation*: runs shielded, for at most the system's ``cancel_grace_seconds``.
        """


@attrs.frozen(slots=True)
class Deferred:
    """Returned by `receive` to say that the handling goes on in a task."""

    fn: Callable[..., Awaitable[Any]]
    args: tuple[Any, ...]


class Context:
    """What an actor may do while it handles a message; valid only for that handling."""

    __slots__ = ("_activation", "_envelope")

    def __init__(self, activation: Activation, envelope: Envelope | None) -> None:
        self._activation = activation
        self._envelope = envelope

    @property
    def ref(self) -> Ref[Any]:
        """The actor's own address."""
        return self._activation.cell.ref

    @property
    def path(self) -> str:
        return self._activation.cell.path

    @property
    def generation(self) -> int:
        """How many activations this address has had, this one included."""
        return self._activation.cell.generation

    @property
    def system(self) -> ActorSystem:
        return self._activation.cell.system

    @property
    def deadline(self) -> float:
        """When the asker stops waiting, in Trio time; ``inf`` if it never does."""
        return self._envelope.deadline if self._envelope is not None else float("inf")

    @property
    def is_stream(self) -> bool:
        """Whether items can be emitted."""
        return self._envelope is not None and isinstance(self._envelope.exchange, ItemExchange)

    async def emit(self, item: Any) -> None:
        """Send one item to whoever streams this message, or asked with a function for items.

        *Backpressure*: waits while the reader has no credit left, or while the function works.
        *Cancellation*: the asker leaving, or its function failing, cancels the handling, so it
        ends here.
        """
        exchange = self._envelope.exchange if self._envelope is not None else None
        if not isinstance(exchange, ItemExchange):
            raise Conflict(
                f"{self.path} emits, but nobody streams this message.",
                remedy="Send it with `ref.stream(…)`, or look at ctx.is_stream.",
            )
        await exchange.emit(item)

    def emit_nowait(self, item: Any) -> bool:
        """Send one item if the reader has credit left; return whether it was sent.

        Never where the asker gave a function for items: only `emit` can call that.
        """
        exchange = self._envelope.exchange if self._envelope is not None else None
        return isinstance(exchange, ItemExchange) and exchange.emit_nowait(item)

    def detach(self, value: Any) -> None:
        """Answer now; what is left of this handling no longer ends with its asker.

        For a deferred handling, once it runs in its task: the actor's stop still reaches it.
        """
        if self._envelope is not None and self._envelope.exchange is not None:
            self._envelope.exchange.detach(value)

    @property
    def stopping(self) -> ExitReason | None:
        """Why the actor is being stopped, or None while it is not."""
        return self._activation.stop_reason

    def resolve(self, value: Any) -> None:
        """Answer now, before the handling ends. Only the first answer counts."""
        if self._envelope is not None and self._envelope.exchange is not None:
            self._envelope.exchange.resolve(value)

    def defer(self, fn: Callable[..., Awaitable[Any]], *args: Any) -> Deferred:
        """Let the handling go on as a task while the actor receives further messages.

        ``return ctx.defer(self._work, message, ctx)``: what ``fn`` returns is the answer, what it
        raises counts as raised by `receive`, and the asker's cancel reaches it.

        *Backpressure*: at ``ChildSpec.concurrency`` deferred handlings no more data is taken;
        control still is.
        """
        return Deferred(fn, args)

    def start_task(self, fn: Callable[..., Awaitable[Any]], *args: Any) -> None:
        """Run ``fn`` beside the receive loop until it returns or the activation ends.

        *Failure*: what it raises is a crash of the actor.
        """
        self._activation.start_task(fn, args)

    def stop(self) -> None:
        """End this actor normally after what is being handled."""
        self._activation.stop()

    @property
    def timers(self) -> Timers:
        """This activation's timers; all of them end with it."""
        return self._activation.timers_of()

    def watch(self, ref: Ref[Any]) -> None:
        """Be told on the control lane (`Terminated`), once, when ``ref`` is gone for good.

        A watch ends with the activation: after a restart or a sleep, `Actor.on_start` watches anew.
        """
        self._activation.watch(ref.cell)

    def unwatch(self, ref: Ref[Any]) -> None:
        """No longer be told."""
        self._activation.unwatch(ref.cell)
