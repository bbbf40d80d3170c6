"""Placements that are given, compiled: those of static policies and the first of adaptive ones (`policy.baselines`)."""

from fairlead.twin.compiled.desk import desk, models, pods
from fairlead.twin.compiled.drafting import resident
from fairlead.twin.compiled.native import native
from fairlead.twin.compiled.wanting import closed


@native
def static_draft(b: int) -> None:
    """Keep, stop and want what the given placement asks for."""
    for m in range(desk(b).model):
        served = models(b, m).pressed <= desk(b).rate_start_per_s
        for n in range(desk(b).node):
            served = served or (pods(b, n, m).ready and meant(b, n, m))
        for n in range(desk(b).node):
            pod, here, own = pods(b, n, m), resident(b, n, m), meant(b, n, m)
            pod.kept = here and own and not pod.stopping
            pod.going = here and not own and (served or pod.banned or pod.stopping)
            pod.wanted = own and not here
            pod.also = own


@native
def meant(b: int, n: int, m: int) -> bool:
    """Tell whether the given placement has a pod there that no operator banned."""
    return bool(pods(b, n, m).given and not pods(b, n, m).banned)


@native
def first_draft(b: int) -> None:
    """Want the given placement on a cluster on which nothing runs, but where a node is closed or a pod in back-off."""
    for n in range(desk(b).node):
        for m in range(desk(b).model):
            pods(b, n, m).wanted = meant(b, n, m) and not (closed(b, n) or pods(b, n, m).blocked)


@native
def nothing_runs(b: int) -> bool:
    """Tell whether no pod claims memory anywhere."""
    found = False
    for n in range(desk(b).node):
        for m in range(desk(b).model):
            found = found or resident(b, n, m)
    return not found
