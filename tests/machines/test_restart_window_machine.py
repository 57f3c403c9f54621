"""The restart window against a list of all its times."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from actrio.actors import RestartWindow


class WindowMachine(RuleBasedStateMachine):
    """What is allowed is exactly what keeps every period within the intensity."""

    @initialize(intensity=st.integers(0, 3), period=st.sampled_from([1, 2, 5]))
    def begin(self, intensity, period):
        self.intensity, self.period = intensity, period
        self.window = RestartWindow(intensity, period)
        self.now = 0
        self.allowed = []

    @rule(seconds=st.integers(0, 3))
    def time_passes(self, seconds):
        self.now += seconds

    @rule()
    def crash(self):
        recent = [at for at in self.allowed if at > self.now - self.period]
        expected = len(recent) < self.intensity
        assert self.window.allow(self.now) is expected
        if expected:
            self.allowed.append(self.now)

    @invariant()
    def no_period_has_more(self):
        for at in getattr(self, "allowed", ()):
            within = [t for t in self.allowed if at - self.period < t <= at]
            assert len(within) <= self.intensity


TestWindow = WindowMachine.TestCase
TestWindow.settings = settings(max_examples=60, stateful_step_count=30, derandomize=True)
