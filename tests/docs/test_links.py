"""What a page names is there: pages, headings, files and tests."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

_BLOCK = re.compile(r"(?ms)^(`{3,}).*?^\1$")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_TEST = re.compile(r"\b(tests/[\w./-]+\.py)::(\w+)")
_FILE = re.compile(r"`((?:src/actrio|tests|tools|docs|fixtures|bench)/[\w./*-]+?)/?(?:::\w+)?`")
_HEADING = re.compile(r"(?m)^#{1,6} +(.+?) *$")

every_page = pytest.mark.parametrize(
    "page", [pytest.param(page, id=str(page.relative_to(ROOT))) for page in PAGES]
)


@functools.cache
def prose_of(page):
    """Return a page without its fenced blocks, which are somebody else's to check."""
    return _BLOCK.sub("", page.read_text())


@functools.cache
def anchors_of(page):
    """Return the anchors of a page's headings, as the usual viewers of Markdown make them."""
    found = set()
    for heading in _HEADING.findall(prose_of(page)):
        plain = re.sub(r"[^\w\- ]", "", heading.lower())
        found.add(plain.replace(" ", "-"))
    return found


@functools.cache
def functions_of(path):
    """Return the names of the functions that a test file defines, also inside its classes."""
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    tree = ast.parse(path.read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, functions)}


@every_page
def test_links_lead_somewhere(page):
    """Each relative link names a file, and where it has one, a heading of it."""
    broken = []
    for link in _LINK.findall(prose_of(page)):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors_of(target)):
            broken.append(link)
    assert not broken


@every_page
def test_named_tests_are_there(page):
    """A guarantee names the test that proves it, and that test exists."""
    missing = [
        f"{path}::{name}"
        for path, name in _TEST.findall(prose_of(page))
        if not (ROOT / path).is_file() or name not in functions_of(ROOT / path)
    ]
    assert not missing


@every_page
def test_named_files_are_there(page):
    """A path of the project in a page is a path of the project."""
    missing = [name for name in _FILE.findall(prose_of(page)) if not list(ROOT.glob(name))]
    assert not missing


def test_each_guarantee_has_its_test():
    """Every row of a contract's tables names the test that proves it."""
    bare = []
    for page in sorted((ROOT / "docs" / "contracts").glob("*.md")):
        lines = page.read_text().splitlines()
        heads = {
            i + shift
            for i, line in enumerate(lines)
            if re.match(r"\| ?---", line)
            for shift in (-1, 0)
        }
        bare += [
            f"{page.name}: {line}"
            for i, line in enumerate(lines)
            if line.startswith("|") and i not in heads and not re.search(r"::test_\w+", line)
        ]
    assert not bare


def test_every_page_is_reachable_from_the_readme():
    """Who starts at the README finds every page by following links."""
    seen, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in seen:
            continue
        seen.add(page)
        for link in _LINK.findall(prose_of(page)):
            target = (page.parent / link.partition("#")[0]).resolve()
            if target.suffix == ".md" and target.is_file():
                waiting.append(target)
    assert sorted(str(p.relative_to(ROOT)) for p in set(PAGES) - seen) == []
