"""Agents by rule in a run of the twin: whom they speak for, and what they have learned before it begins.

What they know of recurring demand was learned from the demand of another seed; nothing of the run itself is told.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from fairlead.contracts.cases import Advantage, Case, CaseFeatures, Provenance, Realised
from fairlead.contracts.cluster import Cluster
from fairlead.contracts.forecasts import Change, Knowledge, SlotArrivals
from fairlead.contracts.plans import Rate
from fairlead.contracts.settings import LlmSettings
from fairlead.contracts.tuning import PolicySettings
from fairlead.policy.forecasting import Foresight
from fairlead.studies.asking import counsel_of
from fairlead.twin.subjects import Subject
from fairlead.twin.talking import Counsel
from fairlead.twin.voices.speaking import VoiceName, agents_of, speaking

TRAINING_SEED = 9001
"""Of the demand that is learned from: none that policies are compared on."""

TRAINING_S = 14_400.0
"""Four hours: each of four regimes of twenty minutes comes three times, so that each change is seen more than once."""

UNLEARNED: tuple[VoiceName, ...] = ("newcomer", "router")
"""Who begins a run without anything learned of recurring demand, to show what that is worth."""

PLACEBO_APART = 2
"""A placebo expects the regime that comes so many later, in the order of their names, than the one that did."""

POISON_GAIN = 0.5
"""What a poisoned case says that its plan has gained: six times what a true one could (CONTROL §2)."""


def counsel_by(voice: VoiceName, cluster: Cluster, seed: int) -> Counsel:
    """Return how the agents of a run ask an agent by rule: all that passes the gates acts."""
    counsel = counsel_of(LlmSettings(), speaking(voice, seed), "auto", voice)
    cases = (poisoned(cluster),) if voice == "poisoned" else ()
    return replace(counsel, agents=agents_of(voice), cases=cases)


def learned(subject: Subject) -> Knowledge:
    """Return what the demand of a subject teaches, slot after slot, as a slot agent learns it."""
    settings = PolicySettings()
    foresight = Foresight(subject.cluster, settings)
    counts: Counter[tuple[str, str]] = Counter()
    slot = 0
    for one in subject.demand():
        while one.at_s >= (slot + 1) * settings.slot_s:
            foresight.ended(slot, _arrivals(slot, counts))
            counts.clear()
            slot += 1
        counts[one.site, one.model] += 1
    return foresight.knowledge()


def misled(knowledge: Knowledge) -> Knowledge:
    """Return a timetable that is right about when and wrong about what: another regime's rates come each time."""
    names = sorted({one.id for one in knowledge.regimes})
    changes = tuple(one.model_copy(update={"after": _another(one, names)}) for one in knowledge.changes)
    return knowledge.model_copy(update={"changes": changes})


def poisoned(cluster: Cluster) -> Case:
    """Return a case that lies: it says much was gained where the slowest models were asked for most."""
    slowest = sorted(cluster.models, key=lambda m: (-m.work_s * m.memory_bytes, m.id))
    speed = sum(n.speed for n in cluster.nodes)
    rates = tuple(
        Rate(model=m.id, per_s=speed / (2.0**at * m.work_s) if at < 3 else 0.0) for at, m in enumerate(slowest)
    )
    nothing_lost = Realised(
        objective=0.0, latency_s=1.0, fairness=1.0, service=1.0, churn=0, arrived=1000, finished=1000
    )
    return Case(
        id="poisoned",
        epoch=0,
        began_at_s=0.0,
        ended_at_s=300.0,
        features=CaseFeatures(models=(), nodes=(), failures=0, day_ratio=0.0),
        plan_generation=1,
        intents=(),
        priorities=(),
        warm=(),
        rates=tuple(sorted(rates, key=lambda r: r.model)),
        realised=nothing_lost,
        advantage=Advantage(value=POISON_GAIN, low=POISON_GAIN, high=POISON_GAIN, twin="a lie"),
        provenance=Provenance(
            cluster="a", source="llm", policy="agents", llm="poisoned", decision="epoch-1", version="0", seed=0
        ),
    )


def _arrivals(slot: int, counts: Counter[tuple[str, str]]) -> tuple[SlotArrivals, ...]:
    return tuple(
        SlotArrivals(slot=slot, site=site, model=model, arrived=count)
        for (site, model), count in sorted(counts.items())
    )


def _another(change: Change, names: Sequence[str]) -> str:
    """Return a regime that is neither the one that ended nor the one that came, where there are so many."""
    others = [one for one in names if one not in (change.before, change.after)]
    return others[(names.index(change.after) + PLACEBO_APART) % len(others)] if others else change.before
