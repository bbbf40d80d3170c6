"""A game laid out as arrays for the compiled core."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fairlead.contracts.cluster import Cluster
from fairlead.contracts.settings import NodeAgentSettings
from fairlead.contracts.tuning import PolicyName
from fairlead.policy.arrays import Flags, Floats, Whole, flags
from fairlead.policy.baselines import random_placement
from fairlead.policy.snapshot import allowed_age_s
from fairlead.policy.streams import MASK
from fairlead.policy.yielding import PATIENCE_SHARE, yields
from fairlead.twin.calendar import NodeBack, NodeLost, SpeedTurned
from fairlead.twin.compiled.board import POLICIES, Board, Standing, Tuning, board, standing, tuning
from fairlead.twin.compiled.choosing import MARGINAL, ROTATE, SED, STRICT
from fairlead.twin.compiled.events import NODE_BACK, NODE_LOST, SPEED_TURNED, enter
from fairlead.twin.compiled.plans import Wants, wanting
from fairlead.twin.compiled.world import TABLES, WORLD
from fairlead.twin.play import Game, setup_of
from fairlead.twin.requests import Network
from fairlead.twin.setup import Setup
from fairlead.twin.subjects import Subject

Records = NDArray[np.void]

RULES: dict[PolicyName, int] = {
    "marginal-dpp": MARGINAL,
    "lru": SED,
    "sed-static": SED,
    "round-robin": ROTATE,
    "random-static": STRICT,
    "least-loaded-slot": STRICT,
}
"""The rule of each policy's rows, as in `policy.slot`."""

SETTINGS = (
    "explore",
    "hold_timeout_s",
    "slot_s",
    "refresh_s",
    "speed_gain",
    "speed_clip_low",
    "speed_clip_high",
    "moving",
    "move_saves_s",
)
"""Settings that the world has by their own names."""

GROWING = ("events", "starts", "stops")
"""Tables that may turn out too short."""

ROOM = 1024
"""Events and pods that there is room for at first, beside what depends on the cluster; more is made when needed."""


@dataclass(frozen=True, slots=True)
class Crowd:
    """The requests of a subject as arrays: drawn once, played as often as one likes."""

    sent_at_s: Floats
    """[r] in order of time."""
    site: Whole
    model: Whole
    work_s: Floats


@dataclass(frozen=True, slots=True)
class Run:
    """What the kernel is given, and changes."""

    world: Records
    """[1] `WORLD`"""
    tables: dict[str, Records]
    """Those of `TABLES`."""
    board: Board
    tuning: Tuning
    standing: Standing

    @property
    def at(self) -> int:
        """Return the address of the world, which is good as long as this value lives."""
        return int(self.world.ctypes.data)

    def roomier(self) -> "Run":
        """Return the same run with more room for what is still to happen."""
        more = {name: np.concatenate([self.tables[name], np.zeros_like(self.tables[name])]) for name in GROWING}
        return pointed(replace(self, tables={**self.tables, **more}))


def pointed(run: Run) -> Run:
    """Let the world point to its tables, and return the run."""
    for name, rows in run.tables.items():
        run.world[f"{name}_at"] = rows.ctypes.data
    run.world["event"], run.world["start"] = len(run.tables["events"]), len(run.tables["starts"])
    return run


def crowd(subject: Subject) -> Crowd:
    """Return the requests of a subject."""
    sites = {s.id: k for k, s in enumerate(subject.cluster.sites)}
    models = {m.id: k for k, m in enumerate(subject.cluster.models)}
    drawn = [(one.at_s, sites[one.site], models[one.model], one.work_s) for one in subject.demand()]
    columns = list(zip(*drawn, strict=True)) if drawn else [(), (), (), ()]
    return Crowd(
        np.array(columns[0], dtype=np.float64),
        np.array(columns[1], dtype=np.int64),
        np.array(columns[2], dtype=np.int64),
        np.array(columns[3], dtype=np.float64),
    )


def laid_out(game: Game, crowd: Crowd) -> Run:
    """Return the run of a game before anything is decided; `crowd` are the requests of its subject."""
    run = laid(setup_of(game), crowd, len(game.subject.mishaps))
    _befall(run, game)
    return run


def laid(setup: Setup, crowd: Crowd, mishaps: int = 0, first: Flags | None = None) -> Run:
    """Return a run in which nothing has happened, with these requests and room for so many mishaps.

    `first` is [n, m] the placement that an adaptive policy begins with; None is a random one.
    """
    shape, network = setup.cluster, setup.network
    world = _world(setup, len(crowd.sent_at_s), mishaps)
    tables = {name: np.zeros([int(world[0][one]) for one in along], record) for name, (record, along) in TABLES.items()}
    _nodes(tables["nodes"], shape)
    _models(tables["models"], shape, network)
    _words(tables["words"], shape, network)
    _requests(tables, crowd, np.array([network.up_s[m.id] for m in shape.models]))
    tables["desks"]["first"], tables["desks"]["last"], tables["desks"]["turn"] = -1, -1, -1
    tables["sites"]["newest"] = -1
    for name in ("asked_at_s", "missed_at_s", "waited_at_s", "said_asked_at_s"):
        tables["desks"][name] = -np.inf
    tables["wakes"]["at_s"], tables["wakes"]["rang_at_s"] = -np.inf, -np.inf
    force = standing(_given(setup) if first is None else first, setup.settings.rate_start_per_s)
    wanted = wanting(board(shape), shape, Wants(overrides=setup.overrides))
    return pointed(Run(world, tables, wanted, tuning(setup.settings), force))


