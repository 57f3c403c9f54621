"""The page about providers says what the catalog says, and what the recordings prove."""

from __future__ import annotations

import pytest


def test_the_support_matrix_is_up_to_date(load_tool, capsys):
    """Its tables are those of the catalog, and of a replay where the recordings are there."""
    status = load_tool("support_matrix").main(["--check"])
    assert (status, capsys.readouterr().out) == (0, "")


@pytest.mark.parametrize("part", ["capabilities", "access", "deviations"])
def test_every_vendor_is_in_each_table(load_tool, root, part):
    """And what stands between other marks is left alone."""
    tool = load_tool("support_matrix")
    for name in tool.CATALOG:
        assert any(line.startswith(f"| `{name}` |") for line in tool.PARTS[part]())
    page = "<!-- support: recordings -->\nkept\n<!-- end -->\n"
    assert tool.written(page, tool.PARTS) == page
