"""Groups of similar nodes and of similar models, so that a large cluster fits a prompt: summarised, never cut off.

A group is split where that brings its members closest together (the between-group sum of squares, Ward 1963, top
down), until there are as many groups as there may be or all members of each group are alike. All arithmetic up to the
last comparison is in whole numbers, so that groups are the same on every machine.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fairlead.contracts.cluster import Cluster, ModelSpec
from fairlead.contracts.decisions import NodeView, Snapshot
from fairlead.policy.aliases import Aliases, Named, by_id, named
from fairlead.policy.arrays import Whole

EIGHTHS = 8
"""Steps to a factor of two in memory, speed, work and start time: 9 % apart is alike."""

QUARTERS = 4
"""Steps to a factor of two in rate, which is known less well."""

APART = 64
"""Between a node that is up and one that is not: more than all the rest together can be."""

AWAKE = ("starting", "ready")
"""Phases of a pod that serves, or will without a new decision."""

CONTENT = 3
"""Between a node that has a model awake and one that has not: as far as a factor of 1.3 in memory."""

LEAST_PER_S = 1e-4
"""Rates below this are alike: one request in three hours."""

KINDS = ("image", "text", "vision-language")


@dataclass(frozen=True, slots=True)
class Limits:
    """How many aliases there may be."""

    nodes: int
    models: int
    alone: int
    """Where there are more models than aliases, so many of them keep one for themselves."""


def grouped(
    cluster: Cluster, snapshot: Snapshot, rates: Mapping[str, float], limits: Limits, first: Sequence[str]
) -> Aliases:
    """Return aliases for all nodes and models: one each where `limits` allow it, else groups of them.

    The models that `first` begins with keep an alias for themselves longest.
    """
    models = _model_groups(cluster.models, rates, limits, frozenset(first[: limits.alone]))
    return Aliases(nodes=_node_groups(cluster, snapshot, by_id(models), limits.nodes), models=models)


def heaviest(cluster: Cluster, rates: Mapping[str, float]) -> tuple[str, ...]:
    """Return all models, those with the most offered work λ·b first."""
    ordered = sorted(cluster.models, key=lambda m: (-rates.get(m.id, 0.0) * m.work_s, m.id))
    return tuple(m.id for m in ordered)


def _model_groups(
    models: Sequence[ModelSpec], rates: Mapping[str, float], limits: Limits, alone: frozenset[str]
) -> Named:
    if len(models) <= limits.models:
        return named("m", [[m.id] for m in models])
    rest = [m for m in models if m.id not in alone]
    traits = np.array(
        [
            (
                _steps(m.memory_bytes, EIGHTHS),
                _steps(m.work_s, EIGHTHS),
                _steps(max(m.start_delay_s, 1.0), QUARTERS),
                _steps(max(rates.get(m.id, 0.0), LEAST_PER_S), QUARTERS),
                *(EIGHTHS * (m.kind == kind) for kind in KINDS),
            )
            for m in rest
        ],
        dtype=np.int64,
    )
    parts = split(traits, [np.arange(len(rest))], limits.models - len(alone))
    return named("m", [*([one] for one in alone), *([rest[k].id for k in part] for part in parts)])


def _node_groups(cluster: Cluster, snapshot: Snapshot, models: Mapping[str, str], most: int) -> Named:
    nodes = cluster.nodes
    if len(nodes) <= most:
        return named("n", [[n.id] for n in nodes])
    views = views_of(cluster, snapshot)
    columns = {alias: at for at, alias in enumerate(sorted(set(models.values())), start=3)}
    traits = np.zeros((len(nodes), 3 + len(columns)), dtype=np.int64)
    for k, node in enumerate(nodes):
        view = views[node.id]
        traits[k, :3] = _steps(node.memory_bytes, EIGHTHS), _steps(view.speed, EIGHTHS), APART * view.up
        for pod in view.pods:
            if pod.phase in AWAKE and pod.model in models:
                traits[k, columns[models[pod.model]]] = CONTENT
    zones: dict[str, list[int]] = {}
    for k, node in enumerate(nodes):
        zones.setdefault(node.zone, []).append(k)
    by_zone = [np.array(zones[z], dtype=np.int64) for z in sorted(zones)]
    begun = by_zone if 2 * len(by_zone) <= most else [np.arange(len(nodes))]
    return named("n", [[nodes[k].id for k in g] for g in split(traits, begun, most)])


def views_of(cluster: Cluster, snapshot: Snapshot) -> dict[str, NodeView]:
    """Return each node's view; one that the snapshot lacks is not up and has its declared speed."""
    seen = {v.node: v for v in snapshot.nodes}
    return {
        n.id: seen[n.id] if n.id in seen else NodeView(node=n.id, up=False, observed_at_s=None, speed=n.speed, pods=())
        for n in cluster.nodes
    }


def split(traits: Whole, groups: Sequence[Whole], most: int) -> list[Whole]:
    """Return `groups` of row numbers of `traits` [k, f], split until there are `most` or nothing differs in any."""
    found = [(_best(traits, g), g) for g in groups]
    while len(found) < most:
        at = max(range(len(found)), key=lambda k: (found[k][0][0], -k))
        (gain, column, level), group = found[at]
        if gain <= 0.0:
            break
        low = traits[group, column] * len(group) <= level
        parts = group[low], group[~low]
        found[at : at + 1] = [(_best(traits, g), g) for g in parts]
    return [g for _, g in found]


def _best(traits: Whole, group: Whole) -> tuple[float, int, int]:
    """Return what the best cut at a column's mean gains, its column, and the sum of that column.

    A row is below the cut where its value times the number of rows is at most that sum.
    """
    rows = traits[group]
    total = rows.sum(axis=0)
    low = rows * len(group) <= total
    size = low.sum(axis=0)
    sums = low.T.astype(np.int64) @ rows
    rest = total - sums
    few = np.maximum(len(group) - size, 1)
    gain = (sums**2).sum(axis=1) / size + (rest**2).sum(axis=1) / few - (total**2).sum() / len(group)
    gain = np.where(size < len(group), gain, 0.0)
    column = int(gain.argmax())
    return float(gain[column]), column, int(total[column])


def _steps(value: float, each: int) -> int:
    return round(each * math.log2(value))
