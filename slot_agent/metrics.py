"""What the slot agent counts of itself."""

from prometheus_client import CollectorRegistry, Counter, Histogram

from fairlead.contracts.decisions import DecisionRecord

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""Bounds of a decision's wall seconds: 5 to 15 ms is usual at 7 nodes × 4 models, 0.6 of a wall slot the most."""


class SlotMetrics:
    """Counters of one slot agent in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.decisions = Counter(
            "fairlead_slot_decisions", "Decisions put in force", ["kind", "source"], registry=self.registry
        )
        self.steps = Counter(
            "fairlead_slot_steps", "Rungs of the ladder that were taken", ["step", "code"], registry=self.registry
        )
        self.seconds = Histogram(
            "fairlead_slot_decision_seconds",
            "Wall time from the first read to the last write of a decision",
            ["kind"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self.unchanged = Counter(
            "fairlead_slot_unchanged", "Events that changed nothing and were not journaled", registry=self.registry
        )
        self.deaf = Counter(
            "fairlead_slot_deaf", "Decisions put off because no node at all was heard any more", registry=self.registry
        )
        self.slots = Counter("fairlead_slots", "Slots that ended", registry=self.registry)
        self.late = Counter(
            "fairlead_slots_late", "Slots that ended without a decision of their own", registry=self.registry
        )
        self.conflicts = Counter(
            "fairlead_slot_conflicts", "Decisions made again because another was first", registry=self.registry
        )
        self.failures = Counter(
            "fairlead_slot_failures", "Decisions that failed and were tried again", registry=self.registry
        )
        self.watch_failures = Counter(
            "fairlead_slot_watch_failures", "Times the stream of changes ended", registry=self.registry
        )

    def published(self, record: DecisionRecord, took_s: float) -> None:
        """Count a decision that was put in force, `took_s` wall seconds after it was begun."""
        self.decisions.labels(record.kind, record.source).inc()
        self.seconds.labels(record.kind).observe(took_s)
        for step in record.output.steps:
            self.steps.labels(step.name, step.code).inc()
