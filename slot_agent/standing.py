"""What stands in the store and changes seldom: read once, and again where something says that it may have changed."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal, assert_never

from fairlead.contracts.cluster import Cluster
from fairlead.contracts.decisions import GenerationSeen
from fairlead.contracts.events import EventKind
from fairlead.contracts.notes import Goal, Note
from fairlead.contracts.plans import EpochPlan, Override, Placement, RoutingTable
from fairlead.contracts.ports import Clock, Store

Part = Literal["cluster", "plan", "overrides", "placement", "seen", "goals", "notes"]
PARTS: tuple[Part, ...] = ("cluster", "plan", "overrides", "placement", "seen", "goals", "notes")


@dataclass(frozen=True, slots=True)
class Standing:
    """The cluster, and what is in force."""

    cluster: Cluster
    plan: EpochPlan | None
    overrides: tuple[Override, ...]
    placement: Placement | None
    seen: GenerationSeen
    goals: tuple[Goal, ...]
    notes: tuple[Note, ...]


class Standings:
    """Keeps what was read; `forget` what may have changed, and the next `read` asks for that alone."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._readers: dict[Part, Callable[[], Awaitable[Any]]] = {
            "cluster": store.cluster,
            "plan": store.current_plan,
            "overrides": store.overrides,
            "placement": store.current_placement,
            "seen": store.generations,
            "goals": lambda: store.lasting_goals(clock.now_s()),
            "notes": store.notes,
        }
        self._kept: dict[Part, Any] = {}

    def forget(self, *parts: Part) -> None:
        """Read these again next time; all if none is named."""
        for part in parts or PARTS:
            self._kept.pop(part, None)

    def forget_changed(self, kind: EventKind) -> None:
        """Read again what an event of this kind is about."""
        match kind:
            case "node" | "model" | "site":
                self.forget("cluster")
            case "plan":
                self.forget("plan", "seen")
            case "placement" | "table":
                self.forget("placement", "seen")
            case "override":
                self.forget("overrides")
            case "goal":
                self.forget("goals")
            case "note":
                self.forget("notes")
            case "report" | "decision" | "wake" | "mode" | "proposal":
                pass
            case _:
                assert_never(kind)

    def published(self, placement: Placement | None, table: RoutingTable | None) -> None:
        """Keep what has just been put in force by ourselves."""
        if placement is not None:
            self._kept["placement"] = placement
        if "seen" in self._kept:
            seen: GenerationSeen = self._kept["seen"]
            self._kept["seen"] = GenerationSeen(
                plan=seen.plan,
                placement=placement.generation if placement is not None else seen.placement,
                table=table.generation if table is not None else seen.table,
            )

    async def read(self) -> Standing:
        """Return what stands; asks the store, all at once, for what is not kept. Raises `StoreUnavailable`."""
        missing = [p for p in PARTS if p not in self._kept]
        if missing:
            found = await asyncio.gather(*(self._readers[p]() for p in missing))
            self._kept.update(zip(missing, found, strict=True))
        return Standing(**self._kept)
