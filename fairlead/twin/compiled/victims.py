"""Who would have to go for a start, compiled: `policy.draft.Victims` and how a draft stops and starts pods."""

from fairlead.policy.draft import GB
from fairlead.twin.compiled.desk import desk, lines, models, nodes, pods
from fairlead.twin.compiled.drafting import free
from fairlead.twin.compiled.native import native
from fairlead.twin.compiled.wanting import closed


@native
def line_up(b: int, n: int) -> None:
    """Line up who of the `allowed` models goes first on a node: least `cost_s` per GB, of equals the first model."""
    length = 0
    for m in range(desk(b).model):
        if not models(b, m).allowed:
            continue
        ratio, k = per_gb(b, m), length
        while k > 0 and ratio < per_gb(b, lines(b, n, k - 1).model):
            lines(b, n, k).model = lines(b, n, k - 1).model
            k -= 1
        lines(b, n, k).model = m
        length += 1
    nodes(b, n).victims = length
    for k in range(length):
        one, after = lines(b, n, k), lines(b, n, k + 1)
        after.room = one.room + models(b, one.model).claim
        after.cost_s = one.cost_s + models(b, one.model).cost_s


@native
def per_gb(b: int, m: int) -> float:
    """Return what it costs that a model's pod goes, seconds per GB."""
    return float(models(b, m).cost_s / (models(b, m).claim / GB))


@native
def needed(b: int, n: int, short: int) -> int:
    """Return how many of a node's line have to go to free `short` bytes; -1 where all are not enough."""
    count = 0
    while lines(b, n, count).room < short:
        if count == nodes(b, n).victims:
            return -1
        count += 1
    return count


@native
def make_room(b: int, n: int, m: int, count: int) -> None:
    """Let go whom it takes for a model on a node, of the first `count` in its line.

    `policy.draft.fewest`: each but the last is spared, dearest first, where the others are still enough.
    """
    room = free(b, n) + lines(b, n, count).room
    for k in range(count - 1, -1, -1):
        claim = models(b, lines(b, n, k).model).claim
        if k < count - 1 and room - claim >= models(b, m).claim:
            room -= claim
        else:
            stop(b, n, lines(b, n, k).model)


@native
def stop(b: int, n: int, m: int) -> None:
    """Let a pod go."""
    pods(b, n, m).kept, pods(b, n, m).going = False, True


@native
def start(b: int, n: int, m: int) -> None:
    """Want a pod."""
    pods(b, n, m).wanted, models(b, m).moved = True, True


@native
def open_for(b: int, n: int, m: int) -> bool:
    """Tell whether a pod might be started there, room apart."""
    pod = pods(b, n, m)
    barred = closed(b, n) or pod.banned or pod.blocked
    return bool(nodes(b, n).up and not (barred or pod.kept or pod.wanted or pod.going))
