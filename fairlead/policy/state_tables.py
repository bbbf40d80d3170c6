"""The measured state as a prompt shows it: one line for each node and each model, rounded, in aliases.

A line of a group begins with its alias and how many it stands for, `n03 x12`. What each column is, the prompt's text
says; here is only what stands in them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from fairlead.contracts.cluster import Cluster
from fairlead.contracts.decisions import EpochInput, NodeView, PodView, SlotDecision, SlotInput, Snapshot
from fairlead.policy.aliases import Aliases, by_id
from fairlead.policy.draft import GB
from fairlead.policy.figures import MINUTE_S, figure, probability

AWAKE = ("starting", "ready", "sleeping")
"""Phases of a pod that serves, or will without a new decision."""


@dataclass(frozen=True, slots=True)
class Cell:
    """What a row says of a node, or of a group of them."""

    node: str
    """Alias."""
    share: float
    """Of the fallback's row; of a group of models, weighted by their rates."""
    work_s: float
    count: int
    ready_in_s: float
    """Until the first pod there is ready; 0 where one is."""


@dataclass(frozen=True, slots=True)
class ModelRow:
    """The fallback's row of a model, or of a group of them."""

    model: str
    """Alias."""
    cells: tuple[Cell, ...]
    """Empty where the fallback has no row."""


def epoch_models(given: EpochInput, aliases: Aliases) -> str:
    """Return per model: GB, work, start, requests a minute, arrived, held, work waiting, price, pods ready, starting.

    Of a group: GB of the largest, means of work and start, the highest price, else sums.
    """
    specs = {m.id: m for m in given.cluster.models}
    rates = {r.model: r.per_s for r in given.rates}
    prices = {p.model: p.worth_s for p in given.prices}
    pods = _pods_by_model(given.snapshot)
    lines = []
    for alias, ids in aliases.models:
        mine = [p for m in ids for p in pods.get(m, ())]
        columns = (
            max(specs[m].memory_bytes for m in ids) / GB,
            _mean([specs[m].work_s for m in ids]),
            _mean([specs[m].start_delay_s for m in ids]),
            _per_minute(ids, rates),
            *_demand(given.snapshot, given.cluster, ids, mine),
            max((prices[m] for m in ids if m in prices), default=None),
            sum(p.phase == "ready" for p in mine),
            sum(p.phase == "starting" for p in mine),
        )
        lines.append(_line(alias, ids, columns))
    return "\n".join(lines)


def epoch_nodes(given: EpochInput, aliases: Aliases) -> str:
    """Return per node: GB, free GB, speed, up, work waiting, models awake, `+` behind those that start.

    Of a group: GB of the smallest, means of what is free and of speed, sums, and each model with how many have it.
    """
    specs, views = {n.id: n for n in given.cluster.nodes}, _views(given.snapshot, given.cluster)
    claims, models = {m.id: m.memory_bytes for m in given.cluster.models}, by_id(aliases.models)
    lines = []
    for alias, ids in aliases.nodes:
        up = [views[n] for n in ids if views[n].up]
        columns = (
            min(specs[n].memory_bytes for n in ids) / GB,
            _mean([_free(specs[v.node].memory_bytes, v.pods, claims) / GB for v in up]),
            _mean([views[n].speed for n in ids]),
            len(up),
            _waiting(up),
        )
        lines.append(" ".join([_line(alias, ids, columns), *_contents(up, len(ids) > 1, models)]))
    return "\n".join(lines)


def slot_nodes(given: SlotInput, aliases: Aliases) -> str:
    """Return per node: speed, up, work waiting. Of a group: the mean speed, and sums."""
    views = _views(given.snapshot, given.cluster)
    lines = []
    for alias, ids in aliases.nodes:
        up = [views[n] for n in ids if views[n].up]
        lines.append(_line(alias, ids, (_mean([views[n].speed for n in ids]), len(up), _waiting(up))))
    return "\n".join(lines)


def slot_models(given: SlotInput, fallback: SlotDecision, aliases: Aliases, rows: Sequence[ModelRow]) -> str:
    """Return per model: requests a minute, work, held; then its row: node, share, work waiting, requests, `+` s."""
    specs = {m.id: m for m in given.cluster.models}
    rates = {r.model: r.per_s for r in fallback.state.rates}
    held = {v.model: v.held for v in given.snapshot.models}
    lines = []
    for (alias, ids), row in zip(aliases.models, rows, strict=True):
        columns = (_per_minute(ids, rates), _mean([specs[m].work_s for m in ids]), _sum(held.get(m) for m in ids))
        cells = ", ".join(_cell(c) for c in row.cells) or "none"
        lines.append(f"{_line(alias, ids, columns)}: {cells}")
    return "\n".join(lines)


