"""The measured state as the planner's prompt shows it: a line for each node and each model, rounded, in aliases.

A line of a group begins with its alias and how many it stands for, `n03 x12`. What each column is, the prompt's text
says.
"""

from collections.abc import Iterator, Mapping, Sequence

from fairlead.contracts.decisions import EpochInput, NodeView, PodView, Snapshot
from fairlead.policy.aliases import Aliases, by_id
from fairlead.policy.draft import GB
from fairlead.policy.figures import MINUTE_S, line, mean, total
from fairlead.policy.grouping import AWAKE, views_of

SHOWN_PARTS = 3
"""Of a group of nodes those models are named that at least one in three has; all pods are in the models' lines."""


def epoch_models(given: EpochInput, aliases: Aliases) -> str:
    """Return per model: GB, work, start, requests a minute, arrived, held, work waiting, price, pods ready, starting.

    Of a group: GB of the largest, means of work and start, the highest price, else sums.
    """
    specs, demand = {m.id: m for m in given.cluster.models}, {v.model: v for v in given.snapshot.models}
    rates, prices = {r.model: r.per_s for r in given.rates}, {p.model: p.worth_s for p in given.prices}
    pods = _by_model(given.snapshot)
    lines = []
    for alias, ids in aliases.models:
        mine = [p for m in ids for p in pods.get(m, ())]
        asked = [demand[m] for m in ids if m in demand]
        rate = total(rates.get(m) for m in ids)
        columns = (
            max(specs[m].memory_bytes for m in ids) / GB,
            mean([specs[m].work_s for m in ids]),
            mean([specs[m].start_delay_s for m in ids]),
            None if rate is None else MINUTE_S * rate,
            total(v.arrived for v in asked),
            total(v.held for v in asked),
            sum(p.work_s for p in mine) + sum(v.held * specs[v.model].work_s for v in asked),
            max((prices[m] for m in ids if m in prices), default=None),
            sum(p.phase == "ready" for p in mine),
            sum(p.phase == "starting" for p in mine),
        )
        lines.append(line(alias, ids, columns))
    return "\n".join(lines)


def epoch_nodes(given: EpochInput, aliases: Aliases) -> str:
    """Return per node: GB, free GB, speed, up, work waiting, models awake, `+` behind those that start.

    Of a group: GB of the smallest, means of what is free and of speed, sums, and each model that a third of it has.
    """
    specs, views = {n.id: n for n in given.cluster.nodes}, views_of(given.cluster, given.snapshot)
    claims, models = {m.id: m.memory_bytes for m in given.cluster.models}, by_id(aliases.models)
    lines = []
    for alias, ids in aliases.nodes:
        up = [views[n] for n in ids if views[n].up]
        columns = (
            min(specs[n].memory_bytes for n in ids) / GB,
            mean([_free(specs[v.node].memory_bytes, v.pods, claims) / GB for v in up]),
            mean([views[n].speed for n in ids]),
            len(up),
            sum(p.work_s for v in up for p in v.pods) if up else None,
        )
        lines.append(" ".join([line(alias, ids, columns), *_contents(up, models)]))
    return "\n".join(lines)


def _contents(up: Sequence[NodeView], models: Mapping[str, str]) -> Iterator[str]:
    """Yield the models that are awake: `m01` on a node, `m01+` where it only starts; `m01:5` on five of a group."""
    awake = [{models[p.model] for p in v.pods if p.phase in AWAKE and p.model in models} for v in up]
    ready = {models[p.model] for v in up for p in v.pods if p.phase == "ready" and p.model in models}
    for alias in sorted({a for one in awake for a in one}):
        count = sum(alias in one for one in awake)
        if len(up) == 1:
            yield alias if alias in ready else f"{alias}+"
        elif SHOWN_PARTS * count >= len(up):
            yield f"{alias}:{count}"


def _free(memory: int, pods: Sequence[PodView], claims: Mapping[str, int]) -> int:
    return memory - sum(claims.get(p.model, 0) for p in pods if p.phase != "off")


def _by_model(snapshot: Snapshot) -> dict[str, list[PodView]]:
    found: dict[str, list[PodView]] = {}
    for view in snapshot.nodes:
        for pod in view.pods:
            found.setdefault(pod.model, []).append(pod)
    return found
