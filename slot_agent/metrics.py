"""What the slot agent counts of itself."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from fairlead.agents.metrics import DECISION_SECONDS, DialogueMetrics, LoopMetrics


class SlotMetrics:
    """Counters of one slot agent in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.loop = LoopMetrics(
            decisions=Counter(
                "fairlead_slot_decisions", "Decisions journaled", ["kind", "source"], registry=self.registry
            ),
            steps=Counter(
                "fairlead_slot_steps", "Rungs of the ladder that were taken", ["step", "code"], registry=self.registry
            ),
            seconds=Histogram(
                "fairlead_slot_decision_seconds",
                "Wall time from the first read to the last write of a decision",
                ["kind"],
                buckets=DECISION_SECONDS,
                registry=self.registry,
            ),
            conflicts=Counter(
                "fairlead_slot_conflicts", "Decisions made again because another was first", registry=self.registry
            ),
            failures=Counter(
                "fairlead_slot_failures", "Decisions that failed and were tried again", registry=self.registry
            ),
            watch_failures=Counter(
                "fairlead_slot_watch_failures", "Times the stream of changes ended", registry=self.registry
            ),
        )
        self.dialogues = DialogueMetrics(self.registry, "slot-agent")
        self.unchanged = Counter(
            "fairlead_slot_unchanged", "Events that changed nothing and were not journaled", registry=self.registry
        )
        self.deaf = Counter(
            "fairlead_slot_deaf", "Decisions put off because no node at all was heard any more", registry=self.registry
        )
        self.changes = Counter(
            "fairlead_slot_changes", "Changes that woke the planner early", ["reason"], registry=self.registry
        )
        self.forecast_error = Gauge(
            "fairlead_slot_forecast_error_ratio",
            "Mean absolute error of an epoch's arrivals by model over their mean: of the forecast, of the plain rate",
            ["method"],
            registry=self.registry,
        )
        self.slots = Counter("fairlead_slots", "Slots that ended", registry=self.registry)
        self.late = Counter(
            "fairlead_slots_late", "Slots that ended without a decision of their own", registry=self.registry
        )
