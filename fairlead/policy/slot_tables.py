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
    work_s: float
    count: int
    ready_in_s: float
    """Until the first of its pods is ready; 0 where one is."""


Rows = Mapping[str, Sequence[Cell]]
"""Cells by the alias of the model; of models without pods and of groups of models there are none."""


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
    """Return per model: requests a minute, work, held; then its row: node, share, work and requests if any, `+` s.

    Of a group: sums and the mean work, without rows: models of one group may have their pods on different nodes.
    """
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
        if len(ids) > 1:
            lines.append(line(alias, ids, columns))
            continue
        cells = rows.get(alias, ())
        words = [_words(c, k) for c, k in zip(cells, stepped([c.share for c in cells]), strict=True)]
        lines.append(f"{line(alias, ids, columns)}: {', '.join(words) or 'none'}")
    return "\n".join(lines)


def routes_of(rows: Rows) -> str:
    """Return rows as the `routes` of a reply: a model that changes a valid reply errs less than one that makes it up.

    SmolLM2-135M, 2026-11-21, situations of 3 × 1 and 7 × 4: valid replies to 5 of 8 with this line, to 0 of 6 without.
    """
    models = []
    for model, cells in rows.items():
        steps = stepped([c.share for c in cells])
        shares = (f'"{c.node}":{plain(s / STEPS, 2)}' for c, s in zip(cells, steps, strict=True))
        models.append(f'"{model}":{{{",".join(shares)}}}')
    return f'{{"*":{{{",".join(models)}}}}}'


def rows_of(given: SlotInput, fallback: SlotDecision, aliases: Aliases) -> Rows:
    """Return the fallback's rows of zone `*` in aliases."""
    starts = {m.id: m.start_delay_s for m in given.cluster.models}
    pods = {(p.model, v.node): p for v in given.snapshot.nodes for p in v.pods}
    shares = shares_of(fallback)
    rows = {}
    for alias, ids in aliases.models:
        if len(ids) == 1 and ids[0] in shares:
            own, start_s = shares[ids[0]], starts[ids[0]]
            here = {n: pods.get((ids[0], n)) for n in own}
            cells = ((node, [n for n in members if n in own]) for node, members in aliases.nodes)
            rows[alias] = tuple(_cell(node, among, own, here, start_s) for node, among in cells if among)
    return rows


def shares_of(fallback: SlotDecision) -> dict[str, dict[str, float]]:
    """Return the fallback's rows of zone `*`: per model the probability of each node; empty without a table."""
    table = fallback.table.rows if fallback.table is not None else ()
    return {r.model: {s.node: s.probability for s in r.shares} for r in table if r.zone == ANYWHERE}


def stepped(shares: Sequence[float]) -> tuple[int, ...]:
    """Return shares that sum to 1 in whole steps that sum to `STEPS`: the largest remainders are rounded up."""
    exact = [STEPS * s for s in shares]
    steps = [int(e) for e in exact]
    order = sorted(range(len(exact)), key=lambda k: (steps[k] - exact[k], k))
    up = set(order[: STEPS - sum(steps)])
    return tuple(s + (k in up) for k, s in enumerate(steps))


def _cell(
    alias: str, nodes: Sequence[str], own: Mapping[str, float], pods: Mapping[str, PodView | None], start_s: float
) -> Cell:
    """Return what a row says of `nodes`; a pod that is not seen is one that this very decision starts."""
    found = [pods[n] for n in nodes]
    return Cell(
        node=alias,
        share=sum(own[n] for n in nodes),
        work_s=sum(p.work_s for p in found if p is not None),
        count=sum(p.count for p in found if p is not None),
        ready_in_s=min(start_s if p is None else p.ready_in_s for p in found),
    )


def _words(cell: Cell, steps: int) -> str:
    words = [cell.node, plain(steps / STEPS, 2)]
    if cell.count or cell.work_s > 0.0:
        words += [figure(cell.work_s), figure(cell.count)]
    return " ".join(words + ([f"+{figure(cell.ready_in_s)}"] if cell.ready_in_s > 0.0 else []))
