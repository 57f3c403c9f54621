"""Every fenced block of README.md and docs/ is executed, page by page, top to bottom.

What a block is follows from its info string (the words after the fence):

- ``python`` is run as a script; with ``file=NAME`` it is written to that file instead.
- ``toml``, ``yaml``, ``json`` must parse; with ``file=NAME`` they are written too. A json block may
  also hold one value per line.
- ``console``: a line that begins with ``$ `` is a command for bash, the lines below it are what it
  prints: each occurs in this order, other lines may stand between, and ``…`` stands for any text.
  The exit status is 0, or what ``exit=N`` says. ``needs=local`` runs only where the local model is,
  ``needs=NAME`` only where there is such a command.
- ``javascript`` is written with ``file=NAME``, for a console block to run.
- ``jsonrpc`` holds lines ``-> JSON`` (sent) and ``<- JSON`` (received). They must parse here;
  tests/stdio/test_documented_exchange.py runs them.
- ``text`` is for drawings and for what is not executed.

A page has its own empty folder, home and settings, no provider's key, and the virtual environment
first in its PATH.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import attrs
import pytest
import yaml

from actrio.providers.local import installed_models

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

LANGUAGES = {"python", "toml", "yaml", "json", "jsonrpc", "console", "text", "javascript"}
OPTIONS = {"file", "exit", "needs"}

SET_UP = (
    "git clone",
    "cd actrio",
    "python3 -m venv",
    ". .venv/bin/activate",
    "pip install",
    "actrio model install",
    "make",
)
"""Commands that set up a machine: not executed, because they change it or take minutes. Of
``make`` the target is checked."""

COMMAND_SECONDS = 60

_FENCE = re.compile(r"(?P<indent> *)(?P<ticks>`{3,})(?P<info>.*)")


@attrs.frozen
class Block:
    """One fenced block."""

    place: str
    language: str
    options: dict[str, str]
    text: str


def blocks_of(page):
    """Return the blocks of a page in order."""
    name = page.relative_to(ROOT)
    blocks = []
    begun = None
    lines = []
    for number, line in enumerate(page.read_text().splitlines(), 1):
        fence = _FENCE.fullmatch(line)
        if begun is None and fence is not None:
            assert not fence["indent"], f"{name}:{number}: a fence stands at the line's beginning"
            begun, lines = (number, fence), []
        elif begun is not None and line == begun[1]["ticks"]:
            blocks.append(_block(f"{name}:{begun[0]}", begun[1]["info"], lines))
            begun = None
        elif begun is not None:
            lines.append(line)
    assert begun is None, f"{name}:{begun[0]}: this block has no end"
    return blocks


def _block(place, info, lines):
    language, *words = info.split() or [""]
    assert language in LANGUAGES, f"{place}: unknown language {language!r}"
    options = dict(word.partition("=")[::2] for word in words)
    assert set(options) <= OPTIONS, f"{place}: unknown option in {info!r}"
    return Block(place, language, options, "".join(f"{line}\n" for line in lines))


def local_model_is_here():
    """Whether extra and model file are both installed."""
    return importlib.util.find_spec("xllamacpp") is not None and bool(installed_models())


def is_here(need):
    """Whether what a block needs is on this machine."""
    if need == "local":
        return local_model_is_here()
    return need is None or shutil.which(need) is not None


def environment(home):
    """Return the environment of a page's programs."""
    data = home / "data"
    data.mkdir(exist_ok=True)
    for model in installed_models()[:1]:
        # The model is everybody's, the sessions of a page are its own.
        models = data / model.path.parent.name
        models.symlink_to(model.path.parent, target_is_directory=True)
    return {
        "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / "config"),
        "XDG_DATA_HOME": str(home / "share"),
        "XDG_CACHE_HOME": str(home / "cache"),
        "ACTRIO_DATA_DIR": str(data),
        "LANG": "C.UTF-8",
        "COLUMNS": "100",
        "NO_COLOR": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


class Page:
    """A page being followed by somebody who has nothing yet."""

    def __init__(self, folder, home):
        self.folder = folder
        self.env = environment(home)
        self.left_out = []

    def follow(self, block):
        if not is_here(block.options.get("needs")):
            self.left_out.append(f"{block.place} needs {block.options['needs']}")
        elif "file" in block.options:
            self._parse(block)
            path = self.folder / block.options["file"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text)
        elif block.language == "python":
            script = self.folder / "snippet.py"
            script.write_text(block.text)
            self._run(block, [sys.executable, str(script)], expected_status=0)
        elif block.language == "console":
            self._console(block)
        else:
            self._parse(block)

    def _parse(self, block):
        """What is not run is at least of its language."""
        match block.language:
            case "toml":
                tomllib.loads(block.text)
            case "yaml":
                yaml.safe_load(block.text)
            case "json":
                try:
                    json.loads(block.text)
                except json.JSONDecodeError:
                    [json.loads(line) for line in block.text.splitlines()]
            case "jsonrpc":
                [json.loads(line[3:]) for line in block.text.splitlines()]
            case "python":
                compile(block.text, block.place, "exec")

    def _console(self, block):
        status = int(block.options.get("exit", 0))
        commands = commands_of(block)
        assert status == 0 or len(commands) == 1, f"{block.place}: exit= is for one command"
        for command, shown in commands:
            if command.startswith(SET_UP):
                check_set_up(block, command)
                continue
            printed = self._run(block, ["bash", "-c", command], expected_status=status)
            problem = difference(shown, printed)
            assert problem is None, f"{block.place}: $ {command}\n{problem}\nIt printed:\n{printed}"

    def _run(self, block, command, *, expected_status):
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=COMMAND_SECONDS,
            check=False,
        )
        printed = done.stdout.decode()
        assert done.returncode == expected_status, (
            f"{block.place}: {command[-1]!r} ended with {done.returncode}:\n{printed}"
        )
        return printed


