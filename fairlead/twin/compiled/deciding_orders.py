"""What operators have fixed and what the plan drains, compiled: the parts of `policy.carrying` about them."""

from fairlead.twin.compiled.desk import desk, models, nodes, pods
from fairlead.twin.compiled.drafting import counted, free, resident, settled, share, stays, sum_up
from fairlead.twin.compiled.native import native
from fairlead.twin.compiled.victims import line_up, make_room, needed, start, stop
from fairlead.twin.compiled.wanting import drains
from fairlead.twin.compiled.worth import regret


@native
def override(b: int) -> None:
    """Apply what operators fixed: banned pods go, pinned ones are wanted wherever room can be made."""
    if desk(b).order == 0:
        return
    for n in range(desk(b).node):
        for m in range(desk(b).model):
            if pods(b, n, m).kept and pods(b, n, m).banned:
                stop(b, n, m)
    for n in range(desk(b).node):
        for m in range(desk(b).model):
            pod = pods(b, n, m)
            absent = nodes(b, n).up and not (stays(b, n, m) or resident(b, n, m) or pod.blocked)
            if pod.pinned and absent:
                pin(b, n, m)


@native
def pin(b: int, n: int, m: int) -> None:
    """Start a pinned pod if room can be made by pods that are not."""
    sum_up(b)
    part = share(b, n, counted(b, n))
    for j in range(desk(b).model):
        model, pod = models(b, j), pods(b, n, j)
        model.allowed = pod.kept and pod.ready and not pod.pinned
        model.cost_s = regret(b, n, j, part, model.rate, desk(b).event_horizon_s)
    line_up(b, n)
    takes = needed(b, n, models(b, m).claim - free(b, n))
    if takes >= 0:
        make_room(b, n, m, takes)
        start(b, n, m)


@native
def evacuate(b: int) -> None:
    """Let pods go from nodes that the plan drains, once their models are ready elsewhere or nobody asks for them."""
    if not desk(b).planned:
        return
    for m in range(desk(b).model):
        unneeded = models(b, m).pressed <= desk(b).rate_start_per_s
        for n in range(desk(b).node):
            pod = pods(b, n, m)
            sure = pod.kept and pod.ready and not pod.stoppable
            unneeded = unneeded or (sure and not drains(b, n))
        for n in range(desk(b).node):
            dwelt = settled(b, n, m, models(b, m).start_s)
            if unneeded and dwelt and drains(b, n) and not pods(b, n, m).pinned:
                stop(b, n, m)
