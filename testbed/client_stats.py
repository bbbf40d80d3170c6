"""What a run measured: the client's records joined by id with the gateways' outcomes, counts, latency, fairness."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pydantic

from fairlead.contracts.cluster import Cluster
from fairlead.contracts.readings import Outcome
from fairlead.policy.fairness import ModelStats, Readings, readings
from fairlead.policy.measuring import Latency, Window, latencies, model_stats
from testbed.client_log import ClientRecord, whole_lines

Fate = Literal["finished", "failed", "open", "lost"]
"""`open`: neither side saw an end while both knew of it; `lost`: the client has no end of it, no gateway any line."""


@dataclass(frozen=True, slots=True)
class Fated:
    """One request and what became of it."""

    id: str
    model: str
    sent_at_s: float
    ended_at_s: float | None
    """None unless finished or failed."""
    fate: Fate
    reason: str

    @property
    def finished_at_s(self) -> float | None:
        """When the client had the full answer."""
        return self.ended_at_s if self.fate == "finished" else None


@dataclass(frozen=True, slots=True)
class Counts:
    """How many requests of each fate; the four add up to `arrived` because each is counted by itself."""

    arrived: int
    finished: int
    failed: int
    open: int
    lost: int


@dataclass(frozen=True, slots=True)
class Summary:
    """All that is said of a run from the client's side."""

    requests: Counts
    failures: tuple[tuple[str, int], ...]
    """How many requests failed for each reason, sorted by reason."""
    latency_s: Latency
    fairness: Readings
    models: tuple[ModelStats, ...]


def read_outcomes(folder: Path) -> dict[str, Outcome]:
    """Return the gateways' outcomes by request id, of all `*.jsonl` in `folder`.

    A request that was sent again has one from each site: a finished one counts before any other, then the last. Lines
    that a kill has torn are left out.
    """
    found: dict[str, Outcome] = {}
    for path in sorted(folder.glob("*.jsonl")):
        for line in whole_lines(path):
            try:
                outcome = Outcome.from_json(line)
            except pydantic.ValidationError:
                continue
            before = found.get(outcome.request)
            if before is None or before.status != "finished":
                found[outcome.request] = outcome
    return found


def join(records: Iterable[ClientRecord], outcomes: Mapping[str, Outcome]) -> tuple[Fated, ...]:
    """Return what became of each request: the client's word where it has one, else the gateways'."""
    return tuple(_fated(record, outcomes.get(record.id)) for record in records)


def count(requests: Sequence[Fated]) -> Counts:
    """Return how many there are of each fate."""
    fates = [one.fate for one in requests]
    return Counts(
        arrived=len(fates),
        finished=fates.count("finished"),
        failed=fates.count("failed"),
        open=fates.count("open"),
        lost=fates.count("lost"),
    )


def summarise(
    records: Iterable[ClientRecord], outcomes: Mapping[str, Outcome], cluster: Cluster, window: Window
) -> Summary:
    """Return counts, latency and fairness of the requests that were due inside the window.

    One that was due inside and sent a moment after its end counts too. What finished after the window's end, in the
    grace, counts as finished and, in latency, with its age at the end.
    """
    inside = (one for one in records if window.start_at_s <= one.due_at_s <= window.end_at_s)
    requests = join(inside, outcomes)
    models = model_stats(requests, cluster, window)
    failures = Counter(one.reason for one in requests if one.fate == "failed")
    return Summary(
        count(requests), tuple(sorted(failures.items())), latencies(requests, window), readings(models), models
    )


def _fated(record: ClientRecord, outcome: Outcome | None) -> Fated:
    if record.end in ("finished", "failed"):
        why = outcome.reason if outcome is not None and record.end == "failed" else ""
        return _with(record, record.end, record.ended_at_s, why or record.reason)
    if outcome is None:
        return _with(record, "lost", None, "no-trace")
    match outcome.status:
        case "cancelled":
            return _with(record, "open", None, record.reason)
        case "finished" if record.end == "open":
            return _with(record, "open", None, "ended-as-client-left")
        case "finished":
            return _with(record, "finished", outcome.ended_at_s, "by-gateway")
        case "failed" | "refused":
            return _with(record, "failed", outcome.ended_at_s, outcome.reason)


def _with(record: ClientRecord, fate: Fate, ended_at_s: float | None, reason: str) -> Fated:
    return Fated(record.id, record.model, record.sent_at_s, ended_at_s, fate, reason)
