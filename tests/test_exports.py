"""Every public name leaves by exactly one door, and the package stays cheap to import."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import subprocess
import sys

import pytest

import actrio

ROOMS = sorted(
    name for _, name, is_package in pkgutil.iter_modules(actrio.__path__, "actrio.") if is_package
)


@pytest.mark.parametrize("name", [n for n in actrio.__all__ if n != "__version__"])
def test_root_names_come_from_their_room(name):
    """What the root offers is the very object of the room, and is documented."""
    value = getattr(actrio, name)
    if inspect.isclass(value) or inspect.isfunction(value):
        assert inspect.getdoc(value)


def test_unknown_root_names_say_where_to_look():
    """A typo is an AttributeError that names __all__."""
    with pytest.raises(AttributeError, match="__all__"):
        _ = actrio.Agnet


@pytest.mark.parametrize("room", ROOMS)
def test_a_door_exports_only_what_its_modules_offer(room):
    """Each name of a door is in the __all__ of the underscore module that defines it."""
    door = importlib.import_module(room)
    assert door.__doc__
    for name, value in vars(door).items():
        home = getattr(value, "__module__", None)
        if name.startswith("_") or not home or not home.startswith(room + "._"):
            continue
        assert name in importlib.import_module(home).__all__, f"{home} does not list {name}"
        assert inspect.getdoc(value), f"{room}.{name} has no docstring"


def test_importing_the_package_imports_nothing_heavy():
    """import actrio costs nothing until a name is used."""
    code = "import actrio, sys; print([m for m in ('trio', 'httpx', 'attrs') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
