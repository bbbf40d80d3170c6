"""All that a run of the compiled core knows, in tables: the state of engine, nodes, ingresses and requests.

Nodes, models and sites are numbers in the order of the cluster, requests in the order of the demand; -1 is none, an
absent instant is -inf. What is compiled is given the address of the world (`tables`) and changes all in place.
"""

from typing import Any

import numpy as np

from fairlead.twin.compiled.tables import At, table, whole

ABSENT, STARTING, READY, DRAINING, STOPPING, SLEEPING = range(6)
"""Phases of a pod."""

TRANSFER, HELD, QUEUED, RUNNING = range(4)
"""Places of a request (`twin.requests.Place`)."""

OPEN, FINISHED, FAILED, REFUSED = range(4)
"""Fates of a request; a finished one has an end that may still be to come."""

NODE = np.dtype(
    [
        ("up", np.bool_),
        ("speed", np.float64),  # true
        ("at_s", np.float64),  # up to when the work of its requests was done
        ("version", np.int64),
        ("foretold", np.int64),
        ("due_model", np.int64),  # who was foretold
        ("due_request", np.int64),
        ("opened", np.int64),
        ("looks_at_s", np.float64),
        ("queues", np.int64),  # pods with a queue
        ("busy", np.int64),  # of them those that serve
        ("learned", np.float64),  # speed by the keeper's account
        ("counted_at_s", np.float64),  # up to when that account has counted
        ("declared", np.float64),
        ("thought", np.int64),  # the look at which `moving` last thought of it
        ("memory", np.int64),
        ("host_memory", np.int64),  # for pods that sleep
        ("pausing", np.bool_),  # one pod runs at a time
    ],
    align=True,
)
MODEL = np.dtype(
    [
        ("work_s", np.float64),
        ("start_s", np.float64),
        ("wake_s", np.float64),
        ("down_s", np.float64),
        ("deadline_s", np.float64),
        ("claim", np.int64),
        ("concurrency", np.int64),
        ("least", np.float64),  # the smallest P above 0 of its row; 0 where there is no row
        ("prior_s", np.float64),  # weight of log(max P/P) in its row
        ("hosts", np.int64),  # nodes on which it has a pod with a queue
        ("counted", np.int64),  # requests that had arrived when arrivals were last put into the rates
        ("total", np.int64),  # requests that had arrived by the newest reports
    ],
    align=True,
)
POD = np.dtype(
    [
        ("phase", np.int64),
        ("instance", np.int64),
        ("since_at_s", np.float64),
        ("ready_at_s", np.float64),
        ("queue", np.bool_),  # takes or has taken requests: it starts, serves or drains
        ("dozes", np.bool_),  # its stop ends in sleep
        ("used_at_s", np.float64),
        ("left_waiting", np.int64),  # of a draining pod, as its agent knows; -1 while it does not
        ("left_running", np.int64),
        ("waiting", np.int64),
        ("first", np.int64),
        ("last", np.int64),
        ("running", np.int64),
        ("chance", np.float64),  # P of the node in the row of the model, `board.NOT_IN_ROW` where it is not in it
        ("awake", np.bool_),  # by the placement in force
        ("stoppable", np.bool_),
        ("given_s", np.float64),  # keeper's account: what each running request was given since the pod was declared
    ],
    align=True,
)
PLACE = np.dtype([("request", np.int64), ("left_s", np.float64), ("began_s", np.float64)], align=True)
REQUEST = np.dtype(
    [
        ("work_s", np.float64),
        ("site", np.int64),
        ("model", np.int64),
        ("place", np.int64),
        ("node", np.int64),
        ("attempts", np.int64),
        ("refusals", np.int64),
        ("sent_again", np.bool_),
        ("entered_at_s", np.float64),
        ("expires_at_s", np.float64),
        ("held_at_s", np.float64),
        ("ended_at_s", np.float64),
        ("fate", np.int64),
        ("next", np.int64),  # behind it in the queue or among those held
        ("before", np.int64),
        ("older", np.int64),  # next to it among those of its ingress that wait for pods
        ("newer", np.int64),
        ("flying", np.int64),  # number of the node's word that its ticket is added to; -1 if it is not on its way
    ],
    align=True,
)
DESK = np.dtype(
    [
        ("held", np.int64),
        ("first", np.int64),
        ("last", np.int64),
        ("arrived", np.int64),
        ("asked_at_s", np.float64),
        ("missed_at_s", np.float64),  # when it was last said that the model is missed
        ("waited_at_s", np.float64),  # … that its wait has grown
        ("turn", np.int64),
        ("said_arrived", np.int64),  # as it was last reported, so too the next three
        ("said_held", np.int64),
        ("said_oldest_at_s", np.float64),
        ("said_asked_at_s", np.float64),
    ],
    align=True,
)
SITE = np.dtype(
    [
        ("held", np.int64),  # its requests that are held; so too the next one
        ("queued", np.int64),  # … that wait for pods
        ("newest", np.int64),  # of those
    ],
    align=True,
)
WORD = np.dtype(
    [
        ("far_s", np.float64),  # one way
        ("pods", np.int64),  # how many it names
        ("said_at_s", np.float64),
        ("at_s", np.float64),  # up to when it was drained
        ("speed", np.float64),
        ("reachable", np.bool_),
        ("number", np.int64),  # rises when the tickets on their way are forgotten
    ],
    align=True,
)
BELIEF = np.dtype(
    [
        ("phase", np.int64),
        ("ready_in_s", np.float64),
        ("work_s", np.float64),
        ("count", np.int64),
        ("flying", np.int64),  # own tickets on their way
    ],
    align=True,
)
EVENT = np.dtype([("at_s", np.float64), ("order", np.int64), ("who", np.int64), ("what", np.int64)], align=True)
SAID = np.dtype(
    [
        ("heard", np.bool_),
        ("at_s", np.float64),
        ("speed", np.float64),
        ("seen_up", np.bool_),  # as it is shown to this decision
        ("shown_up", np.bool_),  # as it was shown to the last one
    ],
    align=True,
)
SAID_POD = np.dtype(
    [
        ("phase", np.int64),
        ("queue", np.bool_),
        ("since_at_s", np.float64),
        ("ready_at_s", np.float64),
        ("ready_in_s", np.float64),
        ("work_s", np.float64),
        ("count", np.int64),
        ("running", np.int64),
        ("used_at_s", np.float64),
        ("seen", np.int64),  # phase as it is shown to this decision
        ("shown", np.int64),  # as it was shown to the last one
    ],
    align=True,
)
WAKE = np.dtype([("at_s", np.float64), ("rang_at_s", np.float64)], align=True)
THOUGHT = np.dtype([("work_s", np.float64), ("count", np.int64), ("staying", np.bool_)], align=True)
MISHAP = np.dtype([("speed", np.float64)], align=True)
INSTANT = np.dtype([("at_s", np.float64)], align=True)
COMING = np.dtype([("at_s", np.float64), ("request", np.int64)], align=True)
LISTED = np.dtype([("model", np.int64)], align=True)
HOST = np.dtype([("node", np.int64)], align=True)
AFFECTED = np.dtype([("ran", np.int64), ("waited", np.int64)], align=True)
FOUND = np.dtype([("node", np.int64), ("chance", np.float64)], align=True)
QUEUE = np.dtype(
    [
        ("model", np.int64),
        ("ready_in_s", np.float64),
        ("work_s", np.float64),
        ("count", np.int64),
        ("left_s", np.float64),  # work that is left later
        ("sorted_s", np.float64),
    ],
    align=True,
)

