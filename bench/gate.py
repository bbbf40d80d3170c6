"""How long the gate's branches take in the compiled core, and what it judges in its time, by size of the cluster.

Each branch is 5 minutes long, of `nation1000` half a minute. It begins with the pods of a random placement, ready and
idle, and goes on at load 0.8; a candidate drains one node. What is compiled is compiled before, the situation is laid
out in the time that is measured. Processor time, the best of some runs.

Judgements are those of the process that judges live, from the bytes of a question on, a proposal and five others; its
clock here is its processor time, so that a busy machine does not count.
"""

import io
import time
from collections.abc import Callable

from fairlead.agents.frames import Question, Verdict
from fairlead.agents.twin_child import Twin, serve
from fairlead.contracts.cluster import Cluster
from fairlead.contracts.decisions import EpochInput, ModelView, NodeView, PodView, SlotInput, SlotState, Snapshot
from fairlead.contracts.dialogue import Judge
from fairlead.contracts.plans import (
    EpochPlan,
    Guide,
    GuideRow,
    Intent,
    NodePlacement,
    Placement,
    PlanDraft,
    Rate,
    Share,
)
from fairlead.contracts.settings import LlmSettings
from fairlead.contracts.tuning import PolicySettings
from fairlead.policy.baselines import random_placement
from fairlead.policy.epoch import neutral
from fairlead.twin.branching import Branch, Candidate, Demand, Situation
from fairlead.twin.engines import brancher
from fairlead.twin.requests import Arrival
from fairlead.twin.scenarios import scenario
from fairlead.twin.subjects import subject_of

NOW_S, FOR_S = 3000.0, 300.0

SIZES = (
    ("city7-stationary", FOR_S, ((1, 1), (4, 8), (16, 8), (16, 32)), 3),
    ("metro100", FOR_S, ((1, 1), (4, 8), (16, 8)), 1),
    ("nation1000", 30.0, ((1, 1), (1, 2)), 1),
)
"""Scenario, seconds that are played, candidates and demands, and how often each is measured."""

DEADLINES_S = (0.3, 1.0, LlmSettings().gate_deadline_slots * PolicySettings().slot_s)
"""What a judgement has at 30 times the speed of life, at 9 times, and live."""

PROPOSALS = 6
"""A planner's proposal and as many variations as there are at most."""


def situation(name: str) -> tuple[Situation, tuple[Demand, ...]]:
    """Return a cluster at rest, and as many demands as the largest gate needs."""
    most = max(demands for one, _, sizes, _ in SIZES if one == name for _, demands in sizes)
    subjects = [subject_of(scenario(name), 0.8, seed, 0.0, FOR_S) for seed in range(1, most + 1)]
    drawn = [tuple(Arrival(NOW_S + a.at_s, a.site, a.model, a.work_s) for a in one.demand()) for one in subjects]
    shape = subjects[0].cluster
    asked = {m.id: sum(one.model == m.id for one in drawn[0]) for m in shape.models}
    placed = random_placement(shape, 1)
    here = Situation(
        now_s=NOW_S,
        seed=1,
        policy="marginal-dpp",
        settings=PolicySettings(),
        cluster=shape,
        network=subjects[0].network,
        snapshot=Snapshot(taken_at_s=NOW_S, nodes=_nodes(shape, placed), models=_models(shape), stale=()),
        state=SlotState(
            slot=round(NOW_S / 30.0),
            rates=tuple(Rate(model=m, per_s=many / FOR_S) for m, many in asked.items()),
            rotation=0,
        ),
        plan=None,
        placement=Placement(
            generation=1,
            plan_generation=0,
            slot=round(NOW_S / 30.0),
            created_at_s=NOW_S,
            expires_at_s=NOW_S + 60.0,
            decision="slot-1",
            nodes=placed,
        ),
    )
    return here, tuple(drawn)


def _nodes(shape: Cluster, placed: tuple[NodePlacement, ...]) -> tuple[NodeView, ...]:
    awake = {one.node: sorted(one.awake) for one in placed}
    return tuple(
        NodeView(node=n.id, up=True, observed_at_s=NOW_S, speed=n.speed, pods=tuple(_pod(m) for m in awake[n.id]))
        for n in shape.nodes
    )


def _pod(model: str) -> PodView:
    return PodView(
        model=model,
        phase="ready",
        since_at_s=NOW_S - 1000.0,
        ready_in_s=0.0,
        work_s=0.0,
        count=0,
        running=0,
        used_at_s=None,
        blocked=False,
    )


def _models(shape: Cluster) -> tuple[ModelView, ...]:
    return tuple(
        ModelView(model=m.id, arrived=0, held=0, oldest_held_s=0.0, asked_at_s=NOW_S - 5.0) for m in shape.models
    )


def draft(shape: Cluster, k: int) -> PlanDraft:
    """Return a plan that drains node k."""
    plain = neutral(shape)
    roles = list(plain.intents)
    roles[k % len(roles)] = Intent(node=roles[k % len(roles)].node, role="drain", prefer=(), avoid=(), bias=0)
    return plain.model_copy(update={"intents": tuple(roles)})


