"""Ten situations of `city7` in which a language model is asked how well it answers: always the same, each another one.

Seven nodes are full of pods that serve all four models; in turn one model has twice the work of each other one, and
the queues shift. They are made up, no measurement: what is looked at is whether replies can be used, not what they say.
"""

from fairlead.contracts.cluster import Cluster
from fairlead.contracts.decisions import EpochInput, ModelView, NodeView, PodView, SlotInput, SlotState, Snapshot
from fairlead.contracts.plans import NodePlacement, Placement, Rate
from fairlead.contracts.tuning import PolicySettings
from fairlead.policy.registry import decide_slot
from fairlead.twin.clusters import cluster, default_ports, total_speed

SITUATIONS = 10

LOAD = 0.8
"""Σ rate·work / Σ speed, the scoreboard's usual one (CONTROL §5)."""

BEGIN_S = 1_000_000.0
"""Domain time of the first; nothing hangs on it."""

AWAKE = {
    "node-1": ("image", "small-text"),
    "node-2": ("large-text", "vision-language"),
    "node-3": ("image", "vision-language"),
    "node-4": ("large-text", "small-text", "vision-language"),
    "node-5": ("image", "large-text", "small-text"),
    "node-6": ("large-text", "vision-language"),
    "node-7": ("image", "small-text"),
}
"""A placement that fits: each model has at least four pods, so that there is something to route."""


def slot_situation(number: int, settings: PolicySettings) -> SlotInput:
    """Return what a slot agent knows in situation `number`, of 0 to 9."""
    city = cluster("city7", default_ports("city7"))
    rates = _rates(city, number)
    now_s = BEGIN_S + number * settings.slot_s
    slot = int(now_s // settings.slot_s)
    return SlotInput(
        trigger="slot",
        slot=slot,
        now_s=now_s,
        seed=0,
        policy="marginal-dpp",
        settings=settings,
        cluster=city,
        snapshot=_snapshot(city, rates, number, now_s, settings),
        state=SlotState(slot=slot - 1, rates=rates, rotation=slot),
        plan=None,
        placement=_placement(slot - 1, now_s, settings),
        overrides=(),
        static=(),
        next_placement=2,
        next_table=2,
        decision="slot-2",
    )


def epoch_situation(number: int, settings: PolicySettings) -> EpochInput:
    """Return what a planner knows in situation `number`, at its epoch's begin."""
    slot = slot_situation(number, settings)
    decided = decide_slot(slot)
    return EpochInput(
        epoch=slot.slot // settings.epoch_slots,
        now_s=slot.now_s,
        seed=slot.seed,
        settings=settings,
        cluster=slot.cluster,
        snapshot=slot.snapshot,
        parent=None,
        next_plan=1,
        decision="epoch-1",
        rates=decided.state.rates,
        prices=decided.prices,
    )


def _rates(city: Cluster, number: int) -> tuple[Rate, ...]:
    """Return arrivals a second: the model whose turn it is has two parts of the work, the others one each."""
    work = LOAD * total_speed(city)
    parts = [2.0 if at == number % len(city.models) else 1.0 for at in range(len(city.models))]
    return tuple(
        Rate(model=model.id, per_s=work * part / sum(parts) / model.work_s)
        for model, part in zip(city.models, parts, strict=True)
    )


def _snapshot(city: Cluster, rates: tuple[Rate, ...], number: int, now_s: float, settings: PolicySettings) -> Snapshot:
    work_s = {model.id: model.work_s for model in city.models}
    nodes = []
    for at, node in enumerate(city.nodes):
        counts = [(number + at + place) % 3 for place in range(len(AWAKE[node.id]))]
        pods = tuple(_pod(name, count, work_s[name], now_s) for name, count in zip(AWAKE[node.id], counts, strict=True))
        nodes.append(NodeView(node=node.id, up=True, observed_at_s=now_s, speed=node.speed, pods=pods))
    views = tuple(
        ModelView(
            model=rate.model, arrived=round(rate.per_s * settings.slot_s), held=0, oldest_held_s=0.0, asked_at_s=now_s
        )
        for rate in rates
    )
    return Snapshot(taken_at_s=now_s, nodes=tuple(nodes), models=views, stale=())


def _pod(model: str, count: int, work_s: float, now_s: float) -> PodView:
    """Return a ready pod with `count` requests, the first of them half done."""
    return PodView(
        model=model,
        phase="ready",
        since_at_s=now_s - 600.0,
        ready_in_s=0.0,
        work_s=max(0.0, (count - 0.5) * work_s),
        count=count,
        running=min(count, 1),
        used_at_s=now_s,
        blocked=False,
    )


def _placement(slot: int, now_s: float, settings: PolicySettings) -> Placement:
    """Return the placement in force: what is awake may stay."""
    return Placement(
        generation=1,
        plan_generation=0,
        slot=slot,
        created_at_s=now_s - settings.slot_s,
        expires_at_s=now_s + settings.slot_s,
        decision="slot-1",
        nodes=tuple(NodePlacement(node=node, awake=models, stoppable=()) for node, models in AWAKE.items()),
    )
