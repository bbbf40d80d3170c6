"""What kube-sync counts of itself."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

PASS_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Bounds of a pass's wall seconds: 10 ms where nothing changed, 5 ms for each object that did."""


class SyncMetrics:
    """Counters of one kube-sync in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.passes = Histogram(
            "fairlead_kube_pass_seconds",
            "Wall time of one comparison of the store with the Kubernetes API",
            buckets=PASS_SECONDS,
            registry=self.registry,
        )
        self.writes = Counter(
            "fairlead_kube_writes", "Objects written or deleted", ["kind", "operation"], registry=self.registry
        )
        self.healed = Counter(
            "fairlead_kube_healed", "Objects that others had changed or deleted", ["kind"], registry=self.registry
        )
        self.refusals = Counter(
            "fairlead_kube_refusals", "Objects that the Kubernetes API did not take", ["kind"], registry=self.registry
        )
        self.refused = Gauge(
            "fairlead_kube_refused",
            "Objects that the Kubernetes API does not take now; they are tried again each minute, or once they change",
            registry=self.registry,
        )
        self.failures = Counter(
            "fairlead_kube_failures", "Passes that failed and were tried again", registry=self.registry
        )
        self.calls = Gauge("fairlead_kube_calls", "Requests sent to the Kubernetes API", registry=self.registry)
        self.routes = Gauge(
            "fairlead_kube_routes",
            "Routes of the cluster's gateway, by what it says of them",
            ["state"],
            registry=self.registry,
        )
