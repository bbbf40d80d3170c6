"""What an ingress knows: the load of each node that it can reach, and the table that steers it.

Loads are the keepers' last words, believed within bounds (`policy.believing`), drained by time-slicing, with own
dispatches since added (CONTROL §2). A node whose stream is broken is not reachable and not priced until its keeper
speaks again, over the stream or by way of the control API; so too one that has been silent for three periods (DESIGN
§8, invariant 10).
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from fairlead.contracts.plans import RoutingTable
from fairlead.contracts.ports import Clock
from fairlead.contracts.readings import KeeperState, Phase
from fairlead.policy.believing import Bounds, believed
from fairlead.policy.choice import NodeLoad, dispatched, drained, observed
from fairlead.policy.moving import Move, Waiting
from fairlead.policy.steering import Chosen, Steering

DOUBT_FOR_S = 1.0
"""Wall seconds that a pod is left out after it refused, unless its keeper speaks first: ten coalescing periods."""


@dataclass(slots=True, eq=False)
class Dispatch:
    """A request that was sent to a node whose keeper's word does not have it yet."""

    node: str
    model: str
    work_s: float
    seen_at_s: float = math.inf
    """When the keeper acknowledged it."""


@dataclass(slots=True)
class _Known:
    load: NodeLoad | None = None
    instance: str = ""
    sequence: int = 0
    heard_at_s: float = -math.inf
    """Wall."""
    reachable: bool = False
    streaming: bool = False
    """Its words come over the stream; else by way of the control API, if at all."""
    lost_at_s: float = -math.inf
    """Domain; what its keeper said before then by another way proves nothing."""
    own: list[Dispatch] = field(default_factory=list)
    there: set[Dispatch] = field(default_factory=set)
    """Own ones that its keeper has acknowledged and nobody has begun to answer."""
    doubted: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Per model: domain instant of the refusal, wall instant until which it counts."""
    believed: dict[str, Phase] = field(default_factory=dict)
    """Phases of the doubted pods as the keeper gave them."""


class View:
    """Loads and table of one ingress."""

    def __init__(self, site: str, clock: Clock, slot_s: float, silence_s: float) -> None:
        """Know nothing yet; `silence_s` is the wall time after which a silent keeper is not reachable."""
        self.on_change: Callable[[], None] = lambda: None
        """Called when a node, a pod or a table came or changed: who is held may find a place."""
        self._clock = clock
        self._steering = Steering(site, slot_s)
        self._silence_s = silence_s
        self._bounds = Bounds()
        self._nodes: dict[str, _Known] = {}
        self._locals: dict[str, Callable[[float], NodeLoad | None]] = {}

    # --- what it is told

    def stands_beside(self, node: str, load: Callable[[float], NodeLoad | None]) -> None:
        """Read the load of a node from the keeper in this process, always as it is now."""
        self._locals[node] = load

    def declared(self, work: Mapping[str, float]) -> None:
        """Take b of each model from the cluster's definition; a table's b goes before."""
        self._steering.declared(work)

    def bounded(self, bounds: Bounds) -> None:
        """Take what the words of keepers are held against; the one in this process is believed."""
        self._bounds = bounds

    def reaches(self, network_s: Mapping[str, float]) -> None:
        """Take τ to each node, domain seconds; 0 where it is not named."""
        self._steering.network_s = network_s

    def steer_by(self, table: RoutingTable) -> bool:
        """Take a table; False if it is not newer than the one in force."""
        if not self._steering.steer_by(table):
            return False
        self.on_change()
        return True

    def heard(self, state: KeeperState) -> bool:
        """Take a keeper's word; False if it is older than what is known."""
        self._nodes.setdefault(state.node, _Known()).streaming = True
        return self._take(state, self._clock.wall_s())

    def reported(self, state: KeeperState) -> bool:
        """Take a keeper's word that came by way of the control API; False if it is of no use.

        It is of none while the stream is up, if it is older than what is known, or was said before the stream broke:
        a keeper that died had a last report too.
        """
        known = self._nodes.setdefault(state.node, _Known())
        if known.streaming or state.observed_at_s <= known.lost_at_s:
            return False
        age_s = max(0.0, self._clock.now_s() - state.observed_at_s) / self._clock.speed
        return age_s <= self._silence_s and self._take(state, self._clock.wall_s() - age_s)

    def _take(self, state: KeeperState, heard_at_s: float) -> bool:
        known = self._nodes[state.node]
        if state.instance == known.instance and state.sequence <= known.sequence:
            return False
        at_s, wall_s = state.observed_at_s, self._clock.wall_s()
        own = Counter(sent.model for sent in known.there if sent.seen_at_s < at_s)
        before, known.load = known.load, believed(observed(state), state.node, own, self._bounds)
        known.instance, known.sequence = state.instance, state.sequence
        came_back, known.reachable, known.heard_at_s = not known.reachable, True, heard_at_s
        known.doubted = {m: d for m, d in known.doubted.items() if d[0] >= at_s and d[1] > wall_s}
        known.own = [d for d in known.own if d.seen_at_s >= at_s]
        for sent in known.own:
            known.load = dispatched(known.load, sent.model, sent.work_s)
        self._doubt(known)
        if came_back or before is None or _phases(before) != _phases(known.load):
            self.on_change()
        return True

    def lost(self, node: str) -> None:
        """Leave a node whose stream broke out until its keeper speaks again."""
        known = self._nodes.get(node)
        if known is not None and known.streaming:
            known.streaming = known.reachable = False
            known.lost_at_s = self._clock.now_s()

    def unheard(self, nodes: Iterable[str]) -> tuple[str, ...]:
        """Return those of `nodes` that no stream tells of now, sorted."""
        return tuple(sorted(n for n in nodes if n not in self._nodes or not self._nodes[n].streaming))

    def forget(self, node: str) -> None:
        """Drop a node that left the cluster."""
        self._nodes.pop(node, None)

    def refused(self, node: str, model: str) -> None:
        """Note that a keeper does not take requests of this model now, whatever it said before."""
        known = self._nodes.get(node)
        if known is not None and known.load is not None:
            fresh = model not in known.doubted
            known.doubted[model] = (self._clock.now_s(), self._clock.wall_s() + DOUBT_FOR_S)
            if fresh:
                phases = {p.model: p.phase for p in known.load.pods if p.model == model}
                known.believed.update(phases)
                self._mask(known)

    def sent(self, node: str, model: str) -> Dispatch | None:
        """Add an own dispatch to what is known of a node; None where its keeper is in this process."""
        if node in self._locals:
            return None
        known = self._nodes[node]
        sent = Dispatch(node, model, self.work_s(model))
        known.own.append(sent)
        if known.load is not None:
            known.load = dispatched(known.load, model, sent.work_s)
        return sent

    def acknowledged(self, sent: Dispatch | None) -> None:
        """Note that the keeper has it: what the keeper says from now on includes it."""
        if sent is not None and sent.seen_at_s == math.inf:
            sent.seen_at_s = self._clock.now_s()
            if sent.node in self._nodes:
                self._nodes[sent.node].there.add(sent)

    def answered(self, sent: Dispatch | None) -> None:
        """Note that its answer has begun: the keeper may be done with it before its client has all of that."""
        if sent is not None and sent.node in self._nodes:
            self._nodes[sent.node].there.discard(sent)

    def settled(self, sent: Dispatch | None) -> None:
        """Note that the attempt is over: unacknowledged, it does not count at the keeper's next word."""
        self.answered(sent)
        if sent is not None and sent.seen_at_s == math.inf:
            sent.seen_at_s = -math.inf

    # --- what it knows

    @property
    def table(self) -> RoutingTable | None:
        """Return the newest table seen."""
        return self._steering.table

    @property
    def older_tables(self) -> int:
        """Return how many tables were refused because a newer one was in force (DESIGN §8, invariant 9)."""
        return self._steering.older_tables

    @property
    def table_generation(self) -> int:
        """Return the newest table seen; 0 if none was."""
        return 0 if self.table is None else self.table.generation

    def work_s(self, model: str) -> float:
        """Return b of a model."""
        return self._steering.work[model]

    def steering(self, now_s: float) -> RoutingTable | None:
        """Return the table that steers now: until three slots past its expiry."""
        return self._steering.steering(now_s)

    def loads(self, now_s: float) -> dict[str, NodeLoad]:
        """Return the load of each reachable node, drained to now."""
        found: dict[str, NodeLoad] = {}
        spoke_after_s = self._clock.wall_s() - self._silence_s
        for node, known in self._nodes.items():
            if known.reachable and known.load is not None and known.heard_at_s >= spoke_after_s:
                if known.doubted:
                    self._relieve(known)
                known.load = found[node] = drained(known.load, now_s, self._steering.work)
        for node, load_of in self._locals.items():
            load = load_of(now_s)
            if load is not None:
                found[node] = load
        return found

    def pick(self, model: str, now_s: float, draws: tuple[float, float]) -> Chosen:
        """Return where a request goes (None: nobody can serve it), how long it waits there, and what steered that."""
        return self._steering.chosen(model, self.loads(now_s), now_s, draws)

    def moves(self, waiting: Iterable[Waiting], now_s: float, least_s: float) -> tuple[Move, ...]:
        """Return which waiting tickets save more than `least_s` elsewhere.

        Nodes that no stream tells of are left out, from and to: what others do there is known too late.
        """
        if not self._steering.moving(now_s):
            return ()
        loads = self.loads(now_s)
        told = {n: load for n, load in loads.items() if n in self._locals or self._nodes[n].streaming}
        return self._steering.moves(waiting, told, least_s)

    def stage(self, model: str, now_s: float) -> tuple[str, float | None]:
        """Return how far the nearest pod of a model is: `ready`, `starting` or `no-pod`, and when it will be ready."""
        pods = [p for load in self.loads(now_s).values() for p in load.pods if p.model == model]
        if any(p.phase == "ready" for p in pods):
            return "ready", 0.0
        starting = [p.ready_in_s for p in pods if p.phase == "starting"]
        return ("starting", min(starting)) if starting else ("no-pod", None)

    def _doubt(self, known: _Known) -> None:
        """Apply the doubts that are left to a new word of the keeper."""
        if known.doubted and known.load is not None:
            known.believed = {p.model: p.phase for p in known.load.pods if p.model in known.doubted}
            self._mask(known)

    def _mask(self, known: _Known) -> None:
        """Make doubted pods count for pricing but take no requests."""
        if known.load is not None:
            pods = tuple(replace(p, phase="draining") if p.model in known.doubted else p for p in known.load.pods)
            known.load = replace(known.load, pods=pods)

    def _relieve(self, known: _Known) -> None:
        """Believe again in pods whose doubt has run out without a word of their keeper."""
        wall_s = self._clock.wall_s()
        over = {m for m, (_, until_s) in known.doubted.items() if until_s <= wall_s}
        if over and known.load is not None:
            known.doubted = {m: d for m, d in known.doubted.items() if m not in over}
            known.load = replace(
                known.load,
                pods=tuple(
                    replace(p, phase=known.believed.get(p.model, p.phase)) if p.model in over else p
                    for p in known.load.pods
                ),
            )


def _phases(load: NodeLoad) -> tuple[tuple[str, str], ...]:
    return tuple((p.model, p.phase) for p in load.pods)
