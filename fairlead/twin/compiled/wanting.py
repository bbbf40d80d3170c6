"""What people and the plan want of pods, compiled: a plan in force, its age, and what operators have fixed."""

from fairlead.twin.compiled.desk import desk, nodes, orders, pods
from fairlead.twin.compiled.native import native


@native
def drains(b: int, n: int) -> bool:
    """Tell whether the plan drains a node."""
    return bool(desk(b).planned and nodes(b, n).drains)


@native
def closed(b: int, n: int) -> bool:
    """Tell whether nothing new starts on a node by the plan."""
    return bool(desk(b).planned and nodes(b, n).closed)


@native
def tilt(b: int, n: int, m: int) -> float:
    """Return the factor on worth and regret of a pod; 1 where no plan is in force."""
    return float(pods(b, n, m).tilt if desk(b).planned else 1.0)


@native
def told(b: int, for_s: float) -> bool:
    """Tell whether the plan's rates have begun to hold, less than `for_s` ago."""
    at_s = desk(b).told_at_s
    return bool(desk(b).planned and at_s <= desk(b).now_s < at_s + for_s)


@native
def mark_orders(b: int) -> None:
    """Mark what operators have fixed now; of two orders for one pod the newer holds."""
    now_s = desk(b).now_s
    for k in range(desk(b).order):
        pod = pods(b, orders(b, k).node, orders(b, k).model)
        pod.pinned, pod.banned = False, False
    for k in range(desk(b).order):
        one = orders(b, k)
        if one.from_s <= now_s < one.until_s:
            pod = pods(b, one.node, one.model)
            pod.pinned, pod.banned = one.pins, not one.pins
