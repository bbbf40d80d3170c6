"""What `marginal-dpp` is compared with: static placements, and `lru` that starts on demand (CONTROL §5)."""

from collections.abc import Iterable

import numpy as np

from fairlead.contracts.cluster import Cluster
from fairlead.contracts.plans import NodePlacement
from fairlead.contracts.tuning import PolicySettings
from fairlead.policy.arrays import Board, Flags, Floats, flags
from fairlead.policy.choice import price
from fairlead.policy.draft import Draft, victims
from fairlead.policy.placing import node_load
from fairlead.policy.streams import seeded, shuffled

REDRAWS = 1000
"""Random placements that are drawn at most; `city7` has every model somewhere in one of two or three."""

PLACEMENT_STREAM = 1
"""Purpose of the stream of random placements."""

REDRAW_STREAM = 4
"""Purpose of the stream that gives each epoch's random placement its seed."""

HALF = 0.5
"""`lru` takes a wait for long from half a start on, and a node for idle with less than half that work (CONTROL §5)."""

LRU_DWELL_STARTS = 1.5
"""`lru` evicts no pod younger than so many of its start delays (CONTROL §5)."""


def random_placement(cluster: Cluster, seed: int) -> tuple[NodePlacement, ...]:
    """Return a random maximal feasible set of models for each node, the same for the same seed.

    Redrawn until every model is somewhere; where all models together exceed the memory of the cluster that cannot be,
    and the first draw stays.
    """
    crowded = sum(m.memory_bytes for m in cluster.models) > sum(n.memory_bytes for n in cluster.nodes)
    best: tuple[tuple[int, ...], ...] = ()
    most = -1
    for attempt in range(1 if crowded else REDRAWS):
        drawn = _drawn(cluster, seeded(seed, PLACEMENT_STREAM, attempt))
        covered = len({m for models in drawn for m in models})
        if covered > most:
            best, most = drawn, covered
        if covered == len(cluster.models):
            break
    ids = [m.id for m in cluster.models]
    return tuple(
        NodePlacement(node=n.id, awake=tuple(ids[m] for m in models), stoppable=())
        for n, models in zip(cluster.nodes, best, strict=True)
    )


def redrawn(cluster: Cluster, settings: PolicySettings, seed: int, slot: int) -> tuple[NodePlacement, ...]:
    """Return the random placement of the slot's epoch; a slot is too short for most starts."""
    return random_placement(cluster, seeded(seed, REDRAW_STREAM, slot // settings.epoch_slots))


def _drawn(cluster: Cluster, state: int) -> tuple[tuple[int, ...], ...]:
    """Return per node the models of one draw, sorted: taken in random order as long as they fit."""
    drawn = []
    for k, node in enumerate(cluster.nodes):
        free, models = node.memory_bytes, []
        for m in shuffled(len(cluster.models), seeded(state, k)):
            if cluster.models[m].memory_bytes <= free:
                free -= cluster.models[m].memory_bytes
                models.append(int(m))
        drawn.append(tuple(sorted(models)))
    return tuple(drawn)


def static_draft(board: Board, nodes: Iterable[NodePlacement], rate_start: float) -> tuple[Draft, Flags]:
    """Return the draft of a placement that never changes, and [n, m] what shall be awake.

    A pod that the placement does not have, or that is banned, may stop. Of a model with demand none of whose own pods
    is ready it stays as it is, in neither list. Pins of operators do not change a static placement.
    """
    at_node, at_model = {n: k for k, n in enumerate(board.nodes)}, {m: k for k, m in enumerate(board.models)}
    awake, _ = flags(tuple(nodes), at_node, at_model)
    awake &= ~board.wishes.banned
    pods = board.pods
    other = pods.resident & ~awake
    served = (pods.ready & awake).any(axis=0) | (board.demand.pressed <= rate_start) | board.wishes.banned
    going = other & (served | pods.stopping)
    draft = Draft(board, pods.resident & awake & ~pods.stopping, going, awake & ~pods.resident)
    for n, m in np.argwhere(going):
        draft.note("static", int(n), int(m), None, "not in the static placement")
    return draft, awake


def least_loaded(board: Board, support: Flags) -> Floats:
    """Return [n, m] 1 for the pod of each model whose node has least backlog now, frozen for the slot."""
    backlog = board.pods.left_s.sum(axis=1) / board.speed
    chances = np.zeros(board.shape)
    for m in np.nonzero(support.any(axis=0))[0]:
        chances[np.where(support[:, m], backlog, np.inf).argmin(), m] = 1.0
    return chances


def lru(draft: Draft, settings: PolicySettings) -> None:
    """Start on demand, evict the least recently used (CONTROL §5, 'Compared with lru')."""
    board, demand = draft.board, draft.board.demand
    asked = (demand.held > 0) | (demand.waiting > 0) | (demand.asked_at_s >= board.now_s - settings.refresh_s)
    order = sorted(np.nonzero(asked)[0], key=lambda m: (-demand.oldest_held_s[m], m))
    for m in order:
        pods = draft.counted[:, m]
        if not pods.any():
            if demand.held[m] > 0:
                patient = demand.oldest_held_s[m] > settings.patience_starts * board.start_s[m]
                _start(draft, int(m), np.ones_like(board.up), bool(patient), "lru-absent")
            continue
        if (draft.wanted | board.pods.starting)[:, m].any():
            continue
        n, wait = _best_pod(draft, int(m))
        if wait > HALF * board.start_s[m]:
            backlog = board.pods.left_s.sum(axis=1) / board.speed
            _start(draft, int(m), backlog < HALF * backlog[n], False, "lru-wait")


def _best_pod(draft: Draft, model: int) -> tuple[int, float]:
    """Return the node of the pod with the shortest expected delay, and the wait there."""
    board = draft.board
    work = dict(zip(board.models, board.work_s.tolist(), strict=True))
    best = (0, np.inf)
    for n in np.nonzero((draft.kept & board.pods.ready)[:, model])[0]:
        load = node_load(draft, int(n))
        own = next(p for p in load.pods if p.model == board.models[model])
        wait = price(board.nodes[n], load, own, work, 0.0).delay_s - board.work_s[model] / board.speed[n]
        if wait < best[1]:
            best = (int(n), float(wait))
    return best


def _start(draft: Draft, model: int, among: Flags, patient: bool, rule: str) -> None:
    """Start a pod on the node with least work among those that can make room."""
    board, pods = draft.board, draft.board.pods
    settled = draft.kept & pods.ready & (pods.age_s >= LRU_DWELL_STARTS * board.start_s) & ~board.wishes.pinned
    allowed = settled if patient else settled & draft.idle()
    oldest_first = (pods.used_at_s - pods.used_at_s.min(initial=np.inf, where=allowed)) * (board.claim / 1e9)
    some = victims(board.claim, allowed, oldest_first)
    fits, count = some.needed(draft.free(), board.claim[[model]])
    possible = draft.open_for(np.arange(len(fits)))[:, model] & fits[:, 0] & among
    if not possible.any():
        draft.note(f"{rule}-no-room", None, model, None, "wanted, but no node can make room now")
        return
    backlog = np.where(possible, pods.left_s.sum(axis=1) / board.speed, np.inf)
    n = int(backlog.argmin())
    for victim in some.order[n, : count[n, 0]]:
        draft.stop(n, int(victim), "victim", None, "least recently used")
    draft.start(n, model, rule, float(backlog[n]), "least work here")
