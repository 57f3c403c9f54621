"""OpenAI's own Python client against the façade, on Trio, over a socket."""

from __future__ import annotations

import openai
import pytest
import trio

from actrio.agents import Agent
from actrio.http import HttpSettings
from actrio.tools import tool

# The client libraries leave their generators to the garbage collector where a stream is left early.
pytestmark = pytest.mark.filterwarnings("ignore:.*was garbage collected before:ResourceWarning")

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Tell the weather.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}


@tool
def opening_hours() -> str:
    """Tell when the shop is open."""
    return "nine to five"


@pytest.fixture
def client_of():
    def make(service, **more):
        return openai.AsyncOpenAI(
            base_url=f"{service.url}/v1", api_key="unused", max_retries=0, **more
        )

    return make


def user(text):
    return [{"role": "user", "content": text}]


async def test_agents_and_raw_models_are_listed(serving, client_of):
    """Every agent is agent:NAME; raw models can be left out."""
    async with serving(Agent("shop", model="scripted:echo")) as service:
        async with client_of(service) as client:
            names = [model.id async for model in client.models.list()]
            assert names == ["agent:shop", "scripted:demo", "scripted:echo"]
            assert (await client.models.retrieve("agent:shop")).owned_by == "actrio"
            with pytest.raises(openai.NotFoundError):
                await client.models.retrieve("agent:nobody")
    async with serving(Agent("shop"), http=HttpSettings(raw_models=False)) as service:
        async with client_of(service) as client:
            assert [model.id async for model in client.models.list()] == ["agent:shop"]
            with pytest.raises(openai.NotFoundError):
                await client.chat.completions.create(model="scripted:echo", messages=user("x"))


async def test_a_whole_answer(serving, client_of):
    """Text, usage and why it ended."""
    async with serving(Agent("shop", model="scripted:echo")) as service:
        async with client_of(service) as client:
            for name in ("agent:shop", "shop", "scripted:echo"):
                answer = await client.chat.completions.create(
                    model=name, messages=user("Say this back.")
                )
                assert answer.choices[0].message.content == "Say this back."
                assert answer.choices[0].finish_reason == "stop"
                assert answer.usage is not None
                assert answer.usage.completion_tokens == 3


async def test_a_stream_is_the_same_answer_in_pieces(serving, client_of):
    """The deltas join to the text; usage comes where it is asked for; one reason ends it."""
    async with serving() as service, client_of(service) as client:
        stream = await client.chat.completions.create(
            model="scripted:tokens?tokens=20&itl=1ms",
            messages=user("Count."),
            stream=True,
            stream_options={"include_usage": True},
        )
        text, finish, usage, roles = "", [], None, []
        async for chunk in stream:
            usage = chunk.usage or usage
            for choice in chunk.choices:
                text += choice.delta.content or ""
                roles += [choice.delta.role] if choice.delta.role else []
                finish += [choice.finish_reason] if choice.finish_reason else []
    assert text.split() == [f"w{n}" for n in range(1, 21)]
    assert (finish, roles) == (["stop"], ["assistant"])
    assert usage is not None
    assert usage.completion_tokens == 20


async def test_the_clients_history_is_what_the_model_sees(serving, client_of):
    """Nothing is kept between two requests: each brings its own conversation."""
    async with serving() as service, client_of(service) as client:
        messages = [
            {"role": "system", "content": "Be brief."},
            *user("first"),
            {"role": "assistant", "content": "1"},
            *user("second"),
        ]
        with_history = await client.chat.completions.create(
            model="scripted:echo", messages=messages
        )
        alone = await client.chat.completions.create(model="scripted:echo", messages=user("second"))
        assert with_history.choices[0].message.content == "second"
        assert with_history.usage.prompt_tokens > alone.usage.prompt_tokens
    async with serving() as service:
        assert not await service.runtime.sessions()


