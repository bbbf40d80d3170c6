"""Cases that tests of case memory are made on: written by hand, or drawn by hypothesis."""

import hypothesis.strategies as st

from fairlead.contracts.cases import (
    Advantage,
    Case,
    CaseFeatures,
    ModelFeatures,
    NodeFeatures,
    Provenance,
    Realised,
)
from fairlead.contracts.plans import Intent, ModelPriority, Warm

MODELS = ("m1", "m2", "m3")
NODES = ("n1", "n2")
EPOCH_S = 300.0


def model(name: str, log_rate: float = -2.0, **more: float) -> ModelFeatures:
    """Return the features of a model that is quietly asked for."""
    values = {"trend": 0.0, "dispersion": 1.0, "backlog_s": 0.0, "price_s": 5.0, "slowdown": 1.2, **more}
    return ModelFeatures(model=name, log_rate=log_rate, **values)


def node(
    name: str, *awake: str, up: bool = True, free: float = 0.2, speed: float = 1.0, work: float = 0.0
) -> NodeFeatures:
    """Return the features of a node."""
    return NodeFeatures(node=name, up=up, free_ratio=free, speed=speed, work_s=work, awake=awake)


def situation(
    *rates: float, nodes: tuple[NodeFeatures, ...] | None = None, failures: int = 0, day: float = 0.5
) -> CaseFeatures:
    """Return the features of an epoch in which the models have these logarithms of rates."""
    return CaseFeatures(
        models=tuple(model(name, rate) for name, rate in zip(MODELS, rates or (-2.0, -3.0, -4.0), strict=True)),
        nodes=nodes if nodes is not None else (node("n1", "m1", "m2"), node("n2", "m3")),
        failures=failures,
        day_ratio=day,
    )


def realised(objective: float = 0.3) -> Realised:
    """Return what came of an epoch."""
    return Realised(objective=objective, latency_s=9.0, fairness=0.95, service=0.97, churn=3, arrived=100, finished=97)


def case(
    number: int,
    objective: float = 0.3,
    features: CaseFeatures | None = None,
    *,
    low: float | None = None,
    quarantined: bool = False,
    intents: tuple[Intent, ...] = (),
    priorities: tuple[ModelPriority, ...] = (),
    warm: tuple[Warm, ...] = (),
) -> Case:
    """Return the case of epoch `number`; `low` is the lower bound of its advantage."""
    advantage = None if low is None else Advantage(value=low + 0.05, low=low, high=low + 0.1, twin="1")
    return Case(
        id=f"c-{number:03d}-1",
        epoch=number,
        began_at_s=number * EPOCH_S,
        ended_at_s=(number + 1) * EPOCH_S,
        features=features or situation(),
        plan_generation=1,
        intents=intents,
        priorities=priorities,
        warm=warm,
        rates=(),
        realised=realised(objective),
        advantage=advantage,
        quarantined=quarantined,
        provenance=Provenance(
            cluster="c",
            source="fallback",
            policy="marginal-dpp",
            llm="",
            decision="epoch-1",
            version="0",
            seed=0,
        ),
    )


@st.composite
def situations(draw: st.DrawFn) -> CaseFeatures:
    """Draw the features of an epoch of the two nodes and three models."""
    some = st.floats(0.0, 500.0)
    return CaseFeatures(
        models=tuple(
            model(
                name,
                draw(st.floats(-7.0, 2.0)),
                trend=draw(st.floats(-3.0, 3.0)),
                dispersion=draw(st.floats(0.0, 20.0)),
                backlog_s=draw(some),
                price_s=draw(st.floats(-50.0, 500.0)),
                slowdown=draw(st.floats(0.1, 100.0)),
            )
            for name in MODELS
        ),
        nodes=tuple(
            node(
                name,
                *draw(st.sets(st.sampled_from(MODELS)).map(sorted)),
                up=draw(st.booleans()),
                free=draw(st.floats(0.0, 1.0)),
                speed=draw(st.floats(0.1, 3.0)),
                work=draw(some),
            )
            for name in NODES
        ),
        failures=draw(st.integers(0, 9)),
        day_ratio=draw(st.floats(0.0, 1.0)),
    )


@st.composite
def memories(draw: st.DrawFn, most: int = 24) -> tuple[Case, ...]:
    """Draw cases of different epochs, some alike, some labelled, some quarantined."""
    known = [draw(situations()) for _ in range(draw(st.integers(1, 4)))]
    return tuple(
        case(
            number,
            draw(st.sampled_from((0.1, 0.2, 0.3, 0.5, 0.9))),
            draw(st.sampled_from(known)),
            low=draw(st.sampled_from((None, None, -0.1, 0.0, 0.04))),
            quarantined=draw(st.integers(0, 4)) == 0,
            warm=(Warm(model="m1", node="n1", at_s=0.0),) if draw(st.booleans()) else (),
        )
        for number in range(draw(st.integers(0, most)))
    )
