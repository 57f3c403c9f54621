"""``actrio model``: the bundled models on this machine."""

from __future__ import annotations

import contextlib
import importlib.util
from functools import partial

import trio

from actrio.cli._interrupt import Interruption, until_interrupted
from actrio.cli._outlet import Outlet
from actrio.providers.local import BUNDLED_MODELS, install_model, installed_models

__all__ = ["install", "show"]

EXTRA_MISSING = "llama.cpp is not installed: pip install 'actrio[local]'"


async def install(name: str, *, quiet: bool) -> int:
    """Install one model; progress goes to standard error."""
    return await until_interrupted(partial(_install, Outlet(), name, quiet=quiet))


async def _install(outlet: Outlet, name: str, _interruption: Interruption, *, quiet: bool) -> int:
    send, receive = trio.open_memory_channel[str](16)  # a few lines in all; none is worth waiting

    def progress(line: str) -> None:
        with contextlib.suppress(trio.WouldBlock):
            send.send_nowait(line)

    async def tell() -> None:
        async for line in receive:
            if not quiet:
                await outlet.remark(line)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(tell)
        with send:
            model = await install_model(name, progress=progress)
    if not quiet:
        await outlet.answer(f"local:{model.name} is installed: {model.path}\n")
        if importlib.util.find_spec("xllamacpp") is None:
            await outlet.remark(EXTRA_MISSING)
    return 0


async def show() -> int:
    """List the bundled models."""
    outlet = Outlet()
    here = {model.name: model for model in installed_models()}
    for name, model in BUNDLED_MODELS.items():
        installed = here.get(name)
        state = str(installed.path) if installed else f"not installed: actrio model install {name}"
        megabytes = model.size_bytes / 1e6
        await outlet.answer(
            f"local:{name}  {megabytes:.0f} MB  {model.licence}  {model.summary}\n  {state}\n"
        )
    await outlet.remark("any other GGUF file: local:/path/to/model.gguf")
    if importlib.util.find_spec("xllamacpp") is None:
        await outlet.remark(EXTRA_MISSING)
    return 0
