"""The live cluster against the twin: the same demand under the recorded placements and routes (CONTROL §4).

Live, a request that moved waited at more than one node; the twin has it at the last from when it came there, and counts
what it had waited before. Requests that ended without an answer are left out on both sides and counted.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fairlead.contracts.cluster import Cluster
from fairlead.contracts.decisions import SlotDecision
from fairlead.contracts.episodes import DecisionLine, NodeReportLine
from fairlead.contracts.errors import InputError
from fairlead.contracts.plans import Placement
from fairlead.contracts.tuning import PolicySettings
from fairlead.policy.yielding import yields
from fairlead.studies.calibration import Calibration
from fairlead.studies.episodes.files import lines
from fairlead.studies.services import Asked, Log, read_log
from fairlead.twin.recorded import Course, play_course
from fairlead.twin.requests import Arrival

ALL = "all"


@dataclass(frozen=True, slots=True)
class ModelCompared:
    """Latencies of the requests of one model that were answered live and in the twin, domain seconds."""

    model: str
    """`all` of all together."""
    requests: int
    live_mean_s: float
    twin_mean_s: float
    live_p99_s: float
    twin_p99_s: float

    @property
    def mean_error_ratio(self) -> float:
        """How much longer the twin's mean is, of the live one."""
        return self.twin_mean_s / self.live_mean_s - 1.0

    @property
    def p99_error_ratio(self) -> float:
        """How much longer the twin's 99 % quantile is, of the live one."""
        return self.twin_p99_s / self.live_p99_s - 1.0


@dataclass(frozen=True, slots=True)
class Compared:
    """A recorded run beside its twin."""

    episode: str
    models: tuple[ModelCompared, ...]
    """All together first, then by id."""
    left_out: int
    """Requests without a full answer, live or in the twin."""
    moved: int
    """Requests that were queued at more than one node."""
    astray: int
    """Times that the twin sent to another node than was recorded, whose pod was gone there."""


def compared(path: Path, calibration: Calibration) -> Compared:
    """Play a recorded run again in the twin and compare the latencies of its requests.

    Raises `TraceError` where the file is wrong, `InputError` where it is not the record of a run.
    """
    log = read_log(path)
    served = [one for one in log.requests if one.latency_s is not None and _node(one) is not None]
    if not served:
        raise InputError(
            f"episode {log.header.name} has no answered request with an outcome: compare one that "
            "`fairlead up --record FILE` has written"
        )
    served.sort(key=lambda one: _sent_at_s(one, log.header.begins_at_s, calibration))
    played = play_course(_course(log, served, path, calibration))
    twin_s = {
        one.number: one.ended_at_s - served[one.number].request.at_s
        for one in played.requests
        if one.fate == "finished" and one.ended_at_s is not None
    }
    pairs = [
        (one.request.model, one.latency_s, twin_s[at])
        for at, one in enumerate(served)
        if at in twin_s and one.latency_s is not None
    ]
    models = sorted({model for model, _, _ in pairs})
    return Compared(
        episode=log.header.name,
        models=(_compared(ALL, pairs), *(_compared(m, [p for p in pairs if p[0] == m]) for m in models)),
        left_out=len(log.requests) - len(pairs),
        moved=sum(one.outcome is not None and one.outcome.attempts > 1 for one in served),
        astray=played.astray,
    )


def _compared(name: str, pairs: Sequence[tuple[str, float, float]]) -> ModelCompared:
    live, twin = np.array([one[1] for one in pairs]), np.array([one[2] for one in pairs])
    return ModelCompared(
        model=name,
        requests=len(pairs),
        live_mean_s=float(live.mean()),
        twin_mean_s=float(twin.mean()),
        live_p99_s=float(np.percentile(live, 99)),
        twin_p99_s=float(np.percentile(twin, 99)),
    )


def _node(one: Asked) -> str | None:
    return None if one.outcome is None else one.outcome.node


def _sent_at_s(one: Asked, begins_s: float, calibration: Calibration) -> float:
    """Return when a request would have been sent that came to its last node when this one did."""
    at_s, outcome = one.request.at_s, one.outcome
    if outcome is None or outcome.attempts <= 1 or outcome.queued_at_s is None:
        return at_s
    return max(at_s, outcome.queued_at_s - begins_s - calibration.there_s.get(one.request.model, 0.0))


def _course(log: Log, served: Sequence[Asked], path: Path, calibration: Calibration) -> Course:
    ratio, recorded = calibration.work_ratio, log.header.recorded
    demand = [
        Arrival(
            _sent_at_s(one, log.header.begins_at_s, calibration),
            _node(one) or "",
            one.request.model,
            one.request.work_s * ratio.get(one.request.model, 1.0),
        )
        for one in served
    ]
    models = [model.id for model in log.header.cluster.models]
    ready, placements = _placements(path, log.header.begins_at_s)
    return Course(
        cluster=_calibrated(log.header.cluster, calibration),
        settings=PolicySettings() if recorded is None else recorded.settings,
        yielding=recorded is not None and yields(recorded.policy, recorded.settings),
        there_s={one: calibration.there_s.get(one, 0.0) for one in models},
        back_s={one: calibration.back_s.get(one, 0.0) for one in models},
        demand=tuple(demand),
        ready=ready,
        placements=placements,
    )


def _calibrated(shape: Cluster, calibration: Calibration) -> Cluster:
    starts = calibration.start_s
    models = tuple(m.model_copy(update={"start_delay_s": starts.get(m.id, m.start_delay_s)}) for m in shape.models)
    return shape.model_copy(update={"models": models})


def _placements(path: Path, begins_s: float) -> tuple[tuple[tuple[str, str], ...], tuple[tuple[float, Placement], ...]]:
    """Return which pods were ready at second 0, and the placements from then on, the one in force first."""
    before: Placement | None = None
    later: list[tuple[float, Placement]] = []
    ready: dict[str, tuple[tuple[str, str], ...]] = {}
    for line in lines(path, frozenset({"decision", "node-report"})):
        match line:
            case NodeReportLine() if line.at_s <= 0.0:
                pods = line.report.pods
                ready[line.report.node] = tuple((line.report.node, p.model) for p in pods if p.phase == "ready")
            case DecisionLine(record=record) if isinstance(record.output, SlotDecision):
                placement = record.output.placement
                if placement is not None and record.made_at_s <= begins_s:
                    before = placement
                elif placement is not None:
                    later.append((record.made_at_s - begins_s, placement))
            case _:
                pass
    first = () if before is None else ((0.0, before),)
    return tuple(pod for _, pods in sorted(ready.items()) for pod in pods), (*first, *later)
