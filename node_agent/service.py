"""The node agent as a process."""

import asyncio
import gc
import os
from pathlib import Path
from uuid import uuid4

import structlog

from fairlead.adapters.clock import ScaledClock
from fairlead.adapters.control_http import HttpControl
from fairlead.adapters.keeper_http import HttpKeeper
from fairlead.adapters.kubernetes_access import access_of
from fairlead.adapters.kubernetes_api import KubernetesApi
from fairlead.adapters.spool import Outbox, Spool
from fairlead.contracts.cluster import Cluster, NodeSpec
from fairlead.contracts.errors import ConfigError, FairleadError
from fairlead.contracts.plans import Placement
from fairlead.contracts.ports import Clock, Control, ImagePort, Runtime
from fairlead.contracts.readings import NodeReport
from fairlead.contracts.settings import Settings
from fairlead.policy.reconcile import Limits
from node_agent.agent import NodeAgent, Ports, Rhythm
from node_agent.books import Books
from node_agent.image_pulls import ImagePuller
from node_agent.keeping import keep, kept
from node_agent.kubernetes_runtime import KubernetesRuntime
from node_agent.pod_feed import feed_of
from node_agent.pod_objects import Place
from node_agent.process_runtime import ProcessRuntime

KEEPER_TOKEN = "FAIRLEAD_KEEPER_TOKEN"
"""Shared secret of keepers, ingresses and node agents; without it keepers answer loopback clients only."""

TOLD_SLOTS = 2
"""For so many slots it is told what others did to a pod: the decision of one of them at least has it then."""

CLUSTER_RETRY_S = 0.5
"""Wall seconds between attempts to get the first definition of the cluster."""


async def serve(settings: Settings, node: str, token: str) -> None:
    """Keep the pods of `node` until cancelled; pods stay. Raises `ConfigError` for an unknown node."""
    clock = ScaledClock(settings.speed, settings.clock_origin_s)
    directory = Path(settings.state_dir) / f"node-agent-{node}"
    control = HttpControl(settings.control.url, token)
    cluster = await _first_cluster(control, directory / "cluster.json", settings)
    spec = _named(node, cluster)
    mine = settings.node_agent
    instance = f"{node}-{uuid4().hex[:12]}"
    runtime, images, api = _runtime(spec, settings, clock, directory)
    keeper = HttpKeeper(spec.keeper_url, os.environ.get(KEEPER_TOKEN) or None, clock)
    spool = Spool(directory / "reports", mine.spool_bytes)

    async def deliver(message: str) -> None:
        await control.report_node(NodeReport.from_json(message))

    limits = Limits(mine.drain_limit_s, mine.backoff_first_s, mine.backoff_most_s)
    told_for_s = TOLD_SLOTS * settings.controller.slot_s
    books = Books(spec, {m.id: m for m in cluster.models}, instance, limits, told_for_s)
    books.placement = kept(directory / "placement.json", Placement)
    seed = f"{settings.seed}/{node}"
    ports = Ports(runtime, control, keeper, clock, Outbox(spool, deliver, settings.seed), images)
    rhythm = Rhythm(settings.controller.report_s, settings.controller.coalesce_s, mine.stop_grace_s)
    structlog.get_logger().info("node agent is up", node=node, instance=instance, reports_left=spool.pending)
    gc.collect()
    gc.freeze()
    try:
        await NodeAgent(books, ports, rhythm, directory, seed).run()
    finally:
        await runtime.close()
        if api is not None:
            await api.close()
        await keeper.close()
        await control.close()
        spool.close()


def _runtime(
    spec: NodeSpec, settings: Settings, clock: Clock, directory: Path
) -> tuple[Runtime, ImagePort | None, KubernetesApi | None]:
    """Return what starts pods and what fetches images, and the client that they use if that is the cluster's API."""
    if settings.node_agent.runtime == "process":
        return ProcessRuntime(spec, directory / "pods", clock, settings.node_agent.warm_parent), None, None
    mine = settings.kubernetes
    api = KubernetesApi(access_of(mine), timeout_s=mine.timeout_s)
    place = Place(mine.namespace, spec, mine.service_account, mine.tolerations, routed=mine.gateway is not None)
    feed = feed_of(api, mine, spec.id, f"{settings.seed}/{spec.id}")
    return KubernetesRuntime(place, api, feed, clock, mine.stuck_s), ImagePuller(place, api, mine.stuck_s), api


async def _first_cluster(control: Control, cache: Path, settings: Settings) -> Cluster:
    """Return the cluster: from the control API, else the last one seen, else the configured one, else wait."""
    said = False
    while True:
        try:
            cluster = await control.cluster()
        except FairleadError as error:
            known = kept(cache, Cluster) or (settings.cluster if isinstance(settings.cluster, Cluster) else None)
            if not said:
                structlog.get_logger().warning("no cluster from the control API", error=str(error), known=bool(known))
            if known is not None:
                return known
            said = True
            await asyncio.sleep(CLUSTER_RETRY_S)
        else:
            keep(cache, cluster)
            return cluster


def _named(node: str, cluster: Cluster) -> NodeSpec:
    found = next((n for n in cluster.nodes if n.id == node), None)
    if found is None:
        known = ", ".join(n.id for n in cluster.nodes) or "none"
        raise ConfigError(f"there is no node {node!r} in the cluster; known are {known}")
    return found
