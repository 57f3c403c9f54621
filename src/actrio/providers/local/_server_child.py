"""The child process that runs a local model: ``python -I -u _server_child.py``. Not imported.

It imports nothing of actrio, because isolated mode (``-I``) keeps the parent's environment out of
it. One exchange with its parent::

    parent                                    child
      │  stdin: one JSON line, the config       │
      ├────────────────────────────────────────►│  loads the model, listens
      │  stdout: {"address": …} or {"error": …} │
      │◄────────────────────────────────────────┤
      │  stdin stays open                       │  serves HTTP on loopback
      │  stdin closes, whatever the cause       │
      ├────────────────────────────────────────►│  is gone

The held pipe is the leash. The kernel closes it when the parent ends, also by SIGKILL, so nothing
stays behind. The parent-death signal would not do: it fires when the *thread* that started the
child ends, and Trio starts processes from worker threads. Loading a model holds the interpreter's
lock, for seconds with a large one, so a thread that waits on the pipe is not enough: the pipe is
also told to send SIGIO, whose default action ends the process without asking the interpreter.
"""

from __future__ import annotations

import fcntl
import http.client
import json
import os
import select
import sys
import threading
from typing import IO, Any
from urllib.parse import urlsplit

PROMPT_CACHE_MEBIBYTES = 128
"""Memory for prompts of conversations that have no slot now; llama.cpp's own default is 8 GiB."""

WARNINGS_AND_ERRORS = 2
"""The log level: enough for a failure's cause, no line per request."""

PROPS_BYTES_MAX = 1024 * 1024
"""Largest description of a model; it holds the chat template, at most some tens of KiB."""


def main() -> None:
    """Read the config, start the server, tell its address, serve until stdin closes."""
    told = private_stdout()
    config = json.loads(sys.stdin.buffer.readline() or b"null")
    if config is None:
        return  # the parent was gone before it could say anything
    put_on_leash()
    try:
        answer = start(config)
    except ImportError as error:
        answer = {"error": str(error), "cause": "import"}
    except Exception as error:  # whatever it is, the parent must be told its text
        answer = {"error": f"{type(error).__name__}: {error}", "cause": "start"}
    told.write(json.dumps(answer).encode() + b"\n")
    told.close()
    if "error" not in answer:
        threading.Event().wait()


def private_stdout() -> IO[bytes]:
    """Keep stdout for the one answer; whatever the library prints goes nowhere."""
    kept = os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
    return kept


def put_on_leash() -> None:
    """End this process as soon as stdin closes."""
    fcntl.fcntl(0, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(0, fcntl.F_SETFL, fcntl.fcntl(0, fcntl.F_GETFL) | os.O_ASYNC)
    # It may have closed before it could send a signal.
    if select.select([0], [], [], 0)[0]:
        os._exit(0)
    threading.Thread(target=end_with_stdin, daemon=True).start()


def end_with_stdin() -> None:
    """Wait for the end of stdin, where the system sends no SIGIO for a pipe."""
    while os.read(0, 4096):
        pass
    os._exit(0)


def start(config: dict[str, Any]) -> dict[str, Any]:
    """Start the server and return what the parent wants to know of it."""
    global server  # it lives as long as the process
    sys.path.append(config["import_folder"])
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = config["model_path"]
    params.model_alias = [config["model_name"]]
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [config["api_key"]]
    params.n_ctx = config["context_tokens"] * config["parallel"]  # it divides by n_parallel
    params.n_parallel = config["parallel"]
    params.cpuparams.n_threads = config["threads"]
    params.cpuparams_batch.n_threads = config["threads"]
    params.cache_ram_mib = PROMPT_CACHE_MEBIBYTES
    params.verbosity = WARNINGS_AND_ERRORS
    params.warmup = False
    # Chat goes on as before; without a pooling type of its own a chat model's vectors are means.
    params.embedding = True
    params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    params.ui = False
    params.offline = True
    server = xllamacpp.Server(params)
    address = server.listening_address
    props = describe(address, config["api_key"])
    return {
        "address": address,
        "native_tools": bool(props.get("chat_template_caps", {}).get("supports_tools")),
        "context_tokens": props.get("default_generation_settings", {}).get("n_ctx", 0),
    }


def describe(address: str, api_key: str) -> dict[str, Any]:
    """Ask the server what its model can do. It tells by running the chat template."""
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=30)
    try:
        connection.request("GET", "/props", headers={"Authorization": f"Bearer {api_key}"})
        response = connection.getresponse()
        body = response.read(PROPS_BYTES_MAX)
        if response.status != http.HTTPStatus.OK:
            raise OSError(f"/props answered {response.status}")
    finally:
        connection.close()
    props: dict[str, Any] = json.loads(body)
    return props


server: Any = None

if __name__ == "__main__":
    main()
