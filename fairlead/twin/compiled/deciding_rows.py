"""The routing table that goes with a placement, compiled: `policy.routing` and the rows of the baselines."""

from fairlead.policy.routing import LEAST_RATE, SETTLED, SWEEPS
from fairlead.twin.compiled.board import LEAST_LOADED_SLOT, MARGINAL_DPP, NOT_IN_ROW
from fairlead.twin.compiled.desk import desk, models, nodes, numbers, pods, shares
from fairlead.twin.compiled.drafting import added
from fairlead.twin.compiled.native import native


@native
def put_rows(b: int) -> None:
    """Set the probabilities of the policy's rows for the draft."""
    name(b)
    if desk(b).policy == MARGINAL_DPP:
        fill(b)
    for m in range(desk(b).model):
        if desk(b).policy == MARGINAL_DPP:
            mix(b, m)
        elif desk(b).policy == LEAST_LOADED_SLOT:
            least_loaded(b, m)
        else:
            even(b, m)
        size = 0
        for n in range(desk(b).node):
            if pods(b, n, m).named:
                numbers(b, size).value = pods(b, n, m).chance
                size += 1
        total = added(b, size)
        for n in range(desk(b).node):
            pod = pods(b, n, m)
            pod.chance = min(1.0, pod.chance / total) if pod.named else NOT_IN_ROW


@native
def name(b: int) -> None:
    """Set which pods rows may name: ready, or starting and ready within the model's deadline."""
    for n in range(desk(b).node):
        for m in range(desk(b).model):
            pod, model = pods(b, n, m), models(b, m)
            soon = pod.starting and pod.ready_in_s <= model.deadline_s
            here = pod.kept and (pod.ready or soon or pod.leaving)
            ordered = pod.wanted and pod.begin_s <= model.deadline_s
            pod.named = (here or ordered) and nodes(b, n).up and not pod.blocked
            pod.chance = 0.0


@native
def size_of(b: int, m: int) -> int:
    """Return how many pods the row of a model has."""
    count = 0
    for n in range(desk(b).node):
        count += 1 if pods(b, n, m).named else 0
    return count


@native
def even(b: int, m: int) -> None:
    """Give each pod of a model the same."""
    count = size_of(b, m)
    for n in range(desk(b).node):
        if pods(b, n, m).named:
            pods(b, n, m).chance = 1.0 / count


@native
def least_loaded(b: int, m: int) -> None:
    """Give all to the pod whose node has least backlog now."""
    best = -1
    for n in range(desk(b).node):
        if pods(b, n, m).named and (best < 0 or nodes(b, n).backlog_s < nodes(b, best).backlog_s):
            best = n
    if best >= 0:
        pods(b, best, m).chance = 1.0


@native
def mix(b: int, m: int) -> None:
    """Make a model's requests a distribution with a little of the uniform one in it."""
    count, total, uniform = size_of(b, m), 0.0, desk(b).uniform_share
    for n in range(desk(b).node):
        total += pods(b, n, m).chance
    for n in range(desk(b).node):
        pod = pods(b, n, m)
        if pod.named:
            flat = 1.0 / count
            shaped = pod.chance / total if total > 0.0 else flat
            pod.chance = (1.0 - uniform) * shaped + uniform * flat


@native
def fill(b: int) -> None:
    """Set the requests of a slot, shared so that Σ_n (backlog seconds of n)² is least, one slot's rates in."""
    for n in range(desk(b).node):
        nodes(b, n).load_s = nodes(b, n).backlog_s
    for _ in range(SWEEPS):
        moved = 0.0
        for m in range(desk(b).model):
            size = 0
            for n in range(desk(b).node):
                if pods(b, n, m).named:
                    one = shares(b, size)
                    one.node, one.each_s = n, models(b, m).work_s / nodes(b, n).speed
                    one.without_s = nodes(b, n).load_s - pods(b, n, m).chance * one.each_s
                    size += 1
            if size > 0:
                pour(b, size, max(models(b, m).rate, LEAST_RATE) * desk(b).slot_s)
                moved = max(moved, taken(b, m, size))
        if moved < SETTLED:
            return


@native
def taken(b: int, m: int, size: int) -> float:
    """Put what was poured in place of what a model's pods had; return the largest change relative to all of it."""
    most = 0.0
    for k in range(size):
        one = shares(b, k)
        pod = pods(b, one.node, m)
        most = max(most, abs(one.fresh - pod.chance))
        pod.chance = numbers(b, k).value = one.fresh
        nodes(b, one.node).load_s = one.without_s + one.fresh * one.each_s
    return most / added(b, size)


@native
def pour(b: int, size: int, total: float) -> None:
    """Set x ≥ 0 [k] with Σx = `total` that minimises Σ (without + each·x)²."""
    for k in range(size):
        one, at = shares(b, k), k
        one.price = one.without_s * one.each_s
        while at > 0 and one.price < shares(b, shares(b, at - 1).order).price:
            shares(b, at).order = shares(b, at - 1).order
            at -= 1
        shares(b, at).order = k
    gains, bases, level = 0.0, 0.0, 0.0
    for at in range(size):
        one = shares(b, shares(b, at).order)
        gains += 1.0 / (one.each_s * one.each_s)
        bases += one.without_s / one.each_s
        if at == 0 or one.price < (total + bases) / gains:
            level = (total + bases) / gains
    for k in range(size):
        one = shares(b, k)
        one.fresh = max(level / one.each_s - one.without_s, 0.0) / one.each_s
