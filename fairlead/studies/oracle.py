"""A rollout with perfect knowledge: each minute the placement that is best over the next five, which it plays exactly.

A bound of another kind than the linear program: what looking ahead is worth to placement while everything else stays
as it is (Bertsekas, Tsitsiklis, Wu, "Rollout algorithms", 1997: the base policy improved by one step). The base is
`marginal-dpp`, which also routes and goes on placing between the minutes. A candidate is put in force in a copy of
the run, which then plays the true demand; the least sum of time in the system wins, what is there at the end weighed
by what it would still take.
"""

import copy
import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from fairlead.contracts.cluster import Cluster
from fairlead.contracts.plans import NodePlacement
from fairlead.policy.reconcile import part
from fairlead.twin.clusters import total_speed
from fairlead.twin.engine import Engine
from fairlead.twin.node import Node
from fairlead.twin.play import Figures, Game, engine_of, figures_of, outcomes_of

DECIDES_EVERY_S = 60.0
LOOKS_AHEAD_S = 300.0
"""CONTROL §6: decides each minute, the next five minutes exact."""

CANDIDATES = 16
"""At most, with the one that changes nothing; CONTROL §6 asks for twelve at least."""


@dataclass(frozen=True, slots=True)
class Foreseen:
    """A run that is over."""

    figures: Figures
    considered: int
    """Candidates that were played ahead."""
    imposed: int
    """Minutes in which another placement than the base policy's was better."""


def foresee(game: Game, tell: Callable[[float], None]) -> Foreseen:
    """Play a game with a clairvoyant that places; `tell` is told the share that is done.

    `game.static` is the searched placement that candidates are made of, `game.policy` the base policy.
    """
    arrivals = tuple(game.subject.demand())
    subject = replace(game.subject, demand=lambda: iter(arrivals))
    engine = engine_of(replace(game, subject=subject, static=()))
    shared = {id(one): one for one in (arrivals, *arrivals, subject.cluster, subject.network)}
    considered = imposed = 0
    end_s = subject.window.end_at_s
    engine.run(max(0.0, subject.window.start_at_s - LOOKS_AHEAD_S))
    while engine.now_s < end_s:
        until_s = min(engine.now_s + LOOKS_AHEAD_S, end_s)
        least_s, best = _ahead_s(_forked(engine, shared), subject.cluster, until_s), None
        for nodes in candidates(engine, subject.cluster, game.static):
            copied = _forked(engine, shared)
            copied.impose(nodes)
            took_s = _ahead_s(copied, subject.cluster, until_s)
            considered += 1
            if took_s < least_s:
                least_s, best = took_s, nodes
        if best is not None:
            imposed += 1
            engine.impose(best)
        engine.run(min(engine.now_s + DECIDES_EVERY_S, end_s))
        tell(engine.now_s / end_s)
    figures = figures_of(outcomes_of(engine), engine.starts, engine.stops, subject)
    return Foreseen(figures, considered, imposed)


def candidates(
    engine: Engine, cluster: Cluster, searched: Sequence[NodePlacement]
) -> tuple[tuple[NodePlacement, ...], ...]:
    """Return other placements than the one in force: the searched one, its part on one node each, single starts.

    Starts of the models with most requests present come first, on the nodes with least. Every model that is somewhere
    stays somewhere, and everything fits.
    """
    now = {name: _part(node) for name, node in engine.nodes.items() if node.up}
    sets = {name: frozenset(one.awake) for name, one in now.items()}
    aim = {one.node: frozenset(one.awake) for one in searched if one.node in sets}
    present = Counter(one.arrival.model for one in engine.books.open.values())
    busy = {name: sum(p.count for p in engine.nodes[name].load(engine.now_s).pods) for name in sets}
    pairs = [(name, model.id) for name in sets for model in cluster.models if model.id not in sets[name]]
    pairs.sort(key=lambda pair: (-present[pair[1]], busy[pair[0]], pair))
    changes = [aim, *({name: models} for name, models in aim.items())]
    changes += [{name: kept | {model}} for name, model in pairs for kept in _rooms(cluster, name, sets[name], model)]
    there = frozenset().union(*sets.values())
    found: dict[tuple[NodePlacement, ...], None] = {}
    for change in changes:
        changed = {name: models for name, models in change.items() if models != sets[name]}
        if changed and there <= frozenset().union(*{**sets, **changed}.values()):
            found[tuple(_turned(one, changed.get(name)) for name, one in now.items())] = None
    return tuple(found)[: CANDIDATES - 1]


def _part(node: Node) -> NodePlacement:
    """Return what the placement in force says of a node; nothing awake without one."""
    return part(node.placement, node.spec.id) or NodePlacement(node=node.spec.id, awake=(), stoppable=())


def _turned(before: NodePlacement, models: frozenset[str] | None) -> NodePlacement:
    """Return a node's part with other models awake; as it is without."""
    if models is None:
        return before
    going = sorted({*before.awake, *before.stoppable} - models)
    return NodePlacement(node=before.node, awake=tuple(sorted(models)), stoppable=tuple(going))


def _rooms(cluster: Cluster, node: str, here: frozenset[str], model: str) -> Iterator[frozenset[str]]:
    """Yield what may stay beside a model that starts on a node: the largest sets that leave it enough memory."""
    claims = {one.id: one.memory_bytes for one in cluster.models}
    room = next(one.memory_bytes for one in cluster.nodes if one.id == node) - claims[model]
    found: list[frozenset[str]] = []
    for count in range(len(here), -1, -1):
        for kept in itertools.combinations(sorted(here), count):
            if sum(claims[one] for one in kept) <= room and not any(set(kept) < more for more in found):
                found.append(frozenset(kept))
    yield from found


def _forked(engine: Engine, shared: Mapping[int, object]) -> Engine:
    """Return a copy of a run that goes on by itself; what does not change any more is not copied."""
    return copy.deepcopy(engine, {**shared, **{id(one): one for one in engine.ended}})


def _ahead_s(engine: Engine, cluster: Cluster, until_s: float) -> float:
    """Play a run on; return the seconds that requests spend in it, and would spend until all are served.

    What is present at the end is taken as served by all nodes together, one after the other.
    """
    before_s = engine.books.present_s
    engine.run(until_s)
    left_s = sum(one.arrival.work_s for one in engine.books.open.values()) / total_speed(cluster)
    return engine.books.present_s - before_s + 0.5 * left_s * len(engine.books.open)
