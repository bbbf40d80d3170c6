"""What the compiled core decides about pods on, and what is in force: the fields of `policy.arrays.Board`, in tables.

n nodes and m models in the order of the cluster, shapes in brackets. Whoever asks for a decision keeps the tables and
fills them in place; `desk` has what the rules work on.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fairlead.contracts.cluster import Cluster
from fairlead.contracts.tuning import PolicyName, PolicySettings
from fairlead.policy.arrays import Flags, Floats, Whole
from fairlead.twin.compiled.desk import DESK, SIZES, TABLES

Table = NDArray[np.void]

POLICIES: dict[PolicyName, int] = {
    "marginal-dpp": 0,
    "lru": 1,
    "random-static": 2,
    "round-robin": 3,
    "least-loaded-slot": 4,
    "sed-static": 5,
}
"""Number of each policy that `deciding.decide` knows."""

MARGINAL_DPP, LRU, RANDOM_STATIC, ROUND_ROBIN, LEAST_LOADED_SLOT, SED_STATIC = range(6)
"""The same numbers as names, for what is compiled."""

NOT_IN_ROW = -1.0
"""In a table: the node is not named in the row. One that is named with probability 0 gets no request."""


class Board(NamedTuple):
    """What is and who is asked for. Of a node that is not up all pods are False and 0, `used_at_s` -inf."""

    nodes: Table
    """[n] `desk.NODE`"""
    models: Table
    """[m] `desk.MODEL`"""
    pods: Table
    """[n, m] `desk.POD`; False and 0 where there is none."""
    desk: Table
    """[1] `desk.DESK`, where the tables are."""
    room: tuple[Table, ...]
    """The tables that only the rules write on; kept here because `desk` has no more than their addresses."""


class Asked(NamedTuple):
    """One question."""

    policy: int
    """One of `POLICIES`."""
    slot_trigger: bool
    """A slot decision; else an event's or advice."""
    advice: bool
    """Only the table is made anew, because rows were proposed."""
    slot: int
    now_s: float
    seed: int


class Tuning(NamedTuple):
    """The fields of `PolicySettings` that decisions need, by their names there."""

    slot_s: float
    refresh_s: float
    rate_half_life_slots: float
    rate_start_per_s: float
    event_horizon_s: float
    slot_horizon_s: float
    active_window_s: float
    fit_ratio: float
    nodes_per_start: int
    eta: float
    least_worth_s: float
    wait_starts: float
    busy_share: float
    patience_starts: float
    drain_s_per_gb: float
    uniform_share: float
    trust_tv: float
    guide_prior_weight_s: float


class Standing(NamedTuple):
    """What is in force and remembered; a decision changes it in place."""

    given: Flags
    """[n, m] the static placement, or the random one that an adaptive policy begins with; never changed."""
    rate: Floats
    """[m] λ, requests per second; the start value at first."""
    awake: Flags
    """[n, m] of the placement in force."""
    stoppable: Flags
    """[n, m] of the placement in force."""
    chance: Floats
    """[n, m] of the table in force: probability of the node in the row of the model; `NOT_IN_ROW` where it is none of
    its nodes, everywhere where the model has no row."""
    prior_s: Floats
    """[m] weight of log(max P/P) in the row of the model, seconds; 0 in the fallback's."""
    number: Whole
    """[3] the slot whose arrivals are in the rates, -1 if none is; generation of the placement and of the table, 0 if
    there is none."""


COUNTED_SLOT, PLACEMENT, TABLE = range(3)
"""Places in `Standing.number`."""


def tuning(settings: PolicySettings) -> Tuning:
    """Return what decisions need of `settings`."""
    return Tuning(**{name: getattr(settings, name) for name in Tuning._fields})


def board(cluster: Cluster) -> Board:
    """Return the board of a cluster of which nothing was heard yet and nobody wants anything (`wanting`)."""
    n, m = len(cluster.nodes), len(cluster.models)
    sizes = dict(zip(SIZES, (n, m, m + 1, 2 * m, max(n, m), 1, 0, 0), strict=True))
    tables = {name: np.zeros([sizes[one] for one in along], record) for name, (record, along) in TABLES.items()}
    nodes, models, pods, desk = tables["nodes"], tables["models"], tables["pods"], np.zeros(1, DESK)
    nodes["memory"] = [one.memory_bytes for one in cluster.nodes]
    nodes["host_memory"] = [one.host_memory_bytes for one in cluster.nodes]
    nodes["speed"] = [one.speed for one in cluster.nodes]
    nodes["pausing"] = [one.pausing for one in cluster.nodes]
    models["claim"] = [one.memory_bytes for one in cluster.models]
    models["work_s"] = tables["priced"]["work_s"] = [one.work_s for one in cluster.models]
    models["start_s"] = [one.start_delay_s for one in cluster.models]
    models["wake_s"] = [one.wake_delay_s for one in cluster.models]
    models["deadline_s"] = [one.deadline_s for one in cluster.models]
    models["asked_at_s"] = pods["used_at_s"] = desk["planned_until_s"] = -np.inf
    desk["told_at_s"] = np.inf
    models["expected"], pods["tilt"], pods["proposed"], desk["guided_slot"] = np.nan, 1.0, NOT_IN_ROW, -1
    for name, size in sizes.items():
        desk[name] = size
    for name, one in tables.items():
        desk[f"{name}_at"] = one.ctypes.data
    world = tables["world"]
    world["models_at"], world["queues_at"] = desk["priced_at"], desk["queues_at"]
    return Board(nodes, models, pods, desk, tuple(tables.values()))


def standing(given: Flags, rate_start_per_s: float) -> Standing:
    """Return that nothing is in force and nothing was counted; `given` as in `Standing`."""
    return Standing(
        given=given,
        rate=np.full(given.shape[1], rate_start_per_s),
        awake=np.zeros(given.shape, dtype=np.bool_),
        stoppable=np.zeros(given.shape, dtype=np.bool_),
        chance=np.full(given.shape, NOT_IN_ROW),
        prior_s=np.zeros(given.shape[1]),
        number=np.array([-1, 0, 0], dtype=np.int64),
    )
