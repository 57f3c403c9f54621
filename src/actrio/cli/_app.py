"""The commands as a person sees them. Each imports what it does only when it is called."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final, Literal

import attrs
import cyclopts
from cyclopts import App, Group, Parameter

__all__ = ["STANDARD_INPUT", "Common", "Who", "make_app"]

EPILOGUE = """\
Examples:
  actrio run "What is the capital of France?"
  echo "Summarise this." | actrio run -
  actrio run --agent agents/weather.toml --json "Weather in Paris?"
  actrio chat --model openai:gpt-4o-mini
  actrio doctor --online
  actrio providers --check
  actrio chat --session trip-planning
  actrio sessions show trip-planning
  actrio model install smollm2
  actrio demo
  actrio stress --sessions 200

Settings, the strongest first: flags; the environment (ACTRIO_MODEL,
ACTRIO_LIMITS__TURNS); .env; actrio.toml; the user's config.toml.

Exit codes: 0 ok, 1 failed, 2 wrong usage, 66 not found, 69 the provider
refused, 75 try again later, 78 not configured, 130 interrupted.
"""

RUN_EPILOGUE = """\
Examples:
  actrio run "What is the capital of France?"
  actrio run -m openai:gpt-4o-mini "Say hello." > hello.txt
  git diff | actrio run - --agent agents/reviewer.yaml
  actrio run --json "Say hello." | jq -r 'select(.type == "item.delta").text'
  actrio run -a my_package.agents:weather "Weather in Paris?"
  actrio run --input questions.jsonl --parallel 16 --output answers.jsonl
"""

CHAT_EPILOGUE = """\
Examples:
  actrio chat
  actrio chat -m local:smollm2
  printf 'Hello.\\nWhat did I say?\\n' | actrio chat
"""

STANDARD_INPUT: Final = "\0"
"""Stands for ``-`` behind the parser; no argument of a program can hold it."""

_everywhere = Group("Everywhere", sort_key=10)


@Parameter(name="*")
@attrs.frozen
class Common:
    """What every command takes."""

    config: Annotated[
        Path | None, Parameter(name=["--config", "-c"], env_var="ACTRIO_CONFIG", group=_everywhere)
    ] = None
    """A settings file to read in the place of the project's actrio.toml."""

    debug: Annotated[bool, Parameter(negative="", group=_everywhere)] = False
    """Show the traceback of an error."""


@Parameter(name="*")
@attrs.frozen
class Who:
    """Who answers."""

    model: Annotated[str | None, Parameter(name=["--model", "-m"])] = None
    """The model, as PROVIDER:NAME; for example openai:gpt-4o-mini, local:smollm2, scripted:demo."""

    agent: Annotated[str | None, Parameter(name=["--agent", "-a"])] = None
    """A .toml, .yaml or .json file, module:variable, or a name from actrio.toml."""

    max_steps: Annotated[int | None, Parameter(validator=cyclopts.validators.Number(gte=1))] = None
    """Model calls in one turn, at most."""

    def flags(self) -> dict[str, Any]:
        """Return what was given, shaped like the settings."""
        return {"model": self.model} if self.model else {}


_NOBODY = Who()
_COMMON = Common()


async def run(
    prompt: str | None = None,
    /,
    *,
    json: bool = False,
    session: str | None = None,
    input: str | None = None,
    parallel: Annotated[int, Parameter(validator=cyclopts.validators.Number(gte=1, lte=1000))] = 8,
    output: Path | None = None,
    who: Who = _NOBODY,
    common: Common = _COMMON,
) -> int:
    """Ask once and stream the answer to standard output; or ask many times, with --input.

    Parameters
    ----------
    prompt
        What to ask; - reads it from standard input.
    json
        Write the turn's events as JSON lines instead of text.
    session
        Go on with the session of this name, which is kept; by default nothing is kept.
    input
        A file with a prompt in each line (- is standard input): a JSON string, or an object with
        prompt and, where wanted, id, session, agent, model. Results are JSON lines in its order.
    parallel
        With --input: how many lines run at a time.
    output
        With --input: the file for the results. A run that was interrupted goes on with it.
    """
    from actrio.cli._run import RunOptions, run_as_told

    options = RunOptions(prompt, json, session, input, parallel, output)
    return await run_as_told(options, who=who, common=common)


async def chat(*, session: str | None = None, who: Who = _NOBODY, common: Common = _COMMON) -> int:
    """Talk with an agent. Ctrl-C stops the answer, /help lists the commands.

    Parameters
    ----------
    session
        Go on with the session of this name, which is kept; by default nothing is kept.
    """
    from actrio.cli._chat import chat as talk

    return await talk(session=session, who=who, common=common)


async def doctor(*, online: bool = False, json: bool = False, common: Common = _COMMON) -> int:
    """Tell what is configured, what is missing, and how to set it.

    Parameters
    ----------
    online
        Also ask every configured provider whether it can be reached.
    json
        Write one JSON object instead of text.
    """
    from actrio.cli._doctor import examine

    return await examine(online=online, as_json=json, common=common)


async def providers(*, check: bool = False, json: bool = False, common: Common = _COMMON) -> int:
    """List the providers: whether each can be used, what is missing, and what it can do.

    Parameters
    ----------
    check
        Also make one cheap call to each that is available.
    json
        Write one JSON object instead of text.
    """
    from actrio.cli._providers import show_providers

    return await show_providers(check=check, as_json=json, common=common)


