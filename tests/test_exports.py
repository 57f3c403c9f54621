"""Every public name leaves by exactly one door, and the package stays cheap to import."""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import inspect
import pkgutil
import subprocess
import sys

import pytest

import actrio
from actrio._version import own_version

ROOMS = sorted(
    name for _, name, is_package in pkgutil.iter_modules(actrio.__path__, "actrio.") if is_package
)
INNER_ROOMS = [
    "actrio.providers.dialects",
    "actrio.providers.local",
    "actrio.providers.scripted",
]


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
    for name in getattr(door, "__all__", None) or vars(door):
        value = getattr(door, name)
        home = getattr(value, "__module__", None)
        if name.startswith("_") or not home or not home.startswith(room + "._"):
            continue
        assert name in importlib.import_module(home).__all__, f"{home} does not list {name}"
        assert inspect.getdoc(value), f"{room}.{name} has no docstring"


def told_to_readers(door):
    """Return module and name of each import that stands below TYPE_CHECKING."""
    for node in ast.parse(inspect.getsource(door)).body:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            for each in node.body:
                assert isinstance(each, ast.ImportFrom)
                (alias,) = each.names
                assert alias.asname == alias.name, "re-exported by its own name"
                yield each.module, alias.name


def told_to_open_door(door):
    """Return module and name of each entry of what `open_door` is given."""
    for node in ast.walk(ast.parse(inspect.getsource(door))):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "open_door":
            for module, names in ast.literal_eval(node.args[1]).items():
                home = module if module.startswith("actrio.") else f"{door.__name__}.{module}"
                yield from ((home, name) for name in names.split())


@pytest.mark.parametrize("name", ["actrio", *ROOMS, *INNER_ROOMS])
def test_a_door_that_opens_late_tells_its_names_alike(name):
    """What a type checker reads is what is loaded, from the same module, and what dir shows."""
    door = importlib.import_module(name)
    loaded = sorted(told_to_open_door(door))
    assert sorted(told_to_readers(door)) == loaded
    if loaded:
        assert sorted(each for _, each in loaded) == dir(door)
        assert sorted({*dir(door), *door.__all__} - {"__version__"}) == dir(door)
        for home, each in loaded:
            assert getattr(door, each) is getattr(importlib.import_module(home), each)


def test_unknown_names_of_a_room_say_where_to_look():
    """A room's door answers a typo as the root does, and an import of one fails as any."""
    journal = importlib.import_module("actrio.journal")
    with pytest.raises(AttributeError, match=r"actrio\.journal has no 'Recrod'.*__all__"):
        _ = journal.Recrod
    with pytest.raises(ImportError):
        exec("from actrio.journal import Recrod", {})


def test_the_version_is_the_package_s():
    """Clients are told the version that the metadata have."""
    assert own_version() == actrio.__version__ == importlib.metadata.version("actrio")


def test_importing_the_package_imports_nothing_heavy():
    """import actrio costs nothing until a name is used."""
    code = "import actrio, sys; print([m for m in ('trio', 'httpx', 'attrs') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
