"""Situations that slot decisions are tested on: built by hand, or drawn by hypothesis."""

from collections.abc import Mapping, Sequence
from typing import Literal

import hypothesis.strategies as st

from fairlead.contracts.cluster import Cluster, Launch, ModelSpec, NodeSpec
from fairlead.contracts.decisions import (
    ModelView,
    NodeView,
    PodView,
    SlotDecision,
    SlotInput,
    SlotState,
    Snapshot,
)
from fairlead.contracts.plans import (
    EpochPlan,
    Intent,
    ModelPriority,
    NodePlacement,
    Override,
    Placement,
    Rate,
    Reason,
    Warm,
)
from fairlead.contracts.readings import Phase
from fairlead.contracts.tuning import PolicyName, PolicySettings

GB = 1_000_000_000
NOW_S = 10_000.0
LAUNCH = Launch(launcher="exec", command=("serve", "{port}"))
Role = Literal["specialist", "generalist", "standby", "drain"]
NODES = ("n1", "n2", "n3", "n4", "n5", "n6", "n7", "n8")
MODELS = ("m1", "m2", "m3", "m4", "m5")


def model(name: str, gb: float = 2.0, work_s: float = 4.0, start_s: float = 20.0) -> ModelSpec:
    """Return a model of `gb` GB."""
    return ModelSpec(
        id=name, kind="text", memory_bytes=round(gb * GB), work_s=work_s, start_delay_s=start_s, launch=LAUNCH
    )


def node(name: str, gb: float = 6.0, speed: float = 1.0) -> NodeSpec:
    """Return a node of `gb` GB."""
    return NodeSpec(id=name, memory_bytes=round(gb * GB), speed=speed, keeper_url="http://127.0.0.1:9")


def cluster(nodes: Sequence[NodeSpec], models: Sequence[ModelSpec]) -> Cluster:
    """Return a cluster without sites."""
    return Cluster(nodes=tuple(nodes), models=tuple(models), sites=())


def pod(
    name: str,
    phase: Phase = "ready",
    *,
    age_s: float = 1000.0,
    ready_in_s: float = 0.0,
    count: int = 0,
    running: int | None = None,
    work_s: float | None = None,
    used_ago_s: float | None = None,
    blocked: bool = False,
) -> PodView:
    """Return a pod; its W is 4 s a request unless said."""
    return PodView(
        model=name,
        phase=phase,
        since_at_s=NOW_S - age_s,
        ready_in_s=ready_in_s,
        work_s=4.0 * count if work_s is None else work_s,
        count=count,
        running=min(count, 1) if running is None else running,
        used_at_s=None if used_ago_s is None else NOW_S - used_ago_s,
        blocked=blocked,
    )


def view(name: str, *pods: PodView, up: bool = True, seen: bool = True, speed: float = 1.0) -> NodeView:
    """Return a node with its pods."""
    return NodeView(node=name, up=up, observed_at_s=NOW_S if seen else None, speed=speed, pods=pods if up else ())


def asked(
    name: str, *, arrived: int = 0, held: int = 0, oldest_s: float = 0.0, ago_s: float | None = None
) -> ModelView:
    """Return the demand for a model."""
    return ModelView(
        model=name,
        arrived=arrived,
        held=held,
        oldest_held_s=oldest_s,
        asked_at_s=None if ago_s is None else NOW_S - ago_s,
    )


def awake(name: str, *models: str, stoppable: tuple[str, ...] = ()) -> NodePlacement:
    """Return what a former placement says of a node."""
    return NodePlacement(node=name, awake=models, stoppable=stoppable)


def placement(*nodes: NodePlacement, generation: int = 1) -> Placement:
    """Return the placement in force."""
    return Placement(
        generation=generation,
        plan_generation=0,
        slot=1,
        created_at_s=NOW_S - 5.0,
        expires_at_s=NOW_S + 60.0,
        decision="slot-1",
        nodes=nodes,
    )