def rows_of(given: SlotInput, fallback: SlotDecision, aliases: Aliases) -> tuple[ModelRow, ...]:
    """Return the fallback's rows of zone `*` in aliases, one for each alias of a model, in their order."""
    shares = {
        r.model: {s.node: s.probability for s in r.shares}
        for r in (fallback.table.rows if fallback.table is not None else ())
        if r.zone == "*"
    }
    rates = {r.model: r.per_s for r in fallback.state.rates}
    starts = {m.id: m.start_delay_s for m in given.cluster.models}
    pods = {(v.node, p.model): p for v in given.snapshot.nodes for p in v.pods}
    rows = []
    for alias, ids in aliases.models:
        mine = [m for m in ids if m in shares]
        total = sum(rates.get(m, 0.0) for m in mine)
        weights = {m: rates.get(m, 0.0) / total if total > 0.0 else 1.0 / len(mine) for m in mine}
        cells = []
        for node, members in aliases.nodes:
            pairs = [(n, m) for m in mine for n in members if n in shares[m]]
            if pairs:
                found = [pods[pair] for pair in pairs if pair in pods]
                delays = [pods[n, m].ready_in_s if (n, m) in pods else starts[m] for n, m in pairs]
                part = sum(weights[m] * shares[m][n] for n, m in pairs)
                work_s, count = sum(p.work_s for p in found), sum(p.count for p in found)
                cells.append(Cell(node=node, share=part, work_s=work_s, count=count, ready_in_s=min(delays)))
        rows.append(ModelRow(model=alias, cells=tuple(cells)))
    return tuple(rows)


def _cell(cell: Cell) -> str:
    words = [cell.node, probability(cell.share), figure(cell.work_s), figure(cell.count)]
    return " ".join(words + ([f"+{figure(cell.ready_in_s)}"] if cell.ready_in_s > 0.0 else []))


def _line(alias: str, ids: Sequence[str], columns: Iterable[float | None]) -> str:
    many = [f"x{len(ids)}"] if len(ids) > 1 else []
    return " ".join([alias, *many, *(figure(c) for c in columns)])


def _demand(
    snapshot: Snapshot, cluster: Cluster, ids: Sequence[str], pods: Sequence[PodView]
) -> tuple[float | None, float | None, float]:
    """Return arrived, held, and the work in seconds that waits or runs, held requests included."""
    works = {m.id: m.work_s for m in cluster.models}
    views = [v for v in snapshot.models if v.model in ids]
    work_s = sum(p.work_s for p in pods) + sum(v.held * works[v.model] for v in views)
    return _sum(v.arrived for v in views), _sum(v.held for v in views), work_s


def _contents(up: Sequence[NodeView], many: bool, models: Mapping[str, str]) -> list[str]:
    """Return the models that are awake: by name on a node, with how many of its nodes have it on a group."""
    sets = [{models[p.model]: p.phase for p in v.pods if p.phase in AWAKE and p.model in models} for v in up]
    names = sorted({alias for one in sets for alias in one})
    if many:
        return [f"{alias}:{sum(alias in one for one in sets)}" for alias in names]
    return [f"{alias}+" if sets[0][alias] == "starting" else alias for alias in names]


def _free(memory: int, pods: Sequence[PodView], claims: Mapping[str, int]) -> int:
    return memory - sum(claims.get(p.model, 0) for p in pods if p.phase != "off")


def _views(snapshot: Snapshot, cluster: Cluster) -> dict[str, NodeView]:
    """Return each node's view; one that the snapshot lacks is not up and has its declared speed."""
    absent = {n.id: NodeView(node=n.id, up=False, observed_at_s=None, speed=n.speed, pods=()) for n in cluster.nodes}
    return absent | {v.node: v for v in snapshot.nodes}


def _pods_by_model(snapshot: Snapshot) -> dict[str, list[PodView]]:
    found: dict[str, list[PodView]] = {}
    for view in snapshot.nodes:
        for pod in view.pods:
            found.setdefault(pod.model, []).append(pod)
    return found


def _waiting(views: Sequence[NodeView]) -> float | None:
    return _sum(p.work_s for v in views for p in v.pods) if views else None


def _per_minute(ids: Sequence[str], rates: Mapping[str, float]) -> float | None:
    known = [rates[m] for m in ids if m in rates]
    return MINUTE_S * sum(known) if known else None


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _sum(values: Iterable[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return sum(known) if known else None
