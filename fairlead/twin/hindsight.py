"""Hindsight: what an epoch's plan was worth against the fallback, on the demand that came (CONTROL §3).

Both are played from the epoch's begin on the requests as they were recorded, and on other demands of the same counts:
as many requests of each model at each site in each slot, at other instants. So the interval of the advantage says how
much of it hangs on instants that nobody could know.
"""

from collections import Counter

from fairlead.contracts.cases import Advantage, Realised
from fairlead.contracts.cluster import Cluster
from fairlead.contracts.evidence import Evidence, Label
from fairlead.contracts.plans import EpochPlan
from fairlead.contracts.tuning import Weights
from fairlead.policy.epoch import neutral
from fairlead.twin.branching import Branch, Branched, Candidate, Demand, objective_of, situation_of
from fairlead.twin.intervals import interval
from fairlead.twin.requests import Arrival
from fairlead.twin.streams import stream


def labelled(evidence: Evidence, branch: Branch, twin: str) -> Label:
    """Return what came of an epoch under its plan and under the fallback; `twin` names the engine and its version."""
    begin = evidence.begin
    situation, settings = situation_of(begin), begin.settings
    candidates = (_planned(evidence), Candidate("fallback", plan=_fallback(evidence)))
    demands = [demand(evidence, k) for k in range(settings.gate.scenarios)]
    played = [
        tuple(
            _value(branch(situation, one, calls, evidence.ended_at_s), begin.cluster, settings.weights)
            for calls in demands
        )
        for one in candidates
    ]
    own, fallback = played
    gains = [theirs.objective - ours.objective for ours, theirs in zip(own, fallback, strict=True)]
    gain = interval(gains, 1.0 - settings.gate.confidence)
    return Label(
        replayed=own[0],
        fallback=fallback[0],
        advantage=Advantage(value=gain.mean, low=gain.low, high=gain.high, twin=twin, demands=len(gains)),
    )


def _planned(evidence: Evidence) -> Candidate:
    """Return the plan as it acted: one that was made in the epoch's course only from then on."""
    late = evidence.plan.created_at_s > evidence.begin.now_s
    return Candidate("plan", plan=evidence.plan, from_s=evidence.plan.created_at_s if late else None)


def _fallback(evidence: Evidence) -> EpochPlan:
    """Return the neutral plan in the place of the epoch's."""
    draft = neutral(evidence.begin.cluster)
    return evidence.plan.model_copy(
        update={
            "source": "fallback",
            "intents": draft.intents,
            "priorities": draft.priorities,
            "warm": (),
            "rates": (),
            "why": draft.why,
            "created_at_s": min(evidence.plan.created_at_s, evidence.begin.now_s),
        }
    )


def demand(evidence: Evidence, k: int) -> Demand:
    """Return demand `k` of an epoch: 0 is as recorded, each other one has the same counts at other instants."""
    begin = evidence.begin
    work_s = {model.id: model.work_s for model in begin.cluster.models}
    sites = {site.id for site in begin.cluster.sites}
    calls = [
        one
        for one in evidence.calls
        if begin.now_s <= one.at_s < evidence.ended_at_s and one.model in work_s and one.site in sites
    ]
    if k == 0:
        return tuple(Arrival(one.at_s, one.site, one.model, work_s[one.model]) for one in calls)
    draws = stream(begin.seed, "hindsight", evidence.case, str(k))
    slot_s = begin.settings.slot_s
    counts = Counter((int((one.at_s - begin.now_s) // slot_s), one.site, one.model) for one in calls)
    again = []
    for (slot, site, model), count in sorted(counts.items()):
        from_s = begin.now_s + slot * slot_s
        length_s = min(slot_s, evidence.ended_at_s - from_s)
        again += [Arrival(from_s + length_s * at, site, model, work_s[model]) for at in draws.random(count).tolist()]
    return tuple(sorted(again, key=lambda one: (one.at_s, one.site, one.model)))


def _value(found: Branched, cluster: Cluster, weights: Weights) -> Realised:
    return Realised(
        objective=objective_of(found, cluster, weights).total,
        latency_s=found.latency_s,
        fairness=found.fairness,
        service=found.service,
        churn=found.churn,
        arrived=found.arrived,
        finished=found.finished,
    )
