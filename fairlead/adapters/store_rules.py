"""What every store must hold to, as pure functions.

Revisions, generations, reports seen, answers to proposals, cases forgotten, cursors, summaries.
"""

import base64
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar, get_args

import pydantic

from fairlead.contracts.cases import Case
from fairlead.contracts.cluster import Cluster, ModelSpec, NodeSpec, SiteSpec
from fairlead.contracts.decisions import (
    DecisionRecord,
    DecisionSummary,
    EpochDecision,
    EpochInput,
    GenerationSeen,
    SlotDecision,
    SlotInput,
)
from fairlead.contracts.dialogue import Proposal
from fairlead.contracts.errors import Conflict, InputError, NotFound, RevisionMismatch, StaleGeneration, foreign
from fairlead.contracts.events import EventKind, Mode
from fairlead.contracts.evidence import Label
from fairlead.contracts.notes import Goal, Note
from fairlead.contracts.plans import EpochPlan, Override, Placement, RoutingTable

GAPS_MOST = 256
"""Runs of sequence numbers still missing that are remembered per reporter; a spool leaves one for each outage."""

REGIME_MODELS = 3
"""Models whose order names a regime: in the scenarios of CONTROL §5 they tell `rotating` and `catalogue` apart."""

SPARED_ONE_IN = 10
"""Share of the capacity, at each end of the ranking by realised F, that is not forgotten for its age."""

READ = ("reading", "by_rule", "weights", "changes", "exchanges", "asked_until_s")
"""What a model's reading may change of a goal, once, while nobody has answered it."""

LASTING = ("pending", "approved")
"""Answers with which a goal may be in force now or later."""

DEADLINE_S: float = ModelSpec.model_fields["deadline_s"].default
"""Of a model that is in no cluster any more."""

EMPTY_CLUSTER = Cluster(nodes=(), models=(), sites=())

EVERY_KIND: tuple[EventKind, ...] = get_args(EventKind)

Spec = TypeVar("Spec", NodeSpec, ModelSpec, SiteSpec)
Revisable = TypeVar("Revisable", NodeSpec, ModelSpec, SiteSpec, Override, Mode, Proposal, Note, Goal)
Item = NodeSpec | ModelSpec | SiteSpec
What = Literal["node", "model", "site", "override", "mode", "proposal", "note", "goal"]


@dataclass(frozen=True, slots=True)
class Seen:
    """Which sequence numbers of one instance of a reporter have been taken: all up to `high` but those in `gaps`."""

    high: int = 0
    gaps: tuple[tuple[int, int], ...] = ()
    """Runs (first, last) that are missing, ascending."""

    def take(self, sequence: int) -> "Seen | None":
        """Return what has been seen once `sequence` is taken too; None if it was taken before."""
        if sequence > self.high:
            gaps = self.gaps
            if sequence > self.high + 1:
                gaps = (*gaps, (self.high + 1, sequence - 1))[-GAPS_MOST:]
            return Seen(sequence, gaps)
        for at, (first, last) in enumerate(self.gaps):
            if first <= sequence <= last:
                rest = tuple(run for run in ((first, sequence - 1), (sequence + 1, last)) if run[0] <= run[1])
                return Seen(self.high, (self.gaps[:at] + rest + self.gaps[at + 1 :])[-GAPS_MOST:])
        return None


def revised(what: What, found: Revisable | None, new: Revisable, name: str, if_revision: int | None) -> Revisable:
    """Return `new` with the revision that it gets in place of `found`.

    `if_revision` None creates only. Raises `Conflict`, `NotFound`, `RevisionMismatch`.
    """
    if if_revision is None:
        if found is not None:
            raise Conflict(f"{what} {name!r} exists already: change it with its revision, or choose another id")
        return new.model_copy(update={"revision": 0})
    check_revision(what, found, name, if_revision)
    return new.model_copy(update={"revision": if_revision + 1})


