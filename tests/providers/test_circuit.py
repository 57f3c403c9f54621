"""The circuit breaker as a state machine."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from actrio.providers._circuit import OPEN_SECONDS_MAX, WINDOW_SECONDS, Circuit


def test_many_failures_open_it_and_one_answer_closes_it():
    """The whole way: closed, open, half open, closed."""
    circuit = Circuit(3, 5.0)
    for _ in range(3):
        assert circuit.state(0.0) == "closed"
        circuit.failed(0.0, circuit.generation, 0.0)
    assert circuit.state(0.0) == "open"
    assert not circuit.may_begin(4.9)
    assert circuit.remaining(1.0) == 4.0
    assert circuit.state(5.0) == "half_open"
    assert circuit.begin(5.0)
    assert not circuit.may_begin(5.0)
    assert circuit.succeeded(6.0, circuit.generation)
    assert circuit.state(6.0) == "closed"
    assert circuit.opened == 1


def test_each_failed_probe_doubles_the_time_up_to_a_minute():
    """A provider that stays ill is asked ever more seldom, but asked."""
    circuit = Circuit(1, 5.0)
    now = 0.0
    circuit.failed(now, circuit.generation, 0.0)
    seconds = []
    for _ in range(6):
        seconds.append(circuit.remaining(now))
        now += seconds[-1]
        circuit.begin(now)
        circuit.failed(now, circuit.generation, 0.0)
    assert seconds == [5, 10, 20, 40, 60, 60]


def test_failures_that_are_few_among_many_answers_open_nothing():
    """Ten failures beside a thousand answers are bad luck."""
    circuit = Circuit(10, 5.0)
    for number in range(1000):
        circuit.succeeded(number / 100, circuit.generation)
    for number in range(30):
        circuit.failed(10 + number / 10, circuit.generation, 0.0)
    assert circuit.state(13.0) == "closed"


def test_failures_long_ago_are_forgotten():
    """Nine failures now and nine a minute later are no ten in a window."""
    circuit = Circuit(10, 5.0)
    for start in (0.0, 60.0):
        for _ in range(9):
            circuit.failed(start, circuit.generation, 0.0)
    assert circuit.state(60.0) == "closed"


def test_an_answer_to_a_call_from_before_does_not_count():
    """What was sent before it opened closes nothing, and fails no probe."""
    circuit = Circuit(1, 5.0)
    before = circuit.generation
    circuit.failed(0.0, before, 0.0)
    assert not circuit.succeeded(1.0, before)
    assert not circuit.failed(6.0, before, 0.0)
    assert circuit.state(6.0) == "half_open"


class CircuitMachine(RuleBasedStateMachine):
    """Any order of time, beginnings and endings."""

    def __init__(self):
        super().__init__()
        self.now = 0.0
        self.circuit = Circuit(3, 5.0)
        self.running: list[tuple[int, bool]] = []

    @rule(seconds=st.floats(0, 40))
    def wait(self, seconds):
        self.now += seconds

    @precondition(lambda self: self.circuit.may_begin(self.now))
    @rule()
    def begin(self):
        half_open = self.circuit.state(self.now) == "half_open"
        generation = self.circuit.generation
        assert self.circuit.begin(self.now) == half_open
        self.running.append((generation, half_open))

    @precondition(lambda self: self.running)
    @rule(data=st.data(), how=st.sampled_from(["good", "bad", "left"]))
    def end(self, data, how):
        at = data.draw(st.integers(0, len(self.running) - 1))
        generation, probe = self.running.pop(at)
        before, present = self.circuit.state(self.now), generation == self.circuit.generation
        if how == "left":
            if probe:
                self.circuit.given_up(generation)
            assert self.circuit.state(self.now) == before
        elif how == "good":
            closed = self.circuit.succeeded(self.now, generation)
            assert closed == (present and before != "closed")
        else:
            opened = self.circuit.failed(self.now, generation, 1.0)
            assert present or not opened
            if before == "half_open" and present:
                assert opened

    @invariant()
    def at_most_one_probe(self):
        present = [
            probe for generation, probe in self.running if generation == self.circuit.generation
        ]
        assert sum(present) <= 1
        if self.circuit.state(self.now) == "half_open" and any(present):
            assert not self.circuit.may_begin(self.now)

    @invariant()
    def open_is_bounded(self):
        assert self.circuit.remaining(self.now) <= OPEN_SECONDS_MAX * 1.2 + 1e-9
        if self.circuit.state(self.now) == "open":
            assert not self.circuit.may_begin(self.now)

    @invariant()
    def it_can_always_heal(self):
        later = self.now + OPEN_SECONDS_MAX * 1.2 + WINDOW_SECONDS
        assert self.circuit.state(later) != "open"


def test_any_order_of_calls_and_answers():
    """At most one probe, a bounded time open, and always a way back."""
    run_state_machine_as_test(
        CircuitMachine,
        settings=settings(max_examples=60, stateful_step_count=40, deadline=None),
    )
