from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from actrio.errors import InvalidRequest, NotFound
from actrio.messages import EmbedInput, ModelInput
from actrio.providers.contract import load_exchanges, replay, report_of
from actrio.providers.contract._apis import asked_of
from actrio.providers.contract._request_diff import differing_fields

RECORDINGS = Path(__file__).parents[4] / "shared" / "recordings"


async def run(folder: Path, **more: Any) -> Any:
    return report_of(await replay(load_exchanges(folder), **more))


async def test_what_matches_is_counted(four) -> None:
    """Stream, vectors, models and a refusal go through the connection and are as expected."""
    report = await run(four)
    assert str(report.total) == "4/4 (100.0%)"
    assert {name: tally.total for name, tally in report.providers.items()} == {
        "glm4": 1,
        "groq": 1,
        "openai": 2,
    }
    assert report.below(1.0) == []
    assert str(report.requests["openai"]) == "2/2 (100.0%)"


async def test_the_cuts_are_those_of_the_seed(four) -> None:
    """Another seed cuts elsewhere, and nothing changes."""
    first, again, other = [
        [outcome.result for outcome in (await run(four, seed=seed)).outcomes] for seed in (1, 1, 2)
    ]
    assert first == again == other


async def test_the_members_of_a_result(four) -> None:
    """Exactly these are emitted, each None where it does not apply."""
    stream, vectors, models, refusal = [
        outcome.result.members() for outcome in (await run(four)).outcomes
    ]
    assert stream == {
        "id": "a-stream",
        "outcome": "ok",
        "text": "Paris – oui\u2028!",
        "reasoning": "",
        "refusal": None,
        "tool_calls": [],
        "finish_reason": "stop",
        "usage": {
            "input_tokens": 9,
            "output_tokens": 4,
            "cached_input_tokens": 3,
            "reasoning_tokens": 0,
            "total_tokens": 13,
        },
        "embedding": None,
        "error": None,
    }
    assert vectors["embedding"] == {
        "count": 2,
        "dims": 2,
        "first8": [[0.5, -0.5], [0.0, 1.0]],
        "l2": [0.707107, 1.0],
    }
    assert models["outcome"] == "ok"
    assert refusal["error"].pop("message")
    assert refusal["error"] == {
        "category": "quota",
        "http_status": 429,
        "retry_after_seconds": 7.0,
        "in_stream": False,
    }
    assert vectors.keys() == models.keys() == refusal.keys() == stream.keys()


async def test_what_differs_is_named(exchange, fixtures) -> None:
    """Each field by itself, with what was expected and what was found."""
    folder = exchange(
        "a",
        body=(fixtures / "openai_chat" / "parallel_calls_in_fragments.sse").read_text(),
        expected={
            "outcome": "ok",
            "text": "else",
            "tool_calls": [
                {"id": "call_a", "name": "weather", "arguments": {"city": "Bergen"}},
                {"id": None, "name": "time", "arguments": {"zone": "UTC"}},
            ],
            "finish_reason": "stop",
            "usage": {"input_tokens": 1},
        },
    )
    report = await run(folder)
    (outcome,) = report.outcomes
    fields = {one.field for one in outcome.differences}
    assert fields >= {"text", "tool_calls[0].arguments", "finish_reason", "usage.input_tokens"}
    assert not fields & {"tool_calls", "tool_calls[1].id", "tool_calls[1].arguments"}
    assert report.below(0.5) == ["all", "openai"]
    text = "\n".join(report.lines(0.5))
    assert "tool_calls[0].arguments: expected \"{'city': 'Bergen'}\"" in text
    assert "below 50%: all, openai" in text


async def test_a_failure_inside_a_stream_keeps_what_came_before(exchange, fixtures) -> None:
    """The answer's own status was success, and says so."""
    folder = exchange(
        "a",
        api="groq.chat",
        body=(fixtures / "openai_chat" / "groq_tool_use_failed.sse").read_text(),
        expected={
            "outcome": "error",
            "error": {"category": "invalid_request", "http_status": 200, "in_stream": True},
        },
    )
    (outcome,) = (await run(folder)).outcomes
    assert outcome.differences == ()
    assert (outcome.result.text, outcome.result.reasoning) == ("maybe", "No tool.")


async def test_a_cut_answer_is_truncated(exchange, fixtures) -> None:
    """It is an outcome of its own."""
    body = (fixtures / "openai_chat" / "ends_without_finish.sse").read_text()
    folder = exchange("a", body=body, expected={"outcome": "truncated"})
    assert (await run(folder)).total.rate == 1.0