async def test_tools_of_the_client_go_back_to_it(serving, client_of):
    """The call comes as OpenAI sends it; its result in the next request is what the model reads."""
    async with serving() as service, client_of(service) as client:
        messages = user("Weather?")
        asked = await client.chat.completions.create(
            model="scripted:demo", messages=messages, tools=[WEATHER]
        )
        choice = asked.choices[0]
        assert choice.finish_reason == "tool_calls"
        (call,) = choice.message.tool_calls
        assert call.function.name == "get_weather"
        messages.append(choice.message.model_dump(exclude_none=True))
        messages.append({"role": "tool", "tool_call_id": call.id, "content": "sunny"})
        answer = await client.chat.completions.create(
            model="scripted:demo", messages=messages, tools=[WEATHER]
        )
        assert "The tool get_weather answered: sunny" in answer.choices[0].message.content
        stream = await client.chat.completions.create(
            model="scripted:demo", messages=user("Weather?"), tools=[WEATHER], stream=True
        )
        calls, finish = [], None
        async for chunk in stream:
            calls += chunk.choices[0].delta.tool_calls or []
            finish = chunk.choices[0].finish_reason or finish
        assert [each.function.name for each in calls] == ["get_weather"]
        assert finish == "tool_calls"


async def test_the_agents_own_tools_run_here(serving, client_of):
    """A client sees only the answer; its own tools beside them still come back."""
    shop = Agent("shop", model="scripted:demo", tools=[opening_hours])
    async with serving(shop) as service, client_of(service) as client:
        answer = await client.chat.completions.create(model="agent:shop", messages=user("Open?"))
        assert "nine to five" in answer.choices[0].message.content
        mixed = await client.chat.completions.create(
            model="scripted:demo?tool=get_weather", messages=user("Weather?"), tools=[WEATHER]
        )
        assert mixed.choices[0].finish_reason == "tool_calls"


async def test_parallel_calls_can_be_refused(serving, client_of):
    """parallel_tool_calls=false gives one call at a time."""
    async with serving() as service, client_of(service) as client:
        for parallel, count in ((True, 3), (False, 1)):
            answer = await client.chat.completions.create(
                model="scripted:demo?tools=3",
                messages=user("Weather?"),
                tools=[WEATHER],
                parallel_tool_calls=parallel,
            )
            assert len(answer.choices[0].message.tool_calls) == count


@pytest.mark.parametrize(
    ("model", "error"),
    [
        ("agent:nobody", openai.NotFoundError),
        ("nobody", openai.NotFoundError),
        ("nowhere:model", openai.NotFoundError),
        ("openai:gpt-4o", openai.InternalServerError),
        ("scripted:echo?fault=status429", openai.RateLimitError),
        ("scripted:echo?fault=status500", openai.InternalServerError),
        ("scripted:echo?fault=context", openai.UnprocessableEntityError),
        ("scripted:tokens?fault=cut@0", openai.InternalServerError),
    ],
)
@pytest.mark.parametrize("streams", [True, False])
async def test_what_fails_before_the_first_word_has_a_status(
    serving, client_of, model, error, streams
):
    """Also where a stream was asked for: its head waits for the first word."""
    async with serving() as service, client_of(service) as client:
        with pytest.raises(error):
            await client.chat.completions.create(model=model, messages=user("x"), stream=streams)


async def test_what_fails_in_the_stream_is_an_error_and_no_text(serving, client_of):
    """The client raises; nothing that looks like an end has come."""
    async with serving() as service, client_of(service) as client:
        stream = await client.chat.completions.create(
            model="scripted:tokens?fault=cut@5&itl=20ms", messages=user("x"), stream=True
        )
        finish = None
        with pytest.raises(openai.APIError):
            async for chunk in stream:
                finish = chunk.choices[0].finish_reason or finish
        assert finish is None


@pytest.mark.parametrize(
    "more",
    [
        {"n": 2},
        {"logprobs": True},
        {"functions": [{"name": "f"}]},
        {"tool_choice": {"type": "function", "function": {"name": "absent"}}},
        {"messages": [{"role": "assistant", "content": "x"}]},
        {"messages": [{"role": "tool", "tool_call_id": "x", "content": "y"}]},
        {"messages": user("")},
        {"temperature": 3},
        {"tools": [WEATHER, WEATHER]},
    ],
)
async def test_what_cannot_be_served_is_refused(serving, client_of, more):
    """Rather than answered as if it had not been asked."""
    async with serving() as service, client_of(service) as client:
        with pytest.raises((openai.UnprocessableEntityError, openai.BadRequestError)):
            await client.post(
                "/chat/completions",
                body={"model": "scripted:echo", "messages": user("x"), **more},
                cast_to=object,
            )


