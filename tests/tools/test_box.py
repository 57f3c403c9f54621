"""The tools of one agent."""

from __future__ import annotations

import pytest

from actrio.errors import Conflict, InvalidRequest, NotFound
from actrio.tools import ToolBox, ToolLimits, tool


@tool
def read_file(path: str) -> str:
    return path


@tool
def write_file(path: str) -> str:
    return path


def test_specs_are_those_of_the_tools_that_are_on():
    """A switched-off tool is not offered, but can be found."""
    box = ToolBox([read_file, write_file], disabled=["write_file"])
    assert box.specs == (read_file.spec,)
    assert box.tools == (read_file, write_file)
    assert box.find("write_file") is write_file
    assert box.find("other") is None


def test_with_disabled_is_a_view():
    """It names the whole set of what is off, and shares places and counts."""
    box = ToolBox([read_file, write_file], disabled=["write_file"])
    view = box.with_disabled(["read_file"])
    assert view.specs == (write_file.spec,)
    assert box.specs == (read_file.spec,)
    assert view.statistics() == box.statistics()
    assert view.limits is box.limits
    with pytest.raises(NotFound, match="Did you mean 'read_file'") as caught:
        box.with_disabled(["read_files"])
    assert "The tools are: read_file." in caught.value.remedy


def test_names_are_unique_and_both_are_named():
    """Two tools with one name are a conflict; the same tool twice is one tool."""

    @tool(name="read_file")
    def other(path: str) -> str:
        return path

    with pytest.raises(Conflict, match=r"test_box\.read_file and .*other"):
        ToolBox([read_file, other])
    assert ToolBox([read_file, read_file]).tools == (read_file,)


def test_only_tools_go_in():
    """A bare function is told to be decorated."""
    with pytest.raises(InvalidRequest, match="@tool"):
        ToolBox([lambda: None])


@pytest.mark.parametrize("name", ["parallel_max", "threads_max", "calls_max"])
def test_limits_are_at_least_one(name):
    """A limit of zero would never let anything run."""
    with pytest.raises(InvalidRequest, match=name):
        ToolLimits(**{name: 0})
