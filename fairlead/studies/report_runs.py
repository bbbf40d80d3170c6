"""A run looked into while it goes, for a report: every request, where pods were, who waited, what was decided and why.

The reference engine plays it, which can be stopped after each event.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from fairlead.contracts.plans import Reason
from fairlead.contracts.readings import Phase
from fairlead.policy.measuring import Window, latency
from fairlead.studies.cells import Cell, playable
from fairlead.studies.replay import Order
from fairlead.twin.engine import Engine
from fairlead.twin.play import engine_of, outcomes_of

LOOK_S = 1.0
"""How often pods are looked at: no phase is shorter than a stop, which takes 1 s (CONTROL §4)."""

SAMPLE_S = 30.0
"""How often it is noted how many wait: each slot (CONTROL §2)."""

HELD = "held"
"""Stands beside the nodes for requests that no pod can serve now."""


@dataclass(frozen=True, slots=True)
class Stay:
    """A pod in a phase."""

    node: str
    model: str
    phase: Phase
    from_s: float
    until_s: float


@dataclass(frozen=True, slots=True)
class Asked:
    """A request: when it was sent and how long it took, or how old it was at the window's end."""

    model: str
    sent_at_s: float
    latency_s: float


@dataclass(frozen=True, slots=True)
class Decided:
    """A decision that put something in force, and why."""

    at_s: float
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True)
class Trace:
    """What happened in a run."""

    policy: str
    seed: int
    window: Window
    asked: tuple[Asked, ...]
    """The warm-up's too, in order of sending."""
    stays: tuple[Stay, ...]
    places: tuple[str, ...]
    """The nodes, and `HELD`."""
    sampled_at_s: tuple[float, ...]
    present: tuple[tuple[int, ...], ...]
    """For each place, how many requests were there at each sample, waiting and running."""
    decided: tuple[Decided, ...]


def traced(order: Order, tell: Callable[[int, int], None]) -> tuple[Trace, ...]:
    """Return a run of each policy of an order: its first source, its first seed."""
    found: list[Trace] = []
    for policy in order.policies:
        tell(len(found), len(order.policies))
        found.append(trace(order.runs(order.sources[0], policy)[0]))
    tell(len(found), len(order.policies))
    return tuple(found)


def trace(cell: Cell) -> Trace:
    """Play a cell and return what happened."""
    with playable(cell) as game:
        engine, window = engine_of(game), game.subject.window
        watch = _Watch(engine)
        while engine.step() and engine.now_s < window.end_at_s:
            watch.look()
    watch.end(window.end_at_s)
    asked = tuple(
        Asked(one.model, one.sent_at_s, latency(one, window))
        for one in outcomes_of(engine)
        if one.sent_at_s < window.end_at_s
    )
    return Trace(
        policy=cell.policy,
        seed=cell.seed,
        window=window,
        asked=asked,
        stays=tuple(sorted(watch.stays, key=lambda one: (one.node, one.model, one.from_s))),
        places=(*engine.nodes, HELD),
        sampled_at_s=tuple(watch.sampled_at_s),
        present=tuple(zip(*watch.present, strict=True)),
        decided=tuple(watch.decided),
    )


@dataclass(slots=True)
class _Watch:
    """What was seen of a run so far."""

    engine: Engine
    stays: list[Stay] = field(default_factory=list)
    sampled_at_s: list[float] = field(default_factory=list)
    present: list[Sequence[int]] = field(default_factory=list)
    decided: list[Decided] = field(default_factory=list)
    _open: dict[tuple[str, str], tuple[Phase, float]] = field(default_factory=dict)
    _decisions: int = 0
    _looks_at_s: float = 0.0
    _samples_at_s: float = 0.0

    def look(self) -> None:
        """Note what has changed."""
        engine = self.engine
        if engine.decisions != self._decisions and engine.decision is not None:
            self._decisions = engine.decisions
            self.decided.append(Decided(engine.now_s, engine.decision.reasons))
        if engine.now_s >= self._looks_at_s:
            self._looks_at_s = engine.now_s + LOOK_S
            self._see_pods()
        if engine.now_s >= self._samples_at_s:
            self._samples_at_s += SAMPLE_S
            self.sampled_at_s.append(engine.now_s)
            self.present.append(_present(engine))

    def end(self, at_s: float) -> None:
        """Close what is open at the window's end."""
        for (node, model), (phase, since_at_s) in self._open.items():
            self.stays.append(Stay(node, model, phase, since_at_s, at_s))

    def _see_pods(self) -> None:
        now = {
            (name, model): (pod.phase, pod.since_at_s)
            for name, node in self.engine.nodes.items()
            for model, pod in node.pods.items()
        }
        for key, (phase, since_at_s) in self._open.items():
            if now.get(key) != (phase, since_at_s):
                until_s = now[key][1] if key in now else self.engine.now_s
                self.stays.append(Stay(*key, phase, since_at_s, until_s))
        self._open = now


def _present(engine: Engine) -> tuple[int, ...]:
    """Return how many requests are at each node, and how many are held."""
    at_nodes = (
        sum(len(queue.waiting) + len(queue.running) for queue in node.queues.values()) for node in engine.nodes.values()
    )
    held = sum(len(kept) for site in engine.sites.values() for kept in site.held.values())
    return (*at_nodes, held)
