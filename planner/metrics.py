"""What the planner counts of itself."""

from prometheus_client import CollectorRegistry, Counter, Histogram

from fairlead.agents.metrics import DECISION_SECONDS, DialogueMetrics, LoopMetrics


class PlannerMetrics:
    """Counters of one planner in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.loop = LoopMetrics(
            decisions=Counter(
                "fairlead_epoch_decisions", "Decisions journaled", ["kind", "source"], registry=self.registry
            ),
            steps=Counter(
                "fairlead_epoch_steps", "Rungs of the ladder that were taken", ["step", "code"], registry=self.registry
            ),
            seconds=Histogram(
                "fairlead_epoch_decision_seconds",
                "Wall time from the first read to the last write of a decision",
                ["kind"],
                buckets=DECISION_SECONDS,
                registry=self.registry,
            ),
            conflicts=Counter(
                "fairlead_epoch_conflicts", "Decisions made again because another was first", registry=self.registry
            ),
            failures=Counter(
                "fairlead_epoch_failures", "Decisions that failed and were tried again", registry=self.registry
            ),
            watch_failures=Counter(
                "fairlead_epoch_watch_failures", "Times the stream of changes ended", registry=self.registry
            ),
        )
        self.dialogues = DialogueMetrics(self.registry, "planner")
