"""Is the twin true? Its engine against exact recursions on the same sample, and against closed forms.

Each case is played by the engine that plays clusters: nodes, pods, tickets, ingresses; only who chooses is simpler.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from fairlead.contracts.cluster import Cluster, Launch, ModelSpec, NodeSpec, SiteSpec
from fairlead.contracts.plans import RoutingTable
from fairlead.contracts.tuning import PolicySettings
from fairlead.policy.arrays import Floats, Whole
from fairlead.policy.choice import Pick
from fairlead.policy.moving import Move, Waiting
from fairlead.policy.steering import Chosen
from fairlead.twin.engine import Engine
from fairlead.twin.node import Node, Reading
from fairlead.twin.queueing import (
    erlang_c,
    kiefer_wolfowitz,
    lindley,
    pollaczek_khinchine,
    preemptive,
    preemptive_mean,
    shared_mean,
    sharing,
)
from fairlead.twin.requests import Arrival, at_once
from fairlead.twin.rules import nodes_of, rules
from fairlead.twin.streams import stream
from fairlead.twin.views import View

Work = Literal["exponential", "deterministic", "lognormal"]

CV: dict[Work, float] = {"exponential": 1.0, "deterministic": 0.0, "lognormal": 1.5}
"""Coefficient of variation of each kind of work; of lognormal work own choice, more than exponential."""

ONE_CLASS = ((1.0, 1.0),)

TWO_CLASSES = ((0.9, 0.5), (0.1, 5.5))
"""Share of arrivals and mean work of each. A pausing node runs whose expected work left is least, at least a tenth of
the mean: as one mean is more than ten times the other, the first class always goes before the second."""

ALL_AT_ONCE = 1024
"""Concurrency of a pod that everybody shares: the most that a model may declare."""

BATCHES = 32
"""For the standard error of a mean: batch means (Law and Kelton, "Simulation Modeling and Analysis", §9.5.3)."""

GRAIN_S = 2.0**-20
"""Gaps and work are multiples of this, a microsecond: sums of them are exact, so that only shares are rounded."""

EXACT_S = 1e-9
"""How far a stay may be from the recursion's, seconds; where a server is not shared the difference is 0."""

EXACT_ULPS = 128
"""In a long run of a shared server, instead, so many units in the last place of its last instant: each share that is
handed out is rounded like an instant. Measured 2026-11: 48 at 100 000 requests."""

SURE = 4.0
"""Standard errors that a mean may be from its closed form: one in 16 000 sound runs is further away."""

WORDS_S = 500.0
"""Seconds of the twin between two words on how far it is."""

Tell = Callable[[str, float], None]
"""Told the case and the share of it that is done."""


@dataclass(frozen=True, slots=True)
class TruthCase:
    """A queue that theory knows; mean work over all requests is 1 s."""

    name: str
    work: Work
    load: float
    servers: int = 1
    """Nodes with a pod each; several have one queue at the ingress and are given a request when they are free."""
    shared: bool = False
    """One pod serves all who are there at once."""
    classes: tuple[tuple[float, float], ...] = ONE_CLASS
    """Share of arrivals and mean work of each, seconds. Several are pods of one pausing node: the first class goes
    before the second at once, and what has been done is kept."""

    @property
    def rate(self) -> float:
        """Return λ."""
        return self.load * self.servers

    @property
    def models(self) -> tuple[str, ...]:
        """Return the id of each class's model."""
        return tuple(f"m{k}" for k in range(len(self.classes)))


CASES = (
    TruthCase("M/M/1", "exponential", 0.9),
    TruthCase("M/D/1", "deterministic", 0.9),
    TruthCase("M/G/1", "lognormal", 0.8),
    TruthCase("M/M/1-PS", "exponential", 0.8, shared=True),
    TruthCase("M/G/1-PS", "lognormal", 0.8, shared=True),
    TruthCase("M/M/3", "exponential", 0.9, servers=3),
    TruthCase("M/D/3", "deterministic", 0.9, servers=3),
    TruthCase("M/M/1, two classes", "exponential", 0.8, classes=TWO_CLASSES),
)
"""Sharing makes the sampling error of heavy tails larger, so those cases have the smaller load."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What came of a case."""

    case: str
    load: float
    requests: int
    twin_s: float
    """Mean stay."""
    recursion_s: float
    """Mean stay by the recursion on the same sample."""
    furthest_s: float
    """Greatest difference of a single stay from the recursion's."""
    closed_s: float | None
    """Mean stay by the closed form; None where there is none."""
    sampling_s: float
    """Standard error of the twin's mean, by batch means."""
    little_ratio: float
    """|∫ N dt / Σ stays − 1|."""
    ended_at_s: float
    """The last instant."""

    @property
    def error_ratio(self) -> float | None:
        """Return (twin − closed form) / closed form."""
        return None if self.closed_s is None else self.twin_s / self.closed_s - 1.0

    @property
    def ok(self) -> bool:
        """Return whether the twin is exact on the sample, and its mean within what sampling explains."""
        near = self.closed_s is None or abs(self.twin_s - self.closed_s) <= SURE * self.sampling_s
        exact_s = max(EXACT_S, EXACT_ULPS * math.ulp(self.ended_at_s))
        return near and self.furthest_s <= exact_s and self.little_ratio <= EXACT_S


