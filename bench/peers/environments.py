"""Who runs, and in which environment: each library in one of its own, made when it is first needed.

A library that does not install is left out with the reason; nothing of it reaches actrio's own.
"""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path
from typing import Any, Final

import attrs

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parents[1]
VENVS: Final = HERE.parent / ".venvs"
INSTALL_SECONDS: Final = 600


@attrs.frozen(kw_only=True)
class Peer:
    """A row.

    Args:
        name: As it is shown.
        module: Its program, below `bench.peers.clients`.
        imports: What a program of it imports, for S5.
        requirements: Its file in ``requirements/``; None runs in actrio's own environment.
        slow: Whether a turn takes tens of milliseconds, so that windows must be longer.
        quick: Whether it runs in the quick mode.
        options: For its program.
    """

    name: str
    module: str
    imports: str
    requirements: str | None = None
    slow: bool = False
    quick: bool = False
    options: dict[str, Any] = attrs.field(factory=dict)


FLOOR: Final = "bare sockets"
RIVAL: Final = "Agno"

PEERS: Final = (
    Peer(
        name=FLOOR,
        module="bare_sockets",
        imports="import trio, httptools, orjson",
        requirements="bare",
        quick=True,
    ),
    Peer(
        name="bare httpx, a client each",
        module="bare_httpx",
        imports="import trio, httpx, orjson",
        requirements="bare",
        quick=True,
        options={"own": True},
    ),
    Peer(
        name="bare httpx, one client",
        module="bare_httpx",
        imports="import trio, httpx, orjson",
        requirements="bare",
    ),
    Peer(
        name="actrio",
        module="actrio_sessions",
        imports="from actrio import Agent, open_runtime",
        quick=True,
        options={"journal": "memory"},
    ),
    Peer(
        name="actrio, embedded journal",
        module="actrio_sessions",
        imports="from actrio import Agent, open_runtime",
        quick=True,
        options={"journal": "embedded"},
    ),
    Peer(
        name=RIVAL,
        module="agno_agent",
        imports="from agno.agent import Agent; from agno.models.openai.like import OpenAILike",
        requirements="agno",
        slow=True,
        quick=True,
    ),
    Peer(
        name="openai-agents",
        module="openai_agents",
        imports="from agents import Agent, Runner",
        requirements="openai-agents",
        slow=True,
    ),
    Peer(
        name="pydantic-ai",
        module="pydantic_ai_agent",
        imports="from pydantic_ai import Agent; from pydantic_ai.models.openai import OpenAIChatModel",
        requirements="pydantic-ai",
        slow=True,
    ),
    Peer(
        name="langgraph",
        module="langgraph_agent",
        imports="from langchain.agents import create_agent; from langchain_openai import ChatOpenAI",
        requirements="langgraph",
        slow=True,
    ),
    Peer(
        name="autogen",
        module="autogen_agent",
        imports="from autogen_agentchat.agents import AssistantAgent; "
        "from autogen_ext.models.openai import OpenAIChatCompletionClient",
        requirements="autogen",
        slow=True,
    ),
    Peer(
        name="openai SDK",
        module="openai_sdk",
        imports="from openai import AsyncOpenAI",
        requirements="openai-sdk",
        slow=True,
    ),
)


class Missing(Exception):
    """A peer cannot be run here; the text says why."""


def python_of(peer: Peer) -> Path:
    """Return the interpreter of a peer's environment, made if it is not there.

    Raises:
        Missing: It cannot be installed.
    """
    if peer.requirements is None:
        return Path(sys.executable)
    folder = VENVS / f"peers-{peer.requirements}"
    wanted = HERE / "requirements" / f"{peer.requirements}.txt"
    python = folder / "bin" / "python"
    stamp = folder / ".installed"
    if stamp.exists() and stamp.read_text() == wanted.read_text():
        return python
    print(f"installing {peer.name} into {folder} …", file=sys.stderr)
    VENVS.mkdir(parents=True, exist_ok=True)
    (VENVS / ".gitignore").write_text("*\n")
    # The files pin everything down to the last dependency, so pip has nothing to resolve.
    install = ["-m", "pip", "install", "-qq", "--disable-pip-version-check", "--no-deps"]
    try:
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run(
            [str(python), *install, "-r", str(wanted)],
            check=True,
            capture_output=True,
            timeout=INSTALL_SECONDS,
        )
    except (subprocess.SubprocessError, OSError) as error:
        raise Missing(f"does not install: {last_line(error)}") from error
    stamp.write_text(wanted.read_text())  # last, so that an interrupted install is made again
    return python


def last_line(error: BaseException) -> str:
    """Return what a program that failed said last."""
    text = getattr(error, "stderr", None) or b""
    return (text.decode(errors="replace").strip().splitlines() or [repr(error)])[-1][:300]
