"""Small things that several test files of the journal need."""

from __future__ import annotations

import functools

import pytest

from actrio.journal import StateChanged, open_embedded_store


@pytest.fixture
def note():
    """Make a record that can be told from others."""
    return lambda number, by="": StateChanged(values={"n": number}, by=by)


@pytest.fixture
def open_on():
    """Open the embedded store on a simulated disk."""
    return lambda disk, **options: functools.partial(open_embedded_store, "", disk=disk)(**options)
