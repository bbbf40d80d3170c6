"""Compares the store with the Kubernetes API whenever either has changed, and makes up the difference.

    EdgeModel ──▶ models of the store
    plan, table of the store ──▶ EdgePlan, EdgeRoutingTable
    models of the store ──▶ PodDisruptionBudget
    table and ready pods ──▶ Service, HTTPRoute ──▶ what the gateway says of each route, to the store

Everything is decided from what both hold now, so that a pass that was missed or cut off costs nothing but time.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from typing import TypeAlias

import structlog

from fairlead.adapters.kubernetes_api import BUDGETS, PODS, Kind, KubernetesApi, Vanished
from fairlead.adapters.kubernetes_mirror import Current, Mirror, Wanted
from fairlead.contracts.cluster import Cluster, ModelSpec
from fairlead.contracts.errors import Conflict, FairleadError, InputError, NotFound, foreign
from fairlead.contracts.events import EventKind
from fairlead.contracts.plans import RoutingTable
from fairlead.contracts.ports import Clock, Store
from fairlead.contracts.resources import ModelRoutes, RouteState
from fairlead.contracts.settings import KubernetesSettings
from kube_sync.declared import FINALIZER, NO_PODS, Declared, Pods, declared, pods_by_model, told
from kube_sync.exporting import Exporter
from kube_sync.kinds import MODELS, OF_MODELS, OURS, PLANS, ROUTES, SERVICES, TABLES
from kube_sync.metrics import SyncMetrics
from kube_sync.objects import Document, budget_object, condition, needless, plan_object, table_object
from kube_sync.routing import mirrored
from kube_sync.writing import Writer

WATCHED: Sequence[EventKind] = ("plan", "placement", "table", "model", "node")

SETTLE_S = 0.5
"""Wall seconds after a change before a pass: the pods of one placement change together."""

LOOK_EVERY_S = 10.0
"""Wall seconds after which a pass is made in any case: a third of a slot, should a change of the store be missed."""

RETRY_S = 1.0
"""Wall seconds after a pass or a stream of changes that failed."""

Part: TypeAlias = Callable[[], Awaitable[None]]
"""One comparison of a pass."""


class Sync:
    """One kube-sync; `run` ends by cancellation only."""

    def __init__(
        self,
        store: Store,
        api: KubernetesApi,
        clock: Clock,
        settings: KubernetesSettings,
        metrics: SyncMetrics,
        look_every_s: float = LOOK_EVERY_S,
    ) -> None:
        self._store = store
        self._api = api
        self._settings = settings
        self._look_every_s = look_every_s
        self._metrics = metrics
        self._writer = Writer(api, settings.namespace, metrics)
        kinds = [(MODELS, ""), (PLANS, ""), (TABLES, ""), (PODS, OURS), (BUDGETS, OF_MODELS)]
        kinds += [(SERVICES, OURS), (ROUTES, OURS)] if settings.gateway is not None else []
        self._mirrors = {
            kind.name: Mirror(api, Wanted(kind, settings.namespace, labels=labels, watch_s=settings.watch_s))
            for kind, labels in kinds
        }
        self._known: set[str] = set()
        """Kinds that have been listed once: what is not there is really not there."""
        self._exporter = Exporter(store, self._writer, clock, settings, metrics)
        self._tables: dict[str, ModelRoutes] = {}
        self._bell = asyncio.Event()
        self._log = structlog.get_logger("kube-sync")

    async def run(self) -> None:
        """Sync until cancelled."""
        async with asyncio.TaskGroup() as group:
            for name, mirror in self._mirrors.items():
                group.create_task(self._follow(name, mirror), name=f"kube-sync: {name}")
            group.create_task(self._hear(), name="kube-sync: store")
            group.create_task(self._work(), name="kube-sync")

    async def _follow(self, name: str, mirror: Mirror) -> None:
        async for change in mirror.follow():
            if isinstance(change, Current):
                self._known.add(name)
            if isinstance(change, Vanished):
                self._writer.vanished(name, change.object)
            if name in self._known:
                self._bell.set()

    async def _hear(self) -> None:
        while True:
            try:
                async for _ in self._store.changes(WATCHED):
                    self._bell.set()
            except FairleadError as error:
                self._log.warning("stream of changes ended", error=foreign(error))
            await asyncio.sleep(RETRY_S)

    async def _work(self) -> None:
        failing = False
        while True:
            try:
                async with asyncio.timeout(self._look_every_s):
                    await self._bell.wait()
            except TimeoutError:
                pass
            await asyncio.sleep(SETTLE_S)
            self._bell.clear()
            try:
                with self._metrics.passes.time():
                    await self.once()
                failing = False
            except* Exception as errors:
                self._metrics.failures.inc()
                first = _first(errors)
                if not failing or not isinstance(first, FairleadError):
                    self._log.warning(
                        "a pass failed and is tried again",
                        error=foreign(repr(first)),
                        exc_info=not isinstance(first, FairleadError),
                    )
                failing = True
                self._bell.set()
            self._metrics.calls.set(self._api.calls)
            if failing:
                await asyncio.sleep(RETRY_S)

    async def once(self) -> None:
        """Make up the difference once, as far as both sides are known.

        A part that fails keeps no other from its turn; what failed is raised at the end, as a group.
        """
        cluster, table = await self._store.cluster(), await self._store.current_table()
        pods = pods_by_model(self._mirrors["Pod"].objects.values()) if "Pod" in self._known else {}
        failed: list[Exception] = []
        for part in self._parts(cluster, table, pods):
            try:
                await part()
            except* Exception as errors:
                failed += errors.exceptions
        self._writer.count_refused()
        if failed:
            raise ExceptionGroup("a pass of kube-sync", failed)

    def _parts(self, cluster: Cluster, table: RoutingTable | None, pods: dict[str, Pods]) -> list[Part]:
        """Return what there is to compare, by what is known of both sides."""
        parts: list[Part] = []
        if "EdgeModel" in self._known:
            parts.append(lambda: self._models(cluster, pods))
        if "EdgePlan" in self._known:
            parts.append(self._plan)
        if {"PodDisruptionBudget", "Pod"} <= self._known:
            parts.append(lambda: self._budgets(cluster, pods))
        if "EdgeRoutingTable" in self._known and table is not None:
            parts.append(lambda: self._table(table))
        if self._settings.gateway is not None and table is not None and {"Service", "Pod"} <= self._known:
            parts.append(lambda: self._routes(table, cluster, pods))
        return parts

    def _there(self, kind: Kind) -> dict[str, Document]:
        return self._writer.current(kind, self._mirrors[kind.name])

    async def _models(self, cluster: Cluster, pods: dict[str, Pods]) -> None:
        """Take what is declared into the store, and tell of each declaration what became of it."""
        models = {model.id: model for model in cluster.models}
        async with asyncio.TaskGroup() as group:
            for found in self._there(MODELS).values():
                one = declared(found)
                try:
                    step = await self._step(one, found, models.get(one.name), pods.get(one.name, NO_PODS))
                except Conflict as error:
                    self._log.info("a declaration is looked at again", model=one.name, error=foreign(error))
                    self._bell.set()  # somebody changed the model meanwhile
                    continue
                group.create_task(step)

    async def _step(
        self, one: Declared, found: Document, model: ModelSpec | None, pods: Pods
    ) -> Coroutine[None, None, None]:
        """Bring the store in line with a declaration; return what is left to write to the object."""
        if one.leaving:
            await self._leave(one, model)
            rest = [name for name in one.finalizers if name != FINALIZER]
            return self._finalizers(one, found, rest, model, pods)
        if FINALIZER not in one.finalizers:
            # first what sees to its end, then the model: no deletion may be missed between the two
            return self._finalizers(one, found, [*one.finalizers, FINALIZER], model, pods)
        taken, refusal = await self._taken(one, model)
        return self._writer.tell(MODELS, found, told(one, taken, refusal, pods))

    async def _finalizers(
        self, one: Declared, found: Document, names: list[str], model: ModelSpec | None, pods: Pods
    ) -> None:
        """Put a declaration's finalizers, where they are others; what is refused is told on it."""
        if names == list(one.finalizers):
            return
        await self._writer.finalizers(MODELS, found, names)
        if refusal := self._writer.refusal(MODELS, one.name):
            await self._writer.tell(MODELS, found, told(one, model, refusal, pods))
        else:
            self._bell.set()

    async def _leave(self, one: Declared, model: ModelSpec | None) -> None:
        if FINALIZER not in one.finalizers or model is None:
            return
        with suppress(NotFound):
            await self._store.delete_model(one.name, if_revision=model.revision)
            self._log.info("a model is no longer declared and leaves the store", model=one.name)

    async def _taken(self, one: Declared, model: ModelSpec | None) -> tuple[ModelSpec | None, str]:
        """Return the model as the store has it now, and why it is not as declared; else empty."""
        if one.spec is None:
            return model, one.refusal
        if model is not None and model.model_copy(update={"revision": 0}) == one.spec:
            return model, ""
        try:
            made = await self._store.put_model(one.spec, if_revision=None if model is None else model.revision)
        except InputError as error:
            return model, foreign(error)
        self._log.info("a declared model is in the store", model=one.name, revision=made.revision)
        return made, ""

    async def _plan(self) -> None:
        plan, seen = await self._store.current_plan(), await self._store.generations()
        if plan is None:
            return
        found = self._there(PLANS)
        wanted = plan_object(plan, self._settings.namespace)
        await self._writer.put(PLANS, [wanted], found)
        there = found.get(wanted["metadata"]["name"])
        if there is not None:
            status = {
                "observedGeneration": there["metadata"].get("generation", 0),
                "placement_generation": seen.placement,
                "table_generation": seen.table,
            }
            await self._writer.tell(PLANS, there, status)

    async def _budgets(self, cluster: Cluster, pods: dict[str, Pods]) -> None:
        """Have one budget for each model that runs as a container: first those that are wanted, then none beside."""
        models = [model.id for model in cluster.models if model.container is not None]
        wanted = [budget_object(model, self._settings.namespace) for model in models]
        await self._writer.put(BUDGETS, wanted, self._there(BUDGETS))
        await self._writer.delete(BUDGETS, needless(self._there(BUDGETS), models, pods))

    async def _table(self, table: RoutingTable) -> None:
        found = self._there(TABLES)
        self._tables = mirrored(table, self._tables)
        wanted = [table_object(one, self._settings.namespace) for one in self._tables.values()]
        await self._writer.put(TABLES, wanted, found)
        await self._writer.delete(TABLES, [one for name, one in found.items() if name not in self._tables])

    async def _routes(self, table: RoutingTable, cluster: Cluster, pods: dict[str, Pods]) -> None:
        """Export the table, and tell on each mirror what the gateway says of its routes."""
        if "HTTPRoute" not in self._known:
            await self._exporter.without_api()
            return
        ports = {model.id: model.container.port for model in cluster.models if model.container is not None}
        states = await self._exporter.export(table, pods, ports, self._there(ROUTES), self._there(SERVICES))
        async with asyncio.TaskGroup() as group:
            for name, found in self._there(TABLES).items():
                if said := [state for state in states if state.model == name]:
                    generation = found["metadata"].get("generation", 0)
                    status = {"observedGeneration": generation, "conditions": [_routes_accepted(said, generation)]}
                    group.create_task(self._writer.tell(TABLES, found, status))


def _first(errors: ExceptionGroup[Exception]) -> Exception:
    """Return one of the errors themselves."""
    one = errors.exceptions[0]
    return _first(one) if isinstance(one, ExceptionGroup) else one


def _routes_accepted(said: Sequence[RouteState], generation: int) -> Document:
    """Return the condition of a mirror that tells what the gateway says of the routes."""
    bad = [state for state in said if state.stage in ("rejected", "stale")]
    taken = False if bad else None if any(state.stage == "waiting" for state in said) else True
    reason = bad[0].stage.capitalize() if bad else "Accepted" if taken else "Waiting"
    return condition("RoutesAccepted", taken, reason, bad[0].reason if bad else "", generation)
