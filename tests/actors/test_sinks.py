"""An ask whose items are taken by a function of the asker's, in the task of the handling."""

from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actrio.actors import Actor, Backoff, ChildSpec, open_actor_system
from actrio.errors import ActorFailed, Conflict, DeadlockError, NotFound

QUICK = Backoff(initial_seconds=0.1, jitter=0.0)


class Caller(Actor):
    """Calls what it is sent; ``("deferred", f)`` in a task of its own."""

    async def receive(self, message, ctx):
        match message:
            case ("deferred", work):
                return ctx.defer(work, ctx)
            case _:
                return await message(ctx)


def spec(name="a"):
    return ChildSpec(name, Caller, backoff=QUICK, intensity=1000)


def sent(work, way):
    return ("deferred", work) if way == "deferred" else work


ways = pytest.mark.parametrize("way", ["inline", "deferred"])


async def numbers(ctx):
    """Emit 0, 1, 2 and answer."""
    assert ctx.is_stream
    for number in range(3):
        assert not ctx.emit_nowait("never"), "nobody can call the function without waiting"
        await ctx.emit(number)
    return "answer"


@ways
async def test_each_item_is_taken_in_order_in_the_producers_task_before_the_answer(way):
    """The function runs where the handling runs; the asker goes on when all is done."""
    got, tasks = [], set()

    async def take(item):
        tasks.add(trio.lowlevel.current_task())
        await trio.lowlevel.checkpoint()
        got.append(item)

    async with open_actor_system() as system:
        ref = await system.spawn(spec())
        assert await ref.ask(sent(numbers, way), each=take) == "answer"
        assert got == [0, 1, 2]
        assert len(tasks) == 1
        assert trio.lowlevel.current_task() not in tasks
        assert system.inspect("/a").outcomes == {"handled": 1}


@ways
async def test_the_producer_goes_no_further_while_the_function_waits(way):
    """There is no credit: one item at a time."""
    emitted = []
    opened = trio.Event()

    async def eager(ctx):
        for number in range(3):
            emitted.append(number)
            await ctx.emit(number)

    async def waits(_item):
        await opened.wait()

    async with open_actor_system() as system, trio.open_nursery() as nursery:
        ref = await system.spawn(spec())
        nursery.start_soon(lambda: ref.ask(sent(eager, way), each=waits))
        await wait_all_tasks_blocked()
        assert emitted == [0]
        opened.set()


@ways
@pytest.mark.parametrize("error", [ValueError("mine"), NotFound("mine"), StopAsyncIteration()])
async def test_what_the_function_raises_is_the_askers_and_no_crash(way, error):
    """It is raised as it is; the producer is only cancelled, and may not take it for its own."""
    seen = []

    async def careful(ctx):
        try:
            await ctx.emit(1)
            seen.append("went on")
        except Exception as caught:
            seen.append(caught)
        finally:
            seen.append("ended")

    async def fails(_item):
        raise error

    async with open_actor_system() as system:
        ref = await system.spawn(spec())
        with pytest.raises(type(error)) as caught:
            await ref.ask(sent(careful, way), each=fails)
        assert caught.value is error
        assert seen == ["ended"]
        node = system.inspect("/a")
        assert (node.generation, node.restarts, node.outcomes) == (1, 0, {"interrupted": 1})
        assert await ref.ask(sent(numbers, way), each=_ignored) == "answer"


@ways
async def test_an_error_beside_a_cancel_in_the_function_is_the_askers(autojump_clock, way):
    """What a nursery of the function's raises in one group is told apart."""

    async def fails_when_cancelled(_item):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_fail_at_end)
            await trio.sleep_forever()

    async def gives_up(ctx):
        with trio.move_on_after(1):
            await ctx.emit(1)

    async with open_actor_system() as system:
        ref = await system.spawn(spec())
        with pytest.raises(ExceptionGroup) as caught:
            await ref.ask(sent(gives_up, way), each=fails_when_cancelled)
        assert caught.value.subgroup(ValueError)
        assert system.inspect("/a").restarts == 0


async def _fail_at_end():
    try:
        await trio.sleep_forever()
    finally:
        raise ValueError("while it was cancelled")


async def _ignored(_item):
    await trio.lowlevel.checkpoint()


@ways
async def test_the_askers_cancel_ends_the_function_and_the_handling(way):
    """When the cancelled ask returns, neither runs any more."""
    ended = []

    async def producer(ctx):
        try:
            await ctx.emit(1)
        finally:
            ended.append("handling")

    async def waits(_item):
        try:
            await trio.sleep_forever()
        finally:
            ended.append("function")

    async with open_actor_system() as system:
        ref = await system.spawn(spec())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: ref.ask(sent(producer, way), each=waits))
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        assert ended == ["function", "handling"]
        assert system.inspect("/a").outcomes == {"interrupted": 1}
        assert await ref.ask(numbers, each=_ignored) == "answer"


