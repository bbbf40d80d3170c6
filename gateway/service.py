"""The gateway as a process: the keeper of a node, the ingress of a site, or both (DESIGN §3)."""

import asyncio
import contextlib
import gc
import os
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Never, TypeVar
from uuid import uuid4

import structlog
from aiohttp import web
from pydantic import ValidationError
from yarl import URL

from fairlead.adapters.clock import ScaledClock
from fairlead.adapters.control_http import HttpControl
from fairlead.adapters.keeper_http import HttpKeeper
from fairlead.adapters.pod_http import HttpPods
from fairlead.adapters.spool import Outbox, Spool
from fairlead.contracts.cluster import Cluster, NodeSpec, SiteSpec
from fairlead.contracts.errors import ConfigError, FairleadError
from fairlead.contracts.ports import Clock, Control
from fairlead.contracts.readings import GatewayReport
from fairlead.contracts.settings import Settings
from fairlead.policy.backlog import SpeedRule
from fairlead.policy.believing import bounds_of
from fairlead.policy.yielding import yields
from gateway.ingress import Ingress, IngressLimits
from gateway.keeper import Keeper, KeeperLimits
from gateway.keeper_api import KeeperApi
from gateway.ledger import Ledger, OutcomeLog
from gateway.loops import Loops, Reporter
from gateway.metrics import GatewayMetrics
from gateway.moving import rest_s
from gateway.openai import OpenAi
from gateway.serving import Answer, Door, Handler, listening
from gateway.view import View
from gateway.wakes import Wakes

Spec = TypeVar("Spec", NodeSpec, SiteSpec)

CLUSTER_EVERY_S = 10.0
"""Wall seconds between looks at the cluster's definition, which people change."""

CLUSTER_RETRY_S = 0.5
"""Wall seconds between attempts to get the first one."""

HEARTBEAT_LEAST_S = 1.0
"""Wall seconds between two pushes of unchanged state at the least."""

ALLOWED_PERIODS = 3
"""A reading older than three reports is not used (DESIGN §8, invariant 10)."""

DRAIN_LOOK_S = 0.05
"""Wall seconds between looks at whether a draining gateway has open requests: a fraction of the shortest answer."""

SILENCE_LEAST_S = 60.0
"""Wall seconds that a pod may say nothing during an answer, at the least; the hold timeout where that is longer."""

KEEPER_TOKEN = "FAIRLEAD_KEEPER_TOKEN"
"""Shared secret of keepers, ingresses and node agents; without it keepers answer loopback clients only."""


async def serve(settings: Settings, node: str | None, site: str | None, token: str) -> None:
    """Serve until cancelled. Raises `ConfigError` for an unknown id or a port in use."""
    who = node or site
    if who is None:
        raise ConfigError("a gateway needs a node, a site or both")
    control = HttpControl(settings.control.url, token)
    try:
        cache = Path(settings.state_dir) / who / "cluster.json"
        cluster = await _first_cluster(control, cache, settings)
        keeper_token = os.environ.get(KEEPER_TOKEN) or None
        async with Gateway(settings, node, site, control, cluster, keeper_token) as gateway:
            await gateway.run(cache)
    finally:
        await control.close()


