"""The kernel's promises, one by one, on virtual time."""

from __future__ import annotations

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actrio.actors import (
    Actor,
    Backoff,
    ChildSpec,
    MailboxSpec,
    SupervisorSpec,
    Terminated,
    open_actor_system,
)
from actrio.errors import (
    ActorFailed,
    ActorStopped,
    Conflict,
    DeadlockError,
    InvalidRequest,
    LimitExceeded,
    MailboxFull,
    NotFound,
    RestartBudgetExceeded,
)


class Echo(Actor):
    """Answers with what it got; acts on a few words."""

    def __init__(self, log=None) -> None:
        self.log = log if log is not None else []
        self.watched = []

    async def on_start(self, ctx):
        self.log.append("start")

    async def receive(self, message, ctx):
        match message:
            case "crash":
                raise ValueError("boom")
            case "refuse":
                raise NotFound("no such thing")
            case "hang":
                await trio.sleep_forever()
            case ("sleep", seconds):
                await trio.sleep(seconds)
            case ("ask", ref, what):
                return await ref.ask(what)
            case ("watch", ref):
                ctx.watch(ref)
            case ("emit", count):
                for n in range(count):
                    await ctx.emit(n)
                return "done"
            case ("defer", seconds):
                return ctx.defer(self.work, seconds)
            case "stop":
                ctx.stop()
        self.log.append(message)
        return message

    async def work(self, seconds):
        await trio.sleep(seconds)
        return "worked"

    async def on_control(self, message, ctx):
        self.log.append(message)

    async def on_stop(self, ctx, reason):
        self.log.append(("stop", reason))


def spec(name="echo", factory=Echo, **kw):
    return ChildSpec(name, factory, **kw)


QUICK = Backoff(initial_seconds=0.1, jitter=0.0)


async def test_ask_answers_and_stop_is_orderly():
    """An ask gets the handler's value; leaving the block runs on_stop with reason shutdown."""
    log = []
    async with open_actor_system() as system:
        ref = await system.spawn(spec(factory=lambda: Echo(log)))
        assert await ref.ask("hi") == "hi"
    assert log == ["start", "hi", ("stop", "shutdown")]


async def test_messages_of_one_sender_are_handled_in_order():
    """tell and tell_nowait from one task keep their order."""
    log = []
    async with open_actor_system() as system:
        ref = await system.spawn(spec(factory=lambda: Echo(log), mailbox=MailboxSpec(capacity=4)))
        for n in range(200):
            await ref.tell(n)
        await ref.ask("end")
        assert log[1:] == [*range(200), "end"]
        snapshot = system.tree().children[0]
        assert snapshot.outcomes == {"handled": 201}
        assert snapshot.accepted == 201
        assert snapshot.mailbox.peak_depth <= 4


async def test_a_result_error_reaches_the_asker_and_the_actor_lives():
    """An ActrioError that is no bug is an answer, not a crash."""
    async with open_actor_system() as system:
        ref = await system.spawn(spec())
        with pytest.raises(NotFound, match="no such thing"):
            await ref.ask("refuse")
        assert await ref.ask("on") == "on"
        assert system.tree().children[0].restarts == 0


async def test_a_crash_fails_its_asker_and_keeps_what_waits(autojump_clock):
    """After a crash the actor comes back after its backoff and handles what was queued."""
    log = []
    async with open_actor_system() as system:
        ref = await system.spawn(spec(factory=lambda: Echo(log), backoff=QUICK))
        async with trio.open_nursery() as nursery:

            async def crash():
                with pytest.raises(ActorFailed) as caught:
                    await ref.ask("crash")
                assert isinstance(caught.value.__cause__, ValueError)

            nursery.start_soon(crash)
            await wait_all_tasks_blocked(0.01)
            ref.tell_nowait("queued")
            started = trio.current_time()
            assert await ref.ask("last") == "last"
            assert trio.current_time() - started == pytest.approx(0.1, abs=0.02)
        assert log == ["start", ("stop", "error"), "start", "queued", "last"]
        assert system.tree().children[0].restarts == 1


