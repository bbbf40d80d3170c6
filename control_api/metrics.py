"""What the control API measures: of itself, and of the cluster as reports tell it."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from fairlead.contracts.cluster import Cluster
from fairlead.contracts.readings import GatewayReport, NodeReport

SECONDS = (0.002, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5, 10.0)
"""Bounds of a call's wall seconds: a report takes 35 ms, most of it waiting to share a write."""

LATENCIES_S = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0)
"""Bounds of a request's domain seconds, up to the hold time-out; 60 is the usual deadline."""


class ControlMetrics:
    """The metrics of one control API, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.calls = Counter(
            "fairlead_control_calls", "Calls answered", ["operation", "status"], registry=self.registry
        )
        self.call_seconds = Histogram(
            "fairlead_control_call_seconds",
            "Wall time of a call, long polls and streams apart",
            ["operation"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self.reports = Counter(
            "fairlead_control_reports",
            "Reports taken, and those that had been before",
            ["kind", "result"],
            registry=self.registry,
        )
        self.waiting = Gauge("fairlead_control_waiting", "Long polls that wait now", ["kind"], registry=self.registry)
        self.listeners = Gauge("fairlead_control_event_listeners", "Event streams open now", registry=self.registry)
        self.events = Counter("fairlead_control_events", "Changes seen", ["kind"], registry=self.registry)
        self.store_up = Gauge("fairlead_store_up", "1 if the database answers", registry=self.registry)
        self.watch_failures = Counter(
            "fairlead_control_watch_failures", "Times the stream of changes ended", registry=self.registry
        )
        self.generation = Gauge("fairlead_generation", "Generation in force", ["kind"], registry=self.registry)
        self._known: frozenset[str] = frozenset()
        self._declare_cluster()

    def know(self, cluster: Cluster) -> None:
        """Use the ids of this cluster as labels, and `other` for all else that reports name."""
        nodes, models, sites = cluster.nodes, cluster.models, cluster.sites
        self._known = frozenset((*(n.id for n in nodes), *(m.id for m in models), *(s.id for s in sites)))

    def _label(self, name: str) -> str:
        return name if name in self._known else "other"

    def _declare_cluster(self) -> None:
        """Declare what reports tell."""
        self.memory = Gauge(
            "fairlead_node_memory_bytes", "What pods may claim on a node", ["node"], registry=self.registry
        )
        self.memory_used = Gauge("fairlead_node_memory_used_bytes", "Claimed by pods", ["node"], registry=self.registry)
        self.overruns = Gauge(
            "fairlead_node_overruns", "Times that claims exceeded a node's memory", ["node"], registry=self.registry
        )
        self.observed = Gauge(
            "fairlead_report_observed_at_seconds",
            "Domain instant of a reporter's newest report",
            ["kind", "reporter"],
            registry=self.registry,
        )
        self.pod_work = Gauge(
            "fairlead_pod_work_seconds", "Work waiting and running in a pod", ["node", "model"], registry=self.registry
        )
        self.pod_requests = Gauge(
            "fairlead_pod_requests", "Requests waiting and running in a pod", ["node", "model"], registry=self.registry
        )
        self.held = Gauge(
            "fairlead_held_requests", "Requests that no pod has", ["site", "model"], registry=self.registry
        )
        self.outcomes = Counter("fairlead_outcomes", "Requests that ended", ["model", "status"], registry=self.registry)
        self.latency = Histogram(
            "fairlead_request_latency_seconds",
            "From arrival until a request finished, domain seconds",
            ["model"],
            buckets=LATENCIES_S,
            registry=self.registry,
        )

    def node_reported(self, report: NodeReport) -> None:
        """Take over what a node agent says."""
        node = self._label(report.node)
        self.memory.labels(node).set(report.memory_bytes)
        self.memory_used.labels(node).set(report.memory_used_bytes)
        self.overruns.labels(node).set(report.overruns)
        self.observed.labels("node", node).set(report.observed_at_s)

    def gateway_reported(self, report: GatewayReport) -> None:
        """Take over what a gateway says."""
        self.observed.labels("gateway", self._label(report.gateway)).set(report.observed_at_s)
        if report.site is not None:
            site = self._label(report.site)
            for count in report.models:
                self.held.labels(site, self._label(count.model)).set(count.held)
        if report.keeper is not None:
            node = self._label(report.keeper.node)
            for pod in report.keeper.pods:
                self.pod_work.labels(node, self._label(pod.model)).set(pod.work_s)
                self.pod_requests.labels(node, self._label(pod.model)).set(pod.count)
        for outcome in report.outcomes:
            model = self._label(outcome.model)
            self.outcomes.labels(model, outcome.status).inc()
            if outcome.status == "finished":
                self.latency.labels(model).observe(outcome.ended_at_s - outcome.arrived_at_s)

    def exposition(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self.registry)
