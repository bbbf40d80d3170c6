"""What an ingress does for each request: prices against a simulation of time-slicing, and the rules of a row."""

import itertools
import math
from collections import deque

import hypothesis.strategies as st
import pytest
from hypothesis import given

from fairlead.contracts.plans import Row, Rule, Share
from fairlead.contracts.readings import KeeperState, NodePrice, Phase, PodLoad
from fairlead.policy.choice import (
    CANDIDATES,
    NodeLoad,
    PodQueue,
    choose,
    delayed_s,
    dispatched,
    drained,
    observed,
    price,
    shared,
    wait_s,
    without_table,
)

WORK = {"a": 2.0, "b": 8.0, "c": 4.0, "d": 24.0}


def ready(model: str, work_s: float = 0.0, count: int = 0) -> PodQueue:
    """Return a ready pod."""
    return PodQueue(model, "ready", 0.0, work_s, count)


def on(*pods: PodQueue, speed: float = 1.0) -> NodeLoad:
    """Return a node with these pods."""
    return NodeLoad(speed, 100.0, pods)


def row(rule: Rule, explore: float = 0.0, prior_weight_s: float = 0.0, model: str = "a", **shares: float) -> Row:
    """Return a row of the model."""
    return Row(
        zone="*",
        model=model,
        rule=rule,
        prior_weight_s=prior_weight_s,
        explore=explore,
        shares=tuple(Share(node=n, probability=p) for n, p in shares.items()),
    )


@st.composite
def loads(draw: st.DrawFn) -> NodeLoad:
    """Draw a node with one to four ready pods whose running requests are somewhere in their work."""
    pods = []
    for model in sorted(draw(st.sets(st.sampled_from(sorted(WORK)), min_size=1))):
        count = draw(st.integers(0, 4))
        left = draw(st.floats(0.05, 1.0)) * WORK[model] if count else 0.0
        pods.append(ready(model, left + max(0, count - 1) * WORK[model], count))
    return NodeLoad(draw(st.sampled_from((0.6, 1.0, 1.4))), 100.0, tuple(pods))


def ends(load: NodeLoad) -> dict[tuple[str, int], float]:
    """Return when each request of a node ends, by model and place in its queue: time-slicing, event by event."""
    queues = {
        p.model: deque([p.work_s - (p.count - 1) * WORK[p.model]] + [WORK[p.model]] * (p.count - 1))
        for p in load.pods
        if p.count
    }
    served = dict.fromkeys(queues, 0)
    now, found = 0.0, {}
    while queues:
        rate = load.speed / len(queues)
        least = min(queue[0] for queue in queues.values())
        now += least / rate
        for model, queue in list(queues.items()):
            queue[0] -= least
            if queue[0] <= 1e-9:
                queue.popleft()
                found[model, served[model]] = now
                served[model] += 1
                if not queue:
                    del queues[model]
    return found


@given(loads(), st.data())
def test_the_price_is_what_one_more_request_adds_to_the_sum_of_all_delays(load: NodeLoad, data: st.DataObject) -> None:
    """Delay is when it ends, externality how much later the others do: exact without later arrivals (CONTROL §2)."""
    pod = data.draw(st.sampled_from(load.pods))
    cost = price("n", load, pod, WORK, 0.25)
    before, after = ends(load), ends(dispatched(load, pod.model, WORK[pod.model]))
    assert cost.delay_s == pytest.approx(0.25 + after[pod.model, pod.count], abs=1e-6)
    assert cost.externality_s == pytest.approx(sum(after[key] - before[key] for key in before), abs=1e-6)


@given(st.floats(0.001, 100.0), st.integers(1, 30), st.floats(0.5, 30.0), st.floats(0.1, 30.0))
def test_the_closed_form_is_the_sum(after_s: float, count: int, each_s: float, own_s: float) -> None:
    """Σ min((after − i·each)₊, own) over the queue."""
    terms = [min(max(after_s - i * each_s, 0.0), own_s) for i in range(count)]
    assert delayed_s(after_s, count, each_s, own_s) == pytest.approx(math.fsum(terms), rel=1e-9, abs=1e-6)


@given(st.lists(st.floats(0.0, 50.0), max_size=5), st.floats(0.0, 100.0))
def test_time_slicing_conserves_work_and_keeps_the_order(works: list[float], for_s: float) -> None:
    """What is done is the node's speed times the time, unless all work is done; who had less has less."""
    left = shared(works, [0.0] * len(works), 1.4, for_s)
    assert sum(works) - sum(left) == pytest.approx(min(sum(works), 1.4 * for_s), abs=1e-6)
    for (was, now), (other, then) in itertools.combinations(zip(works, left, strict=True), 2):
        assert (was - other) * (now - then) >= -1e-9


def test_a_starting_pod_shares_from_when_it_is_ready() -> None:
    """For 4 s one pod alone, then both for 4 s."""
    assert shared([10.0, 10.0], [0.0, 4.0], 1.0, 8.0) == pytest.approx([4.0, 8.0])


