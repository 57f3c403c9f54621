"""What the three tests of the documentation share: where the pages are, and how to load a tool."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def root():
    """The project's folder."""
    return ROOT


@pytest.fixture
def load_tool():
    """Load a program of ``tools/`` as a module, by its name."""

    def load(name):
        spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load