async def test_one_child_out_of_restarts_takes_a_static_supervisor_down(autojump_clock):
    """At the root, a used-up budget raises RestartBudgetExceeded out of the block."""
    with pytest.raises(RestartBudgetExceeded, match="/echo"):
        async with open_actor_system() as system:
            ref = await system.spawn(spec(backoff=QUICK, intensity=2, period_seconds=100))
            for _ in range(10):
                with pytest.raises((ActorFailed, ActorStopped)):
                    await ref.ask("crash")
                await trio.sleep(1)
            raise AssertionError("the system should have ended")


async def test_a_pool_quarantines_the_poisoned_child_and_keeps_the_rest(autojump_clock):
    """Under on_exceeded=quarantine the others never notice."""
    async with open_actor_system() as system:
        pool = await system.supervise(
            SupervisorSpec("pool", on_exceeded="quarantine", stop_order="together")
        )
        bad = await system.spawn(spec("bad", intensity=1, backoff=QUICK), under=pool)
        good = await system.spawn(spec("good"), under=pool)
        for _ in range(2):
            with pytest.raises(ActorFailed):
                await bad.ask("crash")
            await trio.sleep(1)
        with pytest.raises(ActorStopped):
            await bad.ask("x")
        assert await good.ask("fine") == "fine"
        states = {node.path: node.state for node in system.tree().walk()}
        assert states["/pool/bad"] == "quarantined"
        assert states["/pool/good"] == "running"


async def test_cancelling_an_ask_ends_its_handler_before_it_returns():
    """When a cancelled ask is over, so is the work; the actor takes the next message."""
    ended = []

    class Worker(Actor):
        async def receive(self, message, ctx):
            if message == "next":
                return "next"
            try:
                await trio.sleep_forever()
            finally:
                ended.append(message)

    async with open_actor_system() as system:
        ref = await system.spawn(spec(factory=Worker))
        with trio.move_on_after(0.01):
            await ref.ask("work")
        assert ended == ["work"]
        assert await ref.ask("next") == "next"
        assert system.tree().children[0].outcomes == {"interrupted": 1, "handled": 1}


async def test_a_cancelled_ask_in_the_queue_is_skipped(autojump_clock):
    """An asker that leaves before its turn costs the handler nothing."""
    log = []
    async with open_actor_system() as system:
        ref = await system.spawn(spec(factory=lambda: Echo(log)))
        ref.tell_nowait(("sleep", 1))
        await wait_all_tasks_blocked()
        with trio.move_on_after(0.5):
            await ref.ask("never")
        await ref.ask("end")
        assert "never" not in log
        assert system.tree().children[0].outcomes["skipped"] == 1


async def test_the_deadline_travels_with_the_message(autojump_clock):
    """A handler sees its asker's deadline, also through a second actor."""
    seen = []

    class Deep(Actor):
        async def receive(self, message, ctx):
            seen.append(trio.current_effective_deadline())

    async with open_actor_system() as system:
        deep = await system.spawn(spec("deep", Deep))
        front = await system.spawn(spec("front"))
        with trio.fail_after(7):
            deadline = trio.current_effective_deadline()
            await front.ask(("ask", deep, "x"))
    assert seen == [deadline]


async def test_a_cycle_of_asks_is_an_error_at_once():
    """Asking oneself, or each other, raises DeadlockError instead of hanging."""
    async with open_actor_system() as system:
        a = await system.spawn(spec("a"))
        b = await system.spawn(spec("b"))
        with pytest.raises(DeadlockError, match="/a -> /a"):
            await a.ask(("ask", a, "x"))
        with pytest.raises(DeadlockError, match="/b -> /a -> /b"):
            await a.ask(("ask", b, ("ask", a, "x")))
        assert await a.ask(("ask", b, "fine")) == "fine"
        assert system.tree().children[0].waits_on == ()


async def test_a_stream_is_a_prefix_and_one_terminal():
    """All items come in order, then the result; the producer never runs ahead of its credit."""
    async with open_actor_system() as system:
        ref = await system.spawn(spec())
        async with ref.stream(("emit", 100), credit=3) as items:
            got = [item async for item in items]
        assert got == list(range(100))
        assert items.result == "done"


