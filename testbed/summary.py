"""The summary of a run: what the clients saw, what was decided, whether slots were late; every figure counted."""

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fairlead.contracts.cluster import Cluster
from fairlead.contracts.decisions import DecisionSummary
from fairlead.contracts.errors import FairleadError
from fairlead.contracts.settings import Settings
from fairlead.policy.measuring import Window
from testbed.client_log import ClientRecord, read_client_log
from testbed.client_stats import Counts, Summary, read_outcomes, summarise
from testbed.llm_use import LlmUse

FRACTION_DIGITS = 6
"""Of the figures printed: microseconds."""


@dataclass(frozen=True, slots=True)
class Pods:
    """Pods started and stopped while the demand ran, and before it."""

    starts: int
    stops: int
    initial: int


@dataclass(frozen=True, slots=True)
class Slots:
    """Slots that lay wholly inside the demand, and those that ended before a decision of their own was published."""

    total: int
    late: int


@dataclass(frozen=True, slots=True)
class Facts:
    """What a run left behind, for its summary."""

    settings: Settings
    cluster: Cluster
    scenario: str
    load: float
    trace: str | None
    version: str
    window: Window
    wall_s: float
    ready_after_s: float
    client_log: Path
    outcomes: Path
    sent: int | None
    """Requests that the load generator says it has sent, by its own counter; None if it was ended before it could."""
    generator: dict[str, float]
    """How punctual the load generator was."""
    pods: Pods
    decisions: tuple[DecisionSummary, ...]
    llm: LlmUse
    restarts: int


def assemble(facts: Facts) -> dict[str, Any]:
    """Return the summary as JSON values; raises `FairleadError` where the counts do not add up."""
    clients = summarise(read_client_log(facts.client_log), read_outcomes(facts.outcomes), facts.cluster, facts.window)
    check_sum(clients.requests, facts.sent)
    settings = facts.settings
    slots = count_slots(facts.decisions, settings, facts.window)
    return {
        "scenario": facts.scenario,
        "policy": settings.policy,
        "load": facts.load,
        "trace": facts.trace,
        "speed": settings.speed,
        "seed": settings.seed,
        "version": facts.version,
        "duration_s": {
            "wall": rounded(facts.wall_s),
            "simulated": rounded(facts.window.end_at_s - facts.window.start_at_s),
            "warm_up": 0.0,
        },
        "requests": asdict(clients.requests),
        "failures": dict(clients.failures),
        "latency_s": {name: rounded(value) for name, value in asdict(clients.latency_s).items()},
        "fairness": {name: rounded(value) for name, value in asdict(clients.fairness).items()},
        "models": models(clients),
        "pods": asdict(facts.pods),
        "decisions": {"since_at_s": facts.window.start_at_s, **count_decisions(facts.decisions)},
        "llm": facts.llm.to_document(),
        "slots": asdict(slots),
        "processes": {"restarts": facts.restarts, "ready_after_s": rounded(facts.ready_after_s)},
        "load_generator": {name: rounded(value) for name, value in facts.generator.items()},
    }


def check_sum(counts: Counts, sent: int | None) -> None:
    """Raise `FairleadError` unless the four fates add up to what arrived and to what the load generator sent."""
    total = counts.finished + counts.failed + counts.open + counts.lost
    if total != counts.arrived or (sent is not None and counts.arrived != sent):
        raise FairleadError(
            f"requests do not add up: sent {sent}, arrived {counts.arrived}, finished {counts.finished} + failed "
            f"{counts.failed} + open {counts.open} + lost {counts.lost} = {total}: the client's log or a gateway's "
            "outcomes are incomplete"
        )


def count_decisions(decisions: Sequence[DecisionSummary]) -> dict[str, Any]:
    """Return how many decisions there were by who made them, and each rung of the ladder by how it went."""
    sources = Counter(one.source for one in decisions)
    steps = Counter(f"{step.name}:{step.code}" for one in decisions for step in one.steps)
    kinds = Counter(one.kind for one in decisions)
    return {
        "total": len(decisions),
        "by_source": {name: sources[name] for name in ("llm", "fallback", "operator")},
        "by_step": dict(sorted(steps.items())),
        "by_kind": dict(sorted(kinds.items())),
    }