TABLES: dict[str, tuple[np.dtype[Any], tuple[str, ...]]] = {
    "nodes": (NODE, ("node",)),
    "models": (MODEL, ("model",)),
    "sites": (SITE, ("site",)),
    "requests": (REQUEST, ("request",)),
    "coming": (COMING, ("request",)),  # requests in the order in which they come to their ingresses
    "pods": (POD, ("node", "model")),
    "queued": (LISTED, ("node", "model")),  # models of the pods with a queue, sorted; as many as the node's `queues`
    "hosts": (HOST, ("model", "node")),  # nodes that have a pod with a queue, sorted; as many as the model's `hosts`
    "places": (PLACE, ("node", "model", "inside")),  # who is served, in the order of their begins
    "desks": (DESK, ("site", "model")),
    "words": (WORD, ("site", "node")),
    "beliefs": (BELIEF, ("site", "node", "model")),  # what a word says of pods
    "listed": (LISTED, ("site", "node", "model")),  # models of the pods that a word names, sorted
    "wakes": (WAKE, ("model", "reason")),  # what ingresses have said since their reports
    "nodes_said": (SAID, ("node",)),  # the newest report of each node
    "pods_said": (SAID_POD, ("node", "model")),
    "thoughts": (THOUGHT, ("node", "model")),  # pods while tickets move in thought
    "mishaps": (MISHAP, ("mishap",)),
    "events": (EVENT, ("event",)),  # the calendar, a heap
    "starts": (INSTANT, ("start",)),
    "stops": (INSTANT, ("start",)),
    "affected": (AFFECTED, ("request",)),  # room for the requests of a node that dies
    "found": (FOUND, ("node",)),  # room for candidates
    "queues": (QUEUE, ("model",)),  # room for the pods of one node at an instant
}
"""Record of each table, and along what it is indexed."""

