"""Whatever happens to sessions, their journals tell what they are, and nothing accepted is lost."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

PROGRAMS = Path(__file__).with_name("programs.py")

SEEDS = 300
CHUNK = 30


@pytest.fixture(scope="module")
def programs():
    """The simulated programs, which `make sweep` runs in large numbers."""
    spec = importlib.util.spec_from_file_location("session_programs", PROGRAMS)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_replay_equals_live_state(programs, first):
    """Clients, a person, store faults, kills, several lives: nothing lost, twice, or invalid."""
    for seed in range(first, first + CHUNK):
        world = programs.run(seed)
        assert world.problems == [], f"python {PROGRAMS} 1 {seed}"
        assert world.counts["compared"]


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(SEEDS, 2**40))
def test_any_program_holds(programs, seed):
    """Seeds that nobody has chosen."""
    assert programs.run(seed).problems == []


def test_a_seed_repeats(programs):
    """The same seed is the same program with the same end."""
    one, other = programs.run(7), programs.run(7)
    assert one.counts == other.counts