def candidate(shape: Cluster, k: int) -> Candidate:
    """Return the fallback for 0, else a plan that drains node k."""
    if k == 0:
        return Candidate("fallback")
    plan = EpochPlan(
        generation=k,
        parent=0,
        epoch=round(NOW_S / FOR_S),
        created_at_s=NOW_S,
        expires_at_s=NOW_S + FOR_S,
        source="llm",
        intents=draft(shape, k).intents,
        priorities=(),
        warm=(),
        why="",
    )
    return Candidate(f"drain-{k}", plan)


def judged_s(branch: Branch, here: Situation, demands: tuple[Demand, ...], candidates: int, for_s: float) -> float:
    """Return how long it takes to play each candidate on each demand for so many seconds."""
    before = time.process_time()
    for k in range(candidates):
        one = candidate(here.cluster, k)
        for demand in demands:
            found = branch(here, one, demand, NOW_S + for_s)
            if found.engine != "compiled":
                raise RuntimeError("the compiled core does not play this branch")
    return time.process_time() - before


def plans(here: Situation) -> tuple[EpochInput, Judge]:
    """Return a planner's question, an epoch just begun."""
    asked = EpochInput(
        epoch=round(NOW_S / FOR_S),
        now_s=NOW_S,
        seed=1,
        settings=here.settings,
        cluster=here.cluster,
        snapshot=here.snapshot,
        parent=None,
        next_plan=2,
        decision="epoch-2",
        rates=here.state.rates,
        begins_at_s=NOW_S,
        placement=here.placement,
    )
    first, *others = (draft(here.cluster, k).to_json() for k in range(1, PROPOSALS + 1))
    return asked, Judge(agent="planner", proposal=first, others=tuple(others))


def rows(here: Situation) -> tuple[SlotInput, Judge]:
    """Return a slot agent's question: one model's requests shall go to one of its nodes."""
    asked = SlotInput(
        slot=here.state.slot,
        trigger="slot",
        now_s=NOW_S,
        seed=1,
        policy=here.policy,
        settings=here.settings,
        cluster=here.cluster,
        snapshot=here.snapshot,
        state=here.state,
        plan=None,
        placement=here.placement,
        overrides=(),
        static=(),
        next_placement=2,
        next_table=1,
        decision=f"slot-{here.state.slot}",
    )
    node = next(n for n in here.snapshot.nodes if n.pods)
    row = GuideRow(zone="*", model=node.pods[0].model, shares=(Share(node=node.node, probability=1.0),))
    return asked, Judge(agent="slot-agent", proposal=Guide(slot=asked.slot, rows=(row,), why="").to_json())


def verdict(twin: Twin, asked: SlotInput | EpochInput, judge: Judge, deadline_s: float) -> tuple[Verdict, float]:
    """Return what the process that judges live says, and its seconds."""
    said, before = io.BytesIO(), twin.clock()
    serve(twin, io.BytesIO(Question(1, asked, judge, deadline_s).lines()), said)
    return Verdict.from_json(said.getvalue()), twin.clock() - before


def branches() -> None:
    """Print what branches take."""
    print(f"{'cluster':18s} {'candidates':>10s} {'demands':>8s} {'requests':>9s} {'seconds':>9s} {'ms a branch':>12s}")
    for name, for_s, sizes, runs in SIZES:
        here, drawn = situation(name)
        brancher("compiled")(here, Candidate("fallback"), (), NOW_S + 1.0)
        for candidates, demands in sizes:
            taken_s = min(judged_s(brancher("compiled"), here, drawn[:demands], candidates, for_s) for _ in range(runs))
            each_ms = 1000.0 * taken_s / (candidates * demands)
            requests = sum(one.at_s < NOW_S + for_s for demand in drawn[:demands] for one in demand) // demands
            print(f"{name:18s} {candidates:10d} {demands:8d} {requests:9d} {taken_s:9.3f} {each_ms:12.2f}", flush=True)


def judgements(asked_by: Callable[[Situation], tuple[SlotInput | EpochInput, Judge]]) -> None:
    """Print what is judged in which time."""
    twin = Twin(time.process_time)
    twin.compile()
    for name, _, _, _ in SIZES:
        asked, judge = asked_by(situation(name)[0])
        for deadline_s in DEADLINES_S:
            found, taken_s = verdict(twin, asked, judge, deadline_s)
            one = found.judgement
            played = sorted((trial.scenarios for trial in one.trials), reverse=True) if one is not None else []
            code, text = ("late", "") if one is None else (one.code, one.text)
            print(
                f"{name:18s} {judge.agent:11s} {deadline_s:8.1f} {taken_s:8.2f} {code:8s} {played} {text}", flush=True
            )


def main() -> None:
    """Print the seconds of branches, then of judgements."""
    branches()
    print(f"\n{'cluster':18s} {'who asks':11s} {'there is':>8s} {'took':>8s} {'code':8s} demands of each candidate")
    judgements(plans)
    judgements(rows)


if __name__ == "__main__":
    main()
