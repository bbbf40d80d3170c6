"""The tables that decisions are made on, and how what is compiled comes to them from the address of a desk."""

from typing import Any

import numpy as np

from fairlead.twin.compiled import world
from fairlead.twin.compiled.tables import At, table, whole

NODE = np.dtype(
    [
        ("memory", np.int64),  # bytes
        ("host_memory", np.int64),  # bytes, for pods that sleep
        ("speed", np.float64),  # v as the newest report has it; the declared one of a node that was never heard
        ("up", np.bool_),  # heard within the allowed age
        ("seen", np.bool_),  # was ever heard
        ("pausing", np.bool_),  # one pod runs at a time
        ("drains", np.bool_),  # by the plan; so too the next one
        ("closed", np.bool_),  # starts nothing new: drain or standby
        # written by the rules
        ("backlog_s", np.float64),  # seconds of work at its speed
        ("victims", np.int64),  # how many pods might have to go
        ("takes", np.int64),  # how many have to for the start in question; -1: no start here
        ("total_s", np.float64),  # what that start costs
        ("among", np.bool_),  # where `lru` may start it
        ("block", np.int64),  # nodes are taken in blocks
        ("load_s", np.float64),  # backlog with what was sent there
    ],
    align=True,
)

MODEL = np.dtype(
    [
        ("claim", np.int64),  # bytes
        ("work_s", np.float64),  # b, at speed 1
        ("start_s", np.float64),  # a
        ("wake_s", np.float64),  # what is left of it where the pod sleeps
        ("deadline_s", np.float64),
        ("arrived", np.int64),  # requests since the last slot decision
        ("held", np.int64),  # requests
        ("oldest_held_s", np.float64),  # for how long; 0 if none is
        ("asked_at_s", np.float64),  # the last arrival, -inf if none
        ("expected", np.float64),  # λ by the plan, requests per second; NaN where it says nothing
        ("guided", np.bool_),  # a row was proposed
        ("joins", np.float64),  # the smallest P above 0 of that row
        # written by the rules
        ("rate", np.float64),  # λ, requests per second
        ("pressed", np.float64),  # D = λ + Q/2T, requests per second
        ("weighed", np.float64),  # the demand that starts are judged by, requests per second
        ("waiting", np.int64),  # in queues of pods, not running
        ("soonest_s", np.float64),  # until one more pod could be ready
        ("absent_s", np.float64),  # what having no pod costs when it is asked for
        ("lost", np.bool_),  # had pods, and has demand
        ("moved", np.bool_),  # was started anew
        ("capacity", np.float64),  # C, the sum of σ over its pods
        ("sure", np.int64),  # ready pods that are sure to stay
        ("column", np.bool_),  # may be started by rule 2
        ("touched", np.bool_),  # by the newest start
        ("tried", np.bool_),
        ("allowed", np.bool_),  # may have to go, on the node in question
        ("cost_s", np.float64),  # what that costs
        ("before", np.bool_),  # there was to be a pod on the node in question
        ("stayed", np.bool_),  # … and there was one
        ("prior_s", np.float64),  # weight of log(max P/P) in its row
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
        ("tilt", np.float64),  # intent by the plan: factor on worth and regret
        ("proposed", np.float64),  # P in the row that was proposed; `board.NOT_IN_ROW` where it is not in it
        # written by the rules
        ("pinned", np.bool_),  # by an operator; so too the next one
        ("banned", np.bool_),
        ("begin_s", np.float64),  # until it would be ready
        ("again_s", np.float64),  # until it would be again, were it stopped
        ("given", np.bool_),  # in the placement that is given
        ("awake", np.bool_),  # in the placement in force
        ("stoppable", np.bool_),
        ("kept", np.bool_),  # `policy.draft.Draft` says what these three mean
        ("going", np.bool_),
        ("wanted", np.bool_),
        ("also", np.bool_),  # awake besides
        ("named", np.bool_),  # in the row of its model
        ("chance", np.float64),  # probability there
        ("fitted", np.float64),  # … by the row that was proposed, made to fit
        ("movable", np.bool_),  # rule 2 may stop it
        ("possible", np.bool_),  # rule 2 may start it
        ("takes", np.int64),  # how many have to go for it
        ("part", np.float64),  # its share of the node
        ("score_s", np.float64),  # request-seconds gained
    ],
    align=True,
)

