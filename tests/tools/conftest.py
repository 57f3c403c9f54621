from __future__ import annotations

import pytest

from actrio.messages import ToolCall
from actrio.tools import ToolBox, run_calls


@pytest.fixture
def run():
    """Run calls given as (name, arguments) pairs, tools or a box, and return their results."""

    async def run(tools, *calls, **options):
        box = tools if isinstance(tools, ToolBox) else ToolBox(tools)
        made = [ToolCall(f"c{i}", name, text) for i, (name, text) in enumerate(calls)]
        return await run_calls(made, box, session="s", turn="t", agent="a", **options)

    return run