def check_revision(what: What, found: Revisable | None, name: str, if_revision: int) -> None:
    """Raise `NotFound` or `RevisionMismatch` unless `found` is there and has this revision."""
    if found is None:
        raise NotFound(f"there is no {what} {name!r}")
    if found.revision != if_revision:
        raise RevisionMismatch(
            f"{what} {name!r} has revision {found.revision}, not {if_revision}: read it again, then change it"
        )


def one(items: tuple[Spec, ...], name: str) -> Spec | None:
    """Return the item of that id, or None."""
    return next((item for item in items if item.id == name), None)


def placed(items: tuple[Spec, ...], new: Spec) -> tuple[Spec, ...]:
    """Return `items` with `new` in place of the one of its id, sorted."""
    together = list(without(items, new.id))
    together.append(new)
    return tuple(sorted(together, key=lambda item: item.id))


def without(items: tuple[Spec, ...], name: str) -> tuple[Spec, ...]:
    """Return `items` but the one of that id."""
    return tuple(item for item in items if item.id != name)


def rebuilt(nodes: tuple[NodeSpec, ...], models: tuple[ModelSpec, ...], sites: tuple[SiteSpec, ...]) -> Cluster:
    """Return the cluster of these; raises `InputError` if they do not fit together."""
    try:
        return Cluster(nodes=nodes, models=models, sites=sites)
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]["msg"]
        raise InputError(foreign(first.removeprefix("Value error, "))) from error


def differences(before: Cluster, after: Cluster) -> Iterator[tuple[EventKind, str, str]]:
    """Yield kind, id and `created`, `changed` or `deleted` for each item in which `before` and `after` differ."""
    pairs: tuple[tuple[EventKind, Sequence[Item], Sequence[Item]], ...] = (
        ("node", before.nodes, after.nodes),
        ("model", before.models, after.models),
        ("site", before.sites, after.sites),
    )
    for kind, old, new in pairs:
        was = {item.id: item for item in old}
        for item in new:
            found = was.pop(item.id, None)
            if found != item:
                yield kind, item.id, "created" if found is None else "changed"
        for gone in was:
            yield kind, gone, "deleted"


def check_plan(plan: EpochPlan, seen: GenerationSeen) -> None:
    """Raise `StaleGeneration` unless the plan follows the one in force."""
    if plan.generation <= seen.plan or plan.parent != seen.plan:
        raise StaleGeneration(
            f"plan {plan.generation} follows {plan.parent}, but {seen.plan} is in force: decide again on that"
        )


def check_slot(placement: Placement | None, table: RoutingTable | None, seen: GenerationSeen) -> None:
    """Raise `StaleGeneration` unless both are newer than those in force and belong together."""
    if placement is not None:
        if placement.generation <= seen.placement:
            raise StaleGeneration(
                f"placement {placement.generation} comes after {seen.placement}, which is in force: decide again"
            )
        _check_known_plan("placement", placement.generation, placement.plan_generation, seen)
    if table is not None:
        if table.generation <= seen.table:
            raise StaleGeneration(f"table {table.generation} comes after {seen.table}, which is in force: decide again")
        _check_known_plan("table", table.generation, table.plan_generation, seen)
        belongs = seen.placement if placement is None else placement.generation
        if table.placement_generation != belongs:
            raise StaleGeneration(
                f"table {table.generation} is for placement {table.placement_generation}, not for {belongs}"
            )


def _check_known_plan(what: str, generation: int, plan: int, seen: GenerationSeen) -> None:
    if plan > seen.plan:
        raise StaleGeneration(f"{what} {generation} names plan {plan}, but {seen.plan} is the newest")


