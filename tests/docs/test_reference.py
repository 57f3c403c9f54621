"""Derived pages say what the code says now."""

from __future__ import annotations

import re
from typing import get_args

import pytest

import actrio
from actrio.agents._turn import Finish
from actrio.providers.scripted import FaultKind, ScriptKind


def test_derived_parts_are_up_to_date(load_tool, capsys):
    """Tables of errors, events, settings, options and names are those of the code."""
    status = load_tool("write_reference").main(["--check"])
    assert (status, capsys.readouterr().out) == (0, "")


def test_each_derived_part_stands_in_some_page(load_tool, root):
    """What can be derived is shown, and shown once."""
    pages = sorted((root / "docs" / "reference").glob("*.md"))
    text = "\n".join(page.read_text() for page in pages)
    named = re.findall(r"<!-- derived: ([\w.-]+) -->", text)
    assert sorted(named) == sorted(load_tool("write_reference").PARTS)


def test_a_stale_part_is_found_and_mended(load_tool, tmp_path):
    """Whatever stands between the marks is replaced, and nothing else."""
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- derived: error-kinds -->\nold\n<!-- end -->\nafter\n")
    mended = load_tool("write_reference").derived(page)
    assert mended.startswith("before\n")
    assert mended.endswith("<!-- end -->\nafter\n")
    assert "| `parse` | -32700 | 400 | 65 |" in mended
    assert "old" not in mended


def test_the_turn_machine_is_drawn_as_it_is(load_tool, capsys):
    """The drawn machine is the machine."""
    status = load_tool("draw_machines").main(["--check"])
    assert (status, capsys.readouterr().out) == (0, "")


def test_the_drawing_covers_every_ending(load_tool):
    """Each finish reason and each kind of ending occurs in the drawing."""
    drawing = load_tool("draw_machines")
    text = "\n".join(drawing.decisions())
    assert all(reason in text for reason in drawing.FINISH_REASONS)
    outcomes = {
        drawing.told(Finish("failed", "error")),
        drawing.told(Finish("completed", "refusal")),
    }
    assert all(outcome in text for outcome in outcomes)


@pytest.mark.parametrize("word", [*get_args(ScriptKind), *get_args(FaultKind)])
def test_the_scripted_grammar_is_told_in_full(word, root):
    """Each kind and each fault of the scripted provider is explained."""
    assert f"`{word}" in (root / "docs" / "reference" / "scripted.md").read_text()


def test_every_setting_has_a_reason(load_tool):
    """No key of the settings is without a meaning."""
    tool = load_tool("write_reference")
    bare = [
        (part, line)
        for part in tool.PARTS
        if part.startswith(("settings", "command"))
        for line in tool.PARTS[part]()
        if line.endswith("|  |")
    ]
    assert not bare


def test_every_public_name_is_in_the_reference(root):
    """api.md names everything that can be imported from the root."""
    text = (root / "docs" / "reference" / "api.md").read_text()
    missing = [n for n in actrio.__all__ if n != "__version__" and f"| `{n}` |" not in text]
    assert not missing