async def contract(
    folder: Path,
    /,
    *,
    provider: str | None = None,
    json: bool = False,
    emit: Path | None = None,
    threshold: Annotated[float, Parameter(validator=cyclopts.validators.Number(gte=0, lte=1))] = (
        0.95
    ),
    seed: int = 0,
    common: Common = _COMMON,  # noqa: ARG001 - read at the edge
) -> int:
    """Replay recorded traffic through the real connection, and tell how much of it matches.

    Parameters
    ----------
    folder
        Where the exchanges are: JSON files of schema llm-exchange/1, also in folders below.
    provider
        Replay only this provider's.
    json
        Write one JSON object instead of text.
    emit
        A file to write the results to, one JSON line for each exchange.
    threshold
        The share that must match, of all and of each provider; below it the exit code is 1.
    seed
        Of the random cuts of each answer.
    """
    from actrio.cli._contract import check_contract

    return await check_contract(
        folder, provider=provider, as_json=json, emit=emit, threshold=threshold, seed=seed
    )


async def demo(
    *,
    seconds: Annotated[float, Parameter(validator=cyclopts.validators.Number(gt=0, lte=3600))] = 10,
    sessions: Annotated[
        int, Parameter(validator=cyclopts.validators.Number(gte=1, lte=5000))
    ] = 100,
    common: Common = _COMMON,
) -> int:
    """Show the main job: a real local model with a tool, then many sessions at once, a report.

    Parameters
    ----------
    seconds
        How long the sessions go on.
    sessions
        How many run at the same time.
    """
    from actrio.cli._demo import demonstrate

    return await demonstrate(seconds=seconds, sessions=sessions, common=common)


async def serve(
    *,
    stdio: bool = False,
    on_eof: Literal["drain", "cancel"] = "drain",
    max_line: Annotated[
        int, Parameter(validator=cyclopts.validators.Number(gte=1024, lte=2**30))
    ] = 4 * 1024 * 1024,
    stall_timeout: Annotated[
        float, Parameter(validator=cyclopts.validators.Number(gt=0, lte=86_400))
    ] = 300,
    log_file: Path | None = None,
    http: str | None = None,
    http_token_file: Path | None = None,
    http_set: tuple[str, ...] = (),
    common: Common = _COMMON,
) -> int:
    """Serve other programs: JSON-RPC over standard input and output, or HTTP.

    Parameters
    ----------
    stdio
        Serve on standard input and output: JSON-RPC, one message per line.
    on_eof
        What becomes of running turns when the input ends.
    max_line
        Longest line that is read, in bytes.
    stall_timeout
        Seconds that a write may make no progress before the client counts as gone.
    log_file
        Where the log goes; by default stdio.jsonl in the user's state folder.
    http
        Serve over HTTP at this address, for example 127.0.0.1:8080; port 0 takes a free one.
        Its address is printed. Any but loopback needs a token, in ACTRIO_HTTP_TOKEN.
    http_token_file
        A file with one bearer token per line, beside those of the variable.
    http_set
        A setting of the HTTP service as name=value, for example limits.body_bytes=1000000; may be
        given several times. ACTRIO_HTTP__LIMITS__BODY_BYTES in the environment says the same.
    """
    if http is not None and not stdio:
        from actrio.cli._serve_http import HttpOptions, serve_over_http

        return await serve_over_http(HttpOptions(http, http_token_file, http_set), common=common)
    from actrio.cli._serve import StdioOptions
    from actrio.cli._serve import serve as serve_clients

    options = StdioOptions(on_eof, max_line, stall_timeout, log_file)
    return await serve_clients(stdio=options if stdio else None, common=common)


async def acp(*, log_file: Path | None = None, who: Who = _NOBODY, common: Common = _COMMON) -> int:
    """Serve an editor: the Agent Client Protocol on standard input and output.

    Parameters
    ----------
    log_file
        Where the log goes; by default acp.jsonl in the user's state folder.
    """
    from actrio.cli._acp import serve_editor

    return await serve_editor(log_file=log_file, who=who, common=common)


async def model_install(name: str, /, *, quiet: bool = False, common: Common = _COMMON) -> int:  # noqa: ARG001 - read at the edge
    """Install a bundled model into the user's data folder and verify it.

    Parameters
    ----------
    name
        Which one; actrio model list shows them.
    quiet
        Say nothing unless it fails.
    """
    from actrio.cli._model import install

    return await install(name, quiet=quiet)


async def model_list(*, common: Common = _COMMON) -> int:  # noqa: ARG001 - read at the edge
    """List the bundled models and what is installed."""
    from actrio.cli._model import show

    return await show()


def make_app(version: str) -> App:
    """Return the command line's grammar."""
    from actrio.cli._schema import make_schema_app
    from actrio.cli._sessions_app import make_sessions_app
    from actrio.cli._stress import make_stress_app

    app = App(
        name="actrio",
        help="Supervised agents on Trio, from the command line.",
        help_epilogue=EPILOGUE,
        help_format="plaintext",
        version=version,
        version_flags=["--version", "-V"],
        help_flags=["--help", "-h"],
        result_action="return_value",
        default_parameter=Parameter(negative=""),
    )
    app.command(run, help_epilogue=RUN_EPILOGUE)
    app.command(chat, help_epilogue=CHAT_EPILOGUE)
    for command in (doctor, providers, contract, demo, serve, acp):
        app.command(command, help_epilogue="")
    model = App(
        name="model",
        help="Models on this machine.",
        help_epilogue="",
        default_parameter=Parameter(negative=""),
    )
    model.command(model_install, name="install")
    model.command(model_list, name="list")
    app.command(model)
    app.command(make_schema_app())
    app.command(make_sessions_app())
    app.command(make_stress_app())
    return app
