"""The agent files that pages point to describe one agent, and that agent runs."""

from __future__ import annotations

import subprocess
import sys

import pytest

from actrio.errors import ConfigError
from actrio.runtime import load_agent_file

FORMATS = ("toml", "yaml", "json")


def test_each_format_describes_the_same_agent(root):
    """TOML, YAML and JSON say the same."""
    toml, *others = [load_agent_file(root / f"fixtures/agents/shop.{each}") for each in FORMATS]
    assert toml.tools == ("shop_tools:opening_hours",)
    assert all(other == toml for other in others)


@pytest.mark.parametrize("suffix", FORMATS)
def test_an_agent_file_runs_with_the_tool_beside_it(suffix, root, tmp_path):
    """The tool's module is found beside the file, wherever one stands."""
    file = root / f"fixtures/agents/shop.{suffix}"
    done = subprocess.run(
        [sys.executable, "-m", "actrio", "run", "--agent", str(file), "When are you open?"],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "The tool opening_hours answered:" in done.stdout


def test_a_wrong_agent_file_names_file_key_problem_and_remedy(root):
    """Both mistakes of the file are told at once, each with its place."""
    with pytest.raises(ConfigError) as caught:
        load_agent_file(root / "fixtures/agents/wrong.toml")
    assert "wrong.toml" in caught.value.message
    problems = {each["path"]: each for each in caught.value.data["problems"]}
    assert set(problems) == {"instruction", "steps_max"}
    assert 'Did you mean "instructions"?' in problems["instruction"]["remedy"]
    assert problems["steps_max"]["problem"].startswith("expected a whole number")
