"""actrio, whole: for each turn a fresh session actor, filters on the path, the turn's feed, a journal.

A session without an id is recorded in memory and forgotten with its block; only one with an id is
in the embedded store, so that row names each of its sessions. The collector is tuned as the programs
of actrio tune it, and as `actrio.runtime.tune_collector` advises whoever owns the process.
"""

from __future__ import annotations

from typing import Any

from bench.peers.harness import Heard, Meter
from bench.peers.work import MODEL, get_weather, prompt

meter = Meter("actrio", "actrio", "trio", "httpx", "httpx2", "httptools", "msgspec")
with meter.importing():
    import trio

    from actrio import (
        Agent,
        ItemDelta,
        Limits,
        ModelInput,
        ProviderSettings,
        Runtime,
        Settings,
        TurnFailed,
        TurnResult,
        after_agent,
        before_model,
        open_runtime,
    )
    from actrio.runtime import tune_collector


@before_model
def look_at_call(call: ModelInput) -> None:
    """Stand on the model's path and change nothing."""
    assert call.messages


@after_agent
def look_at_result(result: TurnResult) -> None:
    """Stand on the agent's path and change nothing."""
    assert result.outcome


def store_settings() -> dict[str, Any]:
    """Return where sessions are recorded, as far as this actrio records them."""
    kind = meter.load["journal"]
    try:
        from actrio.runtime import StoreSettings
    except ImportError:
        if kind != "memory":
            meter.leave_out("this actrio has no Settings.store: sessions are not recorded yet")
        meter.facts["journal"] = "none: this actrio keeps histories in the process"
        return {}
    meter.facts["journal"] = kind
    where = {"folder": meter.load["folder"]} if kind == "embedded" else {}
    return {"store": StoreSettings(kind=kind, **where)}


async def turn(state: tuple[Runtime, Agent], number: int, heard: Heard) -> None:
    runtime, agent = state
    name = f"s{number}" if meter.load["journal"] == "embedded" else None
    async with (
        runtime.session(agent, id=name) as session,
        session.turn(prompt(number)) as running,
    ):
        async for event in running:
            if isinstance(event, ItemDelta):
                heard(event.text)
            elif isinstance(event, TurnFailed):
                raise event.result.error or RuntimeError("a turn failed without an error")


async def main() -> None:
    sessions = meter.load["sessions"]
    bench = ProviderSettings(base_url=meter.load["url"], max_connections=sessions)
    tools = [get_weather] if meter.load["tools"] else []
    agent = Agent("bench", model=f"bench:{MODEL}", tools=tools)
    settings = Settings(
        providers={"bench": bench},
        limits=Limits(turns=max(1000, sessions)),
        **store_settings(),
    )
    async with open_runtime(settings, filters=[look_at_call, look_at_result]) as runtime:
        # The first turn loads modules and certificates, which the other rows do in their setup too.
        await turn((runtime, agent), 0, Heard(meter))
        tune_collector()
        await meter.within_trio((runtime, agent), turn)


if __name__ == "__main__":
    trio.run(main)
