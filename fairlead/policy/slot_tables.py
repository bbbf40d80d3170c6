"""The measured state as the slot agent's prompt shows it: nodes, and models with the fallback's rows, in aliases.

Shares are shown in the steps in which they are to be given, so that the fallback's rows are themselves a valid reply.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fairlead.contracts.decisions import PodView, SlotDecision, SlotInput
from fairlead.policy.aliases import Aliases
from fairlead.policy.figures import MINUTE_S, figure, line, mean, plain, total
from fairlead.policy.grouping import views_of
from fairlead.policy.guiding import ANYWHERE

STEPS = 20
"""Probabilities come in steps of 0.05: coarse numbers take few tokens, and the trust region is six steps wide."""


@dataclass(frozen=True, slots=True)
class Cell:
    """What the fallback's row says of a node, or of a group of them."""

    node: str
    """Alias."""
    share: float
    """Of a group of models, weighted by their rates."""
    work_s: float
    count: int
    ready_in_s: float
    """Until the first of its pods is ready; 0 where one is."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """What rows are made of."""

    shares: Mapping[str, Mapping[str, float]]
    """By model and node."""
    pods: Mapping[tuple[str, str], PodView]
    """By node and model."""
    starts: Mapping[str, float]
    """Seconds until a pod of the model is ready that this very decision has ordered."""


Rows = Mapping[str, Sequence[Cell]]
"""Cells by the alias of the model; of models without pods there are none."""


def slot_nodes(given: SlotInput, aliases: Aliases) -> str:
    """Return per node: speed, work waiting, `-` where it is not up. Of a group: the mean speed, the sum of work."""
    views = views_of(given.cluster, given.snapshot)
    lines = []
    for alias, ids in aliases.nodes:
        up = [views[n] for n in ids if views[n].up]
        work_s = sum(p.work_s for v in up for p in v.pods) if up else None
        lines.append(line(alias, ids, (mean([views[n].speed for n in ids]), work_s)))
    return "\n".join(lines)


def slot_models(given: SlotInput, fallback: SlotDecision, aliases: Aliases, rows: Rows) -> str:
    """Return per model: requests a minute, work, held; then its row: node, share, work and requests if any, `+` s."""
    works = {m.id: m.work_s for m in given.cluster.models}
    rates, held = {r.model: r.per_s for r in fallback.state.rates}, {v.model: v.held for v in given.snapshot.models}
    lines = []
    for alias, ids in aliases.models:
        rate = total(rates.get(m) for m in ids)
        columns = (
            None if rate is None else MINUTE_S * rate,
            mean([works[m] for m in ids]),
            total(held.get(m) for m in ids),
        )
        cells = rows.get(alias, ())
        words = [_words(c, k) for c, k in zip(cells, stepped([c.share for c in cells]), strict=True)]
        lines.append(f"{line(alias, ids, columns)}: {', '.join(words) or 'none'}")
    return "\n".join(lines)


def rows_of(given: SlotInput, fallback: SlotDecision, aliases: Aliases) -> Rows:
    """Return the fallback's rows of zone `*` in aliases."""
    table = fallback.table.rows if fallback.table is not None else ()
    seen = _Seen(
        shares={r.model: {s.node: s.probability for s in r.shares} for r in table if r.zone == ANYWHERE},
        pods={(v.node, p.model): p for v in given.snapshot.nodes for p in v.pods},
        starts={m.id: m.start_delay_s for m in given.cluster.models},
    )
    rates = {r.model: r.per_s for r in fallback.state.rates}
    rows = {}
    for alias, ids in aliases.models:
        weights = _weights([m for m in ids if m in seen.shares], rates)
        if weights:
            cells = (_cell(seen, node, members, weights) for node, members in aliases.nodes)
            rows[alias] = tuple(c for c in cells if c is not None)
    return rows


def stepped(shares: Sequence[float]) -> tuple[int, ...]:
    """Return shares that sum to 1 in whole steps that sum to `STEPS`: the largest remainders are rounded up."""
    exact = [STEPS * s for s in shares]
    steps = [int(e) for e in exact]
    order = sorted(range(len(exact)), key=lambda k: (steps[k] - exact[k], k))
    up = set(order[: STEPS - sum(steps)])
    return tuple(s + (k in up) for k, s in enumerate(steps))


def _weights(models: Sequence[str], rates: Mapping[str, float]) -> dict[str, float]:
    known = sum(rates.get(m, 0.0) for m in models)
    return {m: rates.get(m, 0.0) / known if known > 0.0 else 1.0 / len(models) for m in models}


def _cell(seen: _Seen, node: str, members: Sequence[str], weights: Mapping[str, float]) -> Cell | None:
    """Return what the rows of `weights`' models say of the nodes `members`; None where they name none of them."""
    pairs = [(n, m) for m in weights for n in members if n in seen.shares[m]]
    if not pairs:
        return None
    found = [seen.pods[pair] for pair in pairs if pair in seen.pods]
    return Cell(
        node=node,
        share=sum(weights[m] * seen.shares[m][n] for n, m in pairs),
        work_s=sum(p.work_s for p in found),
        count=sum(p.count for p in found),
        ready_in_s=min(seen.pods[n, m].ready_in_s if (n, m) in seen.pods else seen.starts[m] for n, m in pairs),
    )


def _words(cell: Cell, steps: int) -> str:
    words = [cell.node, plain(steps / STEPS, 2)]
    if cell.count or cell.work_s > 0.0:
        words += [figure(cell.work_s), figure(cell.count)]
    return " ".join(words + ([f"+{figure(cell.ready_in_s)}"] if cell.ready_in_s > 0.0 else []))