def summary_of(record: DecisionRecord) -> DecisionSummary:
    """Return what a listing shows of a line of the journal."""
    output, dialogue = record.output, record.dialogue
    slot = output if isinstance(output, SlotDecision) else None
    return DecisionSummary(
        id=record.id,
        agent=record.agent,
        kind=record.kind,
        number=_number(record.input),
        made_at_s=record.made_at_s,
        took_s=record.took_s,
        source=record.source,
        version=record.version,
        plan=output.plan.generation if isinstance(output, EpochDecision) and output.plan is not None else 0,
        placement=slot.placement.generation if slot is not None and slot.placement is not None else 0,
        table=slot.table.generation if slot is not None and slot.table is not None else 0,
        steps=output.steps,
        asks=len(dialogue.exchanges) if dialogue is not None else 0,
        about=_number(dialogue.asked) if dialogue is not None else None,
    )


def _number(given: SlotInput | EpochInput) -> int:
    return given.slot if isinstance(given, SlotInput) else given.epoch


def default_mode(agent: str) -> Mode:
    """Return the mode of an agent for which nobody has set one; raises `NotFound` if there is no such agent."""
    match agent:
        case "planner" | "slot-agent":
            return Mode(agent=agent, mode="shadow", by="default", at_s=0.0, revision=0)
        case _:
            raise NotFound(f"there is no agent {foreign(agent)!r}: agents are planner and slot-agent")


def deadlines(cluster: Cluster) -> dict[str, float]:
    """Return each model's deadline, seconds."""
    return {model.id: model.deadline_s for model in cluster.models}


def proposed(found: Proposal | None, new: Proposal, if_revision: int | None) -> Proposal:
    """Return a proposal, or a person's answer to the one `found`, with its revision.

    Only one that waits can be answered, once, before its slot or epoch ends, and nothing else of it changes. Raises
    `Conflict`, `InputError`, `NotFound`, `RevisionMismatch`.
    """
    if if_revision is None and new.approval is not None:
        raise InputError(f"proposal {new.id!r} is answered before anybody could read it: leave it without an approval")
    if if_revision is not None and found is not None:
        if found.approval is not None:
            raise Conflict(f"proposal {new.id!r} was {answer_of(found)} already, by {foreign(found.approval.by)}")
        if found.model_copy(update={"approval": new.approval, "revision": new.revision}) != new:
            raise Conflict(f"proposal {new.id!r} does not change but by an approval: leave another one")
        if new.approval is not None and new.approval.answer != "expired" and new.approval.at_s >= found.expires_at_s:
            raise Conflict(f"proposal {new.id!r} expired at {found.expires_at_s:.3f}: its slot or epoch is over")
    return revised("proposal", found, new, new.id, if_revision)


def aimed(found: Goal | None, new: Goal, if_revision: int | None) -> Goal:
    """Return a goal, or one read by a model or answered by a person in place of the one `found`, with its revision.

    It can be answered once, not while a model may still read it, and nothing else of it changes. Raises `Conflict`,
    `InputError`, `NotFound`, `RevisionMismatch`.
    """
    if if_revision is None and new.approval is not None:
        raise InputError(f"goal {new.id!r} is answered before anybody could read it: leave it without an approval")
    if if_revision is not None and found is not None:
        if found.approval is not None:
            raise Conflict(f"goal {new.id!r} was {answer_of(found)} already, by {foreign(found.approval.by)}")
        read = found.asked_until_s is not None and new.asked_until_s is None
        changing = READ if read else ("approval",)
        if found.model_copy(update={name: getattr(new, name) for name in (*changing, "revision")}) != new:
            raise Conflict(f"goal {new.id!r} does not change but by an approval: set another one")
        if new.approval is not None and new.approval.at_s < (found.asked_until_s or 0.0):
            raise Conflict(f"goal {new.id!r} is being read by a language model: answer it once that is over")
    return revised("goal", found, new, new.id, if_revision)


def there(found: Goal | None, goal: str) -> Goal:
    """Return a goal that was found; raises `NotFound`."""
    if found is None:
        raise NotFound(f"there is no goal {foreign(goal)!r}")
    return found


def brief(goal: Goal) -> Goal:
    """Return a goal without what a model was asked about it."""
    return goal.model_copy(update={"exchanges": ()})