class Gateway:
    """One gateway, wired; entering it opens its ports."""

    def __init__(
        self,
        settings: Settings,
        node: str | None,
        site: str | None,
        control: Control,
        cluster: Cluster,
        keeper_token: str | None,
        clock: Clock | None = None,
    ) -> None:
        self.clock: Clock = clock or ScaledClock(settings.speed, settings.clock_origin_s)
        self.keeper: Keeper | None = None
        self.ingress: Ingress | None = None
        self.ports: dict[str, int] = {}
        """Port per role (`keeper`, `ingress`), once entered."""
        self.draining = False
        self._door = Door()
        """Of the ingress: keepers are asked by those who know of each other, and refuse by themselves."""
        self._settings = settings
        self._policy = settings.controller
        self._control = control
        self._cluster = cluster
        self._keeper_token = keeper_token
        self._node = None if node is None else _named("node", node, {n.id: n for n in cluster.nodes})
        self._site = None if site is None else _named("site", site, {s.id: s for s in cluster.sites})
        self.id = node or site or ""
        self.instance = f"{self.id}-{uuid4().hex[:12]}"
        self.heartbeat_s = max(self._policy.report_s / settings.speed, HEARTBEAT_LEAST_S)
        directory = Path(settings.state_dir) / self.id
        self._spool = Spool(directory / "gateway-reports", settings.node_agent.spool_bytes)
        self._outbox = Outbox(self._spool, self._deliver, settings.seed)
        self._pods = HttpPods(
            connect_timeout_s=settings.gateway.connect_timeout_s,
            silence_s=max(SILENCE_LEAST_S, self._policy.hold_timeout_s / settings.speed),
        )
        self.loops = Loops(self.clock)
        self._metrics = GatewayMetrics(self.id, self.clock, self.loops, self._outbox, self._spool)
        log = OutcomeLog(Path(settings.state_dir) / "outcomes" / f"{self.id}.jsonl")
        self.ledger = Ledger(log)
        self.view = View(site or "", self.clock, self._policy.slot_s, ALLOWED_PERIODS * self.heartbeat_s)
        self.wakes = Wakes(site or self.id, self.clock, control, self._policy.refresh_s)
        self._remote: dict[str, tuple[str, HttpKeeper, asyncio.Task[Never]]] = {}
        self._openai: OpenAi | None = None
        self._stack = AsyncExitStack()
        self._log = structlog.get_logger()
        if self._node is not None:
            self.keeper = self._make_keeper(self._node)
        if self._site is not None:
            self.ingress = self._make_ingress(self._site)
        self._reporter = Reporter(self.id, self.instance, self.clock, self.ledger, self.keeper, self.ingress)
        self._reporter.table_generation = lambda: self.view.table_generation

    async def __aenter__(self) -> "Gateway":
        """Open the ports."""
        shared: tuple[Handler, ...] = (self._health, self._metrics.handle)
        limit, host = self._settings.gateway.body_limit_bytes, self._settings.gateway.host
        self._stack.push_async_callback(self._close)
        if self._node is not None and self.keeper is not None:
            handlers = (KeeperApi(self.keeper, self._keeper_token).handle, *shared)
            port = URL(self._node.keeper_url).port or 80
            opening = listening(host, port, handlers, body_limit_bytes=limit, what=f"the keeper of {self._node.id}")
            self.ports["keeper"] = await self._enter(opening)
            self._stack.callback(self.keeper.close)
        if self._site is not None and self._openai is not None:
            handlers = (self._openai.handle, *shared)
            port = URL(self._site.url).port or 80
            what = f"the ingress of {self._site.id}"
            opening = listening(host, port, handlers, body_limit_bytes=limit, what=what, door=self._door)
            self.ports["ingress"] = await self._enter(opening)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the ports; what is in flight ends as failed, its clients see it."""
        if self.ingress is not None:
            self.ingress.closing = True
        await self._stack.aclose()

    async def run(self, cache: Path | None = None) -> None:
        """Serve until cancelled, and drain then; cancelled once more, it ends at once.

        `cache` keeps the cluster's definition for a restart without control plane.
        """
        working = asyncio.create_task(self._work(cache))
        try:
            await asyncio.shield(working)
        except asyncio.CancelledError:
            await self._drain()
            if working.done():
                working.result()  # raises what ended it meanwhile
            raise
        finally:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)

    async def _drain(self) -> None:
        """Return when no request is open any more, or after `drain_s`: first those of the ingress, then the keeper's.

        The ingress takes no new connections, and closes those that are open after their next answer. The pods of this
        node serve its requests to the end; only then are waiting tickets of others given back.
        """
        self.draining = True
        self._door.shut()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._settings.gateway.drain_s):
                while self.ledger.open:
                    await asyncio.sleep(DRAIN_LOOK_S)
                if self.keeper is not None:
                    self.keeper.close()
                    while self.keeper.running:
                        await asyncio.sleep(DRAIN_LOOK_S)
        self._log.info("gateway has drained", gateway=self.id, left=len(self.ledger.open))

    async def _work(self, cache: Path | None) -> None:
        self._log.info("gateway is up", gateway=self.id, ports=self.ports)
        gc.collect()
        gc.freeze()
        async with asyncio.TaskGroup() as tasks:
            self._apply(self._cluster, tasks)
            tasks.create_task(self._outbox.run())
            tasks.create_task(self.loops.report(self._reporter, self._outbox, self._policy.report_s))
            tasks.create_task(self.loops.sweep(self.keeper, self.ingress, self._policy.refresh_s))
            tasks.create_task(self.loops.steer(self._control, self.view))
            tasks.create_task(self._refresh(tasks, cache))
            if self.ingress is not None:
                tasks.create_task(self.wakes.run())
                asking = self.loops.ask_around(self._control, self.view, lambda: self._remote, self._policy.report_s)
                tasks.create_task(asking)
                if self._policy.moving:
                    mover, least_s = self.ingress.mover, self._policy.move_saves_s
                    tasks.create_task(self.loops.move(mover, self._rest_s, least_s))

    def _make_keeper(self, node: NodeSpec) -> Keeper:
        policy = self._policy
        limits = KeeperLimits(
            coalesce_s=policy.coalesce_s,
            heartbeat_s=self.heartbeat_s,
            start_delay_s={m.id: m.start_delay_s for m in self._cluster.models},
            deadline_s={m.id: m.deadline_s for m in self._cluster.models},
            yields_of_s=policy.hold_timeout_s if yields(self._settings.policy, policy) else None,
            speed_rule=SpeedRule(policy.speed_gain, policy.speed_clip_low, policy.speed_clip_high),
        )
        keeper = Keeper(node.id, self.instance, self.clock, self._pods, limits)
        keeper.table_generation = lambda: self.view.table_generation
        self._metrics.keeper(keeper)
        return keeper

    def _make_ingress(self, site: SiteSpec) -> Ingress:
        limits = IngressLimits(
            site=site.id,
            hold_timeout_s=self._policy.hold_timeout_s,
            open_limit=self._settings.gateway.open_limit,
            sample_one_in=self._settings.gateway.sample_one_in,
            start_delay_s={},
        )
        seed = f"{self._settings.seed}/{self.id}"
        ingress = Ingress(limits, self.clock, self.view, self.wakes, self.ledger, seed)
        self._openai = OpenAi(ingress, {})
        self._metrics.ingress(site.id, self.ledger, self.view, self.wakes)
        if self.keeper is not None:
            ingress.keepers[self.keeper.node] = self.keeper
            self.view.stands_beside(self.keeper.node, self.keeper.load)
            self.keeper.tell_pods_to(ingress.look_again)
        return ingress

    def _apply(self, cluster: Cluster, tasks: asyncio.TaskGroup) -> None:
        """Take the models and nodes of a cluster; nodes that are new are followed, those that left are not."""
        self._cluster = cluster
        delays = {m.id: m.start_delay_s for m in cluster.models}
        if self.keeper is not None:
            self.keeper.learn(delays, {m.id: m.deadline_s for m in cluster.models})
        if self.ingress is None or self._openai is None or self._site is None:
            return
        self.ingress.limits = replace(self.ingress.limits, start_delay_s=delays)
        self._openai.models = {m.id: m for m in cluster.models}
        self.view.declared({m.id: m.work_s for m in cluster.models})
        self.view.bounded(bounds_of(cluster))
        far_s = self._settings.gateway.network_s
        self.view.reaches({n.id: far_s for n in cluster.nodes if n.id != self._site.node})
        wanted = {n.id: n.keeper_url for n in cluster.nodes if self.keeper is None or n.id != self.keeper.node}
        for node in [n for n, (url, _, _) in self._remote.items() if wanted.get(n) != url]:
            _, keeper, task = self._remote.pop(node)
            task.cancel()
            self.ingress.keepers.pop(node, None)
            self.view.forget(node)
            self._stack.push_async_callback(keeper.close)
        for node, url in wanted.items():
            if node not in self._remote:
                self._remote[node] = self._follow(node, url, tasks)

    def _follow(self, node: str, url: str, tasks: asyncio.TaskGroup) -> "tuple[str, HttpKeeper, asyncio.Task[Never]]":
        limits = self._settings.gateway
        keeper = HttpKeeper(
            url,
            self._keeper_token,
            self.clock,
            inline_bytes=limits.offer_body_bytes,
            connect_timeout_s=limits.connect_timeout_s,
            ack_timeout_s=limits.ack_timeout_s,
            silence_s=max(SILENCE_LEAST_S, self._policy.hold_timeout_s / self._settings.speed),
        )
        if self.ingress is not None:
            self.ingress.keepers[node] = keeper
        silence_s = ALLOWED_PERIODS * self.heartbeat_s
        return url, keeper, tasks.create_task(self.loops.follow(node, keeper, self.view, silence_s))

    def _rest_s(self, now_s: float) -> float:
        """Return how long tickets rest until they are looked at again: each site of the cluster at its own phase."""
        sites = [one.id for one in self._cluster.sites]
        own = "" if self._site is None else self._site.id
        place = sites.index(own) if own in sites else 0
        return rest_s(now_s, place, max(1, len(sites)), self._policy.coalesce_s, self._settings.speed)

    async def _refresh(self, tasks: asyncio.TaskGroup, cache: Path | None) -> None:
        """Follow the cluster's definition."""
        while True:
            await asyncio.sleep(CLUSTER_EVERY_S)
            try:
                cluster = await self._control.cluster()
                if cluster != self._cluster:
                    if cache is not None:
                        _keep(cache, cluster)
                    self._apply(cluster, tasks)
            except Exception as error:
                self.loops.faults["cluster"] = self.loops.faults.get("cluster", 0) + 1
                self._log.debug("the cluster's definition stays", error=str(error))

    async def _deliver(self, message: str) -> None:
        await self._control.report_gateway(GatewayReport.from_json(message))

    async def _health(self, request: web.BaseRequest) -> Answer | None:
        if request.path != "/healthz":
            return None
        document = {
            "status": "draining" if self.draining else "ok",
            "gateway": self.id,
            "instance": self.instance,
            "node": None if self._node is None else self._node.id,
            "site": None if self._site is None else self._site.id,
            "table_generation": self.view.table_generation,
        }
        return web.json_response(document, status=503 if self.draining else 200)

    async def _enter(self, opening: "contextlib.AbstractAsyncContextManager[int]") -> int:
        try:
            return await self._stack.enter_async_context(opening)
        except BaseException:
            await self._stack.aclose()
            raise

    async def _close(self) -> None:
        for _, keeper, task in self._remote.values():
            task.cancel()
            await keeper.close()
        await self._pods.close()
        self._spool.close()
        self.ledger.close()


