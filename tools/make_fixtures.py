"""Record an exchange file (``llm-exchange/1``) from one real call, or check the recorded ones.

    python tools/make_fixtures.py --record PROVIDER:MODEL --out FILE [--prompt TEXT] [--stream] [--tool]
    python tools/make_fixtures.py [--model-version VERSION] [--provider NAME] [--folder FOLDER]

The first form makes one call through the connection that programs use, keeps the request and the
raw answer, takes every secret out of them, and writes them with what the connection read as
``expected``. Nothing is written that does not decode to the same again. Keys are found as actrio
finds them: in the environment, ``.env`` and ``actrio.toml``. ``scripted:MODEL`` is asked over a
loopback server of its own.

The second form decodes each file of FOLDER (``fixtures/exchanges`` by default) again and compares.
A file that was made with another version of the model than VERSION is named and passed over.

What is recorded here is *our own* reading: it tells when that reading changes, and nothing about
whether it is what the vendor means. Recordings with another reader are `actrio contract`'s work.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import re
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlsplit, urlunsplit

import attrs
import trio

from actrio import __version__
from actrio.actors import open_actor_system
from actrio.errors import ActrioError, ContextWindowExceeded, InvalidRequest, ProviderError
from actrio.messages import Delta, ModelInput, ModelOptions, ToolSpec, user_message
from actrio.providers import (
    Answer,
    Connections,
    HttpLibrary,
    ProviderSettings,
    load_http,
    split_model,
)
from actrio.providers._catalog import CATALOG
from actrio.providers.contract import load_exchanges, replay
from actrio.providers.contract._exchange import FILE_BYTES_MAX, SCHEMA
from actrio.providers.contract._result import Result, from_error, from_output
from actrio.runtime import load_settings
from actrio.telemetry import redact
from actrio.testing import ScriptedServer

ROOT: Final = Path(__file__).resolve().parents[1]
FOLDER: Final = ROOT / "fixtures" / "exchanges"
PROMPT: Final = "What is the capital of France? Answer in one sentence."
TOKENS_MAX: Final = 256  # a fixture is read by people

WEATHER: Final = ToolSpec(
    "get_weather",
    "Get the current weather for a city. Always use it when asked for the weather.",
    {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
)

KEPT_REQUEST: Final = re.compile(r"accept|content-type|anthropic-version")
KEPT_ANSWER: Final = re.compile(
    r"content-type|retry-after(-ms)?|(x|anthropic)-ratelimit-[a-z-]+|x-should-retry"
)
"""What is not named is left out: a header that nobody thought of may hold a secret."""

KEY_HEADERS: Final = {
    "authorization", "x-api-key", "api-key", "x-goog-api-key", "cookie",
    *(header for vendor in CATALOG.values() for header in vendor.header_env),
}  # fmt: skip
SECRET_CHARACTERS_MIN: Final = 6  # shorter is no key, and would blot out ordinary words

DECODER_NOTE: Final = (
    "Read by actrio itself, not by the vendor's client: it tells when our reading changes, "
    "not whether it is right."
)


@attrs.define
class Recorder:
    """Stands between a connection and the network, and keeps the last exchange."""

    http: HttpLibrary
    url: str = ""
    sent: bytes = b""
    sent_headers: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    status: int = 0
    headers: Mapping[str, str] = attrs.field(factory=dict)
    body: bytes = b""

    async def __call__(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Send, and give back the whole answer once it is here."""
        self.url, self.sent_headers, self.sent = url, headers, body
        settings = ProviderSettings(keepalive_seconds=0)
        local = urlsplit(url).hostname in {"127.0.0.1", "localhost"}
        tls_context = self.http.tls_context()
        async with (
            self.http.client(settings, tls_context, trust_env=not local) as client,
            self.http.post(client, url, headers=headers, body=body) as answer,
        ):
            received = b""
            async for piece in answer.pieces:
                received += piece
                if len(received) > FILE_BYTES_MAX:
                    raise InvalidRequest(
                        "The answer is too large for a file.", remedy="Ask for less."
                    )
        self.status, self.headers, self.body = answer.status, answer.headers, received
        return Answer(answer.status, answer.headers, _again(received))

    def request(self, *, stream: bool) -> dict[str, Any]:
        return {
            "method": "POST",
            "url": _shown_url(self.url),
            "stream": stream,
            "headers": _kept(self.sent_headers, KEPT_REQUEST),
            "body": json.loads(self.sent),
        }

    def response(self) -> dict[str, Any]:
        try:
            body = self.body.decode()
        except UnicodeDecodeError as error:
            raise InvalidRequest(f"The answer is no UTF-8: {error}.", remedy="Ask again.") from None
        headers = _kept(self.headers, KEPT_ANSWER)
        return {"status": self.status, "headers": headers, "body": body, "fidelity": "verbatim"}

    def secrets(self, settings: ProviderSettings) -> set[str]:
        """Return what was sent as a key or in a header of the operator's own."""
        values = {value for name, value in self.sent_headers.items() if name in KEY_HEADERS}
        bare = {value.partition(" ")[2] for value in values if " " in value}
        found = {*values, *bare, *settings.headers.values()}
        return {value for value in found if len(value) >= SECRET_CHARACTERS_MIN}


