"""Placements that are given, compiled: those of static policies and the first of adaptive ones (`policy.baselines`)."""

from fairlead.twin.compiled.desk import desk, models, pods
from fairlead.twin.compiled.drafting import resident
from fairlead.twin.compiled.native import native


@native
def static_draft(b: int) -> None:
    """Keep, stop and want what the given placement asks for."""
    for m in range(desk(b).model):
        served = models(b, m).pressed <= desk(b).rate_start_per_s
        for n in range(desk(b).node):
            served = served or (pods(b, n, m).ready and pods(b, n, m).given)
        for n in range(desk(b).node):
            pod, here = pods(b, n, m), resident(b, n, m)
            pod.kept = here and pod.given and not pod.stopping
            pod.going = here and not pod.given and (served or pod.stopping)
            pod.wanted = pod.given and not here
            pod.also = pod.given


@native
def first_draft(b: int) -> None:
    """Want the given placement on a cluster on which nothing runs, but where a pod is in back-off."""
    for n in range(desk(b).node):
        for m in range(desk(b).model):
            pods(b, n, m).wanted = pods(b, n, m).given and not pods(b, n, m).blocked


@native
def nothing_runs(b: int) -> bool:
    """Tell whether no pod claims memory anywhere."""
    found = False
    for n in range(desk(b).node):
        for m in range(desk(b).model):
            found = found or resident(b, n, m)
    return not found
