"""What a recorded run says of the machine it ran on, as corrections of the twin's constants."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median

from fairlead.contracts.episodes import NodeReportLine
from fairlead.contracts.errors import InputError
from fairlead.studies.episodes.files import lines
from fairlead.studies.services import Log, read_log, services_of

LEAST_SERVICES = 20
"""A model with fewer services keeps its declared work: the mean of fewer says less than the declaration."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """By model, domain seconds where nothing else is said; a model that is not named is as declared."""

    work_ratio: Mapping[str, float]
    """Work attained over work asked for: what an answer costs beside its own computing, and how wrong speeds are."""
    there_s: Mapping[str, float]
    """From a client to a pod that has nobody."""
    back_s: Mapping[str, float]
    """From the ingress' last byte to the client's."""
    start_s: Mapping[str, float]
    """From a start's begin until the pod is ready."""


AS_DECLARED = Calibration({}, {}, {}, {})


def calibrated(path: Path) -> Calibration:
    """Return what an episode of `fairlead up` says; raises `TraceError`, or `InputError` where nothing was served."""
    log = read_log(path)
    if not any(one.outcome is not None and one.outcome.status == "finished" for one in log.requests):
        raise InputError(
            f"episode {log.header.name} has no finished request with an outcome: calibrate on one that "
            "`fairlead up --record FILE` has written"
        )
    work_ratio, there_s = _services(log)
    return Calibration(work_ratio, there_s, _back_s(log), _start_s(path))


def _services(log: Log) -> tuple[dict[str, float], dict[str, float]]:
    speed = {node.id: node.speed for node in log.header.cluster.nodes}
    asked = {one.request.id: one.request for one in log.requests}
    done_s: dict[str, float] = {}
    asked_s: dict[str, list[float]] = {}
    there_s: dict[str, list[float]] = {}
    for one in services_of(log.header, (a.outcome for a in log.requests if a.outcome is not None)):
        request = asked[one.request]
        if one.finished:
            done_s[one.model] = done_s.get(one.model, 0.0) + one.attained_s * speed[one.node]
            asked_s.setdefault(one.model, []).append(request.work_s)
        if one.idle and not one.moved:
            there_s.setdefault(one.model, []).append(one.started_at_s - request.at_s)
    ratio = {name: done_s[name] / sum(works) for name, works in asked_s.items() if len(works) >= LEAST_SERVICES}
    return ratio, {name: max(0.0, median(values)) for name, values in there_s.items()}


def _back_s(log: Log) -> dict[str, float]:
    found: dict[str, list[float]] = {}
    for one in log.requests:
        if one.outcome is not None and one.answer is not None and one.latency_s is not None:
            ended_s = one.outcome.ended_at_s - log.header.begins_at_s
            found.setdefault(one.request.model, []).append(one.answer.at_s - ended_s)
    return {name: max(0.0, median(values)) for name, values in found.items()}


def _start_s(path: Path) -> dict[str, float]:
    """Return the mean of the starts whose begin and end were both reported."""
    begun: dict[tuple[str, str], float] = {}
    took_s: dict[str, dict[tuple[str, str], float]] = {}
    for line in lines(path, frozenset({"node-report"})):
        for pod in line.report.pods if isinstance(line, NodeReportLine) else ():
            key = (line.report.node, pod.instance) if isinstance(line, NodeReportLine) else ("", "")
            if pod.phase == "starting":
                begun.setdefault(key, pod.since_at_s)
            elif pod.phase == "ready" and key in begun and pod.ready_at_s is not None:
                took_s.setdefault(pod.model, {}).setdefault(key, pod.ready_at_s - begun[key])
    return {name: fmean(values.values()) for name, values in took_s.items()}