SIZES = ("node", "model", "site", "request", "inside", "reason", "mishap", "event", "start")

WORLD = np.dtype(
    [
        ("now_s", np.float64),
        ("entered", np.int64),  # events that were ever entered into the calendar
        ("waiting", np.int64),  # events in it
        ("come", np.int64),  # requests that have come to their ingress
        ("patient", np.int64),  # requests whose patience is over, or that have ended before it was
        ("rung", np.bool_),  # the slot agent is about to decide
        ("starts", np.int64),
        ("stops", np.int64),
        ("decisions", np.int64),
        ("begun", np.bool_),
        ("resumed", np.bool_),  # what it begins with was there before
        ("slot_begins", np.bool_),  # … and a slot decision is due
        ("rows", np.int64),  # of the table in force
        ("looked_at_s", np.float64),  # when all nodes were last seen as they are
        ("looks", np.int64),  # how often tickets of an ingress were looked at to be moved
        ("placed_until_s", np.float64),  # when the placement in force expires
        ("tabled_until_s", np.float64),  # when the table in force steers no more
        ("said_at_s", np.float64),  # instant of the ingresses' newest reports
        # the rules of the run; durations in seconds
        ("seed", np.uint64),
        ("policy", np.int64),  # one of `board.POLICIES`
        ("rule", np.int64),  # of the policy's rows: one of `choosing`'s
        ("fresh", np.bool_),
        ("explore", np.float64),
        ("hold_timeout_s", np.float64),
        ("slot_s", np.float64),
        ("origin_s", np.float64),  # of the clock that slots are counted from
        ("refresh_s", np.float64),
        ("allowed_age_s", np.float64),
        ("placed_for_s", np.float64),  # how long a placement is in force
        ("tabled_for_s", np.float64),  # how long a table is
        ("drain_limit_s", np.float64),
        ("speed_gain", np.float64),
        ("speed_clip_low", np.float64),
        ("speed_clip_high", np.float64),
        ("yielding", np.bool_),
        ("patience_s", np.float64),  # who has waited so long yields no more
        ("moving", np.bool_),
        ("move_saves_s", np.float64),
        *((name, np.int64) for name in SIZES),
        *((f"{name}_at", np.int64) for name in TABLES),  # addresses
    ],
    align=True,
)


def reached(name: str) -> At:
    """Return how to come to the records of a table from the address of a world."""
    record, along = TABLES[name]
    return table(WORLD, f"{name}_at", record, *along[1:])


world = whole(WORLD)
nodes = reached("nodes")
models = reached("models")
sites = reached("sites")
requests = reached("requests")
coming = reached("coming")
pods = reached("pods")
queued = reached("queued")
hosts = reached("hosts")
places = reached("places")
desks = reached("desks")
words = reached("words")
beliefs = reached("beliefs")
listed = reached("listed")
wakes = reached("wakes")
nodes_said = reached("nodes_said")
pods_said = reached("pods_said")
thoughts = reached("thoughts")
mishaps = reached("mishaps")
events = reached("events")
starts = reached("starts")
stops = reached("stops")
affected = reached("affected")
found = reached("found")
queues = reached("queues")
