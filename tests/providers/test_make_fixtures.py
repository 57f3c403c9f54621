"""The program that records exchanges, and checks the recorded ones."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest

from actrio.errors import ProviderUnreachable
from actrio.messages import ModelInput, user_message
from actrio.providers import ProviderSettings
from actrio.providers._catalog import CATALOG, resolve
from actrio.providers.contract import Exchange
from actrio.providers.contract._apis import dialect_of

ROOT = Path(__file__).resolve().parents[2]
KEY = 'planted/Key+"of\\the-operator'
HEADER = "planted-header-value"
BASIC = "planted-variable-value"


@pytest.fixture(scope="session")
def tool():
    """The program as a module."""
    name = "make_fixtures"
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # attrs looks its classes' modules up
    spec.loader.exec_module(module)
    yield module
    del sys.modules[name]


@pytest.fixture
def ask(tool):
    """Record one call to an endpoint: ``value = await ask(base_url, "model")``."""

    async def recorded(base_url: str, model: str, **more):
        settings = ProviderSettings(
            base_url=base_url, api_key_env="HERE_KEY", headers={"x-tenant": HEADER}
        )
        env = {"HERE_KEY": KEY, "OTHER_SECRET": BASIC}
        return await tool.record(f"here:{model}", settings={"here": settings}, env=env, **more)

    return recorded


@pytest.fixture
def folder(tmp_path):
    """Write exchanges into a folder: ``path = folder(value, …)``."""

    def write(*values):
        for value in values:
            (tmp_path / f"{value['id']}.json").write_text(json.dumps(value))
        return tmp_path

    return write


def test_the_recorded_exchanges_are_read_as_they_say(tool, capsys):
    """Those of the project itself."""
    assert tool.main([]) == 0
    told = capsys.readouterr().out
    assert "same  scripted-chat-stream" in told
    assert "DIFFERS" not in told
    assert told.endswith(" as recorded, 0 skipped\n")


@pytest.mark.parametrize(
    ("model", "stream", "kind"),
    [
        ("tokens?tokens=3", True, "chat_stream"),
        ("tokens?tokens=3", False, "chat"),
        ("tokens?fault=status429", True, "error"),
    ],
)
async def test_what_is_recorded_decodes_to_the_same(tool, ask, server, model, stream, kind):
    """A stream, a whole answer and an error."""
    value = await ask(server.base_url, model, stream=stream)
    assert (value["kind"], value["provider"], value["api"]) == (kind, "here", "openai.chat")
    assert await tool.differing(value) == []
    assert value["response"]["body"]
    assert set(value["source"]) == {
        "kind", "recorder", "recorder_version", "date", "model_version",
    }  # fmt: skip
    assert value["expected"]["decoder"]["name"] == "actrio"


@pytest.mark.parametrize(
    ("provider", "dialect"),
    [(name, dialect) for name, vendor in CATALOG.items() for dialect in vendor.dialects],
)
async def test_the_interface_is_the_one_that_was_asked(tool, provider, dialect):
    """By its name alone the contract finds the same wire format again."""
    settings = {provider: ProviderSettings(dialect=dialect)}
    env = {CATALOG[provider].key_env[0]: "a-key-of-some-length"}
    access = resolve(provider, settings, env)
    path = access.dialect.request(ModelInput("gpt-5", (user_message("Hi"),))).path
    interface = tool._interface(provider, access.endpoint.base_url + path)
    exchange = Exchange(
        "x", provider, f"{provider}.{interface}", "chat", "", False, None, 200, {}, b"", {}
    )
    assert type(dialect_of(exchange)) is type(access.dialect)


async def test_a_tool_call_is_recorded_with_its_arguments(tool, ask, server):
    """As JSON, and as the model wrote them."""
    value = await ask(server.base_url, "demo?tool=get_weather", tool=True, stream=True)
    (call,) = value["expected"]["tool_calls"]
    assert call["name"] == "get_weather"
    assert json.loads(call["arguments_raw"]) == call["arguments"]
    assert await tool.differing(value) == []


async def test_a_planted_secret_is_nowhere_in_the_file(tool, ask, raw_server):
    """Key, header and variable: not where the server echoes them, in headers, body and errors."""
    seen = []
    spelled = [KEY, json.dumps(KEY)[1:-1], HEADER, BASIC]

    async def echo(stream, request):
        seen.append(request)
        text = f"You sent {KEY} and {HEADER}, and {BASIC} is set."
        message = {"role": "assistant", "content": text}
        body = json.dumps(
            {"model": KEY, "choices": [{"message": message, "finish_reason": "stop"}]}
        ).encode()
        head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nset-cookie: k={HEADER}\r\n"
        head += f"x-request-id: {BASIC}\r\nx-ratelimit-note: {HEADER}\r\n"
        await stream.send_all(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)

    value = await ask(await raw_server(echo), "any", prompt=f"My key is {KEY}.")
    assert KEY.encode() in seen[0]
    assert HEADER.encode() in seen[0]
    text = tool.as_bytes(value).decode()
    unescaped = json.dumps(value, ensure_ascii=False).replace('\\"', '"').replace("\\\\", "\\")
    for secret in spelled:
        assert secret not in text
        assert secret not in unescaped
        assert secret not in value["response"]["body"]
    assert "set-cookie" not in value["response"]["headers"]
    assert set(value["request"]["headers"]) <= {"accept", "content-type"}
    assert "[redacted]" in value["expected"]["text"]
    assert await tool.differing(value) == []


async def test_a_secret_in_pieces_is_not_written(tool, ask, raw_server):
    """It cannot be taken out of a stream's pieces; then the file would lie, and is refused."""

    async def spell(stream, _request):
        chunks = [{"choices": [{"delta": {"content": piece}}]} for piece in (BASIC[:9], BASIC[9:])]
        chunks.append({"choices": [{"delta": {}, "finish_reason": "stop"}]})
        body = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks)
        head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
        await stream.send_all(f"{head}{body}data: [DONE]\n\n".encode())

    value = await ask(await raw_server(spell), "any", stream=True)
    assert value["expected"]["text"] == "[redacted]"
    assert await tool.differing(value) == ["text"]


