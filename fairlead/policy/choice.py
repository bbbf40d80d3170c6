"""What an ingress does for each request: which pod of the model gets it (CONTROL §2 rule 6).

The price of a node is d + e: when the request will finish there under time-slicing, and how much it delays those
already there. Both are exact for mean sizes, concurrency 1 and no later arrivals. Everything here runs in the data
path, once a request: plain loops over a handful of pods, no arrays.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor, log

from fairlead.contracts.plans import Row
from fairlead.contracts.readings import KeeperState, NodePrice, Phase

CANDIDATES = 16
"""More pods than this in a row: so many are drawn by P and priced (CONTROL §2 rule 6)."""

NOTHING_S = 1e-9
"""Work below this is none: rounding of sums of seconds, far below any message's resolution."""


@dataclass(frozen=True, slots=True)
class PodQueue:
    """The queue of one pod at the instant of its `NodeLoad`."""

    model: str
    phase: Phase
    ready_in_s: float
    """r: residual start; 0 when ready."""
    work_s: float
    """W: mean work waiting and running, seconds at speed 1."""
    count: int
    """K: requests waiting and running."""


@dataclass(frozen=True, slots=True)
class NodeLoad:
    """All pods of a node at one instant."""

    speed: float
    """v: work seconds done in a second."""
    observed_at_s: float
    pods: tuple[PodQueue, ...]
    pausing: bool = False
    """One pod runs at a time, that with least work left, the others pause (CONTROL §2 rule 8); else all share."""


@dataclass(frozen=True, slots=True)
class Price:
    """What it costs to send a request to a node, seconds."""

    node: str
    delay_s: float
    """d: when it will finish."""
    externality_s: float
    """e: how much it delays those already there."""


@dataclass(frozen=True, slots=True)
class Pick:
    """Where a request goes and why."""

    node: str
    propensity: float
    """Probability with which this node was chosen, given the candidates that were priced."""
    explored: bool
    prices: tuple[Price, ...]
    """Of all candidates, sorted by node; empty for rules that price nothing (`rotate`, `strict`)."""

    def journaled(self) -> tuple[NodePrice, ...]:
        """Return the prices as the journal's sample carries them."""
        return tuple(NodePrice(node=p.node, delay_s=p.delay_s, externality_s=p.externality_s) for p in self.prices)


def observed(state: KeeperState) -> NodeLoad:
    """Return what a keeper says of its node, ready to be priced."""
    pods = tuple(PodQueue(p.model, p.phase, p.ready_in_s, p.work_s, p.count) for p in state.pods)
    return NodeLoad(state.speed, state.observed_at_s, pods)


def drained(load: NodeLoad, now_s: float, work: Mapping[str, float]) -> NodeLoad:
    """Return `load` as it will be at `now_s` if nothing more arrives: busy pods share the node, starts go on."""
    for_s = now_s - load.observed_at_s
    if for_s <= 0.0:
        return load
    if not any(p.count or p.ready_in_s > 0.0 for p in load.pods):
        return NodeLoad(load.speed, now_s, load.pods, load.pausing)
    left = _left_after(load, load.pods, work, for_s)
    pods = tuple(_aged(pod, work_s, for_s, work) for pod, work_s in zip(load.pods, left, strict=True))
    return NodeLoad(load.speed, now_s, pods, load.pausing)


def _left_after(load: NodeLoad, pods: Sequence[PodQueue], work: Mapping[str, float], for_s: float) -> list[float]:
    """Return the work that is left in each of `pods`, those of `load` that count, after `for_s`."""
    works, ready_in = [p.work_s for p in pods], [p.ready_in_s for p in pods]
    if load.pausing:
        return in_turn(works, ready_in, [_mean(p, work) for p in pods], load.speed, for_s)
    return shared(works, ready_in, load.speed, for_s)


def _aged(pod: PodQueue, left_s: float, for_s: float, work: Mapping[str, float]) -> PodQueue:
    """Return the pod `for_s` later with `left_s` of its work left; requests leave first come first served."""
    if not pod.count and pod.ready_in_s <= 0.0:
        return pod
    count = min(pod.count, ceil(left_s / _mean(pod, work) - NOTHING_S)) if pod.count else 0
    return PodQueue(pod.model, pod.phase, max(0.0, pod.ready_in_s - for_s), left_s, count)


def _mean(pod: PodQueue, work: Mapping[str, float]) -> float:
    """Return b of a pod's model; of a model that is not in force any more, the mean of its own queue."""
    return work.get(pod.model) or max(pod.work_s / max(pod.count, 1), NOTHING_S)


def shared(works: list[float], ready_in: list[float], speed: float, for_s: float) -> list[float]:
    """Return the work left in each pod after `for_s`: the busy ones share `speed` evenly from when they are ready."""
    left, now = works, 0.0
    for until in [*sorted({r for r in ready_in if 0.0 < r < for_s}), for_s]:
        done = _done([w for w, r in zip(left, ready_in, strict=True) if r <= now], speed * (until - now))
        left = [_less(w, done) if r <= now else w for w, r in zip(left, ready_in, strict=True)]
        now = until
    return left