async def _first_cluster(control: Control, cache: Path, settings: Settings) -> Cluster:
    """Return the cluster: from the control API, else the last one seen, else the configured one, else wait."""
    log = structlog.get_logger()
    while True:
        try:
            cluster = await control.cluster()
        except FairleadError as error:
            known = _kept(cache)
            if known is None and isinstance(settings.cluster, Cluster):
                known = settings.cluster
            log.warning("no word of the control API", error=str(error), goes_on=known is not None)
            if known is not None:
                return known
            await asyncio.sleep(CLUSTER_RETRY_S)
            continue
        _keep(cache, cluster)
        return cluster


def _kept(cache: Path) -> Cluster | None:
    try:
        return Cluster.from_json(cache.read_bytes())
    except (OSError, ValidationError):
        return None


def _keep(cache: Path, cluster: Cluster) -> None:
    """Write the definition so that a reader finds the old or the new one, never half of one."""
    cache.parent.mkdir(parents=True, exist_ok=True)
    fresh = cache.with_suffix(f".{os.getpid()}")
    fresh.write_text(cluster.to_json())
    fresh.replace(cache)


def _named(what: str, one: str, known: Mapping[str, Spec]) -> Spec:
    found = known.get(one)
    if found is None:
        raise ConfigError(f"there is no {what} {one!r} in the cluster; known are {', '.join(sorted(known)) or 'none'}")
    return found
