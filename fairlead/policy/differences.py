"""What a proposal would change against the fallback, in words for the person who is to approve it."""

from collections.abc import Iterable

from fairlead.contracts.cluster import Cluster
from fairlead.contracts.plans import Guide, Intent, PlanDraft, RoutingTable, Warm
from fairlead.policy.epoch import neutral
from fairlead.policy.guiding import beside

CHANGES_MOST = 100
"""Of more changes the number is told: nobody reads a list of a thousand nodes."""

CHANGE_CHARS = 256
"""Length of one."""

SMALL = 0.005
"""A share that changes by less than half a percent stays the same in the words."""


def guide_changes(guide: Guide, fallback: RoutingTable) -> tuple[str, ...]:
    """Return a line for each row whose shares change."""
    lines = []
    for row, own in zip(guide.rows, beside(guide, fallback), strict=True):
        moved = [
            f"{new.node} {old.probability:.2f} → {new.probability:.2f}"
            for old, new in zip(own.shares, row.shares, strict=True)
            if abs(old.probability - new.probability) >= SMALL
        ]
        if moved:
            lines.append(f"{row.model} (zone {row.zone}): {', '.join(moved)}")
    return _bounded(lines)


def plan_changes(draft: PlanDraft, cluster: Cluster) -> tuple[str, ...]:
    """Return a line for each node, model and pod of which a draft says something that the neutral plan does not."""
    plain = neutral(cluster)
    intents, priorities = {i.node: i for i in plain.intents}, {p.model: p for p in plain.priorities}
    return _bounded(
        [
            *(_intent_words(i) for i in draft.intents if i != intents.get(i.node)),
            *(
                f"{p.model}: priority {p.priority}, demand expected {p.expected}"
                for p in draft.priorities
                if p != priorities.get(p.model)
            ),
            *(_warm_words(w) for w in draft.warm),
            *(f"{r.model}: {r.per_s:.4g} requests a second expected" for r in draft.rates),
        ]
    )


def _intent_words(intent: Intent) -> str:
    prefers = f", prefers {', '.join(intent.prefer)}" if intent.prefer else ""
    avoids = f", avoids {', '.join(intent.avoid)}" if intent.avoid else ""
    return f"{intent.node}: {intent.role}{prefers}{avoids}, bias {intent.bias}"


def _warm_words(warm: Warm) -> str:
    return f"{warm.model} warm on {warm.node} at {warm.at_s:.0f} s"


def _bounded(lines: Iterable[str]) -> tuple[str, ...]:
    each = [line if len(line) <= CHANGE_CHARS else line[: CHANGE_CHARS - 1] + "…" for line in lines]
    if len(each) <= CHANGES_MOST:
        return tuple(each)
    return (*each[:CHANGES_MOST], f"and {len(each) - CHANGES_MOST} more")
