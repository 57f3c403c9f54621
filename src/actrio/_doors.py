"""Doors that open on first use: a room's ``__init__`` names everything and loads nothing.

A program pays for what it uses. A runtime that keeps its sessions in memory and talks to one provider
needs neither the files of a journal nor the wire formats of four other vendors, yet they live in
rooms that it has to enter; building their values' classes alone takes half of what starting takes.

A door tells its names twice, which ``tests/test_exports.py`` compares: as imports below
``TYPE_CHECKING``, for readers, type checkers and the import contracts; and by module, for `open_door`.
A door without this stands before modules that whoever enters needs anyway.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["open_door"]


def open_door(
    room: str, modules: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Return the ``__getattr__``, ``__dir__`` and ``__all__`` of a room.

    Args:
        room: The ``__name__`` of the room.
        modules: The names that each of its modules defines, with spaces between. A name from
            another room stands under that room's full name.
    """
    module_of = {name: module for module, names in modules.items() for name in names.split()}
    public = sorted(module_of)

    def load(name: str) -> Any:
        module = module_of.get(name)
        if module is None:
            told = f"{room} has no {name!r}; the public names are in {room}.__all__"
            raise AttributeError(told, name=name, obj=sys.modules[room])
        import importlib

        path = module if module.startswith("actrio.") else f"{room}.{module}"
        value = getattr(importlib.import_module(path), name)
        setattr(sys.modules[room], name, value)  # asked once per name
        return value

    return load, lambda: list(public), public