def checked(case: TruthCase, requests: int, seed: int, tell: Tell) -> Checked:
    """Play a case with `requests` requests and compare."""
    gaps = _grained(stream(seed, case.name, "gaps").exponential(1.0 / case.rate, requests))
    kinds = _kinds(case, requests, seed)
    means_s = np.array([mean_s for _, mean_s in case.classes])
    work = _grained(_drawn(case.work, requests, stream(seed, case.name, "work")) * means_s[kinds])
    engine = _engine(case, gaps, work, kinds)
    stays = np.empty(requests)
    at_s = np.cumsum(gaps)
    done = 0
    while done < requests:
        engine.run(engine.now_s + WORDS_S)
        for request in engine.take_ended():
            assert request.ended_at_s is not None
            stays[request.number] = request.ended_at_s - at_s[request.number]
            done += 1
        tell(case.name, done / requests)
    exact = _recursion(case, gaps, work, kinds)
    total_s = math.fsum(stays)
    return Checked(
        case=case.name,
        load=case.load,
        requests=requests,
        twin_s=float(stays.mean()),
        recursion_s=float(exact.mean()),
        furthest_s=float(np.abs(stays - exact).max()),
        closed_s=_closed(case),
        sampling_s=standard_error(stays),
        little_ratio=abs(engine.books.present_s / total_s - 1.0),
        ended_at_s=engine.now_s,
    )


def standard_error(stays: Floats) -> float:
    """Return the standard error of the mean of a stationary sequence, by batch means."""
    means = [float(part.mean()) for part in np.array_split(stays, BATCHES)]
    return float(np.std(means, ddof=1)) / math.sqrt(BATCHES)


def _kinds(case: TruthCase, count: int, seed: int) -> Whole:
    """Return the class of each request."""
    if len(case.classes) == 1:
        return np.zeros(count, dtype=np.int64)
    shares = [share for share, _ in case.classes]
    return stream(seed, case.name, "classes").choice(len(shares), size=count, p=shares)


def _drawn(work: Work, count: int, draws: np.random.Generator) -> Floats:
    """Return work of mean 1 s."""
    match work:
        case "exponential":
            return draws.exponential(1.0, count)
        case "deterministic":
            return np.ones(count)
        case "lognormal":
            variance = math.log1p(CV[work] ** 2)
            return np.exp(math.sqrt(variance) * draws.standard_normal(count) - variance / 2)


def _grained(durations_s: Floats) -> Floats:
    grained: Floats = np.maximum(1.0, np.round(durations_s / GRAIN_S)) * GRAIN_S
    return grained


def _recursion(case: TruthCase, gaps: Floats, work: Floats, kinds: Whole) -> Floats:
    if len(case.classes) > 1:
        return preemptive(gaps.tolist(), work.tolist(), kinds.tolist())
    if case.shared:
        return sharing(gaps.tolist(), work.tolist())
    if case.servers > 1:
        return kiefer_wolfowitz(gaps.tolist(), work.tolist(), case.servers)
    return lindley(gaps.tolist(), work.tolist())


def _closed(case: TruthCase) -> float | None:
    if len(case.classes) > 1:
        rates, means_s = zip(*((case.rate * share, mean_s) for share, mean_s in case.classes), strict=True)
        return preemptive_mean(rates, means_s, CV[case.work])
    if case.shared:
        return shared_mean(case.rate, 1.0)
    if case.servers == 1:
        return pollaczek_khinchine(case.rate, 1.0, CV[case.work])
    return erlang_c(case.rate, 1.0, case.servers) if case.work == "exponential" else None


