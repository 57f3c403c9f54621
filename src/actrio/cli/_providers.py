"""``actrio providers``: which there are, what they can do, and whether they work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal

import attrs
import trio

from actrio.cli._interrupt import Interruption, until_interrupted
from actrio.cli._outlet import Outlet
from actrio.errors import ActrioError, ProviderError, ProviderUnreachable
from actrio.messages import ModelInput, ModelOptions, user_message
from actrio.providers import ProviderStatus
from actrio.runtime import Runtime, load_settings, open_runtime
from actrio.telemetry import redact
from actrio.wire import json_line

if TYPE_CHECKING:
    from actrio.cli._app import Common

__all__ = ["Answered", "probe", "show_providers"]

EXIT_FAILED: Final = 1

CHECK_SECONDS: Final = 20.0
"""How long one provider may take to answer at all; people wait for the result."""

PROBE_MODEL: Final = "actrio-check"
"""No vendor has it. That it is refused comes after a wrong key is, and costs nothing."""

_BUILT_IN: Final = {"local", "scripted"}


@attrs.frozen(slots=True)
class Answered:
    """What a provider said to one cheap call."""

    state: Literal["ok", "failed"]
    detail: str
    remedy: str | None = None


async def show_providers(*, check: bool, as_json: bool, common: Common) -> int:
    """Print every provider; 1 where a checked one does not work."""
    return await until_interrupted(
        partial(_show, Outlet(), check=check, as_json=as_json, common=common)
    )


async def _show(
    outlet: Outlet, _interruption: Interruption, *, check: bool, as_json: bool, common: Common
) -> int:
    loaded = load_settings(config=common.config)
    async with open_runtime(loaded.settings, env=loaded.env) as runtime:
        statuses = runtime.connections.status()
        answers = await _check_all(runtime, statuses) if check else {}
    if as_json:
        told = json_line({"providers": [_as_json(one, answers) for one in statuses]})
        await outlet.answer(redact(told.decode()))
    else:
        lines = [line for status in statuses for line in _lines(status, answers.get(status.name))]
        await outlet.answer(redact("".join(f"{line}\n" for line in lines)))
    return EXIT_FAILED if any(one.state == "failed" for one in answers.values()) else 0


# -- one cheap call --------------------------------------------------------------------------------


async def _check_all(
    runtime: Runtime, statuses: Sequence[ProviderStatus]
) -> Mapping[str, Answered]:
    """Ask every provider that is available, all at once."""
    answers: dict[str, Answered] = {}

    async def ask(name: str) -> None:
        answers[name] = await probe(runtime, name)

    async with trio.open_nursery() as nursery:
        for status in statuses:
            if status.state == "available" and status.name not in _BUILT_IN:
                nursery.start_soon(ask, status.name)
    return answers


async def probe(runtime: Runtime, name: str) -> Answered:
    """Ask provider ``name`` for one token of a model that does not exist.

    A refusal of the model shows that the way, the certificates, the proxy and the key are right.
    A server that does not care what the model is called answers with one token.
    """
    request = ModelInput(
        model=PROBE_MODEL,
        messages=(user_message("ping"),),
        options=ModelOptions(max_tokens=1),
        stream=False,
        fallback=False,
    )
    with trio.move_on_after(CHECK_SECONDS):
        try:
            connection, _ = await runtime.connections.open(f"{name}:{request.model}")
            async with connection.stream(request) as stream:
                async for _ in stream:
                    pass
        except ProviderUnreachable as error:
            return Answered("failed", error.message, error.remedy)
        except ProviderError as error:
            return _refused(error)
        except ActrioError as error:
            return Answered("failed", error.message, error.remedy)
        return Answered("ok", "it answers")
    return Answered(
        "failed", f"no answer within {CHECK_SECONDS:g} s", "Check the network and base_url."
    )


def _refused(error: ProviderError) -> Answered:
    if error.category in {"auth", "quota"}:
        return Answered("failed", f"it refuses the key: {error.message}", error.remedy)
    if error.category in {"not_found", "invalid_request"}:
        return Answered("ok", "it answers, and takes the key")
    return Answered("failed", error.message, error.remedy)


# -- printing --------------------------------------------------------------------------------------

_MARKS: Final = {"available": "✓", "not-configured": "·", "disabled": "-"}


def _lines(status: ProviderStatus, answered: Answered | None) -> list[str]:
    missing = f" ({status.missing_env} is not set)" if status.missing_env else ""
    mark = "✗" if answered is not None and answered.state == "failed" else _MARKS[status.state]
    lines = [f"{mark} {status.name:<12} {status.state}{missing}"]
    if status.can:
        lines.append(f"    {', '.join(status.can)}")
    if status.remedy and status.state != "available":
        lines.append(f"    → {status.remedy}")
    if answered is not None:
        lines.append(f"    checked: {answered.detail}")
        if answered.remedy and answered.state == "failed":
            lines.append(f"    → {answered.remedy}")
    return lines


def _as_json(status: ProviderStatus, answers: Mapping[str, Answered]) -> dict[str, Any]:
    answered = answers.get(status.name)
    return {
        **attrs.asdict(status),
        "checked": attrs.asdict(answered) if answered is not None else None,
    }
