"""The objective F that everything is judged by (CONTROL §1); less is better."""

from dataclasses import dataclass

from fairlead.contracts.tuning import Weights


@dataclass(frozen=True, slots=True)
class Measured:
    """What F is made of."""

    latency_s: float
    """L: mean latency, what did not finish counted with its age."""
    reference_s: float
    """Lref: fixed per scenario (mean of `random-static`); live, the deadline."""
    fairness: float
    """J'(x1), in [0, 1]."""
    churn: float
    """C: starts and stops of an epoch."""
    churn_most: float
    """Cmax: nodes times models."""
    service: float
    """S: service ratio, in [0, 1]."""


@dataclass(frozen=True, slots=True)
class Objective:
    """F and its weighted terms."""

    latency: float
    fairness: float
    churn: float
    service: float

    @property
    def total(self) -> float:
        """F."""
        return self.latency + self.fairness + self.churn + self.service


def objective(measured: Measured, weights: Weights) -> Objective:
    """Return F = w_l·min(1, L/Lref) + w_f·(1 − J') + w_c·min(1, C/Cmax) + w_s·(1 − S), term by term."""
    return Objective(
        latency=weights.latency * min(1.0, measured.latency_s / measured.reference_s),
        fairness=weights.fairness * (1.0 - measured.fairness),
        churn=weights.churn * min(1.0, measured.churn / measured.churn_most),
        service=weights.service * (1.0 - measured.service),
    )
