from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

FIXTURES = Path(__file__).parents[2] / "fixtures" / "openai_chat"


@pytest.fixture
def exchanges(folder: Path) -> Path:
    """A folder with one exchange, whose expected text can be replaced."""
    made = folder / "exchanges"
    made.mkdir()
    value = {
        "schema": "llm-exchange/1",
        "id": "one",
        "provider": "openai",
        "api": "openai.chat",
        "kind": "chat_stream",
        "request": {"url": "https://x/v1/chat/completions", "stream": True, "body": None},
        "response": {
            "status": 200,
            "headers": {"content-type": "text/event-stream"},
            "body": (FIXTURES / "text.sse").read_text(),
        },
        "expected": {
            "outcome": "ok",
            "text": "Paris – oui\u2028!",
            "tool_calls": [],
            "finish_reason": "stop",
            "usage": {"input_tokens": 9, "output_tokens": 4, "cached_input_tokens": 3},
        },
    }
    (made / "one.json").write_text(json.dumps(value))
    return made


async def test_a_folder_that_matches(actrio: Any, exchanges: Path, folder: Path) -> None:
    """Rates are printed, results emitted, one JSON line each."""
    done = await actrio("contract", "exchanges", "--emit", "out.jsonl", "--seed", "5")
    assert done.code == 0, done.err
    assert "openai       1/1 (100.0%)" in done.out
    (line,) = (folder / "out.jsonl").read_text().splitlines()
    assert json.loads(line)["text"] == "Paris – oui\u2028!"


async def test_below_the_threshold(actrio: Any, exchanges: Path) -> None:
    """The exit code says so, and the deviation is listed."""
    file = exchanges / "one.json"
    file.write_text(file.read_text().replace("Paris \\u2013 oui\\u2028!", "Rome", 1))
    done = await actrio("contract", "exchanges", "--json")
    told = json.loads(done.out)
    assert done.code == 1
    assert (told["ok"], told["matched"], told["total"]) == (False, 0, 1)
    assert told["deviations"][0]["field"] == "text"
    done = await actrio("contract", "exchanges", "--threshold", "0")
    assert done.code == 0


async def test_wrong_usage(actrio: Any, exchanges: Path) -> None:
    """No folder, no such provider, no place to emit to, no share."""
    assert (await actrio("contract", "nowhere")).code == 66
    assert (await actrio("contract", "exchanges", "--provider", "groq")).code == 66
    assert (await actrio("contract", "exchanges", "--emit", "no/such/file")).code == 78
    assert (await actrio("contract", "exchanges", "--threshold", "2")).code == 2
