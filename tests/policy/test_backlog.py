"""The keeper's account of a node: W under time-slicing, attained work, learned speed (CONTROL §2)."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead.policy.backlog import LEAST_LEFT_RATIO, Backlog, PodBacklog, SpeedRule, learned


def test_waiting_and_running_work_are_counted_at_the_mean() -> None:
    """W is b for each that waits and what is left of b for each that runs."""
    backlog = Backlog(speed=1.0, now_s=100.0)
    backlog.declare("a", 8.0)
    for _ in range(2):
        backlog.enqueue("a")
    backlog.start("a", 1, 100.0)
    assert backlog.account("a", 100.0) == PodBacklog(work_s=24.0, count=3, running=1)
    assert backlog.account("a", 103.0).work_s == pytest.approx(21.0)
    backlog.leave("a")
    assert backlog.account("a", 103.0).count == 2


def test_what_outlives_its_mean_counts_a_tenth_of_it() -> None:
    """Running work never counts less than 0.1 b."""
    backlog = Backlog(speed=2.0, now_s=0.0)
    backlog.declare("a", 8.0)
    backlog.start("a", 1, 0.0)
    assert backlog.account("a", 3.9).work_s == pytest.approx(0.8)
    assert backlog.account("a", 1000.0).work_s == pytest.approx(0.8)


def test_busy_pods_share_the_node_evenly_and_idle_ones_take_nothing() -> None:
    """Of three pods the two busy ones get v/2 each."""
    backlog = Backlog(speed=1.2, now_s=0.0)
    for pod in "abc":
        backlog.declare(pod, 10.0)
    backlog.start("a", 1, 0.0)
    backlog.start("b", 2, 5.0)
    assert backlog.attained_s("a", 1, 5.0) == pytest.approx(6.0)
    assert backlog.attained_s("a", 1, 8.0) == pytest.approx(6.0 + 3.0 * 0.6)
    assert backlog.attained_s("b", 2, 8.0) == pytest.approx(3.0 * 0.6)


def test_requests_inside_one_pod_share_its_part() -> None:
    """Two requests in a pod get half of its share each."""
    backlog = Backlog(speed=1.0, now_s=0.0)
    for pod in "ab":
        backlog.declare(pod, 10.0)
    backlog.start("a", 1, 0.0)
    backlog.start("a", 2, 0.0)
    backlog.start("b", 3, 0.0)
    assert backlog.attained_s("a", 1, 4.0) == pytest.approx(1.0)
    assert backlog.attained_s("b", 3, 4.0) == pytest.approx(2.0)


def test_a_completion_teaches_the_speed_and_nothing_else_does() -> None:
    """Cancelled, failed and unknown requests leave v as it is."""
    backlog = Backlog(speed=1.0, now_s=0.0)
    backlog.declare("a", 8.0)
    backlog.start("a", 1, 0.0)
    backlog.end("a", 1, 16.0, finished=True)
    assert backlog.speed == pytest.approx(0.5**0.15)
    for finished, ticket in ((False, 2), (True, 99)):
        before = backlog.speed
        backlog.start("a", 2, 20.0)
        backlog.end("a", ticket, 21.0, finished=finished)
        backlog.end("a", 2, 21.0, finished=False)
        assert backlog.speed == before
    backlog.end("unknown", 1, 22.0, finished=True)


def test_a_completion_without_measurable_work_counts_as_the_clip() -> None:
    """An answer in no time does not make the speed infinite."""
    backlog = Backlog(speed=1.0, now_s=0.0)
    backlog.declare("a", 8.0)
    backlog.start("a", 1, 0.0)
    backlog.end("a", 1, 0.0, finished=True)
    assert backlog.speed == pytest.approx(2.5**0.15)


def test_a_dropped_pod_leaves_its_share_to_the_others() -> None:
    """From the drop on, and a second drop does nothing."""
    backlog = Backlog(speed=1.0, now_s=0.0)
    backlog.declare("a", 10.0)
    backlog.declare("b", 10.0)
    backlog.start("a", 1, 0.0)
    backlog.start("b", 2, 0.0)
    backlog.drop("a", 2.0)
    backlog.drop("a", 2.0)
    assert backlog.attained_s("b", 2, 6.0) == pytest.approx(1.0 + 4.0)


def test_a_new_mean_counts_from_now_on() -> None:
    """A changed b is used for what waits already."""
    backlog = Backlog(speed=1.0, now_s=0.0)
    backlog.declare("a", 10.0)
    backlog.enqueue("a")
    backlog.declare("a", 4.0)
    assert backlog.account("a", 0.0).work_s == 4.0


def test_time_that_runs_backwards_counts_as_the_last_instant() -> None:
    """A clock that is set back gives nobody negative work."""
    backlog = Backlog(speed=1.0, now_s=10.0)
    backlog.declare("a", 8.0)
    backlog.start("a", 1, 10.0)
    assert backlog.account("a", 12.0).work_s == pytest.approx(6.0)
    assert backlog.account("a", 9.0).work_s == pytest.approx(6.0)


@given(st.floats(0.01, 100), st.lists(st.floats(0.01, 50), max_size=50))
def test_one_completion_moves_the_speed_by_a_bounded_factor(speed: float, ratios: list[float]) -> None:
    """At most clip^0.15 up or down, in the direction of what was observed."""
    rule = SpeedRule()
    for ratio in ratios:
        after = learned(speed, ratio, rule)
        assert 0.4**0.15 - 1e-12 <= after / speed <= 2.5**0.15 + 1e-12
        assert (after >= speed) == (ratio >= 1.0) or math.isclose(after, speed)
        speed = after


@given(st.floats(0.2, 5.0))
def test_the_learned_speed_settles_at_the_true_one(true: float) -> None:
    """With deterministic work v converges, wherever it began."""
    backlog = Backlog(speed=1.0, now_s=0.0)
    backlog.declare("a", 3.0)
    now_s = 0.0
    for ticket in range(200):
        backlog.start("a", ticket, now_s)
        now_s += 3.0 / true
        backlog.end("a", ticket, now_s, finished=True)
    assert backlog.speed == pytest.approx(true, rel=1e-6)


events = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from(["enqueue", "start", "end"]), st.floats(0.0, 10.0)), max_size=60
)


@given(events, st.floats(0.1, 4.0))
def test_invariant_01_work_and_counts_stay_in_their_bounds_and_the_node_gives_what_it_has(
    script: list[tuple[str, str, float]], speed: float
) -> None:
    """K is what was put in and not taken out, 0.1 bK ≤ W ≤ bK, and running requests get v in all while any runs."""
    work = {"a": 2.0, "b": 4.0, "c": 24.0}
    backlog = Backlog(speed=speed, now_s=0.0)
    waiting, running = dict.fromkeys(work, 0), {p: set[int]() for p in work}
    for pod, work_s in work.items():
        backlog.declare(pod, work_s)
    now_s = 0.0
    for ticket, (pod, what, for_s) in enumerate(script):
        before = {(p, t): backlog.attained_s(p, t, now_s) for p in work for t in running[p]}
        now_s += for_s
        given_s = sum(backlog.attained_s(p, t, now_s) - s for (p, t), s in before.items())
        assert given_s == pytest.approx(for_s * speed if before else 0.0, abs=1e-6)
        if what == "enqueue":
            backlog.enqueue(pod)
            waiting[pod] += 1
        elif what == "start":
            backlog.start(pod, ticket, now_s)
            running[pod].add(ticket)
        elif running[pod]:
            backlog.end(pod, running[pod].pop(), now_s, finished=False)
        for one, work_s in work.items():
            account = backlog.account(one, now_s)
            count = waiting[one] + len(running[one])
            assert (account.count, account.running) == (count, len(running[one]))
            assert LEAST_LEFT_RATIO * work_s * count - 1e-9 <= account.work_s <= work_s * count + 1e-9
