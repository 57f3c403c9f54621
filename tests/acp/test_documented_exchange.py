from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "acp.md"

TOOLS = '''
from actrio import tool


@tool(approval="ask")
def refund(order: str) -> str:
    """Pay a customer's money back."""
    return f"paid for {order}"
'''

SETTINGS = '[agents.clerk]\nmodel = "scripted:demo"\ntools = ["shop_tools:refund"]\n'

IDS = re.compile(r"\b[st]_[0-9a-f]{12}\b")


def comparable(text: str) -> Any:
    """Return a line without what differs from machine to machine."""
    told = json.loads(text, object_hook=lambda d: d | ({"version": 0} if "version" in d else {}))
    if "result" in told:
        # Models that are installed here are offered too.
        for option in told["result"].get("configOptions", ()):
            option["options"] = []
    return told


async def test_documented_exchange_is_what_happens(started, folder):
    """Each line sent on the page gets the lines that the page shows, in that order, and no more."""
    (folder / "shop_tools.py").write_text(TOOLS)
    (folder / "actrio.toml").write_text(SETTINGS)
    (block,) = re.findall(r"```jsonrpc\n(.*?)```", PAGE.read_text(), re.DOTALL)
    names: dict[str, str] = {}
    async with started("--agent", "clerk", initialize=False) as editor:
        for line in block.splitlines():
            direction, text = line[:2], line[3:]
            if direction == "->":
                for documented, actual in names.items():
                    text = text.replace(documented, actual)
                await editor.send(json.loads(text))
                continue
            received = json.dumps(await editor.receive())
            for documented, actual in zip(IDS.findall(text), IDS.findall(received), strict=True):
                assert names.setdefault(documented, actual) == actual
            for documented, actual in names.items():
                text = text.replace(documented, actual)
            assert comparable(received) == comparable(text)
        await editor.stdin.aclose()
        assert await editor.rest() == []
