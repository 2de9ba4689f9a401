"""All scenarios in their order. A new one is a module and a line here."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bench.big import big
from bench.costs import costs
from bench.event_latency import events
from bench.far import far
from bench.growth import growth
from bench.orders import checks, orders
from bench.readings import readings
from bench.serving import reading
from bench.stack import EMBEDDED
from bench.thumbnails import thumbnails
from bench.tiny import glob, tiny
from bench.transfers import transfers
from bench.ui import ui
from bench.workers import workers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from bench.figures import Figure
    from bench.scale import Scale
    from bench.stack import Stack


@dataclass(frozen=True)
class Scenario:
    """What to measure, and its approximate minutes on one store on an idle machine."""

    measure: Callable[[Stack, Scale], Iterator[Figure]]
    quick_minutes: float
    full_minutes: float
    on_every_store: bool = False

    def minutes(self, scale: Scale) -> float:
        """The minutes at that size."""
        return self.full_minutes if scale.name == "full" else self.quick_minutes

    def figures(self, stack: Stack, scale: Scale) -> Iterator[Figure]:
        """Its results, with the name of the store."""
        for item in self.measure(stack, scale):
            yield replace(item, store=stack.store)


SCENARIOS = {
    "tiny": Scenario(tiny, 0.4, 12, on_every_store=True),
    "glob": Scenario(glob, 0.2, 3, on_every_store=True),
    "big": Scenario(big, 0.6, 6, on_every_store=True),
    "orders": Scenario(orders, 1, 10),
    "readings": Scenario(readings, 1, 15),
    "checks": Scenario(checks, 0.5, 4),
    "serving": Scenario(reading, 0.4, 4),
    "growth": Scenario(growth, 0.6, 30),
    "events": Scenario(events, 0.6, 1.5),
    "far": Scenario(far, 1.5, 20),
    "costs": Scenario(costs, 1.5, 8),
    "transfers": Scenario(transfers, 0.5, 12),
    "thumbnails": Scenario(thumbnails, 0.5, 2),
    "ui": Scenario(ui, 0.8, 3),
    "dask": Scenario(workers, 1.5, 40),
}


def plan(names: Sequence[str], stores: Sequence[str]) -> list[tuple[str, str]]:
    """Store and scenario of each measurement, grouped by store.

    What does not depend on the store is measured on one of them.
    """
    single = EMBEDDED if EMBEDDED in stores else stores[0]
    return [
        (store, name)
        for store in stores
        for name in names
        if SCENARIOS[name].on_every_store or store == single
    ]
