from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "stdio.md"


def exchange() -> list[tuple[str, str]]:
    block = re.search(r"```jsonrpc\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert block is not None
    return [(line[:2], line[3:]) for line in block[1].splitlines()]


class Renamed:
    """Turns the ids of a run into those of the page, in the order in which they appear."""

    def __init__(self) -> None:
        self.actual_of: dict[str, str] = {}

    def to_actual(self, text: str) -> str:
        for documented, actual in self.actual_of.items():
            text = text.replace(documented, actual)
        return text

    def learn(self, documented: str, actual: str) -> None:
        ids = re.compile(r"\b[st]_[0-9a-f]{12}\b")
        for old, new in zip(ids.findall(documented), ids.findall(actual), strict=True):
            assert self.actual_of.setdefault(old, new) == new


def comparable(text: str) -> Any:
    return json.loads(
        text, object_hook=lambda d: {k: 0 if k in {"ts", "version"} else v for k, v in d.items()}
    )


async def test_documented_exchange_is_what_happens(serve):
    """Each line sent on the page gets the lines that the page shows, in that order, and no more."""
    renamed = Renamed()
    async with serve(initialize=False) as client:
        for direction, line in exchange():
            if direction == "->":
                await client.send(renamed.to_actual(line).encode() + b"\n")
                continue
            received = json.dumps(await client.receive())
            renamed.learn(line, received)
            assert comparable(received) == comparable(renamed.to_actual(line))
        assert await client.rest() == []
        assert await client.process.wait() == 0


def test_page_lists_what_there_is_and_what_is_absent():
    """Every method, absent method and absent parameter stands on the page."""
    from actrio.stdio import _exchange, _params

    text = PAGE.read_text()
    absent = text.split("## Absent")[1]
    for name in _exchange._LATER | set().union(*_params.LATER.values()):
        assert f"`{name}`" in absent
    told = json.loads(exchange()[1][1])
    for name in told["result"]["methods"]:
        assert f"| `{name}` |" in text
