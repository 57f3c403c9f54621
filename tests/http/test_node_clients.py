"""Clients from npm: openai-node, and eventsource that comes back by itself."""

from __future__ import annotations

import json

import pytest
import trio

from actrio.agents import Agent
from actrio.filters import before_model
from actrio.messages import ModelInput

OPENAI = """
import OpenAI from "openai";
const client = new OpenAI({baseURL: process.argv[2], apiKey: "unused", maxRetries: 0});
const messages = [{role: "user", content: "Say this back."}];
const found = {models: [], text: "", events: []};
for await (const model of client.models.list()) found.models.push(model.id);
found.whole = (await client.chat.completions.create({model: "scripted:echo", messages}))
  .choices[0].message.content;
const stream = await client.chat.completions.create({model: "scripted:echo", messages, stream: true});
for await (const chunk of stream) found.text += chunk.choices[0]?.delta?.content ?? "";
const tools = [{type: "function", function: {name: "get_weather", parameters: {type: "object"}}}];
const called = await client.chat.completions.create({model: "scripted:demo", messages, tools});
found.call = called.choices[0].message.tool_calls[0].function.name;
const response = await client.responses.create({model: "scripted:echo", input: "One."});
found.response = response.output_text;
const responses = await client.responses.create(
  {model: "scripted:echo", input: "Two.", previous_response_id: response.id, stream: true});
for await (const event of responses) found.events.push(event.type);
try { await client.chat.completions.create({model: "agent:nobody", messages}); }
catch (error) { found.status = error.status; }
try {
  const broken = await client.chat.completions.create(
    {model: "scripted:tokens?fault=cut@5&itl=20ms", messages, stream: true});
  for await (const chunk of broken) {}
} catch (error) { found.broken = error.constructor.name; }
found.vector = (await client.embeddings.create({model: "scripted:demo", input: "a"}))
  .data[0].embedding.length;
console.log(JSON.stringify(found));
"""

EVENTSOURCE = """
import { EventSource } from "eventsource";
const source = new EventSource(process.argv[2]);
const seen = [];
// While it waits to come back it does not keep the process alive by itself.
const alive = setInterval(() => {}, 1000);
let opened = 0;
for (const type of ["turn.started", "step.started", "item.completed", "turn.completed"])
  source.addEventListener(type, (event) => seen.push(Number(event.lastEventId)));
source.addEventListener("open", () => { opened += 1; });
source.addEventListener("error", (event) => {
  if (source.readyState === EventSource.CLOSED || event.code === 204) {
    source.close();
    clearInterval(alive);
    console.log(JSON.stringify({seen, opened, code: event.code ?? null}));
  }
});
"""


AUTOCANNON = """
import autocannon from "autocannon";
const body = JSON.stringify(
  {model: "scripted:echo", messages: [{role: "user", content: "Say this."}]});
const found = await autocannon({
  url: process.argv[2] + "/chat/completions", method: "POST", body, connections: 20, amount: 400,
  headers: {"content-type": "application/json"},
  verifyBody: (told) => JSON.parse(told).choices[0].message.content === "Say this.",
});
console.log(JSON.stringify({answered: found["2xx"], others: found.non2xx, errors: found.errors,
  timeouts: found.timeouts, mismatches: found.mismatches}));
"""


async def run_node(folder, tmp_path, script, *arguments):
    """Run a module beside the installed packages and return what it printed as JSON."""
    file = folder / f"{tmp_path.name}.mjs"
    await trio.Path(file).write_text(script)
    try:
        with trio.fail_after(60):
            done = await trio.run_process(
                ["node", str(file), *arguments],
                capture_stdout=True,
                capture_stderr=True,
                check=False,
            )
    finally:
        await trio.Path(file).unlink()
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    return json.loads(done.stdout)


async def test_openai_node(serving, node_modules, tmp_path):
    """Models, chat, tools, responses, embeddings and errors through OpenAI's JavaScript client."""
    async with serving(Agent("shop")) as service:
        found = await run_node(node_modules, tmp_path, OPENAI, f"{service.url}/v1")
    assert found["models"][0] == "agent:shop"
    assert found["whole"] == found["text"] == "Say this back."
    assert found["call"] == "get_weather"
    assert found["response"] == "One."
    assert found["events"][-1] == "response.completed"
    assert found["status"] == 404
    assert found["broken"] == "APIError"
    assert found["vector"] == 64


@pytest.mark.parametrize("cut_after_bytes", [600, 900, 1500])
async def test_eventsource_comes_back_without_gap_or_duplicate(
    serving, node_modules, tmp_path, cut_after_bytes
):
    """Its connection is cut twice; with Last-Event-ID it has every number once, and 204 ends it."""
    agent = Agent("slow", model="scripted:tokens?tokens=8&itl=300ms")
    async with serving(agent) as service, service.client() as client:
        session = (await client.post("/v1/sessions", json={"agent": "slow"})).json()["session"]
        accepted = await client.post(f"/v1/sessions/{session}/turns", json={"prompt": "Go."})
        async with trio.open_nursery() as nursery:
            port = await nursery.start(cut_twice, service, cut_after_bytes)
            url = f"http://127.0.0.1:{port}{accepted.headers['location']}"
            found = await run_node(node_modules, tmp_path, EVENTSOURCE, url)
            nursery.cancel_scope.cancel()
        last = (await client.get(f"/v1/sessions/{session}")).json()["seq"]
    assert found["seen"] == list(range(1, last + 1))
    assert found["code"] == 204


async def cut_twice(service, cut_after_bytes, task_status):
    """Stand between: the first two connections end in the middle of what they carry."""
    count = 0

    async def carry(client):
        nonlocal count
        count += 1
        left = cut_after_bytes if count <= 2 else 10**9
        async with client, await service.raw() as upstream:

            async def up():
                while data := await client.receive_some(65536):
                    await upstream.send_all(data)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(up)
                while left > 0:
                    data = await upstream.receive_some(min(left, 65536))
                    if not data:
                        break
                    left -= len(data)
                    await client.send_all(data)
                nursery.cancel_scope.cancel()

    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, carry, listeners)
        task_status.started(listeners[0].socket.getsockname()[1])


async def test_an_independent_load_tool_counts_what_we_count(serving, node_modules, tmp_path):
    """Twenty connections of autocannon: each of its requests is one whole, right answer."""
    called: list[str] = []

    @before_model
    def count(call: ModelInput) -> None:
        called.append(call.caller)

    async with serving(filters=[count]) as service:
        found = await run_node(node_modules, tmp_path, AUTOCANNON, f"{service.url}/v1")
    assert found == {"answered": 400, "others": 0, "errors": 0, "timeouts": 0, "mismatches": 0}
    assert len(called) == len(set(called)) == 400  # each in a session of its own