def test_a_request_on_a_starting_pod_waits_and_the_others_go_on_meanwhile() -> None:
    """After 10 s b has 6 s of its 16 s left; both then share the node: a ends after twice its 2 s."""
    starting = PodQueue("a", "starting", 10.0, 0.0, 0)
    cost = price("n", on(starting, ready("b", 16.0, 2)), starting, WORK, 0.0)
    assert (cost.delay_s, cost.externality_s) == (14.0, 2.0)
    assert price("n", on(starting), starting, WORK, 0.0).delay_s == 12.0


def test_the_wait_is_the_price_without_own_service() -> None:
    """On an idle node nothing; behind 3 s of own work, 3 s."""
    idle = ready("a")
    assert wait_s(on(idle), idle, WORK) == 0.0
    busy = ready("a", 3.0, 2)
    assert wait_s(on(busy), busy, WORK) == 3.0


def test_a_model_that_is_not_in_force_any_more_counts_with_the_mean_of_its_queue() -> None:
    """Two requests of 6 s in all count as 3 s each."""
    own = ready("a")
    cost = price("n", on(own, ready("gone", 6.0, 2)), own, WORK, 0.0)
    assert (cost.delay_s, cost.externality_s) == (4.0, 4.0)


def test_draining_a_stale_reading() -> None:
    """After 6 s two pods that share speed 1 have done 3 s each; a start is 6 s nearer; counts follow the work."""
    load = on(ready("a", 5.0, 3), ready("b", 2.0, 1), PodQueue("c", "starting", 20.0, 0.0, 0), ready("d"))
    later = drained(load, 106.0, WORK)
    assert later.observed_at_s == 106.0
    assert [(p.work_s, p.count, p.ready_in_s) for p in later.pods] == [
        (pytest.approx(1.0), 1, 0.0),
        (0.0, 0, 0.0),
        (0.0, 0, 14.0),
        (0.0, 0, 0.0),
    ]
    assert drained(load, 100.0, WORK) is load
    assert drained(on(ready("a")), 130.0, WORK) == NodeLoad(1.0, 130.0, (ready("a"),))


def test_a_dispatch_is_added_to_its_pod_alone() -> None:
    """W by b, K by one."""
    assert dispatched(on(ready("a", 1.0, 1), ready("b")), "a", 2.0).pods == (ready("a", 3.0, 2), ready("b"))


def test_a_keepers_state_becomes_a_load() -> None:
    """Field by field."""
    pod = PodLoad(model="a", phase="ready", ready_in_s=0.0, work_s=1.5, count=1, running=1, used_at_s=None)
    state = KeeperState(node="n", instance="i", sequence=1, observed_at_s=5.0, speed=1.4, pods=(pod,))
    assert observed(state) == NodeLoad(1.4, 5.0, (ready("a", 1.5, 1),))


@given(
    st.dictionaries(st.sampled_from(("n1", "n2", "n3", "n4")), loads(), min_size=1),
    st.sampled_from(("marginal", "sed")),
)
def test_a_guided_row_takes_the_least(nodes: dict[str, NodeLoad], rule: Rule) -> None:
    """Least d + e by `marginal`, least d by `sed`, over the pods of the model."""
    having = sorted(n for n, load in nodes.items() if any(p.model == "a" for p in load.pods))
    pick = choose(row(rule, n1=0.5, n2=0.3, n3=0.2), nodes, WORK, {"n2": 0.1}, 0, (0.5, 0.5))
    if not having:
        assert pick is None
        return
    assert pick is not None
    assert [p.node for p in pick.prices] == having
    totals = {p.node: p.delay_s + (p.externality_s if rule == "marginal" else 0.0) for p in pick.prices}
    assert totals[pick.node] == min(totals.values())
    assert pick.propensity == 1.0
    assert pick.journaled()[0] == NodePrice(
        node=having[0], delay_s=pick.prices[0].delay_s, externality_s=pick.prices[0].externality_s
    )


def test_a_pod_that_the_row_does_not_know_joins_when_it_is_ready() -> None:
    """With the smallest P of the row; not while it starts, and not where the row gives it 0."""
    nodes = {
        "n1": on(ready("a", 9.0, 5)),
        "n2": on(PodQueue("a", "starting", 1.0, 0.0, 0)),
        "n3": on(ready("b"), ready("a")),
        "n4": on(ready("a")),
    }
    table = row("marginal", explore=1.0, n1=0.75, n5=0.25, n4=0.0)
    pick = choose(table, nodes, WORK, {}, 0, (0.0, 0.9))
    assert pick is not None
    assert (pick.node, pick.explored, pick.propensity) == ("n3", True, 0.25)
    assert [p.node for p in pick.prices] == ["n1", "n3"]