def lasts(goal: Goal, now_s: float) -> bool:
    """Tell whether a goal may be in force then or later: it is neither declined nor over."""
    return answer_of(goal) in LASTING and (goal.until_s is None or goal.until_s > now_s)


def answer_of(asked: Proposal | Goal) -> str:
    """Return `pending`, `approved`, `declined` or `expired`."""
    return "pending" if asked.approval is None else asked.approval.answer


def answered_at_s(proposal: Proposal | Goal) -> float:
    """Return when one last changed: its answer's instant, or that of its creation."""
    return proposal.created_at_s if proposal.approval is None else proposal.approval.at_s


@dataclass(frozen=True, slots=True)
class CaseMark:
    """What decides whether a case is forgotten."""

    id: str
    began_at_s: float
    objective: float
    """Realised F; lower is better."""
    regime: str


def mark_of(case: Case) -> CaseMark:
    """Return what decides whether this one is forgotten; its regime is the busiest models, busiest first."""
    busiest = sorted(case.features.models, key=lambda one: (-one.log_rate, one.model))[:REGIME_MODELS]
    regime = ",".join(one.model for one in busiest)
    return CaseMark(case.id, case.began_at_s, case.realised.objective, regime)


def kept(found: Case | None, new: Case) -> Case:
    """Return the case to keep in place of `found`: it has been cited no less often than that one."""
    return new if found is None else new.model_copy(update={"cited": max(found.cited, new.cited)})


def labelled(found: Case, label: Label) -> Case:
    """Return a case with what the twin says of it."""
    update = {"replayed": label.replayed, "fallback": label.fallback, "advantage": label.advantage}
    return found.model_copy(update=update)


def forgettable(cases: Sequence[CaseMark], capacity: int) -> tuple[str, ...]:
    """Return the ids of those to forget so that `capacity` are left, in order.

    The oldest of the regime that is commonest among those left go first, so that a rare regime outlives a common one.
    Never the best and the worst tenth of `capacity`: they are what a model shall imitate and avoid.
    """
    excess = len(cases) - max(0, capacity)
    if excess <= 0:
        return ()
    spared = -(-capacity // SPARED_ONE_IN) if capacity > 2 else 0
    ranked = sorted(cases, key=lambda one: (one.objective, -one.began_at_s, one.id))
    safe = {one.id for one in (*ranked[:spared], *ranked[len(ranked) - spared :])}
    left = Counter(one.regime for one in cases)
    oldest: dict[str, list[CaseMark]] = {}
    for one in sorted(cases, key=lambda one: (one.began_at_s, one.id), reverse=True):
        if one.id not in safe:
            oldest.setdefault(one.regime, []).append(one)
    forgotten = []
    for _ in range(excess):
        regime = min(oldest, key=lambda name: (-left[name], oldest[name][-1].began_at_s, oldest[name][-1].id))
        forgotten.append(oldest[regime].pop().id)
        left[regime] -= 1
        if not oldest[regime]:
            del oldest[regime]
    return tuple(forgotten)


def cursor_of(*key: str | int | float) -> str:
    """Return the opaque cursor of a page that ends with the item of this key."""
    return base64.urlsafe_b64encode(json.dumps(key, separators=(",", ":")).encode()).decode().rstrip("=")


def key_of(cursor: str, *kinds: type[str] | type[int] | type[float]) -> tuple[str | int | float, ...]:
    """Return the key in a cursor, whose parts are of `kinds`; raises `InputError` if it is none of ours."""
    try:
        key = json.loads(base64.urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4)))
    except ValueError as error:
        raise InputError(f"cursor {foreign(cursor)!r} is none of ours: start again without one") from error
    if (
        not isinstance(key, list)
        or len(key) != len(kinds)
        or not all(type(part) is kind for part, kind in zip(key, kinds, strict=True))
        or any(isinstance(part, int) and abs(part) >= 2**63 for part in key)
    ):
        raise InputError(f"cursor {foreign(cursor)!r} does not belong to this listing: start again without one")
    return tuple(key)
