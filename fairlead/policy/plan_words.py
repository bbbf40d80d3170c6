"""Plans and remembered cases as a prompt shows them: short, in aliases, numbers and the words of the contracts."""

from collections import Counter
from collections.abc import Iterable, Sequence
from statistics import fmean

from fairlead.contracts.cases import Case
from fairlead.contracts.plans import EpochPlan, Intent, ModelPriority, Rate, Warm
from fairlead.policy.aliases import Aliases, by_id
from fairlead.policy.epoch import NEUTRAL_PRIORITY
from fairlead.policy.figures import ABSENT, MINUTE_S, figure

NEUTRAL = "neutral"
"""A plan that tilts nothing."""

PREFERRED_MOST = 3
"""As many as an intent may name."""

HOURS = 24.0


def plan_words(plan: EpochPlan | None, aliases: Aliases) -> str:
    """Return what a plan says that is not neutral, on one line; `neutral` where it says nothing."""
    if plan is None:
        return NEUTRAL
    return _said(plan.intents, plan.priorities, _warm(plan.warm, plan.created_at_s, aliases), aliases)


def case_words(cases: Sequence[Case], similarities: Sequence[float], aliases: Aliases) -> str:
    """Return the cases in the order given: how near, what came of each, rates and plan; `none` without any."""
    marked = bad_cases(cases)
    shown = []
    for (alias, _), case, similarity in zip(aliases.cases, cases, similarities, strict=True):
        head = ", ".join(_facts(case, similarity, case.id in marked))
        plan = _said(case.intents, case.priorities, _warm(case.warm, case.began_at_s, aliases), aliases)
        shown.append(f"{alias}: {head}\nrates {_rates(case.rates, aliases)}\nplan {plan}")
    return "\n".join(shown) or "none"


def bad_cases(cases: Sequence[Case]) -> frozenset[str]:
    """Return the ids of those that went badly: quarantined, or surely worse than the fallback.

    Where no case is either, it is the one with the highest F, if they differ: retrieval always takes a bad one along.
    """
    surely = frozenset(c.id for c in cases if c.quarantined or (c.advantage is not None and c.advantage.high < 0.0))
    if surely or len({c.realised.objective for c in cases}) < 2:
        return surely
    return frozenset({max(cases, key=lambda c: (c.realised.objective, c.id)).id})


def _facts(case: Case, similarity: float, bad: bool) -> list[str]:
    gain, features = case.advantage, case.features
    return [
        *(["bad"] if bad else []),
        f"by {case.provenance.source}",
        f"similar {figure(similarity)}",
        f"F {figure(case.realised.objective)}",
        *([f"fallback F {figure(case.fallback.objective)}"] if case.fallback is not None else []),
        f"gain {ABSENT}" if gain is None else f"gain {figure(gain.value)} ({figure(gain.low)} to {figure(gain.high)})",
        f"work {figure(sum(m.backlog_s for m in features.models))}",
        f"lost {figure(features.failures)}",
        f"hour {figure(HOURS * features.day_ratio)}",
    ]


def _rates(rates: Sequence[Rate], aliases: Aliases) -> str:
    """Return requests a minute of each model that has some."""
    found = {r.model: r.per_s for r in rates}
    sums = ((alias, figure(MINUTE_S * sum(found.get(m, 0.0) for m in ids))) for alias, ids in aliases.models)
    return " ".join(f"{alias} {rate}" for alias, rate in sums if rate != "0") or "0"


def _warm(warm: Sequence[Warm], began_at_s: float, aliases: Aliases) -> list[str]:
    """Return what is to be warmed when, seconds after the begin; nodes together that get the same at the same time."""
    nodes, models = by_id(aliases.nodes), by_id(aliases.models)
    found: dict[tuple[str, str], set[str]] = {}
    for w in warm:
        if w.node in nodes and w.model in models:
            key = models[w.model], figure(max(0.0, w.at_s - began_at_s))
            found.setdefault(key, set()).add(nodes[w.node])
    return [f"warm {model} {' '.join(sorted(where))} at {when}" for (model, when), where in found.items()]


def _said(intents: Sequence[Intent], priorities: Sequence[ModelPriority], warm: Iterable[str], aliases: Aliases) -> str:
    by_node, by_model = {i.node: i for i in intents}, {p.model: p for p in priorities}
    models = by_id(aliases.models)
    nodes = [(alias, _intent([by_node[n] for n in ids if n in by_node], models)) for alias, ids in aliases.nodes]
    levels = [(alias, _priority([by_model[m] for m in ids if m in by_model])) for alias, ids in aliases.models]
    return "; ".join([*_together(nodes), *_together(levels), *warm]) or NEUTRAL


def _together(said: Iterable[tuple[str, str]]) -> list[str]:
    """Return each thing that is said with the aliases that it is said of before it; nothing is said of neutral ones."""
    found: dict[str, list[str]] = {}
    for alias, words in said:
        found.setdefault(words, []).append(alias)
    return [f"{' '.join(who)} {words}" for words, who in found.items() if words]


def _intent(intents: Sequence[Intent], models: dict[str, str]) -> str:
    """Return what is wanted of most members of a group; empty where that is neutral."""
    if not intents:
        return ""
    role = _most([i.role for i in intents])
    prefer = _named_by_half([i.prefer for i in intents], models)
    avoid = tuple(m for m in _named_by_half([i.avoid for i in intents], models) if m not in prefer)
    bias = round(fmean(i.bias for i in intents))
    if role == "generalist" and not (bias and (prefer or avoid)):
        return ""
    lists = [f" {what} {' '.join(which)}" for what, which in (("prefer", prefer), ("avoid", avoid)) if which]
    return f"{role}{''.join(lists)} bias {bias}"


def _named_by_half(lists: Sequence[tuple[str, ...]], models: dict[str, str]) -> tuple[str, ...]:
    counts = Counter(alias for one in lists for alias in sorted({models[m] for m in one if m in models}))
    often = sorted((a for a in counts if 2 * counts[a] >= len(lists)), key=lambda a: (-counts[a], a))
    return tuple(sorted(often[:PREFERRED_MOST]))


def _priority(priorities: Sequence[ModelPriority]) -> str:
    if not priorities:
        return ""
    level, expected = round(fmean(p.priority for p in priorities)), _most([p.expected for p in priorities])
    return "" if (level, expected) == (NEUTRAL_PRIORITY, "same") else f"priority {level} {expected}"


def _most(words: Sequence[str]) -> str:
    counts = Counter(words)
    return min(counts, key=lambda w: (-counts[w], w))
