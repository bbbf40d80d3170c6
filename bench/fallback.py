"""What a decision of the fallback costs: `decide_slot` on made-up clusters of 7 × 4, 100 × 20 and 1000 × 100.

Half the nodes' memory is full of random pods, every model is asked for, a tenth of the pods have queues: rule 2 has
room and spends its whole budget of starts, the dearest case. Messages in and out are built as they are live.
"""

import gc
import statistics
import time

import numpy as np

from fairlead.contracts.cluster import Cluster, Launch, ModelSpec, NodeSpec
from fairlead.contracts.decisions import ModelView, NodeView, PodView, SlotInput, SlotState, Snapshot
from fairlead.contracts.plans import Rate
from fairlead.contracts.tuning import PolicySettings
from fairlead.policy.registry import decide_slot

SIZES = ((7, 4, 100), (100, 20, 50), (1000, 100, 30))
"""Nodes, models, decisions measured."""

GB = 1_000_000_000
NOW_S = 100_000.0
LAUNCH = Launch(launcher="exec", command=("serve",))


def made_up(nodes: int, models: int, draws: np.random.Generator) -> Cluster:
    """Return a cluster whose nodes hold three or four of its models each."""
    return Cluster(
        nodes=tuple(
            NodeSpec(
                id=f"n{k:04d}",
                memory_bytes=int(draws.integers(6, 17)) * GB,
                speed=float(draws.uniform(0.6, 1.4)),
                keeper_url=f"http://127.0.0.1:{10_000 + k}",
            )
            for k in range(nodes)
        ),
        models=tuple(
            ModelSpec(
                id=f"m{k:03d}",
                kind="text",
                memory_bytes=int(draws.integers(1, 7)) * GB,
                work_s=float(draws.uniform(2.0, 24.0)),
                start_delay_s=float(draws.uniform(12.0, 50.0)),
                launch=LAUNCH,
            )
            for k in range(models)
        ),
        sites=(),
    )


def situation(cluster: Cluster, draws: np.random.Generator, trigger: str) -> SlotInput:
    """Return an input of a decision on `cluster`, every model asked for at a rate of load 0.8 in all."""
    views = []
    for node in cluster.nodes:
        free, pods = node.memory_bytes / 2, []
        for k in sorted(draws.permutation(len(cluster.models))[:8].tolist()):
            model = cluster.models[k]
            if model.memory_bytes <= free:
                free -= model.memory_bytes
                pods.append(_pod(model, int(draws.integers(1, 4)) if draws.random() < 0.1 else 0))
        views.append(NodeView(node=node.id, up=True, observed_at_s=NOW_S, speed=node.speed, pods=tuple(pods)))
    mean_s = sum(m.work_s for m in cluster.models) / len(cluster.models)
    rate = 0.8 * sum(n.speed for n in cluster.nodes) / mean_s / len(cluster.models)
    return SlotInput(
        trigger="slot" if trigger == "slot" else "event",
        slot=100,
        now_s=NOW_S,
        seed=1,
        policy="marginal-dpp",
        settings=PolicySettings(),
        cluster=cluster,
        snapshot=Snapshot(
            taken_at_s=NOW_S,
            nodes=tuple(views),
            models=tuple(_asked(m, round(rate * 30.0)) for m in cluster.models),
            stale=(),
        ),
        state=SlotState(slot=99, rates=tuple(Rate(model=m.id, per_s=rate) for m in cluster.models), rotation=0),
        plan=None,
        placement=None,
        overrides=(),
        static=(),
        next_placement=1,
        next_table=1,
        decision="slot-1",
    )


def _pod(model: ModelSpec, count: int) -> PodView:
    return PodView(
        model=model.id,
        phase="ready",
        since_at_s=NOW_S - 1000.0,
        ready_in_s=0.0,
        work_s=count * model.work_s,
        count=count,
        running=min(1, count),
        used_at_s=NOW_S - 1.0,
        blocked=False,
    )


def _asked(model: ModelSpec, arrived: int) -> ModelView:
    return ModelView(model=model.id, arrived=arrived, held=0, oldest_held_s=0.0, asked_at_s=NOW_S - 1.0)


def main() -> None:
    """Measure and print."""
    for nodes, models, times in SIZES:
        for trigger in ("slot", "event"):
            draws = np.random.default_rng([nodes, models])
            inputs = [situation(made_up(nodes, models, draws), draws, trigger) for _ in range(3)]
            took_s, spent_s, starts = [], [], 0
            for k in range(times):
                one = inputs[k % len(inputs)]
                gc.collect()
                begun_s, cpu_s = time.perf_counter(), time.process_time()
                decided = decide_slot(one)
                took_s.append(time.perf_counter() - begun_s)
                spent_s.append(time.process_time() - cpu_s)
                starts += sum(r.rule in ("rule2-worth", "rule1-missing", "rule1-wait") for r in decided.reasons)
            p50, p99 = statistics.median(took_s), float(np.quantile(took_s, 0.99))
            print(
                f"decide_slot {nodes:4d} x {models:3d} {trigger:5s}: "
                f"p50 {1e3 * p50:7.1f} ms  p99 {1e3 * p99:7.1f} ms  "
                f"cpu p50 {1e3 * statistics.median(spent_s):7.1f} ms  {starts / times:5.1f} starts",
                flush=True,
            )


if __name__ == "__main__":
    main()
