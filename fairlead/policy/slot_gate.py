"""A slot reply becomes a guide, or a fault: gates 3 and 4 of CONTROL §3, feasibility and trust region."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from fairlead.contracts.plans import ROW_TOLERANCE, Guide, GuideRow, RoutingTable, Row
from fairlead.contracts.replies import SlotReply
from fairlead.contracts.tuning import PolicySettings
from fairlead.policy.aliases import Aliases, by_alias
from fairlead.policy.guiding import ANYWHERE, beside, distance, normalised, shares, trusted
from fairlead.policy.parsing import Fault, listed, printable


@dataclass(frozen=True, slots=True)
class Proposed:
    """A row of a reply beside the fallback's."""

    zone: str
    said: str
    """Its place in the reply, in aliases."""
    own: Row
    """The fallback's."""
    chances: tuple[float, ...]
    """Over the nodes of the fallback's row, summing to 1."""


@dataclass(frozen=True, slots=True)
class Flaw:
    """What is wrong with a row."""

    code: str
    text: str
    said: str


def guided(reply: SlotReply, fallback: RoutingTable, aliases: Aliases, settings: PolicySettings) -> Guide | Fault:
    """Return what a reply proposes, over the nodes of the fallback's rows, or why it cannot be.

    A row sums to 1 within `row_tolerance` as it was given; then nodes without a pod are left out, a group's share is
    spread over its nodes in proportion to the fallback's, and what is left is normalised. Models without pods are
    left out; of a group of models also those none of whose pods the row names, unless that is so of them all.
    """
    found = tuple(_rows(reply, fallback, aliases, settings))
    flaws = [f for f in found if isinstance(f, Flaw)]
    if flaws:
        return Fault("feasibility", flaws[0].code, listed(f.text for f in flaws), listed(f.said for f in flaws))
    rows = [p for p in found if isinstance(p, Proposed)]
    if not rows:
        text = "the reply has no row of a model that has a pod"
        return Fault("feasibility", "no-rows", text, text)
    outside = [p for p in rows if not trusted(distance(p.chances, p.own), settings)]
    if outside:
        far = [f"is {distance(p.chances, p.own):.2f} away from the fallback's" for p in outside]
        most = f", at most {settings.trust_tv:.2f} is trusted"
        text = listed(f"row ({p.zone}, {p.own.model}) {f}{most}" for p, f in zip(outside, far, strict=True))
        return Fault("trust", "outside", text, listed(f"{p.said} {f}{most}" for p, f in zip(outside, far, strict=True)))
    return Guide(
        slot=fallback.slot,
        rows=tuple(GuideRow(zone=p.zone, model=p.own.model, shares=shares(p.own, p.chances)) for p in rows),
        why=printable(reply.why),
    )


def _rows(
    reply: SlotReply, fallback: RoutingTable, aliases: Aliases, settings: PolicySettings
) -> Iterator[Proposed | Flaw]:
    """Yield each row that the reply proposes for a model with a pod, or what is wrong with it."""
    zones, models, nodes = by_alias(aliases.zones), by_alias(aliases.models), by_alias(aliases.nodes)
    own = {(r.zone, r.model): r for r in fallback.rows}
    for zone_alias, rows in reply.routes.items():
        if zone_alias not in zones:
            text = f"there is no zone {zone_alias}"
            yield Flaw("unknown-zone", text, text)
            continue
        for model_alias, given in rows.items():
            pairs = [(z, m) for z in zones[zone_alias] for m in models.get(model_alias, ())]
            beside = [(zone, own.get((zone, m)) or own.get((ANYWHERE, m))) for zone, m in pairs]
            known = [(zone, row) for zone, row in beside if row is not None]
            if known:
                yield from _weighed(f"row {zone_alias}.{model_alias}", given, known, nodes, settings)


def _weighed(
    said: str,
    given: Mapping[str, float],
    beside: Sequence[tuple[str, Row]],
    nodes: Mapping[str, Sequence[str]],
    settings: PolicySettings,
) -> Iterator[Proposed | Flaw]:
    """Yield what one row of the reply proposes `beside` each row of the fallback's that it is about."""
    zone, first = beside[0]
    total = sum(given.values())
    if abs(total - 1.0) > settings.row_tolerance + ROW_TOLERANCE:
        words = f"sums to {total:.3g}, it must sum to 1"
        yield Flaw("row-sum", f"row ({zone}, {first.model}) {words}", f"{said} {words}")
        return
    some = False
    for zone, own in beside:
        chances = _clipped(given, own, nodes)
        if any(p > 0.0 for p in chances):
            some = True
            yield Proposed(zone, said, own, normalised(chances))
    if not some:
        words = "names no node where the model has a pod"
        yield Flaw("row-empty", f"row ({zone}, {first.model}) {words}", f"{said} {words}")


def _clipped(given: Mapping[str, float], own: Row, nodes: Mapping[str, Sequence[str]]) -> tuple[float, ...]:
    """Return what a row gives to each node of the fallback's; a group's share is spread as the fallback spreads it."""
    at = {s.node: k for k, s in enumerate(own.shares)}
    chances = [0.0] * len(at)
    for alias, chance in given.items():
        here = [at[n] for n in nodes.get(alias, ()) if n in at]
        parts = [own.shares[k].probability for k in here]
        total = sum(parts)
        for k, part in zip(here, parts, strict=True):
            chances[k] += chance * (part / total if total > 0.0 else 1.0 / len(here))
    return tuple(chances)


def furthest(guide: Guide, fallback: RoutingTable) -> float:
    """Return the largest total variation between a guide's rows and those of the fallback that it was made beside."""
    pairs = zip(guide.rows, beside(guide, fallback), strict=True)
    return max(distance([share.probability for share in row.shares], own) for row, own in pairs)