async def test_leaving_a_stream_early_ends_the_producer():
    """The producer learns that the reader left, and has ended when the block has."""
    sent = []

    class Producer(Actor):
        async def receive(self, message, ctx):
            for n in range(1000):
                await ctx.emit(n)
                sent.append(n)

    async with open_actor_system() as system:
        ref = await system.spawn(spec(factory=Producer))
        async with ref.stream("go", credit=4) as items:
            async for item in items:
                if item == 10:
                    break
        assert len(sent) <= 16
        assert system.tree().children[0].current == ()


async def test_a_crash_in_a_stream_comes_after_the_items():
    """What was sent before the crash is delivered; then the error."""

    class Producer(Actor):
        async def receive(self, message, ctx):
            await ctx.emit(1)
            raise RuntimeError("mid stream")

    async with open_actor_system() as system:
        ref = await system.spawn(spec(factory=Producer))
        got = []
        with pytest.raises(ActorFailed, match="mid stream"):
            async with ref.stream("go") as items:
                async for item in items:
                    got.append(item)
        assert got == [1]


async def test_deferred_handlings_run_beside_the_loop_up_to_the_limit(autojump_clock):
    """Two at once under concurrency 2; the third waits in the mailbox; control is heard meanwhile."""
    log = []
    async with open_actor_system() as system:
        ref = await system.spawn(spec(factory=lambda: Echo(log), concurrency=2))
        started = trio.current_time()
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(ref.ask, ("defer", 10))
            await wait_all_tasks_blocked()
            ref.control("now")
            await wait_all_tasks_blocked()
            assert log == ["start", "now"]
            assert system.tree().children[0].mailbox.depth == 1
        assert trio.current_time() - started == pytest.approx(20)


async def test_watch_tells_once_also_about_the_dead():
    """Terminated arrives once, whether the actor dies later or is dead already."""
    log = []
    async with open_actor_system() as system:
        watcher = await system.spawn(spec("watcher", lambda: Echo(log)))
        ref = await system.spawn(spec())
        await watcher.ask(("watch", ref))
        await watcher.ask(("watch", ref))
        await system.stop(ref)
        await wait_all_tasks_blocked()
        assert [m for m in log if isinstance(m, Terminated)] == [Terminated(ref, "shutdown")]
        await watcher.ask(("watch", ref))
        await wait_all_tasks_blocked()
        assert len([m for m in log if isinstance(m, Terminated)]) == 2


@pytest.mark.parametrize(
    ("policy", "kept", "dead"),
    [("reject", [0, 1], []), ("drop_oldest", [2, 3], [0, 1]), ("drop_newest", [0, 1], [2, 3])],
)
async def test_a_full_mailbox_follows_its_policy(policy, kept, dead, autojump_clock):
    """reject raises, the drop policies make dead letters; nothing is both."""
    log = []
    async with open_actor_system() as system:
        mailbox = MailboxSpec(capacity=2, when_full=policy)
        ref = await system.spawn(spec(factory=lambda: Echo(log), mailbox=mailbox))
        ref.tell_nowait(("sleep", 1))
        await wait_all_tasks_blocked()
        for n in range(4):
            if policy == "reject" and n >= 2:
                with pytest.raises(MailboxFull):
                    await ref.tell(n)
            else:
                await ref.tell(n)
        await trio.sleep(2)
        assert [m for m in log if isinstance(m, int)] == kept
        assert [letter.message for letter in system.dead_letters.latest()] == dead


async def test_senders_wait_in_line_and_a_cancelled_one_leaves_no_trace(autojump_clock):
    """Room is given in order of arrival; bytes count as well as items."""
    log = []
    async with open_actor_system() as system:
        mailbox = MailboxSpec(
            capacity=10, bytes_max=10, size_of=lambda m: m if isinstance(m, int) else 0
        )
        ref = await system.spawn(spec(factory=lambda: Echo(log), mailbox=mailbox))
        ref.tell_nowait(("sleep", 1))
        await wait_all_tasks_blocked()
        ref.tell_nowait(6)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ref.tell, 9)
            await wait_all_tasks_blocked()
            with trio.move_on_after(0.1):
                await ref.tell(8)
            nursery.start_soon(ref.tell, 1)  # fits, but must not overtake
            await wait_all_tasks_blocked()
            assert system.tree().children[0].mailbox.waiting_senders == 2
        with pytest.raises(LimitExceeded):
            await ref.tell(11)
        await ref.ask("end")
        assert [m for m in log if isinstance(m, int)] == [6, 9, 1]


