"""Small clusters and runs for tests of the twin."""

from collections.abc import Sequence

from fairlead.contracts.cluster import Cluster, Launch, ModelSpec, NodeSpec, SiteSpec
from fairlead.contracts.plans import NodePlacement, Placement
from fairlead.contracts.tuning import PolicyName, PolicySettings
from fairlead.twin.calendar import Mishap
from fairlead.twin.engine import Engine
from fairlead.twin.requests import Arrival, Network, Request, at_once
from fairlead.twin.setup import Setup, assembled

GB = 1_000_000_000


def model(name: str, work_s: float = 4.0, gb: int = 2, start_s: float = 10.0, concurrency: int = 1) -> ModelSpec:
    """Return a model."""
    return ModelSpec(
        id=name,
        kind="text",
        memory_bytes=gb * GB,
        work_s=work_s,
        start_delay_s=start_s,
        concurrency=concurrency,
        launch=Launch(launcher="exec", command=("serve",)),
    )


def cluster(models: Sequence[ModelSpec], speeds: Sequence[float] = (1.0,), gb: int = 4, sites: int = 1) -> Cluster:
    """Return a cluster of nodes n1, n2, … of these speeds and sites s1, s2, …."""
    return Cluster(
        nodes=tuple(
            NodeSpec(id=f"n{k}", memory_bytes=gb * GB, speed=speed, keeper_url=f"http://127.0.0.1:{9000 + k}")
            for k, speed in enumerate(speeds, start=1)
        ),
        models=tuple(models),
        sites=tuple(SiteSpec(id=f"s{k}", node=None, url=f"http://127.0.0.1:{9100 + k}") for k in range(1, sites + 1)),
    )


def placed(awake: Sequence[Sequence[str]]) -> tuple[NodePlacement, ...]:
    """Return what is awake on n1, n2, …."""
    return tuple(NodePlacement(node=f"n{k}", awake=tuple(m), stoppable=()) for k, m in enumerate(awake, start=1))


def in_force(nodes: tuple[NodePlacement, ...], generation: int = 1) -> Placement:
    """Return a placement that does not expire for a thousand seconds."""
    return Placement(
        generation=generation,
        plan_generation=0,
        slot=0,
        created_at_s=0.0,
        expires_at_s=1000.0,
        decision=f"slot-{generation}",
        nodes=nodes,
    )


def asks(*requests: tuple[float, str, float], site: str = "s1") -> list[Arrival]:
    """Return requests of (instant, model, work) at one site."""
    return [Arrival(at_s, site, name, work_s) for at_s, name, work_s in requests]


def run(
    shape: Cluster,
    demand: Sequence[Arrival],
    *,
    awake: Sequence[Sequence[str]] = (),
    policy: PolicyName = "sed-static",
    fresh: bool = True,
    network: Network | None = None,
    mishaps: Sequence[tuple[float, Mishap]] = (),
    settings: PolicySettings | None = None,
) -> Engine:
    """Return a run that has not begun to play its demand."""
    setup = Setup(
        cluster=shape,
        policy=policy,
        fresh=fresh,
        seed=1,
        network=network or at_once(shape),
        settings=settings or PolicySettings(),
        static=placed(awake),
    )
    engine = assembled(setup, sorted(demand, key=lambda one: one.at_s))
    for at_s, mishap in mishaps:
        engine.happen(at_s, mishap)
    return engine


def played(engine: Engine, until_s: float = 1000.0) -> list[Request]:
    """Return the requests of a run that ended before `until_s`, by number; every step of it is checked."""
    while engine.now_s < until_s and engine.step():
        engine.check()
    return sorted(engine.ended, key=lambda one: one.number)


def ends(requests: Sequence[Request]) -> list[float]:
    """Return when requests ended, to the microsecond."""
    return [round(one.ended_at_s, 6) for one in requests if one.ended_at_s is not None]