LINE = np.dtype(
    [
        ("model", np.int64),  # of a pod that might have to go, cheapest first
        ("room", np.int64),  # bytes that those before it free
        ("cost_s", np.float64),  # what that costs
    ],
    align=True,
)

WISH = np.dtype(
    [
        ("model", np.int64),
        ("wait_s", np.float64),  # of the longest held request, or of the best pod
        ("bound", np.bool_),  # only where a pod costs less than this wait; else the model has none
        ("patient", np.bool_),  # held so long that busy pods may go
    ],
    align=True,
)
"""A model that wants one more pod now (`policy.placing.Need`)."""

WARM = np.dtype(
    [
        ("node", np.int64),
        ("model", np.int64),
        ("from_s", np.float64),
        ("until_s", np.float64),
    ],
    align=True,
)
"""A pod that the plan wants awake for a while."""

ORDER = np.dtype(
    [
        ("node", np.int64),
        ("model", np.int64),
        ("pins", np.bool_),  # else it bans
        ("from_s", np.float64),
        ("until_s", np.float64),
    ],
    align=True,
)
"""What an operator has fixed; the oldest first."""

NUMBER = np.dtype([("value", np.float64), ("key", np.uint64), ("at", np.int64)], align=True)

SHARE = np.dtype(
    [
        ("node", np.int64),
        ("each_s", np.float64),  # what a request takes there
        ("without_s", np.float64),  # load without this model's
        ("price", np.float64),
        ("fresh", np.float64),  # requests
        ("order", np.int64),  # who comes in this place when sorted by price
    ],
    align=True,
)
"""A pod of the model whose requests are being shared out."""

TABLES: dict[str, tuple[np.dtype[Any], tuple[str, ...]]] = {
    "nodes": (NODE, ("node",)),
    "models": (MODEL, ("model",)),
    "pods": (POD, ("node", "model")),
    "lines": (LINE, ("node", "line")),
    "wishes": (WISH, ("wish",)),
    "warm": (WARM, ("warmth",)),
    "orders": (ORDER, ("order",)),
    "numbers": (NUMBER, ("number",)),  # to be added up or sorted
    "shares": (SHARE, ("node",)),
    "world": (world.WORLD, ("one",)),  # what prices are taken on: the two tables below
    "priced": (world.MODEL, ("model",)),
    "queues": (world.QUEUE, ("model",)),
}
"""Record of each table, and along what it is indexed."""

SIZES = ("node", "model", "line", "wish", "number", "one", "warmth", "order")

DESK = np.dtype(
    [
        # the question and the settings
        ("policy", np.int64),
        ("slot_trigger", np.bool_),
        ("advice", np.bool_),
        ("slot", np.int64),
        ("now_s", np.float64),
        ("seed", np.uint64),
        ("placed", np.bool_),  # there is a placement in force
        ("planned", np.bool_),  # there is a plan in force
        ("planned_until_s", np.float64),  # when it expires
        ("told_at_s", np.float64),  # when its rates begin to hold; inf if that is never
        ("news", np.bool_),  # they have begun to about now
        ("guided_slot", np.int64),  # of the proposed rows; -1 if there are none
        ("slot_s", np.float64),
        ("refresh_s", np.float64),
        ("rate_start_per_s", np.float64),
        ("event_horizon_s", np.float64),
        ("slot_horizon_s", np.float64),
        ("active_window_s", np.float64),
        ("fit_ratio", np.float64),
        ("nodes_per_start", np.int64),
        ("eta", np.float64),
        ("least_worth_s", np.float64),
        ("wait_starts", np.float64),
        ("busy_share", np.float64),
        ("patience_starts", np.float64),
        ("drain_s_per_gb", np.float64),
        ("uniform_share", np.float64),
        ("trust_tv", np.float64),
        ("guide_prior_weight_s", np.float64),
        *((name, np.int64) for name in SIZES),
        *((f"{name}_at", np.int64) for name in TABLES),  # addresses
    ],
    align=True,
)


def _reached(name: str) -> At:
    record, along = TABLES[name]
    return table(DESK, f"{name}_at", record, *along[1:])


desk = whole(DESK)
nodes = _reached("nodes")
models = _reached("models")
pods = _reached("pods")
lines = _reached("lines")
wishes = _reached("wishes")
warm = _reached("warm")
orders = _reached("orders")
numbers = _reached("numbers")
shares = _reached("shares")
