"""Exports routing tables to the cluster's own gateway: services first, then routes, and last what nobody needs."""

from collections.abc import Mapping

from fairlead.contracts.plans import RoutingTable
from fairlead.contracts.ports import Clock, Store
from fairlead.contracts.resources import RouteStage, RouteState, RouteStates
from fairlead.contracts.settings import KubernetesSettings
from kube_sync.declared import Pods
from kube_sync.kinds import ROUTES, SERVICES
from kube_sync.metrics import SyncMetrics
from kube_sync.objects import Document, covers, service_object
from kube_sync.routing import Route, has_address, is_ours, routes_of, said_of, services_in, state_of
from kube_sync.writing import Writer

TELL_EVERY_S = 30.0
"""Domain seconds after which the store is told anew that nothing changed: a slot."""

NO_API = "HTTPRoutes cannot be followed: Gateway API is not installed, or kube-sync may not read them"


class Exporter:
    """Keeps the routes of one `Gateway`."""

    def __init__(
        self, store: Store, writer: Writer, clock: Clock, settings: KubernetesSettings, metrics: SyncMetrics
    ) -> None:
        self._store = store
        self._writer = writer
        self._clock = clock
        self._settings = settings
        self._metrics = metrics
        self._gateway = (settings.gateway_namespace or settings.namespace, settings.gateway or "")
        self._told: RouteStates | None = None
        self._changed: dict[str, tuple[int, float]] = {}
        """Per route the generation of its object and when that was seen first, wall."""

    async def export(
        self,
        table: RoutingTable,
        pods: Mapping[str, Pods],
        ports: Mapping[str, int],
        routes: dict[str, Document],
        services: dict[str, Document],
    ) -> tuple[RouteState, ...]:
        """Make routes and services as the table asks, and return what the gateway says of each route.

        `ports` has the models that run in containers; others cannot be reached by a service.
        """
        asked = routes_of(table, pods, routes, self._gateway, self._settings.namespace)
        wanted = [route for route in asked if route.row.model in ports]
        pairs = sorted({(route.row.model, node) for route in wanted for node in route.weights})
        needed = [service_object(model, node, ports[model], self._settings.namespace) for model, node in pairs]
        # services of former versions have an address, which none can lose
        former = {name: one for name, one in services.items() if is_ours(one) and has_address(one)}
        await self._writer.delete(SERVICES, former.values())
        await self._writer.put(SERVICES, needed, {n: one for n, one in services.items() if n not in former})
        await self._writer.put(ROUTES, [route.document for route in wanted], routes)
        named = {route.document["metadata"]["name"] for route in wanted}
        await self._writer.delete(ROUTES, [one for name, one in routes.items() if name not in named])
        used = {service["metadata"]["name"] for service in needed}
        used |= {name for one in routes.values() for name in services_in(one)}
        unused = [one for name, one in services.items() if name not in used and is_ours(one)]
        await self._writer.delete(SERVICES, unused)
        states = await self._states(wanted, routes)
        await self._tell("", states)
        return states

    async def without_api(self) -> None:
        """Tell that nothing can be exported."""
        await self._tell(NO_API, ())

    async def _states(self, wanted: list[Route], routes: dict[str, Document]) -> tuple[RouteState, ...]:
        before = {one.route: one for one in (await self._before()).items}
        now_s, wall_s = self._clock.now_s(), self._clock.wall_s()
        states = []
        for route in wanted:
            name = route.document["metadata"]["name"]
            found, refusal = routes.get(name), self._writer.refusal(ROUTES, name)
            stage: RouteStage
            if refusal:
                stage, reason = "rejected", refusal
            elif found is None or not covers(found, route.document):
                continue  # just written: the next pass sees it
            else:
                generation = found["metadata"].get("generation", 0)
                if self._changed.get(name, (-1, 0.0))[0] != generation:
                    self._changed[name] = (generation, wall_s)
                in_time = wall_s - self._changed[name][1] < self._settings.route_answer_s
                stage, reason = said_of(found, self._gateway, answered_in_time=in_time)
            old = before.get(name)
            since_at_s = old.since_at_s if old is not None and old.stage == stage else now_s
            states.append(state_of(route, stage, reason, since_at_s))
        return tuple(sorted(states, key=lambda one: (one.model, one.zone)))

    async def _before(self) -> RouteStates:
        return self._told if self._told is not None else await self._store.routes()

    async def _tell(self, reason: str, states: tuple[RouteState, ...]) -> None:
        """Keep the states in the store, if they have changed or were kept long ago."""
        now_s = self._clock.now_s()
        for stage in ("accepted", "rejected", "waiting", "stale"):
            self._metrics.routes.labels(stage).set(sum(one.stage == stage for one in states))
        new = RouteStates(gateway="/".join(self._gateway), observed_at_s=now_s, reason=reason, items=states)
        old = await self._before()
        due = old.observed_at_s is None or now_s - old.observed_at_s >= TELL_EVERY_S
        if due or new.model_copy(update={"observed_at_s": old.observed_at_s}) != old:
            await self._store.put_routes(new)
            self._told = new
