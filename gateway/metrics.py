"""What `/metrics` of a gateway says: read from its books when somebody scrapes, so that no request pays for it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import web

from fairlead.adapters.spool import Outbox, Spool
from fairlead.contracts.ports import Clock
from gateway.keeper import Keeper
from gateway.ledger import Ledger
from gateway.loops import Loops
from gateway.serving import Answer
from gateway.view import View
from gateway.wakes import Wakes

if TYPE_CHECKING:
    from prometheus_client.core import Metric

CATALOGUE: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "fairlead_gateway_requests_arrived": ("counter", "Requests accepted", ("site", "model")),
    "fairlead_gateway_requests_ended": ("counter", "Requests that ended, by how", ("site", "model", "status")),
    "fairlead_gateway_requests_open": ("gauge", "Requests open now, by where they are", ("site", "place")),
    "fairlead_gateway_requests_refused": ("counter", "Requests not accepted, by reason code", ("site", "code")),
    "fairlead_gateway_tickets_moved": ("counter", "Tickets offered anew: moved, or sent again", ("site", "why")),
    "fairlead_gateway_choices": ("counter", "First choices of a node", ("site", "model", "node")),
    "fairlead_gateway_wait_seconds": ("counter", "Domain seconds from arrival to a pod, summed", ("site", "model")),
    "fairlead_gateway_service_seconds": ("counter", "Domain seconds with a pod, summed", ("site", "model")),
    "fairlead_gateway_wakes": ("counter", "Wakes, by whether they were delivered", ("site", "result")),
    "fairlead_gateway_table_generation": ("gauge", "Newest routing table seen", ("site",)),
    "fairlead_gateway_tables_refused": ("counter", "Tables refused because a newer one was in force", ("site",)),
    "fairlead_gateway_reports": ("counter", "Reports, by what became of them", ("gateway", "result")),
    "fairlead_gateway_loop_faults": ("counter", "Failures that a loop outlived", ("gateway", "loop")),
    "fairlead_keeper_tickets": ("counter", "Tickets offered to the keeper, by what became of them", ("node", "result")),
    "fairlead_keeper_pod_work_seconds": ("gauge", "W of a pod", ("node", "model")),
    "fairlead_keeper_pod_requests": ("gauge", "Requests at a pod, waiting or running", ("node", "model", "state")),
    "fairlead_keeper_speed_ratio": ("gauge", "v: learned seconds of work a second", ("node",)),
}
"""Name, type, help and labels of every metric; counters gain `_total` where they are exposed."""


@dataclass(frozen=True, slots=True)
class Family:
    """One metric with its values."""

    name: str
    kind: str
    words: str
    labels: tuple[str, ...]
    samples: tuple[tuple[tuple[str, ...], float], ...]


def exposition(collect: Callable[[], Iterator[Family]]) -> Callable[[], bytes]:
    """Return what writes the metrics in Prometheus' text format; its library is loaded at the first scrape only."""
    from prometheus_client import CollectorRegistry, generate_latest
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
    from prometheus_client.registry import Collector

    class Books(Collector):
        """Reads the books at each scrape."""

        def describe(self) -> "Iterator[Metric]":
            """Return nothing: the registry asks at the first scrape."""
            return iter(())

        def collect(self) -> "Iterator[Metric]":
            """Yield every metric."""
            for one in collect():
                kind = CounterMetricFamily if one.kind == "counter" else GaugeMetricFamily
                family = kind(one.name, one.words, labels=one.labels)
                for values, value in one.samples:
                    family.add_metric(values, value)
                yield family

    registry = CollectorRegistry()
    registry.register(Books())
    return lambda: generate_latest(registry)


