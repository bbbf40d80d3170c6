"""A scenario of CONTROL §5 played by a policy, and what is measured of it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import get_args

from fairlead.contracts.cluster import Cluster
from fairlead.contracts.errors import InputError
from fairlead.contracts.plans import NodePlacement
from fairlead.contracts.tuning import PolicyName, PolicySettings
from fairlead.policy.fairness import ModelStats, Readings, readings
from fairlead.policy.measuring import Latency, Window, latencies, model_stats
from fairlead.twin.clusters import cluster, default_ports
from fairlead.twin.demand import Shape, draw, until
from fairlead.twin.engine import Engine
from fairlead.twin.network import network_of
from fairlead.twin.requests import Arrival, Request
from fairlead.twin.scenarios import RUN_S, WARM_UP_S, Scenario
from fairlead.twin.setup import Setup, assembled

WORDS_S = 60.0
"""Seconds of the twin between two words on how far it is."""


@dataclass(frozen=True, slots=True)
class PolicyAt:
    """A policy and how it learns of state."""

    name: PolicyName
    fresh: bool

    def __str__(self) -> str:
        """Return it as it is written: `marginal-dpp@fresh`."""
        return f"{self.name}@{'fresh' if self.fresh else '5s'}"


def policy_at(text: str) -> PolicyAt:
    """Return what `NAME`, `NAME@5s` or `NAME@fresh` means; without a suffix it is every 5 s.

    Raises `InputError` where there is no such policy or suffix.
    """
    name, _, state = text.partition("@")
    known: tuple[PolicyName, ...] = get_args(PolicyName)
    for one in known:
        if one == name and state in ("", "5s", "fresh"):
            return PolicyAt(one, state == "fresh")
    raise InputError(f"policy {text[:64]!r} is none of {', '.join(known)}, each with @5s or @fresh behind it")


@dataclass(frozen=True, slots=True)
class Game:
    """What is played."""

    scenario: Scenario
    policy: PolicyAt
    load: float
    seed: int
    static: tuple[NodePlacement, ...] = ()
    """The placement of `sed-static`."""
    warm_up_s: float = WARM_UP_S
    run_s: float = RUN_S
    """With the warm-up."""


@dataclass(frozen=True, slots=True)
class Served:
    """A request as it is measured."""

    model: str
    sent_at_s: float
    finished_at_s: float | None


@dataclass(frozen=True, slots=True)
class Figures:
    """What is said of the window of a run."""

    arrived: int
    finished: int
    failed: int
    refused: int
    open: int
    """Not ended at the window's end."""
    latency_s: Latency
    fairness: Readings
    service_ratio: float | None
    """Finished of arrived; None without any."""
    starts_per_hour: float
    models: tuple[ModelStats, ...]


@dataclass(frozen=True, slots=True)
class Played:
    """A run that is over."""

    figures: Figures
    requests: int
    """All that were simulated, the warm-up's too."""
    decisions: int
    """Placements and tables that were put in force."""


def play(game: Game, tell: Callable[[float], None]) -> Played:
    """Play a game; `tell` is told the share that is done."""
    shape = cluster(game.scenario.cluster, default_ports(game.scenario.cluster))
    setup = Setup(
        cluster=shape,
        policy=game.policy.name,
        fresh=game.policy.fresh,
        seed=game.seed,
        network=network_of(shape),
        settings=PolicySettings(),
        static=game.static,
    )
    engine = assembled(setup, demand_of(game, shape))
    while engine.now_s < game.run_s:
        engine.run(min(engine.now_s + WORDS_S, game.run_s))
        tell(engine.now_s / game.run_s)
    return Played(figures_of(engine, shape, Window(game.warm_up_s, game.run_s)), engine.books.arrived, engine.decisions)


def demand_of(game: Game, shape: Cluster) -> Iterator[Arrival]:
    """Yield the requests of a game: those that `fairlead up` plays of the same scenario, load and seed."""
    spans = game.scenario.spans(shape, game.load, game.seed, game.warm_up_s)
    for one in until(draw(spans, shape, game.seed, Shape()), game.run_s):
        yield Arrival(one.at_s, one.site, one.model, one.work_s)


def figures_of(engine: Engine, shape: Cluster, window: Window) -> Figures:
    """Return what is measured of the requests that were sent inside the window, which ends now."""
    everything = [*engine.ended, *engine.books.open.values()]
    inside = [one for one in everything if window.start_at_s <= one.arrival.at_s < window.end_at_s]
    inside.sort(key=lambda one: one.number)
    served = [_served(one) for one in inside]
    stats = model_stats(served, shape, window)
    finished = _count(inside, "finished")
    hours = (window.end_at_s - window.start_at_s) / 3600.0
    return Figures(
        arrived=len(inside),
        finished=finished,
        failed=_count(inside, "failed"),
        refused=_count(inside, "refused"),
        open=_count(inside, None),
        latency_s=latencies(served, window),
        fairness=readings(stats),
        service_ratio=finished / len(inside) if inside else None,
        starts_per_hour=sum(window.start_at_s <= at_s < window.end_at_s for at_s in engine.starts) / hours,
        models=stats,
    )


def _served(request: Request) -> Served:
    arrival = request.arrival
    return Served(arrival.model, arrival.at_s, request.ended_at_s if request.fate == "finished" else None)


def _count(requests: Sequence[Request], fate: str | None) -> int:
    return sum(one.fate == fate for one in requests)