def plan(
    intents: tuple[Intent, ...] = (),
    priorities: tuple[ModelPriority, ...] = (),
    warm: tuple[Warm, ...] = (),
    until_s: float = NOW_S + 300.0,
) -> EpochPlan:
    """Return a plan in force."""
    return EpochPlan(
        generation=3,
        parent=2,
        epoch=1,
        created_at_s=NOW_S,
        expires_at_s=until_s,
        source="operator",
        intents=intents,
        priorities=priorities,
        warm=warm,
        why="",
    )


def override(
    node: str, model: str, action: str, *, name: str = "o1", ago_s: float = 10.0, until_s: float | None = None
) -> Override:
    """Return what an operator fixed."""
    return Override(
        id=name,
        node=node,
        model=model,
        action="pin" if action == "pin" else "ban",
        created_at_s=NOW_S - ago_s,
        expires_at_s=until_s,
        by="someone",
        why="",
    )


def slot_input(
    shape: Cluster,
    nodes: Sequence[NodeView],
    models: Sequence[ModelView] = (),
    *,
    trigger: str = "event",
    policy: PolicyName = "marginal-dpp",
    rates: Mapping[str, float] | None = None,
    placement: Placement | None = None,
    plan: EpochPlan | None = None,
    overrides: tuple[Override, ...] = (),
    static: tuple[NodePlacement, ...] = (),
    settings: PolicySettings | None = None,
    slot: int = 8,
    seed: int = 7,
) -> SlotInput:
    """Return an input, by default of an event decision of `marginal-dpp`."""
    return SlotInput(
        trigger="slot" if trigger == "slot" else "event",
        slot=slot,
        now_s=NOW_S,
        seed=seed,
        policy=policy,
        settings=settings or PolicySettings(),
        cluster=shape,
        snapshot=Snapshot(taken_at_s=NOW_S, nodes=tuple(nodes), models=tuple(models), stale=()),
        state=SlotState(slot=7, rates=tuple(Rate(model=m, per_s=r) for m, r in (rates or {}).items()), rotation=0),
        plan=plan,
        placement=placement,
        overrides=overrides,
        static=static,
        next_placement=2,
        next_table=5,
        decision="slot-2",
    )


def placed(decision: SlotDecision) -> dict[str, NodePlacement]:
    """Return the new placement by node; there must be one."""
    assert decision.placement is not None
    return {n.node: n for n in decision.placement.nodes}


def rules(decision: SlotDecision, *names: str) -> list[Reason]:
    """Return the reasons that name one of `names`; all without."""
    return [r for r in decision.reasons if not names or r.rule in names]


PHASES: tuple[Phase, ...] = ("starting", "ready", "ready", "ready", "draining", "stopping", "sleeping", "off")


ROLES: st.SearchStrategy[Role] = st.sampled_from(("generalist", "generalist", "standby", "drain"))


@st.composite
def clusters(draw: st.DrawFn) -> Cluster:
    """Draw a cluster of one to eight nodes and one to five models; each model fits the largest node."""
    models = [
        model(name, draw(st.sampled_from((1.0, 2.2, 3.5, 5.0))), draw(st.sampled_from((2.0, 8.0, 24.0))), start_s)
        for name, start_s in zip(MODELS[: draw(st.integers(1, 5))], (12.0, 25.0, 20.0, 50.0, 70.0), strict=False)
    ]
    nodes = [
        node(name, 10.0 if k == 0 else draw(st.sampled_from((2.0, 6.0, 8.0))), draw(st.sampled_from((0.6, 1.0, 1.4))))
        for k, name in enumerate(NODES[: draw(st.integers(1, 8))])
    ]
    return cluster(nodes, models)


