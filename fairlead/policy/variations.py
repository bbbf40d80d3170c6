"""Variations that the twin tries beside a proposal (CONTROL §3).

A plan without one of its parts, milder or bolder; rows half-way to the fallback's.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from fairlead.contracts.plans import Guide, GuideRow, Intent, Level, ModelPriority, PlanDraft, RoutingTable
from fairlead.policy.epoch import NEUTRAL_PRIORITY
from fairlead.policy.guiding import beside, normalised, shares

MOST = 4
"""Of bias and priority."""


@dataclass(frozen=True, slots=True)
class Variation:
    """A plan that was made of another one."""

    words: str
    """What is different, for people."""
    draft: PlanDraft


def varied(draft: PlanDraft) -> tuple[Variation, ...]:
    """Return the variations that differ from a draft and from one another; each fits where the draft does."""
    intents, priorities = draft.intents, draft.priorities
    unexpecting = tuple(p.model_copy(update={"expected": "same"}) for p in priorities)
    made = (
        Variation("without warming", draft.model_copy(update={"warm": ()})),
        Variation(
            "without preferences",
            draft.model_copy(update={"intents": _open(intents), "priorities": _level(priorities)}),
        ),
        Variation(
            "without expectations",
            draft.model_copy(update={"rates": (), "rates_at_s": None, "priorities": unexpecting}),
        ),
        Variation(
            "milder",
            draft.model_copy(update={"intents": _tilted(intents, -1), "priorities": _nearer(priorities)}),
        ),
        Variation("bolder", draft.model_copy(update={"intents": _tilted(intents, 1)})),
    )
    found: list[Variation] = []
    for one in made:
        if one.draft != draft and all(one.draft != other.draft for other in found):
            found.append(one)
    return tuple(found)


def halfway(guide: Guide, fallback: RoutingTable) -> Guide:
    """Return rows in the middle between proposed ones and those of the fallback's table that they were made beside."""
    rows = []
    for row, own in zip(guide.rows, beside(guide, fallback), strict=True):
        chances = [0.5 * (new.probability + old.probability) for new, old in zip(row.shares, own.shares, strict=True)]
        rows.append(GuideRow(zone=row.zone, model=row.model, shares=shares(own, normalised(chances))))
    return guide.model_copy(update={"rows": tuple(rows)})


def _open(intents: Sequence[Intent]) -> tuple[Intent, ...]:
    return tuple(Intent(node=i.node, role="generalist", prefer=(), avoid=(), bias=0) for i in intents)


def _level(priorities: Sequence[ModelPriority]) -> tuple[ModelPriority, ...]:
    return tuple(p.model_copy(update={"priority": NEUTRAL_PRIORITY}) for p in priorities)


def _tilted(intents: Sequence[Intent], by: int) -> tuple[Intent, ...]:
    """Return intents that prefer and avoid more or less; those that do neither stay as they are."""
    return tuple(
        i.model_copy(update={"bias": min(MOST, max(0, i.bias + by))}) if i.prefer or i.avoid else i for i in intents
    )


def _nearer(priorities: Sequence[ModelPriority]) -> tuple[ModelPriority, ...]:
    return tuple(p.model_copy(update={"priority": _toward(p.priority)}) for p in priorities)


def _toward(priority: Level) -> Level:
    """Return the priority that is one nearer to the neutral one."""
    if priority == NEUTRAL_PRIORITY:
        return priority
    return priority - 1 if priority > NEUTRAL_PRIORITY else priority + 1
