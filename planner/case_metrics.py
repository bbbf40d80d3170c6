"""What case memory and its evaluator count of themselves."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

SECONDS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
"""Bounds of a recall's wall seconds, with what is read of the epoch before."""

ERRORS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
"""Bounds of F: a hundredth is what the twin's gate lets pass (CONTROL §3)."""


class CaseMetrics:
    """Counters of one planner's case memory."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.written = Counter("fairlead_cases_written", "Epochs remembered", ["source"], registry=registry)
        self.skipped = Counter(
            "fairlead_cases_skipped", "Epochs that ended and are not remembered", ["reason"], registry=registry
        )
        self.forgotten = Counter(
            "fairlead_cases_forgotten", "Cases deleted to make room for newer ones", registry=registry
        )
        self.failures = Counter(
            "fairlead_case_failures",
            "Failed evaluations of an epoch, loads of the memory and recalls",
            registry=registry,
        )
        self.labels = Counter(
            "fairlead_case_labels",
            "Epochs that the twin has judged afterwards, by what it said",
            ["outcome"],
            registry=registry,
        )
        self.twin_error = Histogram(
            "fairlead_case_twin_error",
            "How far F as the twin plays an epoch again is from F as it was measured",
            buckets=ERRORS,
            registry=registry,
        )
        self.kept = Gauge("fairlead_cases_kept", "Cases of this cluster in memory", registry=registry)
        self.recall_seconds = Histogram(
            "fairlead_case_recall_seconds",
            "Wall time to find the cases for a prompt",
            buckets=SECONDS,
            registry=registry,
        )