@ways
async def test_a_producer_in_a_shield_is_waited_for_and_calls_the_function_no_more(
    autojump_clock, way
):
    """After its failure the function is not called again, however long the handling goes on."""
    got = []

    async def stubborn(ctx):
        with trio.CancelScope(shield=True):
            await ctx.emit(1)
            await trio.sleep(1)
            await ctx.emit(2)
        return "late"

    async def fails(item):
        got.append(item)
        raise ValueError("mine")

    async with open_actor_system() as system:
        ref = await system.spawn(spec())
        began = trio.current_time()
        with pytest.raises(ValueError, match="mine"):
            await ref.ask(sent(stubborn, way), each=fails)
        assert trio.current_time() - began == 1
        assert got == [1]
        assert await ref.ask(numbers, each=_ignored) == "answer"


async def test_a_handling_that_does_not_end_is_named_and_left(autojump_clock):
    """The asker is told of its own error within the grace period."""

    async def stuck(ctx):
        with trio.CancelScope(shield=True):
            await ctx.emit(1)
            await trio.sleep(100)

    async def fails(_item):
        raise ValueError("mine")

    async with open_actor_system(cancel_grace_seconds=2) as system:
        ref = await system.spawn(spec())
        began = trio.current_time()
        with pytest.raises(ValueError, match="mine"):
            await ref.ask(("deferred", stuck), each=fails)
        assert trio.current_time() - began == 2
        assert system.dead_letters.counts == {"stuck": 1}


async def test_a_crash_after_items_is_raised_at_the_asker():
    """It is the producer's: the asker gets ActorFailed, with what it took before."""
    got = []

    async def take(item):
        got.append(item)

    async def crashes(ctx):
        await ctx.emit(1)
        raise RuntimeError("mid way")

    async with open_actor_system() as system:
        ref = await system.spawn(spec())
        with pytest.raises(ActorFailed, match="mid way"):
            await ref.ask(("deferred", crashes), each=take)
        assert got == [1]


async def test_an_early_answer_ends_the_calls_and_waits_for_the_one_at_work():
    """The asker goes on when its function does not run any more, and it does not run again."""
    got = []
    answered = trio.Event()

    async def take(item):
        got.append(f"{item} begun")
        await answered.wait()
        await wait_all_tasks_blocked()
        got.append(f"{item} taken")

    async def early(ctx):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ctx.emit, 1)
            await wait_all_tasks_blocked()
            with pytest.raises(Conflict, match="Two tasks"):
                await ctx.emit("beside it")
            ctx.detach("early")
            answered.set()
        await ctx.emit(2)
        got.append("over")

    async with open_actor_system() as system:
        ref = await system.spawn(spec())
        assert await ref.ask(("deferred", early), each=take) == "early"
        assert got[:2] == ["1 begun", "1 taken"]
        await wait_all_tasks_blocked()
        assert got == ["1 begun", "1 taken", "over"]


@pytest.mark.parametrize(
    ("way", "asks"),
    [
        ("inline", "the asker"),
        ("inline", "the producer"),
        ("inline", "one that asks the producer"),
        ("deferred", "the asker"),  # a producer whose handling is deferred receives
    ],
)
async def test_a_function_that_waits_for_who_waits_for_it_is_told(way, asks):
    """It is the asker's code: what it waits for counts as waited for by the asker's handler."""
    async with open_actor_system() as system:
        asker, producer, third = [await system.spawn(spec(name)) for name in ("a", "p", "t")]

        async def nothing(_ctx):
            await trio.lowlevel.checkpoint()

        async def passes_on(_ctx):
            await producer.ask(nothing)

        async def take(_item):
            match asks:
                case "the asker":
                    await asker.ask(nothing)
                case "the producer":
                    await producer.ask(nothing)
                case _:
                    await third.ask(passes_on)

        async def begins(_ctx):
            await producer.ask(sent(numbers, way), each=take)

        with trio.fail_after(5), pytest.raises(DeadlockError):
            await asker.ask(begins)
        for ref in (asker, producer, third):
            with trio.fail_after(5):
                await ref.ask(nothing)
            assert system.inspect(ref.path).waits_on == ()


async def test_two_asks_of_one_handler_are_no_deadlock():
    """The second waits for a producer that is busy with the first, which goes on."""
    async with open_actor_system() as system:
        asker, producer = [await system.spawn(spec(name)) for name in ("a", "p")]

        async def begins(_ctx):
            async with trio.open_nursery() as nursery:
                for _ in range(2):
                    nursery.start_soon(lambda: producer.ask(numbers, each=_ignored))

        await asker.ask(begins)
        assert system.inspect("/p").outcomes == {"handled": 2}


async def test_the_tree_tells_who_waits_for_whom_while_the_function_works():
    """The producer's handler waits for the asker then, and the asker for what its function asks."""
    opened = trio.Event()
    async with open_actor_system() as system, trio.open_nursery() as nursery:
        asker, producer, third = [await system.spawn(spec(name)) for name in ("a", "p", "t")]

        async def waits(_ctx):
            await opened.wait()

        async def take(_item):
            await third.ask(waits)

        async def begins(_ctx):
            await producer.ask(numbers, each=take)

        nursery.start_soon(asker.ask, begins)
        await wait_all_tasks_blocked()
        assert system.inspect("/a").waits_on == ("/t",)
        assert system.inspect("/p").waits_on == ("/a",)
        opened.set()
