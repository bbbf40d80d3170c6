"""When a local cluster is ready: all have reported, every gateway steers, every placed pod answers."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from fairlead.contracts.cluster import Cluster
from fairlead.contracts.errors import Unavailable
from fairlead.contracts.plans import Placement
from fairlead.contracts.ports import Store
from fairlead.contracts.readings import GatewayReport, NodeReport
from testbed.layout import Tell
from testbed.supervise import Supervisor

LOOK_EVERY_S = 0.1
"""Wall seconds between two looks."""

TELL_EVERY_S = 2.0
"""Wall seconds after which it is said again what is waited for."""

DEATHS_MOST = 4
"""A child that died so often before anything was ready will not come up."""


class Waiting:
    """Waits for one thing after the other, and says which and for how long."""

    def __init__(self, supervisor: Supervisor, tell: Tell, limit_s: float) -> None:
        self._supervisor = supervisor
        self._tell = tell
        self._until_s = time.monotonic() + limit_s

    async def until(self, what: str, missing: Callable[[], Awaitable[str]]) -> None:
        """Return once `missing` returns nothing; raises `Unavailable` where that cannot come true any more."""
        began_s = told_s = time.monotonic()
        self._tell(f"waiting for {what}…")
        while found := await missing():
            now_s = time.monotonic()
            self._check(what, found, now_s)
            if now_s - told_s >= TELL_EVERY_S:
                told_s = now_s
                self._tell(f"waiting for {what}… {now_s - began_s:.1f} s ({found})")
            await asyncio.sleep(LOOK_EVERY_S)
        self._tell(f"{what}: {time.monotonic() - began_s:.1f} s")

    def _check(self, what: str, found: str, now_s: float) -> None:
        for name, deaths in self._supervisor.deaths():
            if deaths >= DEATHS_MOST:
                raise Unavailable(f"{name} died {deaths} times while starting: {self._supervisor.tail(name)}")
        if now_s > self._until_s:
            raise Unavailable(f"{what} did not come up in time: {found}")


async def missing_report(store: Store, cluster: Cluster, since_s: float) -> str:
    """Return who has not reported since `since_s`, a domain instant; empty once all agents and gateways have."""
    nodes = {r.node for r in await store.latest_node_reports() if r.observed_at_s >= since_s}
    gateways = [r for r in await store.latest_gateway_reports() if r.observed_at_s >= since_s]
    keepers = {report.keeper.node for report in gateways if report.keeper is not None}
    ingresses = {report.site for report in gateways}
    silent = [f"agent of {node.id}" for node in cluster.nodes if node.id not in nodes]
    silent += [f"keeper of {node.id}" for node in cluster.nodes if node.id not in keepers]
    silent += [f"ingress of {site.id}" for site in cluster.sites if site.id not in ingresses]
    return f"no report from {len(silent)}, such as the {silent[0]}" if silent else ""


async def missing_pod(store: Store, cluster: Cluster, since_s: float) -> str:
    """Return what is still to come before every placed pod can be asked; readings before `since_s` do not count."""
    placement, table = await store.current_placement(), await store.current_table()
    if placement is None or placement.created_at_s < since_s:
        return "no placement yet"
    if table is None or table.created_at_s < since_s:
        return "no routing table yet"
    nodes = {r.node: r for r in await store.latest_node_reports() if r.observed_at_s >= since_s}
    gateways = {r.gateway: r for r in await store.latest_gateway_reports() if r.observed_at_s >= since_s}
    steered = {report.site for report in gateways.values() if report.table_generation > 0}
    unsteered = [site.id for site in cluster.sites if site.id not in steered]
    return _without_pod(placement, nodes, gateways) or (f"no routing table at {unsteered[0]}" if unsteered else "")


def _without_pod(placement: Placement, nodes: dict[str, NodeReport], gateways: dict[str, GatewayReport]) -> str:
    """Return how many pods of the placement are not up yet, by the agents' word and by the keepers'."""
    agents = {(r.node, p.model) for r in nodes.values() for p in r.pods if p.phase == "ready"}
    states = [r.keeper for r in gateways.values() if r.keeper is not None]
    keepers = {(k.node, p.model) for k in states for p in k.pods if p.phase == "ready"}
    wanted = {(n.node, model) for n in placement.nodes for model in n.awake}
    missing = wanted - (agents & keepers)
    return f"{len(missing)} of {len(wanted)} pods are starting" if missing else ""
