"""Admission: the one decision, by its invariants. The connection that lives by it has its own file."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from actrio.errors import ContextWindowExceeded, Overloaded, ProviderError
from actrio.providers import ConnectionLimits
from actrio.providers._admission import Admission, FairQueue, Ticket


def admission(running_max: int = 10, **limits) -> Admission:
    return Admission("p", ConnectionLimits(**limits), running_max=running_max, chance=lambda: 0.0)


def refusal(category="rate_limit") -> ProviderError:
    return ProviderError("no", provider="p", category=category)


# -- the queue -----------------------------------------------------------------------------------


def test_a_thousand_do_not_starve_one():
    """A caller with one call is served second, however many another has."""
    queue = FairQueue()
    for _ in range(1000):
        queue.push(Ticket("greedy"))
    queue.push(Ticket("modest"))
    assert [queue.pop().caller for _ in range(3)] == ["greedy", "modest", "greedy"]


@given(st.lists(st.sampled_from("aabbbbcd"), max_size=60))
def test_callers_are_served_in_turns_and_each_in_its_order(callers):
    """While two callers wait, neither is served twice before the other is served once."""
    queue = FairQueue()
    pushed = [Ticket(caller) for caller in callers]
    for ticket in pushed:
        queue.push(ticket)
    left = Counter(callers)
    order = []
    since: dict[str, set[str]] = {}
    while len(queue):
        ticket = queue.pop()
        waiting = {caller for caller, count in left.items() if count} - {ticket.caller}
        if ticket.caller in since:
            assert waiting <= since[ticket.caller]
        since[ticket.caller] = set()
        for seen in since.values():
            seen.add(ticket.caller)
        left[ticket.caller] -= 1
        order.append(ticket)
    for caller in set(callers):
        assert [t for t in order if t.caller == caller] == [t for t in pushed if t.caller == caller]


def test_a_second_attempt_stands_first_in_its_line():
    """It has waited already; other callers lose no turn by it."""
    queue = FairQueue()
    first, second, again = Ticket("a"), Ticket("a"), Ticket("a")
    other = Ticket("b")
    for ticket in (first, other, second):
        queue.push(ticket)
    queue.push(again, again=True)
    assert [queue.pop() for _ in range(4)] == [again, other, first, second]


# -- the decision --------------------------------------------------------------------------------


def test_a_full_queue_takes_from_the_longest_line():
    """Whoever fills the queue loses the last of it to one who waits with less."""
    gate = admission(running_max=1, queue_max=10)
    gate.join("greedy")
    gate.decide(0.0)
    for _ in range(10):
        gate.join("greedy")
    with pytest.raises(Overloaded, match="queue_max"):
        gate.join("greedy")
    modest = gate.join("modest")
    decision = gate.decide(0.0)
    assert [ticket.caller for ticket in decision.refused] == ["greedy"]
    assert isinstance(decision.refused[0].refusal, Overloaded)
    assert modest.state == "waiting"
    assert gate.statistics(0.0).waiting == 10


def test_a_refusal_tells_when_to_come_back():
    """The line's length times the time between two calls that began, by what was measured."""
    gate = admission(running_max=1, queue_max=4)
    now = 100.0
    for _ in range(5):
        ticket = gate.join("a")
        (started,) = gate.decide(now).started
        assert started is ticket
        now += 2.0
        gate.leave(ticket)
    for name in "bcde":
        gate.join(name)
    with pytest.raises(Overloaded) as caught:
        gate.join("f")
    assert caught.value.retry_after_seconds == pytest.approx(8.0)


def test_calls_between_two_attempts_count_in_the_queue():
    """The bound holds for everybody who waits, for whatever."""
    gate = admission(running_max=1, queue_max=2)
    gate.join("a")
    gate.decide(0.0)
    assert gate.park()
    assert gate.park()
    assert not gate.park()
    with pytest.raises(Overloaded):
        gate.join("b")
    gate.unpark()
    gate.join("b")


def test_one_refusal_pauses_all_and_the_ramp_begins_with_an_eighth():
    """Forty in work, one is told to wait: nothing starts for that long, and then not all at once."""
    gate = admission(running_max=40)
    running = [gate.join(str(n)) for n in range(40)]
    gate.decide(0.0)
    for n in range(40):
        gate.join(str(n))
    gate.failed(running[0], 0.0, refusal(), 30.0)
    for ticket in running:
        gate.leave(ticket)
    decision = gate.decide(0.0)
    assert (decision.started, decision.at) == ((), 30.0)
    assert gate.decide(29.9).started == ()
    assert len(gate.decide(30.0).started) == 5


