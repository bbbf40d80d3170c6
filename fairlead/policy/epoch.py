"""Plans for an epoch: a language model's, or the fallback's, the neutral one; and what makes a plan infeasible."""

import difflib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from fairlead.contracts.cluster import Cluster
from fairlead.contracts.decisions import EpochDecision, EpochInput, Snapshot, Step
from fairlead.contracts.notes import Goal
from fairlead.contracts.plans import EpochPlan, Intent, ModelPriority, PlanDraft, Reason, Source
from fairlead.policy.ladder import FALLBACK, absent

NEUTRAL_PRIORITY = 2
"""The priority that leaves prices alone (CONTROL §2 rule 4)."""

ACTIVE_WINDOW_S = 600.0
"""A model asked for within this time has demand: the ten minutes of CONTROL §2 rule 2, domain seconds."""

WARM_FOR_S = 60.0
"""A wish to warm is dropped so long after its time: 30 s late is still good, 60 s late nothing is left (CONTROL §2)."""

FAULTS_MOST = 20
"""So many reasons why a draft does not fit are kept: of a large cluster each node could be one."""


def decide_epoch(given: EpochInput) -> EpochDecision:
    """Return the plan for the epoch: what a language model proposed, if it still fits, or else the neutral one.

    A plan lasts one slot longer than an epoch, for the slot that is decided while the next plan is being made; the
    next one ends it before.
    """
    none = absent(given.llm, "no language model is configured")
    if given.draft is None:
        return _neutral(given, given.ladder or (none, FALLBACK), ())
    draft, late = timely(given.draft, given.now_s)
    faults = check(draft, given.cluster, given.snapshot)
    if not faults:
        plan = placed(given, draft, "llm")
        faults = check(plan, given.cluster, given.snapshot)
        if not faults:
            return EpochDecision(plan=plan, steps=given.ladder or (none,), reasons=late)
    unfit = Step(name="feasibility", ok=False, code=faults[0].rule, text=faults[0].text)
    return _neutral(given, (*(given.ladder or (none,)), unfit, FALLBACK), faults[:FAULTS_MOST])


def _neutral(given: EpochInput, steps: tuple[Step, ...], faults: tuple[Reason, ...]) -> EpochDecision:
    """Return the fallback: every prior is 1, so that the slot agent decides on measurements alone."""
    if not given.publish:
        return EpochDecision(plan=None, steps=steps, reasons=faults)
    text = "every prior is 1" if given.goal is None else "every prior is 1, but for those of the goal in force"
    reasons = (*faults, Reason(rule="neutral", node=None, model=None, value_s=None, text=text))
    return EpochDecision(plan=placed(given, neutral(given.cluster), "fallback"), steps=steps, reasons=reasons)


def neutral(cluster: Cluster) -> PlanDraft:
    """Return the plan that changes nothing."""
    return PlanDraft(
        intents=tuple(Intent(node=n.id, role="generalist", prefer=(), avoid=(), bias=0) for n in cluster.nodes),
        priorities=tuple(ModelPriority(model=m.id, priority=NEUTRAL_PRIORITY, expected="same") for m in cluster.models),
        warm=(),
        why="neutral: every prior is 1",
    )


def timely(draft: PlanDraft, now_s: float) -> tuple[PlanDraft, tuple[Reason, ...]]:
    """Return a draft whose times are now or later, and why pods are not warmed: theirs are past, by too much.

    Rates whose time is past by as much are no news any more: the counters show them.
    """
    kept = tuple(w.model_copy(update={"at_s": max(w.at_s, now_s)}) for w in draft.warm if now_s < w.at_s + WARM_FOR_S)
    late = tuple(
        Reason(rule="warm-late", node=w.node, model=w.model, value_s=now_s - w.at_s, text="its time is past")
        for w in draft.warm
        if now_s >= w.at_s + WARM_FOR_S
    )
    update: dict[str, object] = {"warm": kept}
    if draft.rates_at_s is not None:
        told = now_s < draft.rates_at_s + WARM_FOR_S
        update |= {"rates_at_s": max(draft.rates_at_s, now_s) if told else None}
    return draft.model_copy(update=update), late


def placed(given: EpochInput, draft: PlanDraft, source: Source) -> EpochPlan:
    """Return a draft with its place in the sequence."""
    settings = given.settings
    return EpochPlan(
        generation=given.next_plan,
        parent=given.parent.generation if given.parent is not None else 0,
        epoch=given.epoch,
        created_at_s=given.now_s,
        expires_at_s=given.now_s + settings.epoch_slots * settings.slot_s + settings.slot_s,
        source=source,
        intents=draft.intents,
        priorities=raised(draft.priorities, given.goal),
        warm=draft.warm,
        why=draft.why,
        rates=draft.rates,
        rates_at_s=draft.rates_at_s,
    )


def raised(priorities: Sequence[ModelPriority], goal: Goal | None) -> tuple[ModelPriority, ...]:
    """Return a plan's priorities moved by those of the goal in force, inside the levels that there are."""
    if goal is None:
        return tuple(priorities)
    levels = {one.model: one.priority - NEUTRAL_PRIORITY for one in goal.reading.priorities}
    return tuple(
        one.model_copy(update={"priority": min(4, max(0, one.priority + levels.get(one.model, 0)))})
        for one in priorities
    )


