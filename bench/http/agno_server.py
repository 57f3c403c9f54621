"""Agno's AgentOS with one agent, no database, telemetry off, under uvicorn with uvloop.

Runs in an environment of its own; ``python -m bench.http.agno_server PROVIDER_URL`` prints its port.
"""

from __future__ import annotations

import os
import socket
import sys

os.environ["AGNO_TELEMETRY"] = "false"

import uvicorn
from agno.agent import Agent
from agno.models.openai.like import OpenAILike
from agno.os import AgentOS

from bench.peers.work import MODEL


def main() -> None:
    model = OpenAILike(id=MODEL, base_url=f"{sys.argv[1]}/v1", api_key="none")
    agent = Agent(id="bench", name="bench", model=model, telemetry=False)
    app = AgentOS(agents=[agent], telemetry=False).get_app()
    listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
    sys.stdout.write(f"{listener.getsockname()[1]}\n")
    sys.stdout.flush()
    config = uvicorn.Config(app, log_level="critical", access_log=False)
    uvicorn.Server(config).run(sockets=[listener])


main()