def in_turn(works: list[float], ready_in: list[float], means: list[float], speed: float, for_s: float) -> list[float]:
    """Return the work left in each pod after `for_s`: of those that are ready the one of least mean work runs."""
    left, now = list(works), 0.0
    for until in [*sorted({r for r in ready_in if 0.0 < r < for_s}), for_s]:
        budget = speed * (until - now)
        for k in sorted(range(len(left)), key=means.__getitem__):
            if ready_in[k] <= now:
                done = min(left[k], budget)
                left[k], budget = _less(left[k], done), budget - done
        now = until
    return left


def _done(works: list[float], budget: float) -> float:
    """Return how much each pod gets done when `budget` is split evenly among those that still have work."""
    level, sharing = 0.0, len(works)
    for work in sorted(works):
        need = (work - level) * sharing
        if need > budget:
            return level + budget / sharing
        budget -= need
        level, sharing = work, sharing - 1
    return level


def _less(work: float, done: float) -> float:
    return work - done if work - done > NOTHING_S else 0.0


def dispatched(load: NodeLoad, model: str, work_s: float) -> NodeLoad:
    """Return `load` with one more request of `model` on it: own dispatches since the keeper's last word."""
    pods = tuple(
        PodQueue(p.model, p.phase, p.ready_in_s, p.work_s + work_s, p.count + 1) if p.model == model else p
        for p in load.pods
    )
    return NodeLoad(load.speed, load.observed_at_s, pods, load.pausing)


def taken(load: NodeLoad, model: str, work_s: float) -> NodeLoad:
    """Return `load` with one request of `model` less: a ticket that has been taken back."""
    pods = tuple(
        PodQueue(p.model, p.phase, p.ready_in_s, max(0.0, p.work_s - work_s), max(0, p.count - 1))
        if p.model == model
        else p
        for p in load.pods
    )
    return NodeLoad(load.speed, load.observed_at_s, pods, load.pausing)


def price(node: str, load: NodeLoad, pod: PodQueue, work: Mapping[str, float], network_s: float) -> Price:
    """Return d and e of one more request on `pod`, which must be one of `load.pods`."""
    own, ahead, start = work[pod.model], pod.work_s, pod.ready_in_s
    until = ahead + own
    finish, delays = until, 0.0
    others = [p for p in load.pods if p.count and p is not pod]
    left = [p.work_s for p in others]
    if start > 0.0 and others:
        left = _left_after(load, others, work, start)
    if load.pausing:
        return _paused_price(node, load, pod, list(zip(others, left, strict=True)), work, network_s)
    for other, omega in zip(others, left, strict=True):
        finish += omega if omega < until else until
        if omega > ahead:
            delays += delayed_s(omega - ahead, other.count, _mean(other, work), own)
    return Price(node, network_s + start + finish / load.speed, delays / load.speed)


def _paused_price(
    node: str,
    load: NodeLoad,
    pod: PodQueue,
    others: list[tuple[PodQueue, float]],
    work: Mapping[str, float],
    network_s: float,
) -> Price:
    """Return d and e where one pod runs at a time (CONTROL §2 rule 8); `others` with the work that is left in them.

    d = τ + r + (Σ_{b_j < b_m} W_j + x)/v, e = b_m Σ_{b_j ≥ b_m} K_j/v: who has less mean work goes before.
    """
    own = work[pod.model]
    finish, after = pod.work_s + own, 0
    for other, left in others:
        mean = _mean(other, work)
        if mean < own:
            finish += left
        else:
            after += min(other.count, ceil(left / mean))
    return Price(node, network_s + pod.ready_in_s + finish / load.speed, own * after / load.speed)


def delayed_s(after_s: float, count: int, each_s: float, own_s: float) -> float:
    """Return Σ_{i < count} min((after_s − i·each_s)₊, own_s): the work that one queue waits longer for a new request.

    `after_s` is how much work the queue has left when the request's turn has come; the terms fall by `each_s`, so
    their sum is an arithmetic sequence with its first terms cut at `own_s` and those below 0 left out.
    """
    positive = min(count, ceil(after_s / each_s))
    full = min(positive, floor((after_s - own_s) / each_s) + 1) if after_s >= own_s else 0
    falling = (positive - full) * after_s - each_s * (positive * (positive - 1) - full * (full - 1)) / 2
    return full * own_s + falling


def wait_s(load: NodeLoad, pod: PodQueue, work: Mapping[str, float]) -> float:
    """Return d + e on a pod without the request's own service and the network: w of CONTROL §2 rule 1."""
    cost = price("", load, pod, work, 0.0)
    return max(0.0, cost.delay_s + cost.externality_s - work[pod.model] / load.speed)