def commands_of(block):
    """Return each command of a console block with the lines shown below it."""
    commands = []
    for line in block.text.splitlines():
        if commands and commands[-1][0].endswith("\\\n"):
            commands[-1][0] += line.removeprefix("> ")
        elif line.startswith("$ "):
            commands.append([line.removeprefix("$ "), []])
        elif commands:
            commands[-1][1].append(line)
        else:
            raise AssertionError(f"{block.place}: output stands before the first command")
        if commands[-1][0].endswith("\\"):
            commands[-1][0] += "\n"
    assert commands, f"{block.place}: no command"
    return [(command, shown) for command, shown in commands]


def check_set_up(block, command):
    """A set-up command is not run, but a make target it names must exist."""
    words = shlex.split(command, comments=True)
    if words[0] != "make":
        return
    makefile = (ROOT / "Makefile").read_text()
    for target in (word for word in words[1:] if "=" not in word):
        assert re.search(rf"(?m)^{re.escape(target)}:", makefile), (
            f"{block.place}: the Makefile has no target {target!r}"
        )


def difference(shown, printed):
    """Return the first shown line that was not printed in its place, or None."""
    lines = [line.rstrip() for line in printed.splitlines()]
    at = 0
    for line in (line.rstrip() for line in shown):
        if line in ("", "…"):
            continue
        pattern = re.compile(".*".join(re.escape(piece) for piece in line.split("…")))
        found = next((i for i in range(at, len(lines)) if pattern.fullmatch(lines[i])), None)
        if found is None:
            return f"The page shows this line, which was not printed (there): {line!r}"
        at = found + 1
    return None


def _parameter(page):
    # Not parsed here: a mistake in one page must not hide the tests of the others.
    marks = [pytest.mark.local] if "```console needs=local" in page.read_text() else []
    return pytest.param(page, id=str(page.relative_to(ROOT)), marks=marks)


@pytest.mark.parametrize("page", [_parameter(page) for page in PAGES])
def test_a_page_does_what_it_shows(page, tmp_path):
    """Who follows the page from top to bottom sees what it shows."""
    folder, home = tmp_path / "work", tmp_path / "home"
    folder.mkdir()
    home.mkdir()
    reader = Page(folder, home)
    for block in blocks_of(page):
        reader.follow(block)
    if reader.left_out:
        pytest.skip(f"not on this machine: {', '.join(reader.left_out)}; all else ran")


def test_no_key_reaches_a_page(tmp_path):
    """A page's programs see no secret and no setting of whoever runs the tests."""
    visible = environment(tmp_path)
    assert not [name for name in visible if name.endswith(("_API_KEY", "_TOKEN", "_SECRET"))]
    assert [name for name in visible if name.startswith("ACTRIO_")] == ["ACTRIO_DATA_DIR"]
    assert os.path.commonpath([visible["HOME"], visible["XDG_CONFIG_HOME"]]) == str(tmp_path)


def test_output_is_compared_in_order():
    """Shown lines are looked for in order; an ellipsis stands for any text."""
    printed = "one\ntwo 17 three\nfour\n"
    assert difference(["one", "…", "four"], printed) is None
    assert difference(["two … three"], printed) is None
    assert "'one'" in difference(["four", "one"], printed)
    assert "'two'" in difference(["two"], printed)
