"""Variations of a plan that the twin tries beside it: without one of its parts, milder, bolder (CONTROL §3)."""

from collections.abc import Sequence
from dataclasses import dataclass

from fairlead.contracts.plans import Intent, Level, ModelPriority, PlanDraft
from fairlead.policy.epoch import NEUTRAL_PRIORITY

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
