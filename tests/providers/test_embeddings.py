"""Embeddings through the connection: batches, order, failures, vendors without any."""

from __future__ import annotations

import json

import pytest
import trio

from actrio.actors import ChildSpec, open_actor_system
from actrio.errors import NotSupported, ProviderError
from actrio.messages import EmbedInput
from actrio.providers import (
    ConnectionLimits,
    Endpoint,
    ProviderConnection,
    ProviderSettings,
    load_http,
)
from actrio.providers.dialects import Deviations, OpenAiChat
from actrio.testing import MemoryNetwork, Reply

KEY = "sk-secret-0123456789"


def vectors(request, *, delay_seconds: float = 0.0) -> Reply:
    """One vector per text: the number that the text is."""
    texts = json.loads(request.body)["input"]
    data = [{"index": n, "embedding": [float(text), 0.5]} for n, text in enumerate(texts)]
    body = {"data": data, "model": "e", "usage": {"prompt_tokens": len(texts), "total_tokens": 1}}
    return Reply(
        200,
        {"content-type": "application/json"},
        (json.dumps(body).encode(),),
        delay_seconds=delay_seconds,
    )


@pytest.fixture
def embedder():
    """Open a connection whose dialect takes ``batch_max`` texts at a time."""
    from contextlib import asynccontextmanager

    @asynccontextmanager
    async def opened(network: MemoryNetwork, *, batch_max: int = 10, **limits):
        async def endpoint():
            return Endpoint("http://127.0.0.1:1/v1", KEY)

        library = load_http("auto", network.transport)
        made: list[ProviderConnection] = []

        def make():
            connection = ProviderConnection(
                dialect=OpenAiChat("here", Deviations(embed_batch_max=batch_max)),
                endpoint=endpoint,
                http=library,
                tls_context=library.tls_context(),
                trust_env=False,
                settings=ProviderSettings(limits=ConnectionLimits(**limits)),
            )
            made.append(connection)
            return connection

        async with open_actor_system() as system:
            yield await system.spawn(ChildSpec("embedder", make, concurrency=100)), made

    return opened


def texts(count: int) -> tuple[str, ...]:
    return tuple(str(n) for n in range(count))


@pytest.mark.parametrize(("count", "requests"), [(1, 1), (10, 1), (11, 2), (95, 10)])
async def test_batches_keep_the_order(autojump_clock, embedder, count, requests):
    """However many texts, one vector each, in their order; usage is the sum."""
    delays = iter([0.5, 0.1, 0.4, 0.2] * 10)
    network = MemoryNetwork(lambda request: vectors(request, delay_seconds=next(delays)))
    async with embedder(network) as (ref, made):
        output = await ref.ask(EmbedInput("e", texts(count)))
        assert made[0].statistics().calls == 1
    assert [vector[0] for vector in output.vectors] == list(range(count))
    assert output.usage.input_tokens == count
    assert output.model == "e"
    assert len(network.requests) == requests
    assert network.peak_open <= 4


async def test_a_batch_that_fails_passing_is_tried_again(autojump_clock, embedder):
    """Only the batch that failed, and the order stays."""
    failed = []

    def reply(request):
        if b'"13"' in request.body and not failed:
            failed.append(request)
            return Reply(503)
        return vectors(request)

    network = MemoryNetwork(reply)
    async with embedder(network) as (ref, made):
        output = await ref.ask(EmbedInput("e", texts(30)))
        assert made[0].statistics().retries == 1
    assert [vector[0] for vector in output.vectors] == list(range(30))
    assert len(network.requests) == 4


async def test_a_batch_that_fails_for_good_ends_the_others(autojump_clock, embedder):
    """The error is that batch's, and nothing is left in work."""

    def reply(request):
        if b'"13"' in request.body:
            return Reply(401, {}, (b"{}",))
        return vectors(request, delay_seconds=60)

    network = MemoryNetwork(reply)
    async with embedder(network) as (ref, made):
        with pytest.raises(ProviderError) as caught:
            await ref.ask(EmbedInput("e", texts(95)))
        assert caught.value.category == "auth"
        assert (made[0].statistics().calls_in_work, network.open) == (0, 0)
        assert trio.current_time() - network.requests[0].at < 1


@pytest.mark.parametrize("body", [b"", b"{", b'{"data":[]}', b'{"data":[{"embedding":[1]}]}'])
async def test_an_answer_without_the_vectors_is_an_error(autojump_clock, embedder, body):
    """Fewer vectors than texts are no answer."""
    network = MemoryNetwork([Reply(200, {"content-type": "application/json"}, (body,))])
    async with embedder(network) as (ref, _):
        with pytest.raises(ProviderError) as caught:
            await ref.ask(EmbedInput("e", ("1", "2")))
    assert caught.value.category == "protocol"


@pytest.mark.parametrize("status", [200, 401])
async def test_a_key_that_is_echoed_is_redacted(autojump_clock, embedder, status):
    """In a refusal and in an answer that is none."""
    body = json.dumps({"error": {"message": f"bad key {KEY}", "code": KEY}}).encode()
    network = MemoryNetwork([Reply(status, {"content-type": "application/json"}, (body,))])
    async with embedder(network) as (ref, _):
        with pytest.raises(ProviderError) as caught:
            await ref.ask(EmbedInput("e", ("1",)))
    assert network.requests[0].headers["authorization"] == f"Bearer {KEY}"
    assert KEY not in f"{caught.value!r} {caught.value} {caught.value.data} {caught.value.args}"
    assert "[redacted]" in str(caught.value)


async def test_a_vendor_without_embeddings_says_so(autojump_clock, embedder):
    """Nothing is sent, and the remedy names another way."""
    network = MemoryNetwork([])
    async with embedder(network, batch_max=0) as (ref, _):
        with pytest.raises(NotSupported) as caught:
            await ref.ask(EmbedInput("e", ("1",)))
    assert caught.value.remedy
    assert network.requests == []


async def test_an_embedding_is_cancelled_with_its_asker(autojump_clock, embedder):
    """All its batches end, and their places are free."""
    network = MemoryNetwork(lambda request: vectors(request, delay_seconds=100))
    async with embedder(network) as (ref, made):
        with trio.move_on_after(1):
            await ref.ask(EmbedInput("e", texts(95)))
        told = made[0].statistics()
        assert (told.calls_in_work, told.waiting, network.open) == (0, 0, 0)
