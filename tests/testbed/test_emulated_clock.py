"""The shared clock of an emulated node against closed forms and a stepped reference."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.emulated_clock import SharedClock


def test_alone_a_request_takes_work_over_speed() -> None:
    """One busy pod has the whole node."""
    clock = SharedClock(speed=0.8, now_s=10.0)
    clock.begin("a", 1, (2.0,), 10.0)
    assert clock.next_at_s() == pytest.approx(12.5)
    (reached,) = clock.advance(13.0)
    assert (reached.pod, reached.request, reached.mark, reached.last) == ("a", 1, 0, True)
    assert reached.at_s == pytest.approx(12.5)
    assert clock.next_at_s() == math.inf


def test_two_busy_pods_halve_the_node() -> None:
    """While both run each gets half; the one that is left gets all."""
    clock = SharedClock(speed=1.0, now_s=0.0)
    clock.begin("a", 1, (2.0,), 0.0)
    clock.begin("b", 1, (8.0,), 0.0)
    first, second = clock.advance(100.0)
    assert first.pod == "a"
    assert first.at_s == pytest.approx(4.0)
    assert second.pod == "b"
    assert second.at_s == pytest.approx(10.0)


def test_two_requests_of_one_pod_share_its_slice() -> None:
    """Slices go to pods, not to requests."""
    clock = SharedClock(speed=1.0, now_s=0.0)
    clock.begin("a", 1, (1.0,), 0.0)
    clock.begin("a", 2, (1.0,), 0.0)
    clock.begin("b", 1, (2.0,), 0.0)
    ends = {(r.pod, r.request): r.at_s for r in clock.advance(10.0)}
    assert ends == {("a", 1): pytest.approx(4.0), ("a", 2): pytest.approx(4.0), ("b", 1): pytest.approx(4.0)}


def test_a_cancelled_request_frees_its_share() -> None:
    """What is left of it is never done."""
    clock = SharedClock(speed=1.0, now_s=0.0)
    clock.begin("a", 1, (2.0,), 0.0)
    clock.begin("b", 1, (9.0,), 0.0)
    clock.cancel("b", 1, 2.0)
    (reached,) = clock.advance(10.0)
    assert reached.pod == "a"
    assert reached.at_s == pytest.approx(3.0)


def test_a_late_look_does_not_move_what_happened() -> None:
    """Marks keep their exact instants however late they are asked for."""
    clock = SharedClock(speed=1.0, now_s=0.0)
    clock.begin("a", 1, (0.5, 1.0), 0.0)
    clock.begin("b", 1, (3.0,), 0.0)
    reached = clock.advance(1000.0)
    assert [(r.pod, r.mark) for r in reached] == [("a", 0), ("a", 1), ("b", 0)]
    assert [r.at_s for r in reached] == pytest.approx([1.0, 2.0, 4.0])


@given(
    st.lists(
        st.tuples(
            st.floats(0, 5), st.sampled_from("abc"), st.floats(0.05, 3), st.one_of(st.none(), st.floats(0.01, 4))
        ),
        min_size=1,
        max_size=8,
    ),
    st.floats(0.3, 2.0),
)
def test_work_is_conserved_and_the_node_never_idles_while_busy(
    demand: list[tuple[float, str, float, float | None]], speed: float
) -> None:
    """The busy time of the node times its speed is the work done, and no request ends before its own work could."""
    clock = SharedClock(speed=speed, now_s=0.0)
    arrivals = sorted((at, i, pod, work) for i, (at, pod, work, _) in enumerate(demand))
    ends: dict[int, float] = {}
    for at, i, pod, work in arrivals:
        for r in clock.begin(pod, i, (work / 2, work), at):
            if r.last:
                ends[r.request] = r.at_s
    for r in clock.advance(1e6):
        if r.last:
            ends[r.request] = r.at_s
    assert sorted(ends) == sorted(i for _, i, _, _ in arrivals)
    busy_s, until_s = 0.0, 0.0
    for at, i, _, work in arrivals:
        assert ends[i] >= at + work / speed - 1e-6
        until_s = max(until_s, at) + work / speed
        busy_s = max(busy_s, until_s)
    assert max(ends.values()) == pytest.approx(busy_s, abs=1e-6)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0.1, 2)), min_size=1, max_size=5))
def test_shares_agree_with_a_stepped_reference(work: list[tuple[str, float]]) -> None:
    """The same ends as handing out slices of a millisecond in turn, to within the slices."""
    clock = SharedClock(speed=1.0, now_s=0.0)
    left: dict[int, float] = {}
    for i, (pod, amount) in enumerate(work):
        clock.begin(pod, i, (amount,), 0.0)
        left[i] = amount
    ends = {r.request: r.at_s for r in clock.advance(1e6)}
    at_s, step_s, reference = 0.0, 0.001, {}
    while left:
        busy = {work[i][0] for i in left}
        peers = {p: sum(work[i][0] == p for i in left) for p in busy}
        at_s += step_s
        for i in list(left):
            left[i] -= step_s / (len(busy) * peers[work[i][0]])
            if left[i] <= 0:
                reference[i] = at_s
                del left[i]
    for i, end in ends.items():
        assert end == pytest.approx(reference[i], abs=0.05)