def _given(setup: Setup) -> Flags:
    """Return [n, m] the placement that a static policy has and an adaptive one begins with."""
    shape = setup.cluster
    named = setup.static if setup.policy not in ("marginal-dpp", "lru") else ()
    at_node = {n.id: k for k, n in enumerate(shape.nodes)}
    at_model = {m.id: k for k, m in enumerate(shape.models)}
    return flags(named or random_placement(shape, setup.seed), at_node, at_model)[0]


def _world(setup: Setup, requests: int, mishaps: int) -> Records:
    """Return the world of a run with its rules and sizes, in which nothing has happened."""
    shape, settings, world = setup.cluster, setup.settings, np.zeros(1, WORLD)
    cells = len(shape.nodes) * len(shape.models)
    values: dict[str, float | np.uint64] = {
        "seed": np.uint64(setup.seed & MASK),
        "policy": POLICIES[setup.policy],
        "rule": RULES[setup.policy],
        "fresh": setup.fresh,
        "yielding": yields(setup.policy, settings),
        "patience_s": PATIENCE_SHARE * settings.hold_timeout_s,
        "allowed_age_s": allowed_age_s(settings),
        "placed_for_s": settings.placement_slots * settings.slot_s,
        "tabled_for_s": settings.table_slots * settings.slot_s,
        "drain_limit_s": NodeAgentSettings().drain_limit_s,
        "said_at_s": -np.inf,
        "looked_at_s": -np.inf,
        "tabled_until_s": -np.inf,
        "placed_until_s": -np.inf,
        "node": len(shape.nodes),
        "model": len(shape.models),
        "site": len(shape.sites),
        "request": requests,
        "inside": max(m.concurrency for m in shape.models),
        "reason": 2,
        "mishap": mishaps,
        "event": ROOM + mishaps + 8 * (cells + len(shape.nodes)),
        "start": ROOM + 2 * cells,
    }
    for name in SETTINGS:
        values[name] = getattr(settings, name)
    for name, value in values.items():
        world[name] = value
    return world


def _nodes(nodes: Records, shape: Cluster) -> None:
    nodes["up"], nodes["foretold"], nodes["looks_at_s"] = True, -1, -np.inf
    nodes["memory"] = [one.memory_bytes for one in shape.nodes]
    nodes["host_memory"] = [one.host_memory_bytes for one in shape.nodes]
    nodes["pausing"] = [one.pausing for one in shape.nodes]
    for name in ("speed", "learned", "declared"):
        nodes[name] = [one.speed for one in shape.nodes]


def _models(models: Records, shape: Cluster, network: Network) -> None:
    models["work_s"] = [one.work_s for one in shape.models]
    models["start_s"] = [one.start_delay_s for one in shape.models]
    models["wake_s"] = [one.wake_delay_s for one in shape.models]
    models["down_s"] = [network.down_s[one.id] for one in shape.models]
    models["deadline_s"] = [one.deadline_s for one in shape.models]
    models["claim"] = [one.memory_bytes for one in shape.models]
    models["concurrency"] = [one.concurrency for one in shape.models]


def _words(words: Records, shape: Cluster, network: Network) -> None:
    words["far_s"] = [[network.between_s[s.id][n.id] for n in shape.nodes] for s in shape.sites]
    words["said_at_s"] = -np.inf


def _requests(tables: dict[str, Records], crowd: Crowd, up_s: Floats) -> None:
    """Lay out requests, and in which order they come to their ingresses; `up_s` [m] is how long that takes."""
    requests, coming = tables["requests"], tables["coming"]
    requests["work_s"], requests["site"], requests["model"] = crowd.work_s, crowd.site, crowd.model
    for name in ("node", "next", "before", "flying"):
        requests[name] = -1
    requests["ended_at_s"], requests["expires_at_s"] = np.inf, np.inf
    at_s = crowd.sent_at_s + up_s[crowd.model]
    order = np.argsort(at_s, kind="stable")
    coming["at_s"], coming["request"] = at_s[order], order


def _befall(run: Run, game: Game) -> None:
    """Enter what befalls nodes."""
    kinds = {NodeLost: NODE_LOST, NodeBack: NODE_BACK, SpeedTurned: SPEED_TURNED}
    at_node = {n.id: k for k, n in enumerate(game.subject.cluster.nodes)}
    for k, (at_s, mishap) in enumerate(game.subject.mishaps):
        run.tables["mishaps"][k]["speed"] = mishap.speed if isinstance(mishap, SpeedTurned) else 0.0
        enter(run.at, at_s, kinds[type(mishap)], at_node[mishap.node], k)
