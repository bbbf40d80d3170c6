"""Nodes that run one pod at a time and pause the others (CONTROL §2 rule 8): prices, draining, the keeper's account."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead.policy.backlog import Backlog
from fairlead.policy.choice import NodeLoad, PodQueue, dispatched, drained, in_turn, price

WORK = {"long": 12.0, "middle": 5.0, "short": 2.0}


def on(*pods: PodQueue, speed: float = 1.0) -> NodeLoad:
    """Return a pausing node at instant 100."""
    return NodeLoad(speed, 100.0, pods, pausing=True)


def ready(model: str, count: int, work_s: float | None = None) -> PodQueue:
    """Return a ready pod with so many requests, each of mean work unless said."""
    return PodQueue(model, "ready", 0.0, count * WORK[model] if work_s is None else work_s, count)


def ends_s(load: NodeLoad) -> dict[str, list[float]]:
    """Return when the requests of each model end if nothing more comes: pod by pod, the least mean work first."""
    now, found = 0.0, {}
    for pod in sorted(load.pods, key=lambda p: WORK[p.model]):
        first = pod.work_s - (pod.count - 1) * WORK[pod.model]
        found[pod.model] = [now + (first + k * WORK[pod.model]) / load.speed for k in range(pod.count)]
        now += pod.work_s / load.speed
    return found


@given(
    counts=st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(0, 4)),
    begun=st.floats(0.0, 0.9),
    model=st.sampled_from(sorted(WORK)),
    speed=st.sampled_from((0.5, 1.0, 2.0)),
)
def test_the_price_is_what_one_more_request_adds_to_all_delays(
    counts: tuple[int, int, int], begun: float, model: str, speed: float
) -> None:
    """One is when it ends, the other what all others end later, exactly, for mean sizes."""
    pods = tuple(
        ready(name, count, max(0.0, (count - begun) * WORK[name]) if count else 0.0)
        for name, count in zip(sorted(WORK), counts, strict=True)
    )
    before = on(*pods, speed=speed)
    own = next(p for p in before.pods if p.model == model)
    cost = price("n", before, own, WORK, 0.25)
    then, now = ends_s(before), ends_s(dispatched(before, model, WORK[model]))
    assert cost.delay_s == pytest.approx(0.25 + now[model].pop())
    total = math.fsum(one for ends in now.values() for one in ends) - math.fsum(
        o for ends in then.values() for o in ends
    )
    assert cost.externality_s == pytest.approx(total, abs=1e-9)


def test_a_pod_that_starts_meets_what_is_left_by_then() -> None:
    """In its 6 s the short pod does both, the long one 2 s of its 12; the new one then overtakes that."""
    starting = PodQueue("middle", "starting", 6.0, 0.0, 0)
    cost = price("n", on(ready("long", 1), starting, ready("short", 2)), starting, WORK, 0.0)
    assert (cost.delay_s, cost.externality_s) == (11.0, 5.0)


def test_the_pod_of_least_mean_work_runs_first() -> None:
    """One that is not ready yet takes over when it is."""
    assert in_turn([10.0, 4.0], [0.0, 0.0], [12.0, 2.0], 1.0, 6.0) == [8.0, 0.0]
    assert in_turn([10.0, 4.0], [0.0, 3.0], [12.0, 2.0], 1.0, 6.0) == [7.0, 1.0]
    assert in_turn([1.0, 4.0], [0.0, 3.0], [12.0, 2.0], 2.0, 4.0) == [0.0, 2.0]


def test_a_report_is_drained_pod_by_pod_and_stays_that_of_a_pausing_node() -> None:
    """Three of four short ones are done after 6 s, and the long one has not moved."""
    after = drained(on(ready("long", 2), ready("short", 4)), 106.0, WORK)
    assert after == replace(on(ready("long", 2), ready("short", 1, 2.0)), observed_at_s=106.0)
    assert drained(on(ready("long", 0)), 106.0, WORK).pausing


def account(pausing: bool = True) -> Backlog:
    """Return the account of a node on which a long and a short pod have a request each, the short one 5 s later."""
    backlog = Backlog(1.0, 0.0, pausing=pausing)
    backlog.declare("long", 12.0)
    backlog.declare("short", 2.0)
    backlog.start("long", 1, 0.0)
    backlog.start("short", 2, 5.0)
    return backlog


def test_who_has_least_work_left_runs_and_the_others_pause() -> None:
    """The short one interrupts the long one, which goes on with what it had."""
    backlog = account()
    assert backlog.runner() == "short"
    assert backlog.account("long", 6.0).work_s == 7.0
    assert backlog.account("short", 6.0).work_s == 1.0
    backlog.end("short", 2, 7.0, finished=True)
    assert backlog.speed == 1.0
    assert backlog.runner() == "long"
    assert backlog.account("long", 10.0).work_s == 4.0


def test_one_who_is_nearly_done_is_not_interrupted() -> None:
    """With 1.5 s left the long one runs to its end; what has outlived its mean counts a tenth of it."""
    backlog = Backlog(1.0, 0.0, pausing=True)
    backlog.declare("long", 12.0)
    backlog.declare("short", 2.0)
    assert backlog.runner() is None
    backlog.start("long", 1, 0.0)
    backlog.start("short", 2, 10.5)
    assert backlog.runner() == "long"
    assert backlog.account("short", 20.0).work_s == 2.0
    assert backlog.account("long", 20.0).work_s == pytest.approx(1.2)


def test_elsewhere_both_share() -> None:
    """Half a second each."""
    backlog = account(pausing=False)
    assert backlog.account("long", 6.0).work_s == 6.5
    assert backlog.account("short", 6.0).work_s == 1.5
