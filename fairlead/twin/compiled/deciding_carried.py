"""What a decision takes over from the placement in force, compiled: `policy.carrying` but for what people fixed."""

from fairlead.twin.compiled.desk import desk, models, nodes, pods
from fairlead.twin.compiled.drafting import free, resident, stays, sum_up
from fairlead.twin.compiled.native import native
from fairlead.twin.compiled.wanting import drains


@native
def carry(b: int) -> None:
    """Make the draft what the placement in force and the pods of now amount to."""
    stand(b)
    sum_up(b)
    for n in range(desk(b).node):
        unsettled = False
        for m in range(desk(b).model):
            unsettled = unsettled or pods(b, n, m).wanted or (nodes(b, n).up and chosen(b, n, m))
        if unsettled:
            settle(b, n)


@native
def stand(b: int) -> None:
    """Make the draft nothing but the placement in force, on the pods of now."""
    for n in range(desk(b).node):
        for m in range(desk(b).model):
            pod, here, up = pods(b, n, m), resident(b, n, m), nodes(b, n).up
            pod.going = up and (pod.stopping or leaving(b, n, m))
            pod.kept = up and here and not pod.going
            barred = pod.blocked or pod.banned or drains(b, n)
            pod.wanted = up and pod.awake and not here and not barred


@native
def leaving(b: int, n: int, m: int) -> bool:
    """Tell whether the placement in force lets a pod go that has not begun to stop."""
    pod = pods(b, n, m)
    return bool(pod.stoppable and (pod.ready or pod.leaving) and not pod.pinned)


@native
def chosen(b: int, n: int, m: int) -> bool:
    """Tell whether it could still be kept: what an operator banned goes whatever starts."""
    return leaving(b, n, m) and not pods(b, n, m).banned


@native
def settle(b: int, n: int) -> None:
    """Decide on one node which ordered starts still hold, and whether their victims still have to go."""
    held, lost, missed = 0, False, False
    for m in range(desk(b).model):
        model = models(b, m)
        model.tried = False
        if chosen(b, n, m):
            held += model.claim
            lost = lost or (model.pressed > desk(b).rate_start_per_s and model.sure == 0)
        missed = missed or (pods(b, n, m).wanted and alive(b, n, m) and model.sure == 0)
    shut = free(b, n) < held and lost and not missed
    while True:
        m = next_wanted(b, n)
        if m < 0:
            break
        models(b, m).tried = True
        if shut or free(b, n) < (0 if alive(b, n, m) else held):
            pods(b, n, m).wanted = False
    if free(b, n) >= held:
        for m in range(desk(b).model):
            if chosen(b, n, m):
                pods(b, n, m).kept, pods(b, n, m).going = True, False


@native
def alive(b: int, n: int, m: int) -> bool:
    """Tell whether there is demand for a model, a request held, or its pod there is pinned."""
    asked = models(b, m).pressed > desk(b).rate_start_per_s or models(b, m).held > 0
    return bool(asked or pods(b, n, m).pinned)


@native
def next_wanted(b: int, n: int) -> int:
    """Return the wanted model that is least asked for of those not tried, first who is not `alive`; -1: none."""
    best = -1
    for m in range(desk(b).model):
        if models(b, m).tried or not pods(b, n, m).wanted:
            continue
        if best < 0:
            best = m
            continue
        mine, other = alive(b, n, m), alive(b, n, best)
        if (other and not mine) or (mine == other and models(b, m).pressed < models(b, best).pressed):
            best = m
    return best


@native
def mark_lost(b: int) -> None:
    """Mark the models with demand that lost all they had: with the node, by a crash, a ban or a drain."""
    for m in range(desk(b).model):
        lost, usable = False, False
        for n in range(desk(b).node):
            pod, leaves = pods(b, n, m), drains(b, n)
            gone = (nodes(b, n).seen and not nodes(b, n).up) or pod.blocked or pod.banned
            lost = lost or (pod.awake and gone) or ((pod.kept or pod.going) and (leaves or pod.banned))
            usable = usable or (stays(b, n, m) and not leaves)
        models(b, m).lost = lost and not usable and models(b, m).pressed > desk(b).rate_start_per_s


@native
def retry(b: int) -> None:
    """Let stay awake besides what has no pod now: in back-off, or on a node that was never heard."""
    for n in range(desk(b).node):
        room = free(b, n)
        for m in range(desk(b).model):
            pod = pods(b, n, m)
            meant = pod.pinned or (pod.awake and not models(b, m).moved)
            waits = pod.blocked and nodes(b, n).up and meant and not (pod.banned or drains(b, n))
            if waits and models(b, m).claim <= room:
                pod.also = True
                room -= models(b, m).claim
            elif pod.awake and not nodes(b, n).seen:
                pod.also = True
