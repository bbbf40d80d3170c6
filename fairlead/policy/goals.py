"""Goals in words: read by rule into levels, turned into weights of F and priorities of models, and what is in force.

`protect vision tonight, energy second` is read as priority 4 for models of vision and level 3 for churn, which is what
costs energy without serving anybody. Whatever was read is shown as a diff and acts only once a person has approved it.
"""

import re
from collections.abc import Iterator, Sequence

from fairlead.contracts.cluster import Cluster
from fairlead.contracts.errors import foreign
from fairlead.contracts.notes import Aims, Goal, GoalReading, GoalView, ModelLevel
from fairlead.contracts.tuning import PolicySettings, Weights
from fairlead.policy.epoch import NEUTRAL_PRIORITY
from fairlead.policy.note_reading import models_named
from fairlead.policy.note_span import without_span

TERMS = {
    **dict.fromkeys(("latency", "fast", "faster", "speed", "quick", "delay", "waiting", "response"), "latency"),
    **dict.fromkeys(("fairness", "fair", "fairer", "equal", "equally", "everybody"), "fairness"),
    **dict.fromkeys(("churn", "energy", "power", "starts", "calm", "stable", "wear"), "churn"),
    **dict.fromkeys(("service", "loss", "losses", "lost", "answered", "refused", "reliable"), "service"),
}
"""Words for the terms of F (CONTROL §1), own choice."""

LEVELS = {
    **dict.fromkeys(("protect", "first", "most", "foremost", "critical", "crucial"), 4),
    **dict.fromkeys(("second", "more", "important", "prefer", "favour", "favor"), 3),
    **dict.fromkeys(("third", "normal", "neutral"), 2),
    **dict.fromkeys(("less", "last", "low", "fourth"), 1),
    **dict.fromkeys(("ignore", "least", "neglect", "irrelevant"), 0),
}
"""Words for how much something matters, own choice."""

NAMED_LEVEL = 3
"""Of what is named without a word for how much."""

AIMS = ("latency", "fairness", "churn", "service")

CLAUSES = re.compile(r"[,;.!]|\b(?:but|then)\b")
WORD = re.compile(r"[a-z0-9][a-z0-9-]*")

NOISE_LETTERS = 4
"""Words of at most so many letters are not told to be left out: `and`, `the`, `keep`."""

DIGITS = 4
"""Of weights, behind the point."""

WHY_CHARS = 256
"""Length of what is said of a reading."""


def read_goal(text: str, cluster: Cluster) -> GoalReading | None:
    """Return what a goal's words say, by rule; None where they name no term of F and no model."""
    aims: dict[str, int] = {}
    priorities: dict[str, int] = {}
    unread: list[str] = []
    for clause in CLAUSES.split(without_span(text).lower()):
        words = WORD.findall(clause)
        level = next((LEVELS[w] for w in words if w in LEVELS), NAMED_LEVEL)
        for word in words:
            if word in TERMS:
                aims[TERMS[word]] = level
            elif models := _models(word, cluster):
                priorities |= dict.fromkeys(models, level)
            elif word not in LEVELS and len(word) > NOISE_LETTERS:
                unread.append(word)
    if not aims and not priorities:
        return None
    left = f"not understood: {' '.join(unread)}"[:WHY_CHARS] if unread else ""
    levels = tuple(ModelLevel(model=m, priority=priorities[m]) for m in sorted(priorities))
    return GoalReading(aims=Aims(**aims), priorities=levels, read_by="rule", why=left)


def unread(text: str) -> str:
    """Return what to tell somebody whose goal the rule reads nothing in."""
    terms, levels = ", ".join(sorted({*TERMS.values()})), ", ".join(sorted(LEVELS))
    much = f"say which ({terms}, or a model) and how much ({levels})"
    return f"{foreign(text)!r} names no model and no term of the objective: {much}"


def _models(word: str, cluster: Cluster) -> tuple[str, ...]:
    return (word,) if any(m.id == word for m in cluster.models) else models_named(word, cluster)


def weighted(base: Weights, aims: Aims) -> Weights:
    """Return the weights of F: each level above 2 doubles a weight, each below halves it; their sum stays as it is."""
    raw = {name: getattr(base, name) * 2.0 ** (getattr(aims, name) - NEUTRAL_PRIORITY) for name in AIMS}
    total, now = sum(raw.values()), sum(getattr(base, name) for name in AIMS)
    return Weights(**{name: round(value * now / total, DIGITS) if total else value for name, value in raw.items()})


def aimed(goal: Goal, reading: GoalReading, now: GoalView, base: Weights) -> Goal:
    """Return a goal as it was read, with the weights that it will have and what that changes against `now`."""
    weights = weighted(base, reading.aims)
    said = changes(now, weights, reading.priorities)
    return goal.model_copy(update={"reading": reading, "weights": weights, "changes": said})


def reread(goal: Goal, reading: GoalReading | None, why: str) -> GoalReading:
    """Return a model's reading of a goal; without one the rule's, with why there is none."""
    if reading is not None:
        return reading
    words = f"no language model's reading: {why}" + (f"; {goal.reading.why}" if goal.reading.why else "")
    return goal.reading.model_copy(update={"why": words[:WHY_CHARS]})


def in_force(goals: Sequence[Goal], now_s: float) -> Goal | None:
    """Return the goal approved last of those whose time it is, without what a model was asked about it."""
    current = [
        (one.approval.at_s, one.id, one)
        for one in goals
        if one.approval is not None
        and one.approval.answer == "approved"
        and one.from_s <= now_s < (one.until_s if one.until_s is not None else float("inf"))
    ]
    if not current:
        return None
    return max(current, key=lambda each: each[:2])[2].model_copy(update={"exchanges": ()})


def under(settings: PolicySettings, goal: Goal | None) -> PolicySettings:
    """Return the controller's settings with the weights of the goal in force."""
    return settings if goal is None else settings.model_copy(update={"weights": goal.weights})


def view(goals: Sequence[Goal], settings: PolicySettings, now_s: float) -> GoalView:
    """Return what is in force, and the newest goal that nobody has answered; `goals` are the newest first."""
    current = in_force(goals, now_s)
    return GoalView(
        in_force=current,
        weights=under(settings, current).weights,
        priorities=current.reading.priorities if current is not None else (),
        waiting=next((one for one in goals if one.approval is None), None),
    )


def changes(now: GoalView, weights: Weights, priorities: Sequence[ModelLevel]) -> tuple[str, ...]:
    """Return what another goal would change, in words; empty where nothing would change."""
    return (*_weight_changes(now.weights, weights), *_priority_changes(now.priorities, priorities))


def _weight_changes(before: Weights, after: Weights) -> Iterator[str]:
    for name in AIMS:
        old, new = getattr(before, name), getattr(after, name)
        if old != new:
            yield f"weight of {name}: {old:g} → {new:g}"


def _priority_changes(before: Sequence[ModelLevel], after: Sequence[ModelLevel]) -> Iterator[str]:
    old, new = ({one.model: one.priority for one in levels} for levels in (before, after))
    for model in sorted({*old, *new}):
        was, will = old.get(model, NEUTRAL_PRIORITY), new.get(model, NEUTRAL_PRIORITY)
        if was != will:
            yield f"priority of {model}: {was} → {will}"