def choose(
    row: Row,
    loads: Mapping[str, NodeLoad],
    work: Mapping[str, float],
    network_s: Mapping[str, float],
    turn: int,
    draws: tuple[float, float],
) -> Pick | None:
    """Return where a request of the row's model goes; None if no pod of it is ready or starting.

    `loads` has the nodes that can be reached, drained to now; `work` b of each model; `network_s` τ to a node (0 where
    it is not named); `turn` counts the requests of this row; `draws` are two numbers in [0, 1): whether to explore, and
    what to draw. A ready pod that the row does not know joins with the row's smallest P; where nobody of the row can
    take the request, it goes as `without_table` says.
    """
    found = candidates(row, loads)
    if not found:
        return without_table(row.model, loads, work, network_s)
    total = sum(p for _, p, _ in found)
    if row.rule == "rotate":
        return Pick(found[turn % len(found)][0], 1.0, False, ())
    if row.rule == "strict":
        node, chance, _ = _drawn(found, draws[1] * total)
        return Pick(node, chance / total, False, ())
    if row.rule == "pair":
        prices = tuple([price(n, loads[n], pod, work, network_s.get(n, 0.0)) for n, _, pod in found])
        return _better(found, prices, (_drawn(found, draws[0] * total), _drawn(found, draws[1] * total)))
    explored = draws[0] < row.explore
    if explored:
        drawn = _drawn(found, draws[1] * total)
    if len(found) > CANDIDATES:
        found = sampled(found, total, draws[1], drawn if explored else None)
    prices = tuple([price(n, loads[n], pod, work, network_s.get(n, 0.0)) for n, _, pod in found])
    priced = scores(row, found, prices)
    least = found[priced.index(min(priced))]  # the first of equals
    node, chance, _ = drawn if explored else least
    propensity = row.explore * chance / total + (1.0 - row.explore if node == least[0] else 0.0)
    return Pick(node, propensity, explored, prices)


Candidate = tuple[str, float, PodQueue]
"""Node, its P, and its pod of the model."""


def candidates(row: Row, loads: Mapping[str, NodeLoad]) -> list[Candidate]:
    """Return who may take a request of the row, sorted by node."""
    chances = {s.node: s.probability for s in row.shares}
    least = min(p for p in chances.values() if p > 0.0)
    found: list[Candidate] = []
    for node, load in loads.items():
        for pod in load.pods:
            if pod.model != row.model:
                continue
            chance = chances.get(node, least if pod.phase == "ready" else 0.0)
            if chance > 0.0 and (pod.phase == "ready" or pod.phase == "starting"):
                found.append((node, chance, pod))
            break
    found.sort(key=_by_node)
    return found


def _by_node(candidate: Candidate) -> str:
    return candidate[0]


def _drawn(found: list[Candidate], mark: float) -> Candidate:
    """Return the candidate in whose stretch of the summed P `mark` falls."""
    for candidate in found:
        mark -= candidate[1]
        if mark < 0.0:
            return candidate
    return found[-1]


def _better(found: list[Candidate], prices: tuple[Price, ...], drawn: tuple[Candidate, Candidate]) -> Pick:
    """Return the better of two that were drawn (power of two choices: Mitzenmacher, IEEE TPDS 2001).

    A node is the better one if both were drawn from it and those that are dearer, but not both from these.
    """
    cost = {p.node: (p.delay_s + p.externality_s, p.node) for p in prices}
    node, chance, _ = min(drawn, key=lambda one: cost[one[0]])
    total = sum(p for _, p, _ in found)
    dearer = sum(p for other, p, _ in found if cost[other] > cost[node]) / total
    propensity = (dearer + chance / total) ** 2 - dearer**2
    return Pick(node, propensity, False, prices)


def sampled(found: list[Candidate], total: float, draw: float, kept: Candidate | None) -> list[Candidate]:
    """Return at most `CANDIDATES` of `found`, drawn by P with one number (systematic sampling), and `kept`."""
    step = total / CANDIDATES
    mark, end, sample = draw * step, 0.0, []
    for candidate in found:
        end += candidate[1]
        if mark < end or candidate is kept:
            sample.append(candidate)
        while mark < end:
            mark += step
    return sample


def scores(row: Row, found: list[Candidate], prices: tuple[Price, ...]) -> list[float]:
    """Return how dear each candidate is to the row's rule, seconds."""
    sed = row.rule == "sed"
    total = [p.delay_s if sed else p.delay_s + p.externality_s for p in prices]
    if row.prior_weight_s > 0.0:
        most = max(p for _, p, _ in found)
        total = [s + row.prior_weight_s * log(most / c[1]) for s, c in zip(total, found, strict=True)]
    return total


def without_table(
    model: str, loads: Mapping[str, NodeLoad], work: Mapping[str, float], network_s: Mapping[str, float]
) -> Pick | None:
    """Return the pod with the shortest expected delay: among the ready ones, else among those that start; None if none.

    For a model without a row (it had no pod when the table was written) and for a table that has been expired too long.
    """
    for phase in ("ready", "starting"):
        prices = tuple(
            price(node, load, pod, work, network_s.get(node, 0.0))
            for node, load in sorted(loads.items(), key=_first)
            for pod in load.pods
            if pod.model == model and pod.phase == phase
        )
        if prices:
            return Pick(min(prices, key=_by_delay).node, 1.0, False, prices)
    return None


def _first(item: tuple[str, NodeLoad]) -> str:
    return item[0]


def _by_delay(price: Price) -> float:
    return price.delay_s
