"""A control API in memory: the fake of the port `Control`, moved by a test."""

import asyncio
from collections.abc import Sequence
from typing import TypeVar

from fairlead.contracts.cluster import Cluster
from fairlead.contracts.errors import ControlUnavailable
from fairlead.contracts.events import Wake
from fairlead.contracts.plans import EpochPlan, Placement, RoutingTable
from fairlead.contracts.readings import GatewayReport, KeeperState, NodeReport

InForce = TypeVar("InForce", EpochPlan, Placement, RoutingTable)


class MemoryControl:
    """Answers from memory; `away = True` makes every call fail as if nobody listened."""

    def __init__(self, cluster: Cluster) -> None:
        self.away = False
        self.node_reports: list[NodeReport] = []
        """Accepted ones, in the order of arrival."""
        self.gateway_reports: list[GatewayReport] = []
        self.wakes: list[Wake] = []
        self.refused = 0
        """Reports that had been seen before."""
        self._cluster = cluster
        self._in_force: dict[type, EpochPlan | Placement | RoutingTable] = {}
        self._seen: set[tuple[str, str, int]] = set()
        self._changed = asyncio.Event()

    def replace_cluster(self, cluster: Cluster) -> None:
        """Put another cluster in force."""
        self._cluster = cluster

    def publish(self, message: EpochPlan | Placement | RoutingTable) -> None:
        """Put a plan, a placement or a table in force and wake those who wait for it."""
        self._in_force[type(message)] = message
        before, self._changed = self._changed, asyncio.Event()
        before.set()

    async def cluster(self) -> Cluster:
        """Return all nodes, models and sites."""
        self._answer()
        return self._cluster

    async def placement(self, *, newer_than: int, wait_s: float) -> Placement | None:
        """Return the placement in force once it is newer than `newer_than`; None after `wait_s` wall seconds."""
        return await self._newer(Placement, newer_than, wait_s)

    async def table(self, *, newer_than: int, wait_s: float) -> RoutingTable | None:
        """Return the table in force once it is newer than `newer_than`; None after `wait_s` wall seconds."""
        return await self._newer(RoutingTable, newer_than, wait_s)

    async def plan(self, *, newer_than: int, wait_s: float) -> EpochPlan | None:
        """Return the plan in force once it is newer than `newer_than`; None after `wait_s` wall seconds."""
        return await self._newer(EpochPlan, newer_than, wait_s)

    async def report_node(self, report: NodeReport) -> None:
        """Take a report unless its sequence was seen before."""
        if self._is_new(report.node, report.instance, report.sequence):
            self.node_reports.append(report)

    async def report_gateway(self, report: GatewayReport) -> None:
        """Take a report unless its sequence was seen before."""
        if self._is_new(report.gateway, report.instance, report.sequence):
            self.gateway_reports.append(report)

    async def wake(self, wake: Wake) -> None:
        """Note that a model is missed."""
        self._answer()
        self.wakes.append(wake)

    async def keepers(self, nodes: Sequence[str]) -> tuple[KeeperState, ...]:
        """Return the newest accepted state of each of these nodes, sorted."""
        self._answer()
        newest = {r.keeper.node: r.keeper for r in self.gateway_reports if r.keeper is not None}
        return tuple(newest[node] for node in sorted(set(nodes) & set(newest)))

    async def close(self) -> None:
        """Do nothing: there is no connection."""

    def _answer(self) -> None:
        if self.away:
            raise ControlUnavailable("the control API in memory was told to be away")

    def _is_new(self, reporter: str, instance: str, sequence: int) -> bool:
        self._answer()
        key = (reporter, instance, sequence)
        if key in self._seen:
            self.refused += 1
            return False
        self._seen.add(key)
        return True

    async def _newer(self, kind: type[InForce], newer_than: int, wait_s: float) -> InForce | None:
        deadline_s = asyncio.get_running_loop().time() + wait_s
        while True:
            self._answer()
            found = self._in_force.get(kind)
            if isinstance(found, kind) and found.generation > newer_than:
                return found
            if not await self._change_before(deadline_s):
                return None

    async def _change_before(self, deadline_s: float) -> bool:
        """Wait for a change; False once the deadline has passed."""
        left_s = deadline_s - asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(left_s):
                await self._changed.wait()
        except TimeoutError:
            return False
        return True