async def test_no_whole_answer_is_no_exchange(ask, server):
    """Where nobody listens, or the connection breaks off, its own error is told."""
    with pytest.raises(ProviderUnreachable):
        await ask("http://127.0.0.1:9/v1", "any")
    with pytest.raises(ProviderUnreachable):
        await ask(server.base_url, "tokens?fault=cut&tokens=9", stream=True)


async def test_a_changed_reading_is_reported(tool, ask, server, folder, capsys):
    """With the field, and by the exit status."""
    value = await ask(server.base_url, "tokens?tokens=3", stream=True)
    value["expected"]["text"] = "something else"
    assert await tool.verify(folder(value)) == 1
    told = capsys.readouterr().out
    assert "DIFFERS  recorded" in told
    assert "text: expected 'something else', read 'w1 w2 w3" in told


async def test_another_models_fixture_is_reported_and_skipped(tool, ask, server, folder, capsys):
    """Also where it would differ; those of the version are still compared."""
    old = await ask(server.base_url, "tokens?tokens=3", name="old")
    new = await ask(server.base_url, "tokens?tokens=4", name="new")
    old["source"]["model_version"] = "large-2025"
    old["expected"]["text"] = "something else"
    new["source"]["model_version"] = "large-2026"
    assert await tool.verify(folder(old, new), version="large-2026") == 0
    told = capsys.readouterr().out
    assert "same  new" in told
    assert "skipped  old: made with large-2025, not large-2026" in told
    assert "1 of 1 as recorded, 1 skipped" in told


def test_the_command_writes_a_file_that_it_reads_again(tool, tmp_path, capsys, monkeypatch):
    """From the command line, without any settings."""
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "made" / "one.json"
    assert tool.main(["--record", "scripted:echo", "--prompt", "Hi!", "--out", str(out)]) == 0
    assert json.loads(out.read_text())["expected"]["text"] == "Hi!"
    assert tool.main(["--folder", str(out.parent)]) == 0
    assert "1 of 1 as recorded" in capsys.readouterr().out


def test_a_missing_key_is_told(tool, tmp_path, capsys, monkeypatch):
    """And nothing is written."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GROQ_API_KEY", raising=False)
    out = tmp_path / "one.json"
    assert tool.main(["--record", "groq:any", "--out", str(out)]) == 1
    assert "GROQ_API_KEY" in capsys.readouterr().err
    assert not out.exists()
