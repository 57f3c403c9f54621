"""The official OpenAI client as an independent reader of what the scripted server writes."""

from __future__ import annotations

import openai
import pytest
import trio

from actrio.messages import ToolSpec

WEATHER = ToolSpec(
    "weather",
    "Tells the weather.",
    {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
)
WIRE_TOOL = {
    "type": "function",
    "function": {
        "name": WEATHER.name,
        "description": WEATHER.description,
        "parameters": WEATHER.parameters,
    },
}


async def with_client(server, use):
    """Run ``use(client)`` in a thread: the client is a blocking one."""

    def run():
        with openai.OpenAI(base_url=server.base_url, api_key="none", max_retries=0) as client:
            return use(client)

    return await trio.to_thread.run_sync(run)


@pytest.mark.parametrize("model", ["demo", "demo?tools=2&seed=5", "tokens?tokens=40", "echo"])
async def test_it_reads_the_same_stream_as_we_do(server, connect, model):
    """Its accumulated completion and our fold agree on text, calls, finish and usage."""

    def stream(client):
        with client.chat.completions.stream(
            model=model,
            messages=[{"role": "user", "content": "Weather?"}],
            tools=[WIRE_TOOL],
            stream_options={"include_usage": True},
        ) as events:
            for _ in events:
                pass
            return events.get_final_completion()

    theirs = await with_client(server, stream)
    async with connect(server.base_url, "auto") as client:
        ours = await client.call(f"here:{model}", prompt="Weather?", tools=(WEATHER,))
    choice = theirs.choices[0]
    assert (choice.message.content or "") == ours.message.text
    calls = [
        (call.id, call.function.name, call.function.arguments)
        for call in choice.message.tool_calls or []
    ]
    assert calls == [(call.id, call.name, call.arguments) for call in ours.message.tool_calls]
    assert choice.finish_reason == ours.finish_reason
    assert theirs.usage.prompt_tokens == ours.usage.input_tokens
    assert theirs.usage.completion_tokens == ours.usage.output_tokens


async def test_it_reads_a_whole_answer_and_the_models(server):
    """The answers that are not streamed are whole for it, too."""

    def use(client):
        models = [model.id for model in client.models.list()]
        completion = client.chat.completions.create(
            model="echo", messages=[{"role": "user", "content": "Hello there"}]
        )
        return models, completion

    models, completion = await with_client(server, use)
    assert "demo" in models
    assert completion.choices[0].message.content == "Hello there"


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("status401", openai.AuthenticationError),
        ("status429", openai.RateLimitError),
        ("status500", openai.InternalServerError),
        ("context", openai.BadRequestError),
        ("reset", openai.APIConnectionError),
    ],
)
async def test_it_sees_the_faults_as_what_they_are(server, fault, kind):
    """Each scripted refusal is the vendor client's own error."""

    def use(client):
        with pytest.raises(kind):
            client.chat.completions.create(
                model=f"demo?fault={fault}", messages=[{"role": "user", "content": "Hi"}]
            )

    await with_client(server, use)
