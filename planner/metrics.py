"""What the planner counts of itself."""

from prometheus_client import CollectorRegistry, Counter, Histogram

from fairlead.contracts.decisions import DecisionRecord

SECONDS = (0.005, 0.025, 0.1, 0.5, 1.0, 5.0, 20.0, 60.0)
"""Bounds of a decision's wall seconds: milliseconds for the fallback, up to a minute for a language model."""


class PlannerMetrics:
    """Counters of one planner in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.decisions = Counter("fairlead_epoch_decisions", "Plans put in force", ["source"], registry=self.registry)
        self.steps = Counter(
            "fairlead_epoch_steps", "Rungs of the ladder that were taken", ["step", "code"], registry=self.registry
        )
        self.seconds = Histogram(
            "fairlead_epoch_decision_seconds",
            "Wall time from the first read to the last write of a plan",
            buckets=SECONDS,
            registry=self.registry,
        )
        self.conflicts = Counter(
            "fairlead_epoch_conflicts", "Plans made again because another was first", registry=self.registry
        )
        self.failures = Counter(
            "fairlead_epoch_failures", "Plans that failed and were tried again", registry=self.registry
        )
        self.watch_failures = Counter(
            "fairlead_epoch_watch_failures", "Times the stream of changes ended", registry=self.registry
        )

    def published(self, record: DecisionRecord, took_s: float) -> None:
        """Count a plan that was put in force, `took_s` wall seconds after it was begun."""
        self.decisions.labels(record.source).inc()
        self.seconds.observe(took_s)
        for step in record.output.steps:
            self.steps.labels(step.name, step.code).inc()
