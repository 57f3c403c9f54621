"""Both stores do what every store must do."""

from __future__ import annotations

import contextlib

import pytest

from actrio.journal import MemoryStore, open_embedded_store
from actrio.testing import STORE_CHECKS


@contextlib.asynccontextmanager
async def in_memory():
    yield MemoryStore()


@pytest.mark.parametrize("check", STORE_CHECKS, ids=lambda check: check.__name__)
async def test_memory(check):
    """The store in memory passes."""
    await check(in_memory)


@pytest.mark.parametrize("durability", ["none", "batch", "always"])
@pytest.mark.parametrize("check", STORE_CHECKS, ids=lambda check: check.__name__)
async def test_embedded(check, durability, tmp_path):
    """The embedded store passes, whatever its durability."""
    await check(lambda: open_embedded_store(tmp_path, durability=durability))
