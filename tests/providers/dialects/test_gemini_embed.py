from __future__ import annotations

import json
from pathlib import Path

import pytest

from actrio.errors import InvalidRequest, ProviderError, ProviderProtocolError
from actrio.messages import EmbedInput, Usage
from actrio.providers.dialects import Gemini

FIXTURES = Path(__file__).parents[3] / "fixtures" / "gemini"


def test_an_embedding_call() -> None:
    """One request for each text, in order, with what the vectors are for."""
    sent = Gemini().embed_request(EmbedInput("gemini-embedding-001", ("a", "b"), 256, "document"))
    assert sent.path == "/models/gemini-embedding-001:batchEmbedContents"
    assert json.loads(sent.body) == {
        "requests": [
            {
                "model": "models/gemini-embedding-001",
                "content": {"parts": [{"text": text}]},
                "taskType": "RETRIEVAL_DOCUMENT",
                "outputDimensionality": 256,
            }
            for text in ("a", "b")
        ]
    }
    assert Gemini().embed_batch_max == 100


@pytest.mark.parametrize("texts", [(), ("\udfff",)])
def test_texts_that_cannot_be_embedded(texts: tuple[str, ...]) -> None:
    """No text, or text that is no Unicode, is the caller's mistake."""
    with pytest.raises(InvalidRequest):
        Gemini().embed_request(EmbedInput("m", texts))


def test_vectors_are_read_in_order() -> None:
    """One vector for each text, and the tokens they took where the vendor tells."""
    body = (FIXTURES / "embeddings.json").read_bytes()
    output = Gemini().embed_output(EmbedInput("gemini-embedding-2", ("a", "b")), body)
    assert output.vectors == ((0.5, -0.25, 1.0), (0.0, 0.125, 0.75))
    assert output.usage == Usage(7)
    one = (FIXTURES / "embedding_of_one_text.json").read_bytes()
    assert len(Gemini().embed_output(EmbedInput("m", ("a",)), one).vectors[0]) == 4


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{"embeddings":[{"values":[1]}]}',
        b'{"embeddings":[{"values":[1]},{"values":[1,2]}]}',
        b'{"embeddings":[{"values":[]},{}]}',
        b'{"embeddings":[{"values":["x"]},{"values":[1]}]}',
        b"{",
    ],
)
def test_vectors_that_do_not_fit_the_texts_are_a_protocol_error(body: bytes) -> None:
    """Another number of vectors, ragged or empty ones would be given to the wrong texts."""
    with pytest.raises(ProviderProtocolError):
        Gemini().embed_output(EmbedInput("m", ("a", "b")), body)


def test_an_error_in_place_of_vectors_is_raised() -> None:
    """It is the same error as anywhere else."""
    with pytest.raises(ProviderError, match="overloaded") as caught:
        body = (FIXTURES / "error_overloaded.json").read_bytes()
        Gemini().embed_output(EmbedInput("m", ("a",)), body)
    assert caught.value.category == "overloaded"


def test_models_are_listed_by_name() -> None:
    """The names are those that a call takes."""
    names = Gemini().model_names((FIXTURES / "models.json").read_bytes())
    assert names == ("gemini-test-001", "gemini-embedding-test")
