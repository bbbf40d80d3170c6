"""What the compiled core decides about pods on: the fields of `policy.arrays.Board` that it needs, in three tables.

n nodes and m models in the order of the cluster, shapes in brackets. What is compiled takes named tuples of arrays and
numbers; whoever calls it keeps the tables and fills them in place. Tables are structured arrays: `pods[n, m].ready` in
what is compiled is `pods["ready"][n, m]` elsewhere.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fairlead.contracts.cluster import Cluster
from fairlead.contracts.tuning import PolicyName, PolicySettings
from fairlead.policy.arrays import Flags, Floats, Whole

Table = NDArray[np.void]

NODE = np.dtype(
    [
        ("memory", np.int64),  # bytes
        ("speed", np.float64),  # v as the newest report has it; the declared one of a node that was never heard
        ("up", np.bool_),  # heard within the allowed age
        ("seen", np.bool_),  # was ever heard
    ],
    align=True,
)

MODEL = np.dtype(
    [
        ("claim", np.int64),  # bytes
        ("work_s", np.float64),  # b, at speed 1
        ("start_s", np.float64),  # a
        ("deadline_s", np.float64),
        ("arrived", np.int64),  # requests since the last slot decision
        ("held", np.int64),  # requests
        ("oldest_held_s", np.float64),  # for how long; 0 if none is
        ("asked_at_s", np.float64),  # the last arrival, -inf if none
    ],
    align=True,
)

POD = np.dtype(
    [
        ("starting", np.bool_),  # the phase; so too the next four
        ("ready", np.bool_),
        ("leaving", np.bool_),  # draining
        ("stopping", np.bool_),
        ("sleeping", np.bool_),
        ("blocked", np.bool_),  # in crash back-off
        ("since_at_s", np.float64),  # when the phase began
        ("ready_in_s", np.float64),  # residual start, from now
        ("left_s", np.float64),  # W, drained to now
        ("count", np.int64),  # K
        ("running", np.int64),
        ("used_at_s", np.float64),  # when a request last began or ended here, not before the phase began
    ],
    align=True,
)

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
    """[n] `NODE`"""
    models: Table
    """[m] `MODEL`"""
    pods: Table
    """[n, m] `POD`; False and 0 where there is none."""


class Asked(NamedTuple):
    """One question."""

    policy: int
    """One of `POLICIES`."""
    slot_trigger: bool
    """A slot decision; else an event's."""
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
    busy_share: float
    patience_starts: float
    drain_s_per_gb: float
    uniform_share: float


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
    """[n, m] of the table in force: probability of the node in the row of the model, -1 where it is not in it: a
    ready pod that is not in the row joins it, one with probability 0 does not."""
    number: Whole
    """[3] the slot whose arrivals are in the rates, -1 if none is; generation of the placement and of the table, 0 if
    there is none."""


COUNTED_SLOT, PLACEMENT, TABLE = range(3)
"""Places in `Standing.number`."""


def tuning(settings: PolicySettings) -> Tuning:
    """Return what decisions need of `settings`."""
    return Tuning(**{name: getattr(settings, name) for name in Tuning._fields})


def board(cluster: Cluster) -> Board:
    """Return the board of a cluster of which nothing was heard yet."""
    nodes, models = np.zeros(len(cluster.nodes), NODE), np.zeros(len(cluster.models), MODEL)
    nodes["memory"] = [n.memory_bytes for n in cluster.nodes]
    nodes["speed"] = [n.speed for n in cluster.nodes]
    models["claim"] = [m.memory_bytes for m in cluster.models]
    models["work_s"] = [m.work_s for m in cluster.models]
    models["start_s"] = [m.start_delay_s for m in cluster.models]
    models["deadline_s"] = [m.deadline_s for m in cluster.models]
    models["asked_at_s"] = -np.inf
    pods = np.zeros((len(nodes), len(models)), POD)
    pods["used_at_s"] = -np.inf
    return Board(nodes, models, pods)


def standing(given: Flags, rate_start_per_s: float) -> Standing:
    """Return that nothing is in force and nothing was counted; `given` as in `Standing`."""
    return Standing(
        given=given,
        rate=np.full(given.shape[1], rate_start_per_s),
        awake=np.zeros(given.shape, dtype=np.bool_),
        stoppable=np.zeros(given.shape, dtype=np.bool_),
        chance=np.full(given.shape, -1.0),
        number=np.array([-1, 0, 0], dtype=np.int64),
    )
