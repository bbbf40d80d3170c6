"""Branches in the compiled core: `twin.resuming` over tables that are laid out once for a situation and used again."""

from dataclasses import dataclass, replace

import numpy as np

from fairlead.contracts.plans import EpochPlan, Guide
from fairlead.policy.arrays import Floats
from fairlead.policy.fairness import ModelStats
from fairlead.policy.measuring import Window, model_stats
from fairlead.twin.branching import Branched, Candidate, Demand, Situation, branched, first_plan
from fairlead.twin.compiled.events import RUNG, enter
from fairlead.twin.compiled.plans import Wants, wanting
from fairlead.twin.compiled.play import played
from fairlead.twin.compiled.present import rebuilt
from fairlead.twin.compiled.setting import GROWING, Records, Run, pointed
from fairlead.twin.compiled.world import FINISHED

CHANGED = (
    "nodes",
    "models",
    "sites",
    "pods",
    "queued",
    "places",
    "desks",
    "words",
    "beliefs",
    "wakes",
    "nodes_said",
    "pods_said",
)
"""Tables of the cluster's size that a branch changes and that the next one needs as they were."""

PER_REQUEST = ("requests", "coming", "affected")
"""Tables of the size of the demand."""


@dataclass(slots=True)
class _Laid:
    """A situation laid out: what branches begin with, and the tables that the newest one has used."""

    situation: Situation
    first: Run
    """Never played: as it is now."""
    used: Run
    wants: tuple[EpochPlan | None, Guide | None] | None
    """What lies on the board."""
    up_s: Floats
    """[m] from a client to its site."""
    deadline_s: Floats
    """[m]"""
    unloaded_s: tuple[float, ...]
    """Of each model: `ModelStats.unloaded_s`."""


class Branches:
    """Plays branches; the tables of the newest situation are kept, so that its next branch costs a copy of them."""

    def __init__(self) -> None:
        """Have nothing laid out yet."""
        self._laid: _Laid | None = None

    def __call__(self, situation: Situation, candidate: Candidate, demand: Demand, until_s: float) -> Branched:
        """Return what comes of a branch."""
        if self._laid is None or self._laid.situation is not situation:
            self._laid = _laid_out(situation)
        laid, from_s = self._laid, candidate.from_s
        _want(laid, first_plan(situation, candidate), candidate.guide)
        sent_at_s = _begin(laid, demand)
        if candidate.plan is not None and from_s is not None and situation.now_s < from_s < until_s:
            laid.used = played(laid.used, from_s)
            _want(laid, candidate.plan, candidate.guide)
            enter(laid.used.at, from_s, RUNG, 0, 0)
        laid.used = played(laid.used, until_s)
        now = laid.used.world[0]
        return branched(_stats(laid, sent_at_s, until_s), int(now["starts"]), int(now["stops"]), "compiled")


def _laid_out(situation: Situation) -> _Laid:
    """Return a situation laid out."""
    first = rebuilt(situation)
    own = {*CHANGED, *PER_REQUEST, *GROWING}
    used = replace(
        first,
        world=first.world.copy(),
        tables={name: rows.copy() if name in own else rows for name, rows in first.tables.items()},
        standing=first.standing._replace(**{k: v.copy() for k, v in first.standing._asdict().items()}),
    )
    models = situation.cluster.models
    up_s = np.array([situation.network.up_s[m.id] for m in models])
    deadline_s = np.array([m.deadline_s for m in models])
    unloaded_s = tuple(one.unloaded_s for one in model_stats((), situation.cluster, Window(0.0, 0.0)))
    return _Laid(situation, first, used, None, up_s, deadline_s, unloaded_s)


def _want(laid: _Laid, plan: EpochPlan | None, guide: Guide | None) -> None:
    """Put a plan and proposed rows on the board, unless they lie there."""
    if laid.wants is not None and laid.wants[0] is plan and laid.wants[1] is guide:
        return
    wants = Wants(plan, guide, laid.situation.overrides)
    laid.used = replace(laid.used, board=wanting(laid.used.board, laid.situation.cluster, wants))
    laid.wants = plan, guide