class GatewayMetrics:
    """Reads the books of one gateway."""

    def __init__(self, gateway: str, clock: Clock, loops: Loops, outbox: Outbox, spool: Spool) -> None:
        """Begin with what every gateway has; roles are added by `ingress` and `keeper`."""
        self._gateway = gateway
        self._clock = clock
        self._loops = loops
        self._outbox = outbox
        self._spool = spool
        self._site: tuple[str, Ledger, View, Wakes] | None = None
        self._keeper: Keeper | None = None
        self._expose: Callable[[], bytes] | None = None

    def ingress(self, site: str, ledger: Ledger, view: View, wakes: Wakes) -> None:
        """Say what an ingress does, too."""
        self._site = (site, ledger, view, wakes)

    def keeper(self, keeper: Keeper) -> None:
        """Say what a keeper does, too."""
        self._keeper = keeper

    async def handle(self, request: web.BaseRequest) -> Answer | None:
        """Answer `/metrics`; None for another path."""
        if request.path != "/metrics":
            return None
        if self._expose is None:
            self._expose = exposition(self.collect)
        return web.Response(body=self._expose(), headers={"content-type": "text/plain; version=0.0.4"})

    def collect(self) -> Iterator[Family]:
        """Yield every metric with its present values."""
        found: dict[str, list[tuple[tuple[str, ...], float]]] = {name: [] for name in CATALOGUE}
        self._collect_gateway(found)
        if self._site is not None:
            self._collect_site(found, *self._site)
        if self._keeper is not None:
            self._collect_keeper(found, self._keeper)
        for name, samples in found.items():
            kind, words, labels = CATALOGUE[name]
            yield Family(name, kind, words, labels, tuple(samples))

    def _collect_gateway(self, found: dict[str, list[tuple[tuple[str, ...], float]]]) -> None:
        me = self._gateway
        found["fairlead_gateway_reports"] = [
            ((me, "sent"), self._outbox.sent),
            ((me, "rejected"), self._outbox.rejected),
            ((me, "retried"), self._outbox.retries),
            ((me, "dropped"), self._spool.dropped),
        ]
        found["fairlead_gateway_loop_faults"] = [((me, w), c) for w, c in sorted(self._loops.faults.items())]

    def _collect_site(
        self,
        found: dict[str, list[tuple[tuple[str, ...], float]]],
        site: str,
        ledger: Ledger,
        view: View,
        wakes: Wakes,
    ) -> None:
        found["fairlead_gateway_requests_arrived"] = [((site, m), c) for m, c in sorted(ledger.arrived.items())]
        found["fairlead_gateway_requests_ended"] = [((site, *k), c) for k, c in sorted(ledger.ended.items())]
        found["fairlead_gateway_requests_open"] = [((site, p), c) for p, c in sorted(ledger.places.items())]
        found["fairlead_gateway_requests_refused"] = [((site, k), c) for k, c in sorted(ledger.refused.items())]
        found["fairlead_gateway_tickets_moved"] = [((site, k), c) for k, c in sorted(ledger.moved.items())]
        found["fairlead_gateway_choices"] = [((site, *k), c) for k, c in sorted(ledger.chosen.items())]
        found["fairlead_gateway_wait_seconds"] = [((site, m), c) for m, c in sorted(ledger.wait_s.items())]
        found["fairlead_gateway_service_seconds"] = [((site, m), c) for m, c in sorted(ledger.service_s.items())]
        found["fairlead_gateway_wakes"] = [((site, "sent"), wakes.sent), ((site, "failed"), wakes.failed)]
        found["fairlead_gateway_table_generation"] = [((site,), view.table_generation)]
        found["fairlead_gateway_tables_refused"] = [((site,), view.older_tables)]

    def _collect_keeper(self, found: dict[str, list[tuple[tuple[str, ...], float]]], keeper: Keeper) -> None:
        node, counts = keeper.node, keeper.counts
        found["fairlead_keeper_tickets"] = [
            ((node, result), getattr(counts, result))
            for result in ("offered", "refused", "returned", "done", "failed", "dropped")
        ]
        for pod in keeper.loads(self._clock.now_s()):
            found["fairlead_keeper_pod_work_seconds"].append(((node, pod.model), pod.work_s))
            found["fairlead_keeper_pod_requests"].append(((node, pod.model, "waiting"), pod.count - pod.running))
            found["fairlead_keeper_pod_requests"].append(((node, pod.model, "running"), pod.running))
        if keeper.speed is not None:
            found["fairlead_keeper_speed_ratio"] = [((node,), keeper.speed)]
