"""Vectors through the runtime: in order, typed refusals, and from a real model."""

from __future__ import annotations

import importlib.util
import math

import pytest

from actrio import open_runtime
from actrio.errors import InvalidRequest, NotConfigured, NotSupported
from actrio.providers.local import installed_models


def cosine(one, other):
    return (
        sum(a * b for a, b in zip(one, other, strict=True)) / math.hypot(*one) / math.hypot(*other)
    )


async def test_scripted_vectors_keep_the_order_and_depend_on_the_text_alone():
    """The same text has the same unit vector wherever it stands; lengths are as asked."""
    async with open_runtime(env={}) as runtime:
        out = await runtime.embed("scripted:any", ["a", "b", "a"], dimensions=16)
        assert out.vectors[0] == out.vectors[2] != out.vectors[1]
        assert {len(vector) for vector in out.vectors} == {16}
        assert math.hypot(*out.vectors[0]) == pytest.approx(1.0)
        assert len((await runtime.embed("scripted:any", ["a"])).vectors[0]) == 64


@pytest.mark.parametrize("texts", [[], [""], ["a", " "], "a string"])
async def test_nothing_to_embed_is_refused(texts):
    """An empty list, an empty text, or a bare string is the caller's mistake."""
    async with open_runtime(env={}) as runtime:
        with pytest.raises(InvalidRequest):
            await runtime.embed("scripted:any", texts)


@pytest.mark.parametrize("provider", ["anthropic", "groq", "cerebras"])
async def test_a_provider_without_embeddings_says_who_has_them(provider):
    """not_supported with an alternative; nothing is sent."""
    env = {f"{provider.upper()}_API_KEY": "k-12345678"}
    async with open_runtime(env=env) as runtime:
        with pytest.raises(NotSupported) as caught:
            await runtime.embed(f"{provider}:any", ["a"])
        assert "openai" in caught.value.remedy


async def test_a_missing_key_is_named():
    """not_configured, with the variable."""
    async with open_runtime(env={}) as runtime:
        with pytest.raises(NotConfigured, match="OPENAI_API_KEY"):
            await runtime.embed("openai:text-embedding-3-small", ["a"])


@pytest.mark.local
async def test_the_local_model_gives_vectors_beside_its_answers():
    """llama.cpp's embeddings: equal texts are equal, others are not."""
    if importlib.util.find_spec("xllamacpp") is None or not installed_models():
        pytest.skip("needs the extra actrio[local] and the model: actrio model install smollm2")
    async with open_runtime(env={}) as runtime:
        out = await runtime.embed(
            "local:smollm2", ["a red apple", "stock prices fell", "a red apple"]
        )
        assert cosine(out.vectors[0], out.vectors[2]) == pytest.approx(1.0, abs=1e-4)
        assert cosine(out.vectors[0], out.vectors[1]) < 0.9999
