"""``actrio doctor``: what is configured, what is missing, and how to set it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
import resource
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final, Literal

import attrs
import trio

from actrio.cli._folders import data_folder, is_writable
from actrio.cli._interrupt import Interruption, until_interrupted
from actrio.cli._outlet import Outlet
from actrio.cli._providers import Answered, probe
from actrio.cli._who import fallback_model
from actrio.errors import ActrioError
from actrio.providers import ProviderStatus
from actrio.providers.local import BUNDLED_MODELS, find_model, installed_models
from actrio.runtime import LoadedSettings, Runtime, Settings, load_settings, open_runtime
from actrio.telemetry import redact
from actrio.wire import json_line

if TYPE_CHECKING:
    from actrio.cli._app import Common

__all__ = ["Check", "examine"]

EXIT_NOT_CONFIGURED: Final = 78
EXIT_UNREACHABLE: Final = 69

DESCRIPTORS_BESIDE: Final = 64
"""Open files that a process needs besides its connections: libraries, pipes, logs."""

_BUILT_IN: Final = frozenset({"local", "scripted"})


@attrs.frozen(slots=True)
class Check:
    """One finding. ``missing`` is a choice not made, ``failed`` is something wrong."""

    name: str
    state: Literal["ok", "missing", "failed"]
    detail: str
    remedy: str | None = None


async def examine(*, online: bool, as_json: bool, common: Common) -> int:
    """Print the findings; 0 where the default model can answer, 78 where something is missing.

    With ``online``, 69 where the default model's provider could not be reached.
    """
    return await until_interrupted(
        partial(_examine, Outlet(), online=online, as_json=as_json, common=common)
    )


async def _examine(
    outlet: Outlet, _interruption: Interruption, *, online: bool, as_json: bool, common: Common
) -> int:
    checks = [_versions(), _platform()]
    try:
        loaded = load_settings(config=common.config)
    except ActrioError as error:
        checks.append(Check("settings", "failed", error.message, error.remedy))
        checks.append(Check("default model", "failed", "unknown while the settings are wrong"))
        await _print(outlet, checks, as_json=as_json)
        return EXIT_NOT_CONFIGURED
    checks.append(_files(loaded))
    async with open_runtime(loaded.settings, env=loaded.env) as runtime:
        statuses = {status.name: status for status in runtime.connections.status()}
        model = _default_model(loaded, statuses)
        checks.append(model)
        checks += [_provider(status) for status in statuses.values()]
        if online:
            checks += await _reachable(runtime, statuses)
    checks += [*_local(loaded.env), _data_folder(loaded.env), _descriptors(loaded.settings)]
    await _print(outlet, checks, as_json=as_json)
    if model.state != "ok":
        return EXIT_NOT_CONFIGURED
    reached = f"reach {(loaded.settings.model or '').partition(':')[0]}"
    return EXIT_UNREACHABLE if _has_failed(checks, reached) else 0


def _has_failed(checks: Sequence[Check], name: str) -> bool:
    return any(check.name == name and check.state == "failed" for check in checks)


# -- findings ------------------------------------------------------------------------------------


def _versions() -> Check:
    parts = [f"{name} {importlib.metadata.version(name)}" for name in ("actrio", "trio", "httpx")]
    return Check("versions", "ok", ", ".join([*parts, f"Python {platform.python_version()}"]))


def _platform() -> Check:
    system = platform.system()
    if system in {"Linux", "Darwin"}:
        return Check("platform", "ok", f"{platform.platform()}, supported")
    return Check(
        "platform",
        "missing",
        f"{platform.platform()}, not tested",
        "Linux and macOS are supported.",
    )


def _files(loaded: LoadedSettings) -> Check:
    read = ", ".join(str(path) for path in loaded.files)
    return Check("settings", "ok", f"read {read}" if read else "no file; the defaults hold")


def _default_model(loaded: LoadedSettings, statuses: Mapping[str, ProviderStatus]) -> Check:
    name = "default model"
    model = loaded.settings.model
    if model is None:
        return Check(name, "ok", f"{fallback_model(loaded.env)[0]}, because none is set")
    status = statuses.get(model.partition(":")[0])
    if status is None:
        known = ", ".join(statuses)
        return Check(name, "failed", f"{model}: there is no such provider", f"Use one of {known}.")
    if model.startswith("local:"):
        try:
            find_model(model.removeprefix("local:"), loaded.env)
        except ActrioError as error:
            return Check(name, "failed", error.message, error.remedy)
    elif status.state != "available":
        return Check(name, "failed", f"{model}: {_state(status)}", status.remedy)
    return Check(name, "ok", model)


def _provider(status: ProviderStatus) -> Check:
    state: Literal["ok", "missing"] = "ok" if status.state == "available" else "missing"
    return Check(f"provider {status.name}", state, _state(status), status.remedy)


def _state(status: ProviderStatus) -> str:
    missing = f" ({status.missing_env} is not set)" if status.missing_env else ""
    return f"{status.state}{missing}"


def _local(env: Mapping[str, str]) -> Iterator[Check]:
    if importlib.util.find_spec("xllamacpp") is None:
        yield Check(
            "local extra", "missing", "llama.cpp is not installed", "pip install 'actrio[local]'"
        )
    else:
        version = importlib.metadata.version("xllamacpp")
        yield Check("local extra", "ok", f"llama.cpp by xllamacpp {version}")
    here = {model.name: model for model in installed_models(env)}
    for name in BUNDLED_MODELS:
        if name in here:
            yield Check(f"model local:{name}", "ok", str(here[name].path))
        else:
            yield Check(
                f"model local:{name}", "missing", "not installed", f"actrio model install {name}"
            )


def _data_folder(env: Mapping[str, str]) -> Check:
    folder = data_folder(env)
    if is_writable(folder):
        return Check("data folder", "ok", str(folder))
    return Check(
        "data folder",
        "failed",
        f"{folder} cannot be written to",
        "Make it writable, or set ACTRIO_DATA_DIR to another folder.",
    )


def _descriptors(settings: Settings) -> Check:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = max([100, *(one.max_connections for one in settings.providers.values())])
    wanted += DESCRIPTORS_BESIDE
    detail = f"{'unlimited' if soft == resource.RLIM_INFINITY else soft} (wanted: {wanted})"
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return Check("open files", "ok", detail)
    return Check(
        "open files", "failed", detail, f"Run ulimit -n {wanted}, or lower max_connections."
    )


# -- reachability --------------------------------------------------------------------------------


async def _reachable(runtime: Runtime, statuses: Mapping[str, ProviderStatus]) -> list[Check]:
    """Ask every configured provider at once; the answers keep the providers' order."""
    names = [
        name
        for name, status in statuses.items()
        if status.state == "available" and name not in _BUILT_IN
    ]
    found: dict[str, Check] = {}

    async def ask(name: str) -> None:
        found[name] = _reached(name, await probe(runtime, name))

    async with trio.open_nursery() as nursery:
        for name in names:
            nursery.start_soon(ask, name)
    return [found[name] for name in names]


def _reached(name: str, answer: Answered) -> Check:
    return Check(f"reach {name}", answer.state, answer.detail, answer.remedy)


# -- printing ------------------------------------------------------------------------------------

_MARKS: Final = {"ok": "✓", "missing": "·", "failed": "✗"}


async def _print(outlet: Outlet, checks: list[Check], *, as_json: bool) -> None:
    if as_json:
        told = {
            "ok": all(check.state == "ok" for check in checks if check.name == "default model"),
            "checks": [attrs.asdict(check) for check in checks],
        }
        await outlet.answer(redact(json_line(told).decode()))
        return
    for check in checks:
        lines = [f"{_MARKS[check.state]} {check.name:<22} {check.detail}"]
        if check.remedy and check.state != "ok":
            lines.append(f"    → {check.remedy}")
        await outlet.answer(redact("\n".join(lines)) + "\n")