def _begin(laid: _Laid, demand: Demand) -> Floats:
    """Have all as it is now, with a demand that is still to come; return [r] when each request was sent."""
    first, used = laid.first, laid.used
    here = len(first.tables["requests"])
    room = len(used.tables["requests"])
    if room < here + len(demand):
        room = 2 * (here + len(demand))
        longer = {name: np.zeros(room, used.tables[name].dtype) for name in PER_REQUEST}
        used = laid.used = replace(used, tables={**used.tables, **longer})
    waiting = int(first.world[0]["waiting"])
    used.tables["events"][:waiting] = first.tables["events"][:waiting]
    for name in CHANGED:
        np.copyto(used.tables[name], first.tables[name])
    for mine, kept in zip(used.standing, first.standing, strict=True):
        np.copyto(mine, kept)
    np.copyto(used.world, first.world)
    used.world["request"] = here + len(demand)
    for name in PER_REQUEST:
        used.tables[name][:here] = first.tables[name]
    pointed(used)
    present = first.tables["requests"]
    sent_at_s = present["entered_at_s"] - laid.up_s[present["model"]]
    return np.concatenate([sent_at_s, _await(laid, used.tables, demand, here)])


def _await(laid: _Laid, tables: dict[str, Records], demand: Demand, here: int) -> Floats:
    """Lay out the requests of a demand behind the `here` ones that are present; return when each is sent."""
    cluster = laid.situation.cluster
    sites = {s.id: k for k, s in enumerate(cluster.sites)}
    models = {m.id: k for k, m in enumerate(cluster.models)}
    requests = tables["requests"][here : here + len(demand)]
    coming = tables["coming"][here : here + len(demand)]
    requests[:] = np.zeros(1, requests.dtype)
    for name in ("node", "next", "before", "flying"):
        requests[name] = -1
    requests["ended_at_s"], requests["expires_at_s"] = np.inf, np.inf
    requests["work_s"] = [one.work_s for one in demand]
    requests["site"] = [sites[one.site] for one in demand]
    requests["model"] = [models[one.model] for one in demand]
    sent_at_s = np.array([one.at_s for one in demand], dtype=np.float64)
    at_s = sent_at_s + laid.up_s[requests["model"]]
    order = np.argsort(at_s, kind="stable")
    coming["at_s"], coming["request"] = at_s[order], here + order
    return sent_at_s


def _stats(laid: _Laid, sent_at_s: Floats, until_s: float) -> tuple[ModelStats, ...]:
    """Return per model what `policy.measuring.model_stats` does, the sums in the same order."""
    sent = sent_at_s < until_s
    rows, sent_at_s = laid.used.tables["requests"][: len(sent_at_s)][sent], sent_at_s[sent]
    model, ended_at_s = rows["model"], rows["ended_at_s"]
    finished = (rows["fate"] == FINISHED) & (ended_at_s < until_s)
    late_s = sent_at_s + laid.deadline_s[model]
    judged = late_s <= until_s
    latency_s = np.where(finished, ended_at_s, until_s) - sent_at_s
    size = len(laid.deadline_s)
    arrived = np.bincount(model, minlength=size).tolist()
    of_judged = np.bincount(model[judged], minlength=size).tolist()
    timely = np.bincount(model[judged & finished & (ended_at_s <= late_s)], minlength=size).tolist()
    of_finished = np.bincount(model[finished], minlength=size).tolist()
    sums = np.bincount(model, weights=latency_s, minlength=size).tolist()
    return tuple(
        ModelStats(
            model=one.id,
            arrived=arrived[m],
            judged=of_judged[m],
            timely=timely[m],
            finished=of_finished[m],
            unloaded_s=laid.unloaded_s[m],
            latency_sum_s=sums[m],
        )
        for m, one in enumerate(laid.situation.cluster.models)
    )
