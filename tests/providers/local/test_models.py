from __future__ import annotations

from pathlib import Path

import pytest

from actrio.errors import InvalidRequest, NotConfigured, NotFound
from actrio.providers.local import BUNDLED_MODELS, find_model, installed_models
from actrio.providers.local._models import models_folder

SMOLLM2 = BUNDLED_MODELS["smollm2"]


def env(folder: Path) -> dict[str, str]:
    return {"ACTRIO_DATA_DIR": str(folder)}


def place(folder: Path, size_bytes: int) -> Path:
    """Put a (sparse) file where the bundled model belongs."""
    path = models_folder(env(folder)) / SMOLLM2.file_name
    path.parent.mkdir()
    with path.open("wb") as file:
        file.truncate(size_bytes)
    return path


def test_the_data_folder_can_be_chosen(tmp_path):
    """ACTRIO_DATA_DIR wins; without it the user's data folder is taken."""
    assert models_folder(env(tmp_path)) == tmp_path / "models"
    assert models_folder({}).parts[-2:] == ("actrio", "models")


def test_an_absent_bundled_model_says_how_to_get_it(tmp_path):
    """The remedy is the command that installs it."""
    assert installed_models(env(tmp_path)) == ()
    with pytest.raises(NotConfigured) as caught:
        find_model("smollm2", env(tmp_path))
    assert "actrio model install smollm2" in str(caught.value)


def test_a_short_bundled_model_counts_as_damaged(tmp_path):
    """A file of another size is not taken for the model."""
    place(tmp_path, 10)
    assert installed_models(env(tmp_path)) == ()
    with pytest.raises(NotConfigured, match="damaged"):
        find_model("smollm2", env(tmp_path))


def test_a_present_bundled_model_is_found(tmp_path):
    """A file of the right size is listed and found."""
    path = place(tmp_path, SMOLLM2.size_bytes)
    assert find_model("smollm2", env(tmp_path)) == path
    assert [model.path for model in installed_models(env(tmp_path))] == [path]


def test_an_unknown_name_lists_what_there_is():
    """A name that is neither bundled nor a path is answered with both ways."""
    with pytest.raises(NotFound) as caught:
        find_model("gpt-4o")
    assert "local:smollm2" in str(caught.value)
    assert "local:/path/to/model.gguf" in str(caught.value)


def test_a_path_is_checked_before_anything_starts(tmp_path):
    """A missing file, a folder and a file of another format are told apart from a model."""
    with pytest.raises(NotFound, match=r"none\.gguf"):
        find_model(str(tmp_path / "none.gguf"))
    with pytest.raises(NotFound):
        find_model(f"{tmp_path}/")
    wrong = tmp_path / "wrong.gguf"
    wrong.write_bytes(b"PK\x03\x04")
    with pytest.raises(InvalidRequest, match="not a GGUF"):
        find_model(str(wrong))
    right = tmp_path / "right.gguf"
    right.write_bytes(b"GGUF\x03")
    assert find_model(str(right)) == right
