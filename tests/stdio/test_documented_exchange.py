from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from actrio.stdio import wire_schema

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "stdio.md"


def exchanges() -> list[list[tuple[str, str]]]:
    blocks = re.findall(r"```jsonrpc\n(.*?)```", PAGE.read_text(), re.DOTALL)
    return [[(line[:2], line[3:]) for line in block.splitlines()] for block in blocks]


class Renamed:
    """Turns the ids of a run into those of the page, in the order in which they appear."""

    def __init__(self) -> None:
        self.actual_of: dict[str, str] = {}

    def to_actual(self, text: str) -> str:
        for documented, actual in self.actual_of.items():
            text = text.replace(documented, actual)
        return text

    def learn(self, documented: str, actual: str) -> None:
        ids = re.compile(r"\b(?:[sta]|call)_[0-9a-f]{12}\b")
        for old, new in zip(ids.findall(documented), ids.findall(actual), strict=True):
            assert self.actual_of.setdefault(old, new) == new


def comparable(text: str) -> Any:
    return json.loads(
        text, object_hook=lambda d: {k: 0 if k in {"ts", "version"} else v for k, v in d.items()}
    )


@pytest.mark.parametrize("number", range(len(exchanges())))
async def test_documented_exchange_is_what_happens(serve, number):
    """Each line sent on the page gets the lines that the page shows, in that order, and no more."""
    renamed = Renamed()
    async with serve(initialize=False) as client:
        client.rules.whole = number == 0
        for direction, line in exchanges()[number]:
            if direction == "->":
                await client.send(json.loads(renamed.to_actual(line)))
                continue
            received = json.dumps(await client.receive())
            renamed.learn(line, received)
            assert comparable(received) == comparable(renamed.to_actual(line))
        assert await client.rest() == []
        assert await client.process.wait() == 0


def test_the_schema_knows_what_the_page_shows():
    """Every line of the page is allowed by the schema: known methods, required members, no others."""
    schema = wire_schema()
    for direction, line in (pair for block in exchanges() for pair in block):
        message = json.loads(line)
        method = message.get("method")
        if method == "event":
            kinds = [defined(schema, each) for each in schema["event"]["oneOf"]]
            params = message["params"]
            kind = next(k for k in kinds if k["properties"]["type"]["const"] == params["type"])
            assert set(kind["required"]) <= set(params)
            assert set(params) <= set(kind["properties"])
        elif method is not None:
            table = schema["methods" if direction == "->" else "server_requests"]
            kind = defined(schema, table[method]["params"])
            params = message.get("params", {})
            assert set(params) <= set(kind["properties"])
            if message["id"] != 7:  # the mistake that the page shows
                assert set(kind.get("required", ())) <= set(params)


def defined(schema: dict[str, Any], reference: dict[str, str]) -> dict[str, Any]:
    return schema["$defs"][reference["$ref"].removeprefix("#/$defs/")]