@st.composite
def pods(draw: st.DrawFn, name: str) -> PodView:
    """Draw a pod of the model `name`."""
    phase = draw(st.sampled_from(PHASES))
    count = draw(st.sampled_from((0, 0, 0, 1, 3))) if phase in ("starting", "ready", "draining") else 0
    return pod(
        name,
        phase,
        age_s=draw(st.sampled_from((0.0, 5.0, 30.0, 500.0))),
        ready_in_s=draw(st.sampled_from((1.0, 40.0, 65.0))) if phase == "starting" else 0.0,
        count=count,
        running=0 if phase == "starting" else min(count, 1),
        used_ago_s=draw(st.sampled_from((None, 1.0, 100.0))),
        blocked=phase == "off",
    )


@st.composite
def views(draw: st.DrawFn, spec: NodeSpec, models: Sequence[ModelSpec]) -> NodeView:
    """Draw a node whose pods fit its memory."""
    state = draw(st.sampled_from(("up", "up", "up", "up", "down", "unseen")))
    found, free = [], spec.memory_bytes
    for one in models:
        if not draw(st.booleans()):
            continue
        drawn = draw(pods(one.id))
        if drawn.phase != "off":
            if one.memory_bytes > free:
                continue
            free -= one.memory_bytes
        found.append(drawn)
    return view(spec.id, *found, up=state == "up", seen=state != "unseen", speed=spec.speed)


@st.composite
def node_placements(draw: st.DrawFn, spec: NodeSpec, models: Sequence[ModelSpec]) -> NodePlacement:
    """Draw what a former decision may have said of a node."""
    lists: tuple[list[str], list[str]] = ([], [])
    free = spec.memory_bytes
    for one in models:
        which = draw(st.sampled_from((None, 0, 0, 1)))
        if which == 0 and one.memory_bytes > free:
            continue
        if which is not None:
            lists[which].append(one.id)
            free -= one.memory_bytes if which == 0 else 0
    return NodePlacement(node=spec.id, awake=tuple(lists[0]), stoppable=tuple(lists[1]))


@st.composite
def demands(draw: st.DrawFn, name: str) -> ModelView:
    """Draw the demand for the model `name`."""
    held = draw(st.sampled_from((0, 0, 1, 4)))
    return asked(
        name,
        arrived=draw(st.sampled_from((0, 0, 2, 9))),
        held=held,
        oldest_s=draw(st.sampled_from((0.5, 30.0, 900.0))) if held else 0.0,
        ago_s=0.5 if held else draw(st.sampled_from((None, 1.0, 60.0, 900.0))),
    )


@st.composite
def inputs(draw: st.DrawFn, policies: tuple[PolicyName, ...] = ("marginal-dpp",)) -> SlotInput:
    """Draw an input: any pods that fit, any former placement, any demand; sometimes a plan and overrides."""
    shape = draw(clusters())
    ids, names = [n.id for n in shape.nodes], [m.id for m in shape.models]
    pairs = st.tuples(st.sampled_from(ids), st.sampled_from(names))
    former = draw(st.one_of(st.none(), st.tuples(*[node_placements(n, shape.models) for n in shape.nodes])))
    overrides = tuple(
        override(n, m, draw(st.sampled_from(("pin", "ban"))), name=f"o{k}")
        for k, (n, m) in enumerate(draw(st.lists(pairs, max_size=2)))
    )
    wanted = plan(
        intents=tuple(Intent(node=n, role=draw(ROLES), prefer=(names[0],), avoid=(), bias=2) for n in ids),
        priorities=(ModelPriority(model=names[-1], priority=draw(st.integers(0, 4)), expected="same"),),
        warm=tuple(Warm(model=m, node=n, at_s=NOW_S) for n, m in draw(st.lists(pairs, max_size=1))),
    )
    return slot_input(
        shape,
        [draw(views(n, shape.models)) for n in shape.nodes],
        [draw(demands(m)) for m in names],
        trigger=draw(st.sampled_from(("slot", "event"))),
        policy=draw(st.sampled_from(policies)),
        rates={m: draw(st.sampled_from((0.0, 0.0005, 0.02, 0.2, 1.0))) for m in names},
        placement=placement(*former) if former is not None else None,
        plan=draw(st.sampled_from((None, wanted))),
        overrides=overrides,
        seed=draw(st.integers(0, 3)),
    )