def count_slots(decisions: Sequence[DecisionSummary], settings: Settings, window: Window) -> Slots:
    """Return the slots wholly inside the window, and how many had no decision of their own published by their end."""
    slot_s, origin_s = settings.controller.slot_s, settings.clock_origin_s
    first = math.ceil((window.start_at_s - origin_s) / slot_s)
    end = math.floor((window.end_at_s - origin_s) / slot_s)
    published = {
        one.number
        for one in decisions
        if one.kind == "slot" and one.made_at_s + one.took_s * settings.speed <= origin_s + (one.number + 1) * slot_s
    }
    slots = range(first, max(first, end))
    return Slots(len(slots), sum(slot not in published for slot in slots))


def models(clients: Summary) -> dict[str, dict[str, float | int | None]]:
    """Return the figures of each model that was asked for."""
    return {
        stats.model: {
            "arrived": stats.arrived,
            "finished": stats.finished,
            "timely_ratio": rounded(stats.timely / stats.judged) if stats.judged else None,
            "mean_s": rounded(stats.latency_sum_s / stats.arrived),
        }
        for stats in clients.models
        if stats.arrived
    }


def open_without_outcome(log: Path, outcomes: Path) -> int:
    """Return how many requests that the client left open have no outcome of a gateway yet."""
    left = [record.id for record in read_client_log(log) if _is_open(record)]
    if not left:
        return 0
    known = read_outcomes(outcomes)
    return sum(one not in known for one in left)


def is_prepared(log: Path) -> bool:
    """Return whether the load generator has said that it waits to be told when to begin."""
    return log.is_file() and '"prepared"' in log.read_text(encoding="utf-8", errors="replace")


def last_progress(log: Path) -> dict[str, Any] | None:
    """Return the load generator's last word about itself, None where it has not ended in order."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    for line in reversed(lines):
        if line.startswith('{"progress"'):
            document = json.loads(line)
            return dict(document["progress"]) if document["done"] else None
    return None


def in_words(summary: dict[str, Any]) -> str:
    """Return the summary for people."""
    requests, latency, fairness = summary["requests"], summary["latency_s"], summary["fairness"]
    lines = [
        f"{summary['scenario']}, {summary['policy']}, load {summary['load']:g}, seed {summary['seed']}: "
        f"{summary['duration_s']['simulated'] / 60:.1f} min simulated at speed {summary['speed']:g}, "
        f"in {summary['duration_s']['wall']:.0f} s",
        f"requests   {requests['arrived']} arrived: {requests['finished']} finished, {requests['failed']} failed, "
        f"{requests['open']} open, {requests['lost']} lost"
        + "".join(f"; {reason}: {count}" for reason, count in summary["failures"].items()),
        "latency    " + ", ".join(f"{name} {_seconds(value)}" for name, value in latency.items()),
        "fairness   " + ", ".join(f"{name} {value:.3f}" for name, value in fairness.items()),
        f"pods       {summary['pods']['starts']} started, {summary['pods']['stops']} stopped, after "
        f"{summary['pods']['initial']} at the start",
        f"decisions  {summary['decisions']['total']}: "
        + ", ".join(f"{count} by {name}" for name, count in summary["decisions"]["by_source"].items() if count),
        *_llm_line(summary["llm"]),
        f"slots      {summary['slots']['total']}, {summary['slots']['late']} late",
    ]
    if summary["processes"]["restarts"]:
        lines.append(f"processes  {summary['processes']['restarts']} restarted")
    return "\n".join(lines)


def _llm_line(llm: dict[str, Any]) -> tuple[str, ...]:
    """Return a line about the language model, none where none was configured."""
    if llm["endpoint"] == "none":
        return ()
    modes = ", ".join(f"{agent} {mode}" for agent, mode in llm["mode"].items())
    codes = ", ".join(f"{count} {code}" for code, count in llm["by_code"].items())
    tokens = f"{llm['prompt_tokens']} tokens in, {llm['reply_tokens']} out"
    money = f", {llm['money']:.4g} in money" if llm["money"] else ""
    return (
        f"llm        {llm['endpoint']} ({modes}): {llm['dialogues']} dialogues, {llm['accepted']} accepted; "
        f"{llm['asks']} questions{': ' if codes else ''}{codes}; {tokens}{money}, {llm['seconds']:.1f} s",
    )


def rounded(value: float | None) -> float | None:
    """Return a figure as it is printed."""
    return None if value is None else round(value, FRACTION_DIGITS)


def _is_open(record: ClientRecord) -> bool:
    return record.end in (None, "open")


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} s"
