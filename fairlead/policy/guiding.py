"""Rows that a language model proposed, beside the fallback's: how they are made to fit, how far away they are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fairlead.contracts.plans import ROW_TOLERANCE, Guide, GuideRow, Reason, RoutingTable, Row, Share
from fairlead.contracts.tuning import PolicySettings

ANYWHERE = "*"
"""The zone of rows that hold wherever no row of a zone's own does."""


@dataclass(frozen=True, slots=True)
class Steered:
    """Rows of a table with the guided ones among them."""

    rows: tuple[Row, ...]
    guided: int
    """How many of them a language model proposed."""
    reasons: tuple[Reason, ...]
    """Why proposed rows are not among them."""


def steered(rows: Sequence[Row], guide: Guide, settings: PolicySettings) -> Steered:
    """Return the fallback's `rows` with those of `guide` in their place that still fit and are near enough.

    A row of a zone of its own stands beside the one for all zones. The soft prior of a guided row is CONTROL §2 rule 6.
    """
    own = {(r.zone, r.model): r for r in rows}
    guided: dict[tuple[str, str], Row] = {}
    reasons = []
    for proposed in guide.rows:
        beside = own.get((proposed.zone, proposed.model)) or own.get((ANYWHERE, proposed.model))
        found = _guided(proposed, beside, settings)
        if isinstance(found, str):
            why = Reason(rule="guide-dropped", node=None, model=proposed.model, value_s=None, text=found)
            reasons.append(why)
        else:
            guided[proposed.zone, proposed.model] = found
    merged = {**own, **guided}
    order = {r.model: k for k, r in enumerate(rows)}
    placed = sorted(merged, key=lambda key: (order[key[1]], key[0]))
    return Steered(tuple(merged[key] for key in placed), len(guided), tuple(reasons))


def _guided(proposed: GuideRow, own: Row | None, settings: PolicySettings) -> Row | str:
    """Return the row of a table that a proposed one makes, or why it makes none."""
    if own is None:
        return f"zone {proposed.zone}: the model has no pod any more"
    chances = fitted({s.node: s.probability for s in proposed.shares}, own)
    if chances is None:
        return f"zone {proposed.zone}: none of the nodes of the row has a pod any more"
    far = distance(chances, own)
    if not trusted(far, settings):
        return f"zone {proposed.zone}: {far:.2f} away from the fallback's of now, {settings.trust_tv:.2f} is trusted"
    return Row(
        zone=proposed.zone,
        model=proposed.model,
        rule="marginal",
        prior_weight_s=settings.guide_prior_weight_s,
        explore=own.explore,
        shares=shares(own, chances),
    )


def beside(guide: Guide, fallback: RoutingTable) -> tuple[Row, ...]:
    """Return the row of the fallback's table that each proposed row stands beside; a `KeyError` where there is none."""
    own = {(r.zone, r.model): r for r in fallback.rows}
    return tuple(own.get((row.zone, row.model)) or own[ANYWHERE, row.model] for row in guide.rows)


def fitted(proposed: Mapping[str, float], own: Row) -> tuple[float, ...] | None:
    """Return the probabilities of a proposed row over the nodes of the fallback's, summing to 1; None if none is left.

    A node that the row does not know (its pod came since) joins with the row's smallest P, as at a gateway (DESIGN §3).
    """
    least = min((p for p in proposed.values() if p > 0.0), default=0.0)
    if not any(proposed.get(s.node, 0.0) > 0.0 for s in own.shares):
        return None
    return normalised([proposed.get(s.node, least) for s in own.shares])


def normalised(chances: Sequence[float]) -> tuple[float, ...]:
    """Return numbers that are not all 0 divided by their sum."""
    total = sum(chances)
    return tuple(min(1.0, p / total) for p in chances)


def distance(chances: Sequence[float], own: Row) -> float:
    """Return the total variation ½ Σ|p − q| between a row over the nodes of the fallback's and the fallback's."""
    return sum(abs(p - s.probability) for p, s in zip(chances, own.shares, strict=True)) / 2.0


def trusted(far: float, settings: PolicySettings) -> bool:
    """Tell whether a total variation is inside the trust region, but for the rounding of sums."""
    return far <= settings.trust_tv + ROW_TOLERANCE


def shares(own: Row, chances: Sequence[float]) -> tuple[Share, ...]:
    """Return the shares of a row over the nodes of the fallback's; a node of P 0 is named, so that none joins there."""
    return tuple(Share(node=s.node, probability=p) for s, p in zip(own.shares, chances, strict=True))