def test_propensity_of_exploring_and_of_following() -> None:
    """(1 − explore)·[least] + explore·P: the two of a row of two sum to 1."""
    nodes = {"n1": on(ready("a", 9.0, 5)), "n2": on(ready("a"))}
    table = row("marginal", explore=0.2, n1=0.75, n2=0.25)
    followed = choose(table, nodes, WORK, {}, 0, (0.9, 0.0))
    explored = choose(table, nodes, WORK, {}, 0, (0.1, 0.0))
    assert followed is not None
    assert explored is not None
    assert (followed.node, followed.explored) == ("n2", False)
    assert (explored.node, explored.explored) == ("n1", True)
    assert [followed.propensity, explored.propensity] == pytest.approx([0.85, 0.15])


def test_a_prior_weighs_against_the_price() -> None:
    """log(0.9/0.1) = 2.2 times 2 s is more than the 3 s that the other is cheaper."""
    nodes = {"n1": on(ready("a", 3.0, 2)), "n2": on(ready("a"))}
    for weight_s, expected in ((0.0, "n2"), (2.0, "n1")):
        pick = choose(row("marginal", prior_weight_s=weight_s, n1=0.9, n2=0.1), nodes, WORK, {}, 0, (0.5, 0.5))
        assert pick is not None
        assert pick.node == expected


def test_strict_draws_as_it_stands_and_rotate_takes_turns() -> None:
    """Neither prices anything."""
    nodes = {"n1": on(ready("a")), "n2": on(ready("a"))}
    strict = [choose(row("strict", n1=0.75, n2=0.25), nodes, WORK, {}, 0, (0.5, d)) for d in (0.0, 0.74, 0.76, 0.999)]
    assert [(p.node, p.propensity) for p in strict if p] == [("n1", 0.75), ("n1", 0.75), ("n2", 0.25), ("n2", 0.25)]
    rotate = [choose(row("rotate", n1=0.5, n2=0.5), nodes, WORK, {}, turn, (0.5, 0.5)) for turn in range(3)]
    assert [p.node for p in rotate if p] == ["n1", "n2", "n1"]


def test_of_two_that_are_drawn_the_better_one_is_taken() -> None:
    """Its propensity is exact: that both draws fall on it or on dearer ones, but not both on these."""
    nodes = {"n1": on(ready("a", 6.0, 3)), "n2": on(ready("a")), "n3": on(ready("a", 2.0, 1))}
    share = row("pair", n1=0.5, n2=0.2, n3=0.3)
    picks = {
        pair: choose(share, nodes, WORK, {}, 0, pair) for pair in itertools.product((0.1, 0.6, 0.8), (0.1, 0.6, 0.8))
    }
    found = {pair: (p.node, round(p.propensity, 9), len(p.prices)) for pair, p in picks.items() if p}
    expected = {0.1: ("n1", 0.25, 3), 0.6: ("n2", 0.36, 3), 0.8: ("n3", 0.39, 3)}
    rank = {0.6: 0, 0.8: 1, 0.1: 2}
    assert found == {pair: expected[min(pair, key=rank.__getitem__)] for pair in picks}


def test_a_draw_at_the_very_end_of_a_row_that_sums_to_less_still_falls_on_somebody() -> None:
    """Rounding may leave the last stretch short."""
    nodes = {"n1": on(ready("a")), "n2": on(ready("a")), "n3": on(ready("a"))}
    third = 1.0 / 3.0
    pick = choose(row("strict", n1=third, n2=third, n3=third), nodes, WORK, {}, 0, (0.5, 1.0))
    assert pick is not None
    assert pick.node == "n3"


@given(st.floats(0.0, 1.0, exclude_max=True), st.sampled_from((0.0, 1.0)))
def test_a_long_row_is_sampled_by_its_probabilities(draw: float, explore: float) -> None:
    """More than 16 pods: at most 16 are priced and the explored one; who has 1/16 or more is always there."""
    count = 2 * CANDIDATES
    nodes = {f"n{k:02d}": on(ready("a")) for k in range(count)}
    rest = 0.8 / (count - 1)
    chances: dict[str, float] = {n: 0.2 if n == "n05" else rest for n in nodes}
    table = row("marginal", explore, 0.0, "a", **chances)
    pick = choose(table, nodes, WORK, {}, 0, (0.5, draw))
    assert pick is not None
    priced = [p.node for p in pick.prices]
    assert len(priced) <= CANDIDATES + 1
    assert "n05" in priced
    assert pick.node in priced


@pytest.mark.parametrize(
    ("phases", "expected"),
    [(("starting", "ready"), "n2"), (("starting", "draining"), "n1"), (("draining", "stopping"), None)],
)
def test_without_a_row_the_shortest_delay_over_ready_pods_then_over_starting_ones(
    phases: tuple[Phase, Phase], expected: str | None
) -> None:
    """Also for a row none of whose nodes has a pod."""
    nodes = {f"n{k + 1}": on(PodQueue("a", phase, 0.0, 4.0 * k, k)) for k, phase in enumerate(phases)}
    direct = without_table("a", nodes, WORK, {})
    assert (direct.node if direct else None) == expected
    by_row = choose(row("marginal", n9=1.0), nodes, WORK, {}, 0, (0.5, 0.5))
    assert (by_row.node if by_row else None) == expected