async def test_stopping_turns_what_waits_into_dead_letters(autojump_clock):
    """A stop lets the current message end, fails queued asks and keeps a record of the rest."""
    log = []
    async with open_actor_system() as system:
        ref = await system.spawn(spec(factory=lambda: Echo(log)))
        ref.tell_nowait(("sleep", 1))
        await wait_all_tasks_blocked()
        ref.tell_nowait("lost")
        async with trio.open_nursery() as nursery:

            async def ask():
                with pytest.raises(ActorStopped):
                    await ref.ask("asked")

            nursery.start_soon(ask)
            await wait_all_tasks_blocked()
            await system.stop(ref)
        assert [letter.message for letter in system.dead_letters.latest()] == ["lost", "asked"]
        assert ("sleep", 1) in log
        with pytest.raises(ActorStopped):
            ref.tell_nowait("x")


async def test_a_handler_that_never_ends_is_stopped_within_its_bound(autojump_clock):
    """shutdown_seconds is the bound; a shielded handler holds it up, an ordinary one does not."""
    async with open_actor_system() as system:
        ref = await system.spawn(spec(shutdown_seconds=2))
        ref.tell_nowait("hang")
        await wait_all_tasks_blocked()
        started = trio.current_time()
    assert trio.current_time() - started == pytest.approx(2)


async def test_a_shielded_handler_is_named_as_stuck(autojump_clock):
    """A cancelled ask waits at most the grace period, and the handler becomes a dead letter."""

    class Stubborn(Actor):
        async def receive(self, message, ctx):
            with trio.CancelScope(shield=True):
                await trio.sleep(60)

    async with open_actor_system(cancel_grace_seconds=3) as system:
        ref = await system.spawn(spec(factory=Stubborn, shutdown_seconds=1))
        started = trio.current_time()
        with trio.move_on_after(1):
            await ref.ask("x")
        assert trio.current_time() - started == pytest.approx(4)
        assert system.dead_letters.counts == {"stuck": 1}


async def test_a_failing_start_fails_the_spawn_and_leaves_nothing():
    """The spawner gets the error; the name is free again."""

    class Broken(Actor):
        async def on_start(self, ctx):
            raise NotFound("no model file")

    async with open_actor_system() as system:
        with pytest.raises(NotFound, match="no model file"):
            await system.spawn(spec(factory=Broken))
        assert system.tree().children == ()
        await system.spawn(spec())


async def test_a_cancelled_spawn_leaves_nothing(autojump_clock):
    """on_start is cancelled, on_stop has run, the name is free."""
    log = []

    class Slow(Echo):
        async def on_start(self, ctx):
            await trio.sleep_forever()

    async with open_actor_system() as system:
        with trio.move_on_after(1):
            await system.spawn(spec(factory=lambda: Slow(log)))
        assert log == [("stop", "killed")]
        assert system.tree().children == ()


async def test_the_error_of_the_block_passes_through_unwrapped():
    """A user's exception is not hidden in an exception group."""
    with pytest.raises(KeyError):
        async with open_actor_system() as system:
            await system.spawn(spec())
            raise KeyError("mine")


async def test_cancelling_the_block_ends_everything():
    """An outer cancel leaves no task, and on_stop has run."""
    log = []
    with trio.move_on_after(0.01) as scope:
        async with open_actor_system() as system:
            ref = await system.spawn(spec(factory=lambda: Echo(log)))
            await ref.ask("hang")
    assert scope.cancelled_caught
    assert log == ["start", ("stop", "killed")]


