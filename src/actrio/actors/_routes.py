"""Routes: actors that exist by their address alone.

A reference to a routed address holds only the address. The first message makes the cell and an
activation; an idle one is passivated, and when nothing waits in its cell and nobody watches it,
the cell is forgotten too: a sleeping actor costs nothing. What it must remember it writes down in
``on_stop``, and reads in ``on_start``.

Passivation cannot lose a message: the loop decides in one step that nothing waits, and what comes
after that decision lies in the cell and brings up the next activation as soon as this one is down.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final

import attrs
import trio

from actrio.actors._activation import Exit
from actrio.actors._cell import Cell
from actrio.actors._ref import Ref
from actrio.actors._supervisor import Supervisor
from actrio.actors._values import ChildSpec, RouteSpec, SupervisorSpec
from actrio.errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from actrio.actors._activation import Activation
    from actrio.actors._system import ActorSystem

__all__ = ["Route", "RouteStatistics", "RoutedRef"]

SWEEPS_PER_IDLE_TIME: Final = 4
"""How often within ``idle_seconds`` the idle ones are looked for: they go at most a quarter late."""

_NAME = re.compile(r"\{([a-z_][a-z0-9_]*)\}")


@attrs.frozen(slots=True, kw_only=True)
class RouteStatistics:
    """How full a route is and was."""

    resident: int
    resident_peak: int
    resident_max: int
    activations: int
    passivations: int
    starting: int


class RoutedRef(Ref[Any]):
    """An address of a route. It never keeps anything in memory, and finds its cell anew each time."""

    __slots__ = ("_name", "_route")

    def __init__(self, route: Route, name: str) -> None:
        self._route = route
        self._name = name

    @property
    def cell(self) -> Cell:
        return self._route.cell_for(self._name)

    @property
    def path(self) -> str:
        return f"{self._route.path}/{self._name}"

    def __repr__(self) -> str:
        return f"<Ref {self.path}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ref) and other.path == self.path

    def __hash__(self) -> int:
        return hash(self.path)


class Route(Supervisor):
    """The supervisor of one route's actors; each has its own restart budget, and quarantine."""

    tracks_use = True

    def __init__(self, route: RouteSpec, system: ActorSystem) -> None:
        head, *rest = route.template.strip("/").split("/")
        if not head or _NAME.search(head):
            raise InvalidRequest(
                f"The route {route.template!r} does not begin with a fixed name.",
                remedy="Write it like /sessions/{id}.",
            )
        spec = SupervisorSpec(head, on_exceeded="quarantine", stop_order="together")
        super().__init__(spec, f"/{head}", system)
        self._route = route
        self._pattern = re.compile(
            "/".join(_NAME.sub(r"(?P<\1>[^/]+)", part) for part in rest) or "(?!)"
        )
        # Cells with an activation, least recently used first.
        self._resident: OrderedDict[str, Cell] = OrderedDict()
        self._starts = trio.CapacityLimiter(route.starts_max)
        self._starting: set[Cell] = set()  # those that hold a place of it
        self._waiting: dict[Cell, trio.CancelScope] = {}  # those that wait for one
        self._resident_peak = self._activations = self._passivations = 0

    def ref(self, name: str) -> RoutedRef:
        """Return the address ``name`` below this route.

        Raises:
            InvalidRequest: It does not fit the template.
        """
        if not self._pattern.fullmatch(name):
            raise InvalidRequest(
                f"{self.path}/{name} does not fit {self._route.template}.",
                remedy="Every {name} stands for one part without a slash.",
            )
        return RoutedRef(self, name)

    def values(self, name: str) -> Mapping[str, str]:
        """Return the values of the template's names in ``name``."""
        found = self._pattern.fullmatch(name)
        assert found is not None
        return found.groupdict()

    def cell_for(self, name: str) -> Cell:
        """Return the cell at ``name``, made if it does not exist."""
        found = self._children.get(name)
        if isinstance(found, Cell):
            return found
        make, values = self._route.make, self.values(name)
        # The template's other settings, with this actor's own factory; evolve would validate anew.
        base = self._route.child or _DEFAULT
        cell = Cell(attrs.evolve(base, factory=lambda: make(values)), name, self)
        cell.state = "passive"
        cell.ref = RoutedRef(self, name)  # given away, it must not keep hold of this cell
        self._admit(name, cell)
        return cell

    def demand(self, cell: Cell) -> None:
        assert self._children.get(cell.name) is cell, "one cell for each address"
        if not self.open:
            return  # it ends, and what waits with it
        if cell.state == "passive" and cell.activation is None and not cell.dead:
            self._make_room()
            self._activations += 1
            self._resident[cell.name] = cell
            self._resident_peak = max(self._resident_peak, len(self._resident))
            self._activate(cell)

    def statistics(self) -> RouteStatistics:
        return RouteStatistics(
            resident=len(self._resident),
            resident_peak=self._resident_peak,
            resident_max=self._route.resident_max,
            activations=self._activations,
            passivations=self._passivations,
            starting=int(self._starts.borrowed_tokens),
        )

    async def sweep(self) -> None:
        """Passivate what is idle, again and again, until cancelled."""
        while True:
            period = self._route.idle_seconds / SWEEPS_PER_IDLE_TIME
            await trio.sleep(period)
            now = trio.current_time()
            idle_since = now - self._route.idle_seconds
            for cell in self.cells():
                if cell.activation is None:
                    self._forget_idle(
                        cell
                    )  # nothing sent to it was accepted, or nobody watches it now
                elif cell.last_active <= idle_since:
                    self._send_to_sleep(cell)

    def passivated(self, cell: Cell) -> None:
        self._passivations += 1
        self._resident.pop(cell.name, None)
        cell.state = "passive"
        if cell.mailbox.depth or cell.mailbox.waiting_senders or cell.control:
            self.demand(cell)
        else:
            self._forget_idle(cell)

    def _forget_idle(self, cell: Cell) -> None:
        if cell.state == "passive" and cell.quiet and not cell.watchers:
            self._forget(cell)

    def _make_room(self) -> None:
        over = len(self._resident) + 1 - self._route.resident_max
        for cell in self._resident.values():
            if over <= 0:
                return
            if self._send_to_sleep(cell):
                over -= 1

    def _send_to_sleep(self, cell: Cell) -> bool:
        activation = cell.activation
        if activation is None or cell.state != "running" or not cell.quiet:
            return False
        if activation.actor is not None and not activation.actor.may_sleep():
            return False
        cell.request_stop("passivated")
        return True

    async def _run_child(self, cell: Cell, activation: Activation) -> None:
        # Held from before on_start until it is through: that is the storm being controlled.
        try:
            self._starts.acquire_on_behalf_of_nowait(cell)
        except trio.WouldBlock:
            if not await self._wait_to_start(cell):
                return
        self._starting.add(cell)
        try:
            await super()._run_child(cell, activation)
        finally:
            self._started(cell)

    async def _wait_to_start(self, cell: Cell) -> bool:
        """Wait for a place among those that start; False if it was stopped before it got one."""
        placed = False
        try:
            with trio.CancelScope() as self._waiting[cell]:
                await self._starts.acquire_on_behalf_of(cell)
                placed = True
        finally:
            del self._waiting[cell]
            if not placed:
                self._ended(cell, Exit("killed"))
        return placed

    def stop_child(self, cell: Cell) -> None:
        super().stop_child(cell)
        if (waiting := self._waiting.get(cell)) is not None:
            waiting.cancel(reason=f"{cell.path} is stopped")

    def came_up(self, cell: Cell) -> None:
        self._started(cell)
        super().came_up(cell)

    def ran_dry(self, cell: Cell) -> None:
        """It was used just now."""
        if cell.name in self._resident:
            self._resident.move_to_end(cell.name)

    def _started(self, cell: Cell) -> None:
        if cell in self._starting:
            self._starting.discard(cell)
            self._starts.release_on_behalf_of(cell)

    def _bury(self, cell: Cell, state: Any, end: Any) -> None:
        self._resident.pop(cell.name, None)
        super()._bury(cell, state, end)


def _never() -> Any:
    raise AssertionError("a route makes its own factory")


_DEFAULT: Final = ChildSpec("routed", _never)