def test_a_pause_too_long_to_wait_out_refuses_at_once():
    """Calls that would wait for an hour are told so instead."""
    gate = admission()
    running = gate.join("a")
    gate.decide(0.0)
    gate.failed(running, 0.0, refusal(), 3600.0)
    gate.join("b")
    (refused,) = gate.decide(1.0).refused
    assert isinstance(refused.refusal, ProviderError)
    assert refused.refusal.category == "rate_limit"
    assert refused.refusal.retry_after_seconds == pytest.approx(3599.0)
    assert gate.decide(3601.0).refused == ()


def test_an_open_circuit_refuses_all_that_wait_and_then_tries_one():
    """Failing fast is for everybody; the probe is one call."""
    gate = admission(running_max=2, circuit_failures=2)
    running = [gate.join("a"), gate.join("a")]
    waiting = [gate.join("a") for _ in range(3)]
    gate.decide(0.0)
    for ticket in running:
        gate.failed(ticket, 0.0, refusal("server"), None)
        gate.leave(ticket)
    assert gate.decide(0.0).refused == tuple(waiting)
    assert gate.statistics(0.0).circuit == "open"
    probe, behind = gate.join("a"), gate.join("a")
    assert gate.decide(5.0).started == (probe,)
    gate.accepted(probe, 5.0)
    assert gate.statistics(5.0).circuit == "closed"
    gate.leave(probe)
    assert gate.decide(5.0).started == (behind,)


def test_a_conversation_that_is_too_long_says_that_the_provider_lives():
    """Answers of any kind close a circuit; only silence and server errors open it."""
    gate = admission(circuit_failures=1)
    for error in (ContextWindowExceeded("long"), refusal("auth"), refusal("rate_limit")):
        ticket = gate.join("a")
        gate.decide(0.0)
        gate.failed(ticket, 0.0, error, None)
        gate.leave(ticket)
    assert gate.statistics(0.0).circuit == "closed"


class AdmissionMachine(RuleBasedStateMachine):
    """Any order of calls, answers, refusals, cancels and time."""

    def __init__(self):
        super().__init__()
        self.now = 0.0
        self.gate = admission(
            running_max=6,
            queue_max=12,
            requests_per_minute=60,
            tokens_per_minute=6000,
            circuit_failures=3,
        )
        self.tickets: list[Ticket] = []
        self.at: float | None = None

    def decide(self):
        decision = self.gate.decide(self.now)
        assert all(ticket.state == "running" for ticket in decision.started)
        assert all(ticket.refusal is not None for ticket in decision.refused)
        assert decision.at is None or decision.at > self.now
        self.at = decision.at
        self.tickets = [ticket for ticket in self.tickets if ticket.state != "over"]

    @rule(caller=st.sampled_from("abc"), again=st.booleans())
    def join(self, caller, again):
        if again and len(self.tickets) > 10:
            return
        try:
            self.tickets.append(self.gate.join(caller, again=again))
        except Overloaded:
            assert len(self.tickets) >= 12
        self.decide()

    @rule(seconds=st.floats(0, 30))
    def wait(self, seconds):
        self.now += seconds
        self.decide()

    @precondition(lambda self: self.at is not None)
    @rule()
    def wait_until_then(self):
        self.now = self.at
        self.decide()

    @precondition(lambda self: self.tickets)
    @rule(
        data=st.data(),
        how=st.sampled_from(["done", "rate_limit", "server", "auth", "left"]),
        stated=st.none() | st.floats(0, 200),
    )
    def end(self, data, how, stated):
        ticket = data.draw(st.sampled_from(self.tickets))
        if ticket.state == "running":
            guessed = self.gate.guess(self.now, 500)
            if how == "done":
                self.gate.accepted(ticket, self.now)
                self.gate.spend(self.now, 300 - guessed)
            elif how != "left":
                self.gate.failed(ticket, self.now, refusal(how), stated)
        self.gate.leave(ticket)
        self.tickets.remove(ticket)
        self.decide()

    @invariant()
    def counts_agree(self):
        told = self.gate.statistics(self.now)
        assert told.running == sum(ticket.state == "running" for ticket in self.tickets)
        assert told.waiting == sum(ticket.state == "waiting" for ticket in self.tickets)
        assert told.running <= told.limit_max
        assert told.waiting <= told.queue_max
        assert 1 <= told.limit <= told.limit_max

    @invariant()
    def nobody_waits_for_nothing(self):
        """A call that waits has somebody who will wake it: a time, or a call in work."""
        told = self.gate.statistics(self.now)
        if told.waiting:
            assert self.at is not None or told.running


def test_whatever_happens_nobody_waits_for_nothing():
    """Any order of calls, answers, refusals, cancels and time keeps every invariant."""
    run_state_machine_as_test(
        AdmissionMachine,
        settings=settings(max_examples=80, stateful_step_count=50, deadline=None),
    )