async def test_an_answer_to_what_we_would_not_ask_is_read(exchange, fixtures) -> None:
    """A recorded request that our values refuse is no reason not to read its answer."""
    file = {"type": "file", "file": {"filename": "a", "file_data": "data:a/b;base64,AA=="}}
    folder = exchange(
        "a",
        api="groq.chat",
        body=(fixtures / "openai_chat" / "text.sse").read_text(),
        asked={"model": "m", "messages": [{"role": "user", "content": [file]}]},
        expected={"outcome": "error"},
    )
    (outcome,) = (await run(folder)).outcomes
    assert outcome.result.text == "Paris – oui\u2028!"
    assert outcome.request_fields is None


async def test_an_unknown_vendor_is_a_deviation(exchange) -> None:
    """It is told, and stops nothing else."""
    folder = exchange("a", api="nobody.chat", body="", expected={"outcome": "ok"})
    (outcome,) = (await run(folder)).outcomes
    assert "no vendor 'nobody'" in outcome.differences[0].found


def test_wrong_folders_say_what_is_wrong(tmp_path, exchange) -> None:
    """No folder, no exchange in it, none of this provider, or one that is none."""
    with pytest.raises(NotFound, match="no folder"):
        load_exchanges(tmp_path / "nowhere")
    (tmp_path / "other.json").write_text('{"schema": "else"}')
    with pytest.raises(NotFound, match="no exchange"):
        load_exchanges(tmp_path)
    exchange("a", body="", expected={})
    with pytest.raises(NotFound, match="of provider 'groq'"):
        load_exchanges(tmp_path, "groq")
    (tmp_path / "bad.json").write_text('{"schema": "llm-exchange/1", "id": "x"}')
    with pytest.raises(InvalidRequest, match=r"bad\.json is no whole exchange"):
        load_exchanges(tmp_path)
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(InvalidRequest, match=r"bad\.json is no JSON"):
        load_exchanges(tmp_path)


@pytest.mark.parametrize(
    "asked",
    [
        {"messages": [{"role": "user", "content": 3}, {"role": {}}, 7], "tools": [3, {}]},
        {"messages": "x", "tool_choice": {"type": "function"}, "stop": "END", "stream": 1},
        {"messages": [{"role": "assistant", "tool_calls": [{}, {"function": 3}]}]},
        {"messages": [{}], "reasoning": [], "reasoning_effort": {}, "response_format": 3},
        {"contents": [{"parts": 3}, {"role": "model", "parts": [{"functionCall": 3}, {}]}]},
        {"contents": [{}], "generationConfig": {"thinkingConfig": 3}, "tools": {}},
        {"input": [{"role": "user"}, {"type": {}}, 3], "text": 3, "reasoning": 3},
        {"prompt": 3, "think": "high", "options": [], "format": "json"},
        {},
    ],
)
@pytest.mark.parametrize(
    "api",
    [
        "openai.chat",
        "openai.responses",
        "anthropic.messages",
        "gemini.generate",
        "gemini.embed",
        "ollama.chat",
        "openai.embeddings",
    ],
)
def test_odd_requests_are_read_as_far_as_they_go(exchange, api, asked) -> None:
    """What a client sent need not make sense."""
    folder = exchange("a", api=api, body="", asked=asked, expected={"outcome": "ok"})
    (one,) = load_exchanges(folder)
    assert isinstance(asked_of(one).call, (ModelInput, EmbedInput))


def test_what_means_the_same_is_no_difference() -> None:
    """Spelled-out defaults, text alone or in a list, arguments in other spacing."""
    recorded = {
        "messages": [
            {"role": "system", "content": [{"type": "text", "text": "Be brief."}]},
            {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": '{"a": 1}'}}],
            },
        ],
        "tool_choice": "auto",
        "stream": False,
        "seed": None,
    }
    ours = {
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Hi"},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": '{"a":1}'}}],
            },
        ],
    }
    assert differing_fields("chat", recorded, ours) == []
    ours["messages"][1]["content"] = "Ho"
    ours["top_p"] = 1
    assert differing_fields("chat", recorded, ours) == ["messages[].content", "top_p (only ours)"]


def test_the_report_as_json(four) -> None:
    """It holds rates, deviations and requests, and is JSON."""
    import trio

    report = trio.run(run, four)
    told = json.loads(json.dumps(report.as_json(0.95, 3)))
    assert (told["ok"], told["rate"], told["seed"]) == (True, 1.0, 3)
    assert told["providers"]["openai"]["kinds"]["embedding"]["matched"] == 1
    assert told["deviations"] == []


@pytest.mark.skipif(not RECORDINGS.is_dir(), reason=f"no recordings at {RECORDINGS}")
async def test_the_recorded_traffic_of_ten_vendors() -> None:
    """At least 99 in 100 of all, and 95 of each vendor's, are read as the vendors mean them."""
    report = await run(RECORDINGS, seed=7)
    assert report.total.total >= 559
    assert report.total.rate >= 0.99, [one.differences for one in report.outcomes]
    assert report.below(0.95) == []