async def test_a_temporary_or_stopped_child_does_not_come_back(autojump_clock):
    """temporary never restarts; transient only after a crash; permanent also after a normal end."""
    async with open_actor_system() as system:
        temporary = await system.spawn(spec("t", restart="temporary"))
        with pytest.raises(ActorFailed):
            await temporary.ask("crash")
        await trio.sleep(60)
        assert system.whereis("/t") is None
        transient = await system.spawn(spec("r", restart="transient"))
        await transient.ask("stop")
        await trio.sleep(60)
        assert system.whereis("/r") is None
        permanent = await system.spawn(spec("p"))
        await permanent.ask("stop")
        await trio.sleep(60)
        assert await permanent.ask("back") == "back"


async def test_a_background_task_that_fails_is_a_crash(autojump_clock):
    """start_task belongs to the activation: its error restarts the actor, its end is waited for."""

    class Ticker(Actor):
        started = 0

        async def on_start(self, ctx):
            Ticker.started += 1
            if Ticker.started == 1:
                ctx.start_task(self.tick)

        async def tick(self):
            await trio.sleep(1)
            raise RuntimeError("tick")

        async def receive(self, message, ctx):
            return Ticker.started

    async with open_actor_system() as system:
        ref = await system.spawn(spec(factory=Ticker))
        await trio.sleep(5)
        assert await ref.ask("?") == 2
        assert "tick" in system.tree().children[0].last_error


@pytest.mark.parametrize(
    "make",
    [
        lambda: MailboxSpec(capacity=-1),
        lambda: MailboxSpec(capacity=float("inf")),
        lambda: MailboxSpec(when_full="maybe"),
        lambda: ChildSpec("a/b", Echo),
        lambda: ChildSpec("a", Echo, restart="often"),
        lambda: ChildSpec("a", Echo, concurrency=0),
        lambda: SupervisorSpec("s", strategy="all_for_none"),
    ],
)
def test_misuse_says_what_to_do(make):
    """A wrong spec is refused where it is written, with a remedy."""
    with pytest.raises(InvalidRequest) as caught:
        make()
    assert caught.value.remedy


async def test_taken_names_and_unknown_paths_are_refused():
    """A second actor at one address is a Conflict; an address without one is NotFound."""
    async with open_actor_system() as system:
        ref = await system.spawn(spec())
        with pytest.raises(Conflict):
            await system.spawn(spec())
        assert system.ref("/echo") == ref
        with pytest.raises(NotFound):
            system.ref("/nobody")


async def test_accepted_is_handled_or_dead_also_when_the_actor_is_killed_between(autojump_clock):
    """A message handed to a parked receiver that is stopped before it runs becomes a dead letter."""
    async with open_actor_system() as system:
        ref = await system.spawn(spec())
        await wait_all_tasks_blocked()
        ref.tell_nowait("on its way")
        ref.cell.supervisor.stop_child(ref.cell)
        await ref.cell.gone()
        assert [letter.message for letter in system.dead_letters.latest()] == ["on its way"]


@attrs.frozen
class Reading:
    """What the snapshot of one node is compared by."""

    accepted: int
    settled: int


async def test_counts_add_up(autojump_clock):
    """accepted = settled + waiting + in work, whatever happened."""
    async with open_actor_system() as system:
        ref = await system.spawn(spec(backoff=QUICK, intensity=100))
        async with trio.open_nursery() as nursery:
            for message in ["a", "crash", "refuse", ("sleep", 1), "hang"]:

                async def ask(message=message):
                    with trio.move_on_after(5):
                        try:
                            await ref.ask(message)
                        except (ActorFailed, NotFound):
                            pass

                nursery.start_soon(ask)
        node = system.tree().children[0]
        assert node.mailbox.depth == 0
        assert Reading(node.accepted, sum(node.outcomes.values())) == Reading(5, 5)


async def test_a_task_starts_while_its_starter_waits_for_it():
    """start_task takes effect at once, in on_start as in a handler: both may wait for the task."""

    class Waiter(Actor):
        async def on_start(self, ctx):
            await self.waited(ctx)

        async def receive(self, message, ctx):
            await self.waited(ctx)
            return "waited"

        async def waited(self, ctx):
            done = trio.Event()

            async def work():
                done.set()

            ctx.start_task(work)
            await done.wait()

    async with open_actor_system() as system:
        with trio.fail_after(1):
            ref = await system.spawn(spec(factory=Waiter))
            assert await ref.ask("go") == "waited"