async def test_the_client_retries_as_it_is_told(serving, client_of):
    """A refusal for now comes with retry-after-ms, which OpenAI's client obeys."""
    async with serving() as service:
        service.app.desk.facade_turns = 10_000

        async def free():
            await trio.sleep(0.3)
            service.app.desk.facade_turns = 0

        async with client_of(service).with_options(max_retries=2) as client:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(free)
                answer = await client.chat.completions.create(
                    model="scripted:echo", messages=user("x")
                )
    assert answer.choices[0].message.content == "x"


async def test_embeddings(serving, client_of):
    """As numbers and as base64, which is what the client asks for by itself."""
    async with serving() as service, client_of(service) as client:
        given = await client.embeddings.create(model="scripted:demo", input=["a", "b"])
        plain = await client.embeddings.create(
            model="scripted:demo", input="a", encoding_format="float"
        )
        assert [each.index for each in given.data] == [0, 1]
        assert given.data[0].embedding == pytest.approx(plain.data[0].embedding, abs=1e-6)
        for wrong in ([[1, 2]], [""]):
            with pytest.raises(openai.UnprocessableEntityError):
                await client.embeddings.create(model="scripted:demo", input=wrong)
        with pytest.raises(openai.InternalServerError):
            await client.embeddings.create(model="agent:assistant", input="a")


async def test_responses_go_on_from_one_another(serving, client_of):
    """previous_response_id is the conversation before, from any response of it."""
    async with serving() as service, client_of(service) as client:
        first = await client.responses.create(model="scripted:echo", input="one")
        second = await client.responses.create(
            model="scripted:echo", input="two", previous_response_id=first.id
        )
        branch = await client.responses.create(
            model="scripted:echo", input="other", previous_response_id=first.id
        )
        assert [each.output_text for each in (first, second, branch)] == ["one", "two", "other"]
        assert second.usage.input_tokens == branch.usage.input_tokens > first.usage.input_tokens
        assert (await client.responses.retrieve(first.id)).output_text == "one"
        await client.responses.delete(first.id)
        unkept = await client.responses.create(model="scripted:echo", input="x", store=False)
        for gone in (first.id, unkept.id, "resp_nothing"):
            with pytest.raises(openai.NotFoundError):
                await client.responses.create(
                    model="scripted:echo", input="x", previous_response_id=gone
                )


async def test_responses_stream_through_the_clients_own_parser(serving, client_of):
    """The helper that assembles a response from its events comes to the same as the last one."""
    tool_of = {**WEATHER["function"], "type": "function"}
    async with serving() as service, client_of(service) as client:
        async with client.responses.stream(model="scripted:echo", input="a b c") as stream:
            types = [event.type async for event in stream]
            final = await stream.get_final_response()
        assert final.output_text == "a b c"
        assert types[0] == "response.created"
        assert types[-1] == "response.completed"
        async with client.responses.stream(
            model="scripted:demo", input="w", tools=[tool_of]
        ) as stream:
            types = [event.type async for event in stream]
            final = await stream.get_final_response()
        (call,) = final.output
        assert call.name == "get_weather"
        answer = await client.responses.create(
            model="scripted:demo",
            input=[{"type": "function_call_output", "call_id": call.call_id, "output": "rain"}],
            tools=[tool_of],
            previous_response_id=final.id,
        )
        assert "rain" in answer.output_text


async def test_a_response_that_fails_in_its_stream_says_so(serving, client_of):
    """The last event is response.failed, with the error in it."""
    async with serving() as service, client_of(service) as client:
        stream = await client.responses.create(
            model="scripted:tokens?fault=cut@5&itl=20ms", input="x", stream=True
        )
        events = [event async for event in stream]
    assert events[-1].type == "response.failed"
    assert events[-1].response.error.message