async def _again(body: bytes) -> AsyncIterator[bytes]:
    yield body


async def record(
    model: str,
    *,
    prompt: str = PROMPT,
    stream: bool = False,
    tool: bool = False,
    settings: Mapping[str, ProviderSettings],
    env: Mapping[str, str],
    name: str = "recorded",
) -> dict[str, Any]:
    """Return one call to ``model`` as an exchange, without any secret."""
    provider, model_name = split_model(model)
    call = ModelInput(
        model_name,
        (user_message(prompt),),
        tools=(WEATHER,) if tool else (),
        options=ModelOptions(max_tokens=TOKENS_MAX),
        stream=stream,
    )
    if provider != "scripted":
        return await _recorded(call, settings, env, name=name, provider=provider, through=provider)
    server = ScriptedServer()
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve)
        own = {**settings, "scripted-server": ProviderSettings(base_url=server.base_url)}
        value = await _recorded(
            call, own, env, name=name, provider=provider, through="scripted-server"
        )
        nursery.cancel_scope.cancel()
    return value


async def _recorded(
    call: ModelInput,
    settings: Mapping[str, ProviderSettings],
    env: Mapping[str, str],
    *,
    name: str,
    provider: str,
    through: str,
) -> dict[str, Any]:
    chosen = settings.get(through, ProviderSettings())
    limits = attrs.evolve(chosen.limits, retries_max=0, fallback=())  # what is kept is what is read
    chosen = attrs.evolve(chosen, limits=limits)
    own = {**settings, through: chosen} if through in {*settings, *CATALOG} else dict(settings)
    recorder = Recorder(load_http(chosen.http))
    asked, result, version = await _asked(through, call, recorder, own, env)
    if not recorder.status:
        raise InvalidRequest(
            f"{through} gave no answer to keep.", remedy="See with `actrio doctor` what it lacks."
        )
    vendor = chosen.vendor or (through if through in CATALOG else "openai")
    failed = recorder.status >= 400
    value = {
        "schema": SCHEMA,
        "id": name,
        "provider": provider,
        "api": f"{vendor}.{_interface(vendor, recorder.url)}",
        "kind": "error" if failed else "chat_stream" if call.stream else "chat",
        "model": asked,
        "source": {
            "kind": "recording",
            "recorder": "actrio",
            "recorder_version": __version__,
            "date": dt.datetime.now(dt.UTC).date().isoformat(),
            "model_version": version,
        },
        "request": recorder.request(stream=call.stream),
        "response": recorder.response(),
        "expected": _expected(result),
    }
    clean: dict[str, Any] = _scrubbed(value, recorder.secrets(chosen), env)
    return clean


async def _asked(
    through: str,
    call: ModelInput,
    recorder: Recorder,
    settings: Mapping[str, ProviderSettings],
    env: Mapping[str, str],
) -> tuple[str, Result, str]:
    """Return the model's name in the request, the result, and the model that answered."""
    async with open_actor_system() as system:
        connections = Connections(system, settings=settings, env=env, transport=recorder)
        ref, asked = await connections.open(f"{through}:{call.model}")
        deltas: list[Delta] = []
        try:
            async with ref.stream(attrs.evolve(call, model=asked)) as batches:
                async for batch in batches:
                    deltas.extend(batch)
        except (ProviderError, ContextWindowExceeded) as error:
            if not recorder.status:
                raise
            return asked, from_error("", error, deltas, status=recorder.status), asked
    output = batches.result
    return asked, from_output("", output, deltas), output.model or asked


def _interface(vendor: str, url: str) -> str:
    """Return the interface that a path belongs to, as the recordings call it."""
    path = urlsplit(url).path
    ends = {"/responses": "responses", "/messages": "messages", "/api/chat": "chat"}
    for end, interface in ends.items():
        if path.endswith(end):
            return interface
    if path.endswith("/chat/completions"):
        native = next(iter(CATALOG[vendor].dialects))
        return "chat" if native == "openai" else "openai_compat"
    return "generate"


def _shown_url(url: str) -> str:
    """Return ``url`` without a query, which may hold a key, and without a chance port."""
    parts = urlsplit(url)
    query = "alt=sse" if parts.query == "alt=sse" else ""
    return urlunsplit((parts.scheme, parts.hostname or "", parts.path, query, ""))


def _kept(headers: Mapping[str, str], named: re.Pattern[str]) -> dict[str, str]:
    return {name.lower(): told for name, told in headers.items() if named.fullmatch(name.lower())}


