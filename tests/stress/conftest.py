"""What the tests of real runs share: a brisk model, and a way to run a plan."""

from __future__ import annotations

import os

import pytest

from actrio.stress import StressPlan, closed, stress

MODEL = "scripted:tokens?ttft=10ms&itl=2ms&tokens=20"


@pytest.fixture
def run_plan():
    """Run a plan against a real target and return its report."""

    async def run(*, seconds=1.2, sessions=5, show=None, **parts):
        parts.setdefault("stages", closed(sessions, seconds))
        parts.setdefault("model", MODEL)
        plan = StressPlan(**parts)
        options = {} if show is None else {"show": show}
        async with stress(plan, env=dict(os.environ), **options) as opened:
            return await opened.run()

    return run
