"""Checks of a simulated world as a whole: rest, bounds, restart budgets."""

from __future__ import annotations

from collections.abc import Iterable

from actrio.testing._programs import ActorPlan, Program, Send, Step
from actrio.testing._simulation_world import PERIOD_SECONDS, World

__all__ = ["at_rest", "check_budgets", "shutdown_bound", "unquiet"]


_MOVING = ("starting", "restarting", "stopping")


def unquiet(world: World) -> list[str]:
    """Return the actors that have something in work, or waiting."""
    return [
        f"{node.path} {node.state} depth={node.mailbox.depth} line={node.mailbox.waiting_senders} "
        f"current={node.current} waits_on={node.waits_on}"
        for node in world.system.tree().walk()
        if node.mailbox is not None
        and (node.mailbox.depth or node.mailbox.waiting_senders or node.current)
    ]


def at_rest(world: World) -> bool:
    """Return whether everything is quiet; then check what must be true of a quiet world."""
    busy = any(
        life.over
        or life.controls
        or life.tasks
        or any(order.every is not None for order in life.timers.values())
        for life in world.ledger.live.values()
    )
    moving = any(node.state in _MOVING for node in world.system.tree().walk())
    if busy or moving or unquiet(world):
        return False
    _check_rest(world)
    return True


def _check_rest(world: World) -> None:
    ledger = world.ledger
    for node in world.system.tree().walk():
        if node.waits_on:
            ledger.wrong("I9", f"{node.path} is quiet and waits on {node.waits_on}")
    for path, waiting in ledger.control.items():
        if waiting > 0 and path in ledger.live and not ledger.live[path].over:
            ledger.wrong("lanes", f"{path} never heard {waiting} control messages")
    for life in ledger.live.values():
        for ref, left in life.watches.items():
            if left and ref.path in ledger.traced and ref.cell.dead:
                ledger.wrong("I12", f"{life.path} was never told of the end of {ref.path}")


def check_budgets(world: World) -> None:
    """Check I5: within any period, no more restarts than the intensity."""
    program = world.program
    for path, times in (*world.ledger.budgets, *world.ledger.restarts.items()):
        intensity = _intensity(program, path)
        if intensity is None:
            continue
        for index, at in enumerate(times):
            within = [t for t in times[: index + 1] if at - PERIOD_SECONDS < t]
            if len(within) > intensity:
                world.ledger.wrong("I5", f"{path} restarted {len(within)} times of {intensity}")
                break


def _intensity(program: Program, path: str) -> int | None:
    name = path.rsplit("/", 1)[1]
    if path.startswith("/r/"):
        return program.route.actor.intensity if program.route is not None else None
    if name.startswith("s"):
        return None  # counted with its group, or by its own window
    plan = program.actors[int(name[1:])]
    if plan.parent >= 0 and program.supervisors[plan.parent].strategy != "one_for_one":
        return program.supervisors[plan.parent].intensity
    return plan.intensity


# -- how long an end may take ------------------------------------------------------------------------


def shutdown_bound(world: World) -> float:
    """Return the virtual seconds in which everything must have ended (I6)."""
    program = world.program
    shields = _shields(program)
    plans: list[ActorPlan] = list(program.actors)
    if program.route is not None:
        plans += [program.route.actor] * program.route.addresses
    each = program.grace_seconds + shields
    return sum(plan.shutdown_seconds + 2 * each for plan in plans) + 1e-6


def _shields(program: Program) -> float:
    """Return the longest time that handlers of this program may shield themselves."""
    plans = [*program.actors, *([program.route.actor] if program.route is not None else [])]
    steps = [step for plan in plans for step in (*plan.start, *plan.stop)]
    steps += [step for sends in program.senders for send in sends for step in _steps_of(send)]
    return _shielded(steps)


def _shielded(steps: Iterable[Step]) -> float:
    total = 0.0
    for step in steps:
        if step.kind == "shield":
            total += step.seconds
        total += _shielded(step.steps)
        if step.send is not None:
            total += _shielded(_steps_of(step.send))
    return total


def _steps_of(send: Send) -> tuple[Step, ...]:
    return (*send.steps, *(_steps_of(send.between) if send.between is not None else ()))
