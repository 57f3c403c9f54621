"""Every setting of the service can be said on the command line and in the environment."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import attrs
import pytest
import trio

from actrio.errors import ConfigError
from actrio.http import HttpLimits, HttpSettings, read_http_settings
from actrio.runtime import load_settings

_OTHER = {
    "token_env": "OTHER_TOKENS",
    "token_file": "/run/tokens",
    "hosts": "a.example, b.example",
    "origins": '["https://a.example"]',
    "stream_status": "207",
    "on_disconnect": "cancel",
    "raw_models": "false",
    "rate_limit_headers": "true",
}


def _names():
    own = [each for each in attrs.fields(HttpSettings) if each.name != "limits"]
    yield from ((each.name, each.default) for each in own)
    yield from ((f"limits.{each.name}", each.default) for each in attrs.fields(HttpLimits))


@pytest.mark.parametrize(("name", "default"), [*_names()])
def test_each_setting_has_a_flag_and_a_variable(name, default):
    """Whatever is added to the settings is found here, and reaches its place by both ways."""
    text = _OTHER.get(name) or str(default + 1)
    variable = "ACTRIO_HTTP__" + name.upper().replace(".", "__")
    by_flag = read_http_settings([f"{name}={text}"])
    by_variable = read_http_settings(env={variable: text})
    assert by_flag == by_variable != HttpSettings()
    table, _, key = name.rpartition(".")
    assert getattr(by_flag.limits if table else by_flag, key) != default


@pytest.mark.parametrize("name", [name for name, _ in _names()])
def test_each_setting_is_documented(name):
    """In the table of the reference page."""
    page = Path(__file__).resolve().parents[2] / "docs" / "reference" / "http.md"
    assert f"{name.rpartition('.')[2]}`" in page.read_text()


def test_the_command_line_wins_and_the_programs_defaults_lose():
    """Flags, then the environment, then what the program sets."""
    env = {"ACTRIO_HTTP__DRAIN_SECONDS": "7", "ACTRIO_HTTP__RETRY_MS": "5"}
    found = read_http_settings(["retry_ms=6"], env, drain_seconds=1.5, raw_models=False)
    assert (found.drain_seconds, found.retry_ms, found.raw_models) == (7, 6, False)
    assert read_http_settings(["token_file=/x"]).token_file == Path("/x")
    assert read_http_settings(['token_env="X"']).token_env == "X"


@pytest.mark.parametrize(
    "text", ["nothing=1", "limits.nothing=1", "retry_ms", "retry_ms=soon", "retry_ms=0", "a.b.c=1"]
)
def test_a_wrong_setting_is_told_by_its_name(text):
    """With what to write instead."""
    with pytest.raises(ConfigError) as told:
        read_http_settings([text])
    assert text.partition("=")[0] in str(told.value)


def test_the_variables_are_no_settings_of_the_runtime(tmp_path):
    """Other commands do not stumble over them."""
    env = {"ACTRIO_HTTP__RETRY_MS": "5", "HOME": str(tmp_path)}
    assert load_settings(env=env, start=tmp_path).env["ACTRIO_HTTP__RETRY_MS"] == "5"


async def test_the_command_takes_settings(tmp_path, request_bytes, read_all):
    """A body beyond the bound that was set is 413; sessions are kept in files."""
    process = await trio.lowlevel.open_process(
        [
            *(sys.executable, "-m", "actrio", "serve", "--http", "127.0.0.1:0"),
            *("--http-set", "limits.body_bytes=60"),
        ],
        stdout=subprocess.PIPE,
        cwd=tmp_path,
        env={
            **os.environ,
            "HOME": str(tmp_path),
            "ACTRIO_DATA_DIR": str(tmp_path / "data"),
            "ACTRIO_HTTP__RATE_LIMIT_HEADERS": "true",
        },
    )
    async with process.stdout:
        port = int((await process.stdout.receive_some(1000)).decode().strip().rpartition(":")[2])
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            body = {"agent": "assistant", "id": "kept"}
            await stream.send_all(request_bytes("POST", "/v1/sessions", body))
            answer = await stream.receive_some(65536)
            assert b" 201 " in answer
            assert b'ratelimit: "calls";r=1023\r\n' in answer
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            body = {"agent": "assistant", "id": "k" * 100}
            await stream.send_all(request_bytes("POST", "/v1/sessions", body))
            assert b" 413 " in await stream.receive_some(65536)
        process.send_signal(signal.SIGTERM)
        with trio.fail_after(5):
            await process.wait()
    assert any((tmp_path / "data").rglob("*"))