def _expected(result: Result) -> dict[str, Any]:
    members = {name: told for name, told in result.members().items() if name != "id"}
    for call, raw in zip(members["tool_calls"] or (), result.raw_arguments, strict=True):
        call |= {"arguments_raw": raw, "arguments_valid": call["arguments"] is not None}
    return {
        "decoder": {"name": "actrio", "version": __version__, "note": DECODER_NOTE},
        **{name: told for name, told in members.items() if told is not None},
    }


def _scrubbed(value: Any, secrets: set[str], env: Mapping[str, str]) -> Any:
    """Return ``value`` with every known secret, and every word that looks like one, taken out."""
    escaped = {json.dumps(secret)[1:-1] for secret in secrets}
    spelled = {*secrets, *escaped, *(one.replace("/", r"\/") for one in escaped)}
    spelled |= {quote(secret, safe="") for secret in secrets}
    ordered = sorted(spelled, key=len, reverse=True)

    def clean(one: Any) -> Any:
        if isinstance(one, str):
            for secret in ordered:
                one = one.replace(secret, "[redacted]")
            return redact(one, env=env)
        if isinstance(one, list):
            return [clean(item) for item in one]
        if isinstance(one, dict):
            return {clean(name): clean(item) for name, item in one.items()}
        return one

    return clean(value)


def as_bytes(value: Mapping[str, Any]) -> bytes:
    """Return an exchange as its file."""
    return (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode()


async def differing(value: Mapping[str, Any]) -> list[str]:
    """Return the fields in which an exchange does not decode to what it says."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "one.json").write_bytes(as_bytes(value))
        (outcome,) = await replay(load_exchanges(Path(folder)))
    return [one.field for one in outcome.differences]


def record_to(path: Path, model: str, **asked: Any) -> int:
    """Record one call into ``path``; nothing is written that does not decode to the same again.

    A secret that a model repeats in several pieces cannot be taken out of them: its text then
    differs from theirs.
    """

    async def made() -> tuple[dict[str, Any], list[str]]:
        loaded = load_settings()
        settings = loaded.settings.providers
        value = await record(model, settings=settings, env=loaded.env, name=path.stem, **asked)
        return value, await differing(value)

    value, fields = trio.run(made)
    if fields:  # what they are is not shown: one may hold the secret
        print(f"{path} is not written: it decodes to something else in {', '.join(fields)}")
        return 1
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(as_bytes(value))
    version = value["source"]["model_version"]
    print(f"{path}: {value['kind']} of {value['provider']}, {version}")
    return 0


async def verify(folder: Path, *, provider: str | None = None, version: str | None = None) -> int:
    """Decode each exchange below ``folder`` again; 0 where all are read as they say."""
    exchanges = load_exchanges(folder, provider)
    versions = _versions(folder)
    others = {one.id for one in exchanges if version not in {None, versions.get(one.id)}}
    failed = 0
    for outcome in await replay([one for one in exchanges if one.id not in others]):
        failed += bool(outcome.differences)
        print(f"{'DIFFERS' if outcome.differences else 'same'}  {outcome.exchange.id}")
        for one in outcome.differences:
            print(f"  {one.field}: expected {one.expected!r}, read {one.found!r}")
        # Elsewhere the vendor's own deviations, which were not in force, would count.
        fields = outcome.request_fields if outcome.exchange.provider in CATALOG else ()
        if fields:
            print(f"  today's request differs at {', '.join(fields)}")
    for name in sorted(others):
        print(f"skipped  {name}: made with {versions.get(name, 'an unknown model')}, not {version}")
    compared = len(exchanges) - len(others)
    print(f"{compared - failed} of {compared} as recorded, {len(others)} skipped")
    return 1 if failed else 0


def _versions(folder: Path) -> dict[str, str]:
    """Return the version of the model behind each exchange, by id."""
    found = {}
    for path in folder.rglob("*.json"):
        value = json.loads(path.read_text(encoding="utf-8"))
        if value.get("schema") == SCHEMA:
            version = value.get("source", {}).get("model_version") or value.get("model", "")
            found[str(value["id"])] = str(version)
    return found


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description="Record or check exchange files.")
    parser.add_argument("--record", metavar="PROVIDER:MODEL")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--prompt", default=PROMPT)
    parser.add_argument("--stream", action="store_true")
    parser.add_argument("--tool", action="store_true", help="offer a tool")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--provider")
    parser.add_argument("--model-version", metavar="VERSION")
    given = parser.parse_args(arguments)
    if (given.record is None) != (given.out is None):
        parser.error("--record and --out belong together")
    try:
        if given.record is None:
            chosen = partial(verify, provider=given.provider, version=given.model_version)
            return trio.run(chosen, given.folder)
        return record_to(
            given.out, given.record, prompt=given.prompt, stream=given.stream, tool=given.tool
        )
    except ActrioError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
