"""What a placement and a table must hold to before anything acts on them (DESIGN §8, invariants 2, 3 and 4).

The fallback holds to it by construction; proposals from elsewhere are checked with it. Every fault is a reason.
"""

from collections.abc import Iterable, Mapping

from fairlead.contracts.cluster import Cluster
from fairlead.contracts.decisions import Snapshot
from fairlead.contracts.plans import NodePlacement, Reason, Row


def check_placement(nodes: Iterable[NodePlacement], cluster: Cluster) -> tuple[Reason, ...]:
    """Return what is wrong with a placement; empty where it is feasible."""
    memory = {n.id: n.memory_bytes for n in cluster.nodes}
    claims = {m.id: m.memory_bytes for m in cluster.models}
    faults = []
    for node in nodes:
        if node.node not in memory:
            faults.append(_fault("unknown-node", node.node, None, "is not in the cluster"))
            continue
        unknown = [m for m in (*node.awake, *node.stoppable) if m not in claims]
        faults += [_fault("unknown-model", node.node, m, "is not in the cluster") for m in unknown]
        need = sum(claims.get(m, 0) for m in node.awake)
        if need > memory[node.node]:
            text = f"models to be awake need {need} bytes, the node has {memory[node.node]}"
            faults.append(_fault("memory", node.node, None, text))
    return tuple(faults)


def check_rows(
    rows: Iterable[Row], cluster: Cluster, snapshot: Snapshot, begun: Mapping[str, frozenset[str]]
) -> tuple[Reason, ...]:
    """Return which rows name a node whose pod is neither ready nor starting soon enough.

    Soon enough is within the model's deadline. `begun` has per node the models that the placement of this table starts.
    """
    deadline = {m.id: m.deadline_s for m in cluster.models}
    start = {m.id: m.start_delay_s for m in cluster.models}
    wake = {m.id: m.wake_delay_s for m in cluster.models}
    asleep = {(n.node, p.model) for n in snapshot.nodes if n.up for p in n.pods if p.phase == "sleeping"}
    ready_in = {
        (n.node, p.model): p.ready_in_s
        for n in snapshot.nodes
        if n.up
        for p in n.pods
        if p.phase in ("starting", "ready", "draining")
    }
    faults = []
    for row in rows:
        if row.model not in deadline:
            faults.append(_fault("unknown-model", None, row.model, "is not in the cluster"))
            continue
        for share in row.shares:
            after_s = ready_in.get((share.node, row.model))
            if after_s is None and row.model in begun.get(share.node, ()):
                after_s = (wake if (share.node, row.model) in asleep else start)[row.model]
            if after_s is None:
                faults.append(_fault("no-pod", share.node, row.model, "is in a row without a pod"))
            elif after_s > deadline[row.model]:
                text = f"is in a row, ready in {after_s:g} s, after the deadline of {deadline[row.model]:g} s"
                faults.append(_fault("too-late", share.node, row.model, text))
    return tuple(faults)


def _fault(rule: str, node: str | None, model: str | None, text: str) -> Reason:
    return Reason(rule=rule, node=node, model=model, value_s=None, text=text)