def check(plan: EpochPlan | PlanDraft, cluster: Cluster, snapshot: Snapshot) -> tuple[Reason, ...]:
    """Return why `plan` is infeasible; empty where it is feasible.

    Every node stands there once and no model twice, ids are known, the models that a node prefers fit its memory
    together, a model to be warmed fits its node, and every model with demand is preferred by a node whose preferred
    models all fit and which is not drained (CONTROL §3). The last holds for plans that prefer something: where nothing
    is preferred, nobody is neglected.
    """
    return (
        *_unknown(plan, cluster),
        *_missing(plan, cluster),
        *_repeated(plan),
        *_overfull(plan, cluster),
        *_unfit_warm(plan, cluster),
        *_neglected(plan, cluster, snapshot),
    )


def with_demand(snapshot: Snapshot) -> tuple[str, ...]:
    """Return the models that arrived, are held, wait or run, or were asked for within ten minutes; sorted."""
    wanted = {
        m.model
        for m in snapshot.models
        if m.arrived or m.held or (m.asked_at_s is not None and snapshot.taken_at_s - m.asked_at_s <= ACTIVE_WINDOW_S)
    }
    wanted |= {p.model for n in snapshot.nodes for p in n.pods if p.count}
    return tuple(sorted(wanted))


def _unknown(plan: EpochPlan | PlanDraft, cluster: Cluster) -> Iterator[Reason]:
    nodes = dict.fromkeys(n.id for n in cluster.nodes)
    models = dict.fromkeys(m.id for m in cluster.models)
    for intent in plan.intents:
        yield from _unless_known("node", [intent.node], nodes)
        yield from _unless_known("model", [*intent.prefer, *intent.avoid], models)
    yield from _unless_known("model", [p.model for p in plan.priorities], models)
    for warm in plan.warm:
        yield from _unless_known("model", [warm.model], models)
        yield from _unless_known("node", [warm.node], nodes)


def _unless_known(what: str, ids: Iterable[str], known: Collection[str]) -> Iterator[Reason]:
    for one in ids:
        if one in known:
            continue
        near = difflib.get_close_matches(one, known, n=1, cutoff=0.0)
        hint = f"; the nearest is {near[0]!r}" if near else f"; the cluster has no {what}s"
        yield Reason(rule=f"unknown-{what}", node=None, model=None, value_s=None, text=f"no {what} {one!r}{hint}"[:256])


def _missing(plan: EpochPlan | PlanDraft, cluster: Cluster) -> Iterator[Reason]:
    named = Counter(i.node for i in plan.intents)
    for node in cluster.nodes:
        times = named[node.id]
        if times != 1:
            text = f"node {node.id!r} has {times} intents: give each node one"
            yield Reason(rule="node-once", node=node.id, model=None, value_s=None, text=text)


def _repeated(plan: EpochPlan | PlanDraft) -> Iterator[Reason]:
    for model, times in Counter(p.model for p in plan.priorities).items():
        if times > 1:
            text = f"model {model!r} has {times} priorities: give each model one at most"
            yield Reason(rule="model-once", node=None, model=model, value_s=None, text=text)


def _preferred_bytes(intent: Intent, size: Mapping[str, int]) -> int:
    return sum(size.get(m, 0) for m in set(intent.prefer))


def _overfull(plan: EpochPlan | PlanDraft, cluster: Cluster) -> Iterator[Reason]:
    room = {n.id: n.memory_bytes for n in cluster.nodes}
    size = {m.id: m.memory_bytes for m in cluster.models}
    for intent in plan.intents:
        needed = _preferred_bytes(intent, size)
        if intent.node in room and needed > room[intent.node]:
            text = f"node {intent.node!r} prefers models of {needed} bytes, it has {room[intent.node]}: prefer fewer"
            yield Reason(rule="memory", node=intent.node, model=None, value_s=None, text=text)


def _unfit_warm(plan: EpochPlan | PlanDraft, cluster: Cluster) -> Iterator[Reason]:
    room = {n.id: n.memory_bytes for n in cluster.nodes}
    size = {m.id: m.memory_bytes for m in cluster.models}
    for warm in plan.warm:
        if warm.node in room and warm.model in size and size[warm.model] > room[warm.node]:
            text = f"model {warm.model!r} needs {size[warm.model]} bytes, node {warm.node!r} has {room[warm.node]}"
            yield Reason(rule="memory", node=warm.node, model=warm.model, value_s=None, text=text)
        if isinstance(plan, EpochPlan) and not plan.created_at_s <= warm.at_s <= plan.expires_at_s:
            text = f"model {warm.model!r} is to be warm at {warm.at_s}, outside of the plan's time"
            yield Reason(rule="warm-time", node=None, model=None, value_s=None, text=text)


def _neglected(plan: EpochPlan | PlanDraft, cluster: Cluster, snapshot: Snapshot) -> Iterator[Reason]:
    room = {n.id: n.memory_bytes for n in cluster.nodes}
    size = {m.id: m.memory_bytes for m in cluster.models}
    if not any(i.prefer for i in plan.intents):
        return
    preferred = {
        model
        for i in plan.intents
        if i.role != "drain" and i.node in room and _preferred_bytes(i, size) <= room[i.node]
        for model in i.prefer
    }
    for model in with_demand(snapshot):
        if model not in preferred:
            text = f"model {model!r} has demand and no node on which all preferred models fit prefers it"
            yield Reason(rule="neglected", node=None, model=model, value_s=None, text=text)
