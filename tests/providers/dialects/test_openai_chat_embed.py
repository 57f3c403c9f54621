from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from actrio.errors import NotSupported, ProviderError, ProviderProtocolError
from actrio.messages import EmbedInput, EmbedOutput, Usage
from actrio.providers._catalog import CATALOG, make_dialect

FIXTURES = Path(__file__).parents[3] / "fixtures" / "openai_embeddings"
CALL = EmbedInput("text-small", ("one", "two"))


def vendor(name: str) -> Any:
    return make_dialect("openai", name, vendor=name)


def embedded(name: str) -> EmbedOutput:
    return vendor("openai").embed_output(CALL, (FIXTURES / f"{name}.json").read_bytes())


@pytest.mark.parametrize("name", ["floats_out_of_order", "base64", "without_index"])
def test_vectors_are_in_the_order_of_the_texts(name: str) -> None:
    """As numbers or as base64, numbered or not."""
    output = embedded(name)
    assert output.vectors == ((0.5, -0.5), (0.0, 1.0))
    assert output.usage == (Usage() if name == "without_index" else Usage(4))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("index_twice", "numbers its vectors wrongly"),
        ("one_missing", "1 vectors for 2 texts"),
        ("no_base64", "no base64"),
    ],
)
def test_wrong_vectors_are_a_protocol_error(name: str, words: str) -> None:
    """A vector of the wrong text would be worse than none."""
    with pytest.raises(ProviderProtocolError, match=words):
        embedded(name)


@pytest.mark.parametrize("body", [b"", b"[]", b'{"data": 3}', b"\xff", b"[" * 99_999])
def test_other_bodies_are_a_protocol_error(body: bytes) -> None:
    """What is no list of vectors is told as such."""
    with pytest.raises(ProviderProtocolError):
        vendor("openai").embed_output(CALL, body)


def test_an_error_in_place_of_vectors_is_raised() -> None:
    """Status 200 with an error in the body is an error."""
    with pytest.raises(ProviderError, match="No endpoints") as caught:
        embedded("error_in_place")
    assert caught.value.category == "not_found"


@pytest.mark.parametrize(
    ("name", "encoding"),
    [("openai", "base64"), ("modelscope", "float"), ("siliconflow", "float"), ("glm4", None)],
)
def test_how_vectors_are_asked_for(name: str, encoding: str | None) -> None:
    """ModelScope refuses a request without the encoding; GLM does not know it."""
    wire = vendor(name).embed_request(EmbedInput("m", ("one", "two"), dimensions=256))
    body = json.loads(wire.body)
    assert wire.path == "/embeddings"
    assert body.pop("encoding_format", None) == encoding
    assert body == {"model": "m", "input": ["one", "two"], "dimensions": 256}


@pytest.mark.parametrize("name", ["groq", "cerebras"])
def test_who_has_no_embeddings_says_who_has(name: str) -> None:
    """It is refused here, not by a call."""
    assert vendor(name).embed_batch_max == 0
    with pytest.raises(NotSupported, match=f"{name} has no embeddings.*openai"):
        vendor(name).embed_request(CALL)


def test_the_catalog_agrees_about_embeddings() -> None:
    """Who is said to have embeddings can be asked for them, and nobody else."""
    for name, known in CATALOG.items():
        native = make_dialect(next(iter(known.dialects)), name, vendor=name)
        assert (native.embed_batch_max > 0) == ("embeddings" in known.can), name


def test_models_are_listed() -> None:
    """Their ids are what a request takes."""
    body = b'{"data": [{"id": "a", "object": "model"}, {"id": "b"}]}'
    assert vendor("openai").model_names(body) == ("a", "b")
    with pytest.raises(ProviderProtocolError, match="no list of models"):
        vendor("openai").model_names(b'{"models": []}')