def _engine(case: TruthCase, gaps: Floats, work: Floats, kinds: Whole) -> Engine:
    """Return the case as a cluster with its pods ready."""
    models = tuple(
        ModelSpec(
            id=name,
            kind="text",
            memory_bytes=1,
            work_s=mean_s,
            start_delay_s=0.0,
            concurrency=ALL_AT_ONCE if case.shared else 1,
            launch=Launch(launcher="exec", command=("serve",)),
        )
        for name, (_, mean_s) in zip(case.models, case.classes, strict=True)
    )
    url = "http://127.0.0.1:1"
    names = [f"n{k}" for k in range(case.servers)]
    shape = Cluster(
        nodes=tuple(
            NodeSpec(id=name, memory_bytes=len(models), speed=1.0, keeper_url=url, pausing=len(models) > 1)
            for name in names
        ),
        models=models,
        sites=(SiteSpec(id="s", node=None, url=url),),
    )
    settings = PolicySettings()
    nodes = nodes_of(shape, settings)
    view: View = FirstFree(nodes) if case.servers > 1 else OnlyNode(names[0])
    patient = replace(rules(settings, 0, fresh=True), hold_timeout_s=math.inf)
    engine = Engine(nodes, {"s": view}, at_once(shape), _arrivals(case, gaps, work, kinds), patient)
    for name in names:
        for model in case.models:
            engine.stand(name, model)
    return engine


def _arrivals(case: TruthCase, gaps: Floats, work: Floats, kinds: Whole) -> Iterator[Arrival]:
    for at_s, own_s, kind in zip(np.cumsum(gaps).tolist(), work.tolist(), kinds.tolist(), strict=True):
        yield Arrival(at_s, "s", case.models[kind], own_s)


class OnlyNode:
    """Chooses the one node that there is: requests wait at its pod."""

    def __init__(self, node: str) -> None:
        """Send all to `node`."""
        self._chosen = Chosen(Pick(node, 1.0, False, ()), None, None)

    def steer_by(self, table: RoutingTable) -> None:
        """Do nothing: no table steers this."""

    def pick(self, model: str, now_s: float, draws: tuple[float, float]) -> Chosen:
        """Return the node."""
        return self._chosen

    def moves(self, waiting: Iterable[Waiting], now_s: float, least_s: float) -> tuple[Move, ...]:
        """Leave them where they are."""
        return ()

    def sent(self, request: int, node: str, model: str) -> None:
        """Do nothing."""

    def acknowledged(self, request: int, now_s: float) -> None:
        """Do nothing."""

    def withdrawn(self, request: int, node: str, model: str) -> None:
        """Do nothing."""

    def refused(self, request: int, node: str, model: str) -> None:
        """Do nothing."""

    def ended(self, request: int) -> None:
        """Do nothing."""

    def lost(self, node: str, now_s: float) -> None:
        """Do nothing."""

    def heard(self, reading: Reading) -> bool:
        """Learn nothing."""
        return False

    def touched(self, pods: bool) -> bool:
        """Tell that nobody is ever held."""
        return False


class FirstFree:
    """Binds late: requests wait at the ingress until a pod is idle."""

    def __init__(self, nodes: dict[str, Node]) -> None:
        """Look at `nodes`, which have one model each."""
        self._nodes = nodes
        self._coming: dict[int, str] = {}
        """Tickets on their way, and where to."""

    def steer_by(self, table: RoutingTable) -> None:
        """Do nothing: no table steers this."""

    def pick(self, model: str, now_s: float, draws: tuple[float, float]) -> Chosen:
        """Return the first idle node; none if all are busy."""
        taken = set(self._coming.values())
        for name, node in self._nodes.items():
            if name not in taken and not node.queues[model].running:
                return Chosen(Pick(name, 1.0, False, ()), None, None)
        return Chosen(None, None, None)

    def moves(self, waiting: Iterable[Waiting], now_s: float, least_s: float) -> tuple[Move, ...]:
        """Leave them where they are."""
        return ()

    def sent(self, request: int, node: str, model: str) -> None:
        """Note that a node is about to be busy."""
        self._coming[request] = node

    def acknowledged(self, request: int, now_s: float) -> None:
        """Note that its state shows the request."""
        del self._coming[request]

    def withdrawn(self, request: int, node: str, model: str) -> None:
        """Do nothing: no ticket moves here."""

    def refused(self, request: int, node: str, model: str) -> None:
        """Note that a ticket has come back."""
        self._coming.pop(request, None)

    def ended(self, request: int) -> None:
        """Do nothing."""

    def lost(self, node: str, now_s: float) -> None:
        """Do nothing: no node is lost here."""

    def heard(self, reading: Reading) -> bool:
        """Learn nothing."""
        return False

    def touched(self, pods: bool) -> bool:
        """Tell that any change may have made a place."""
        return True
