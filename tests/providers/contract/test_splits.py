"""The split sweep finds a cut that matters, and none in the exchanges that stand here."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from actrio.providers.contract import load_exchanges
from actrio.providers.dialects import OpenAiChat

ROOT = Path(__file__).parents[3]


@pytest.fixture
def splits():
    spec = importlib.util.spec_from_file_location("splits", ROOT / "tools" / "splits.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def streamed():
    exchanges = load_exchanges(ROOT / "fixtures" / "exchanges")
    return next(each for each in exchanges if each.kind == "chat_stream")


def test_no_cut_changes_what_stands_here(splits, streamed):
    """Every position of a whole exchange gives the same result."""
    tried, changed = splits.differences(20_000, streamed)
    assert tried == len(streamed.body) - 1
    assert changed == []


def test_a_reader_that_minds_a_cut_is_found(splits, streamed, monkeypatch):
    """A reader that drops the first byte of its second piece changes results, and is named."""
    made = OpenAiChat.reader

    def careless(self, call, content_type):
        reader = made(self, call, content_type)
        feed, seen = reader.feed, []

        class Careless:
            done, model, response_id = False, "m", ""

            def feed(self, data):
                seen.append(data)
                return feed(data[1:] if len(seen) == 2 else data)

            def close(self):
                return reader.close()

        return Careless()

    monkeypatch.setattr(OpenAiChat, "reader", careless)
    _, changed = splits.differences(20_000, streamed)
    assert changed
