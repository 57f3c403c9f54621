"""The page about providers says what the catalog says."""

from __future__ import annotations

import pytest


def test_the_support_matrix_is_up_to_date(load_tool, capsys, tmp_path):
    """Its tables are those of the catalog; the rates are of the recordings it was written with."""
    nowhere = str(tmp_path / "no-recordings")
    status = load_tool("support_matrix").main(["--check", "--recordings", nowhere])
    assert (status, capsys.readouterr().out) == (0, "")


@pytest.mark.parametrize("part", ["capabilities", "access", "deviations"])
def test_every_vendor_is_in_each_table(load_tool, root, part):
    """And what stands between other marks is left alone."""
    tool = load_tool("support_matrix")
    for name in tool.CATALOG:
        assert any(line.startswith(f"| `{name}` |") for line in tool.PARTS[part]())
    page = "<!-- support: recordings -->\nkept\n<!-- end -->\n"
    assert tool.written(page, tool.PARTS) == page
