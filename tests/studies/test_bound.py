"""The bound: exact where one can count by hand, below whatever the twin plays, never a number that nothing proves."""

import json
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairlead.contracts.cluster import Cluster, ModelSpec
from fairlead.contracts.errors import InputError
from fairlead.contracts.tuning import PolicyName
from fairlead.policy.measuring import Window
from fairlead.studies.bound import Attempt, Limits, lp_bound
from fairlead.studies.linear import Program, Rows, solve, weak_dual
from fairlead.twin.calendar import Mishap, NodeBack, NodeLost, SpeedTurned
from fairlead.twin.play import Game, PolicyAt, play
from fairlead.twin.requests import Arrival, Network, at_once
from fairlead.twin.subjects import Subject
from fairlead_cli.main import invoke
from tests.twin.scene import asks, cluster, model, placed

FINE = Limits(bin_s=0.5)


def subject(
    shape: Cluster,
    demand: Sequence[Arrival],
    *,
    end_s: float = 200.0,
    mishaps: Sequence[tuple[float, Mishap]] = (),
    network: Network | None = None,
) -> Subject:
    """Return a demand from instant 0 to the window's end, all of it measured."""
    arrivals = sorted(demand, key=lambda one: one.at_s)
    return Subject("s", shape, network or at_once(shape), lambda: iter(arrivals), Window(0.0, end_s), tuple(mishaps))


def one_node(*requests: tuple[float, str, float], models: Sequence[ModelSpec] | None = None) -> Subject:
    """Return requests to one node of speed 1."""
    return subject(cluster(models or (model("a"),)), asks(*requests))


def test_a_request_alone_takes_its_service() -> None:
    """On the fastest node that can have its model: here 8 s of work at speed 2."""
    shape = cluster((model("a", work_s=8.0, gb=2),), speeds=(1.0, 2.0))
    found = lp_bound(subject(shape, asks((10.0, "a", 8.0))), FINE)
    assert found.mean_s == pytest.approx(4.0)
    assert (found.source, found.requests) == ("program", 1)


def test_those_who_wait_are_counted() -> None:
    """Two at once on one node: 8 and 16 s; the fluid loses half a bin at most, and what the end might cut short."""
    found = lp_bound(one_node((0.0, "a", 8.0), (0.0, "a", 8.0)), FINE)
    assert 12.0 - 0.25 - 0.5 <= found.mean_s <= 12.0


def test_what_is_unfinished_counts_with_its_age() -> None:
    """An hour of work that comes 100 s before the end is 100 s old; the fluid is done with a 36th of it."""
    found = lp_bound(one_node((100.0, "a", 3600.0)), FINE)
    assert 100.0 - 100.0 / 36 <= found.mean_s <= 100.0


def test_a_drain_that_is_too_short_is_lengthened() -> None:
    """Forty seconds of work come 2 s before the end: after 2 · 10 s of drain that is infeasible, after 40 it is not."""
    late = subject(cluster((model("a"),)), asks((18.0, "a", 40.0)), end_s=20.0)
    found = lp_bound(late, Limits(bin_s=1.0, drain_s=10.0))
    assert [one.status for one in found.attempts] == ["infeasible", "infeasible", "optimal"]
    assert [one.drain_s for one in found.attempts] == [10.0, 20.0, 40.0]
    assert found.mean_s == pytest.approx(40.0)


def test_a_node_that_is_down_serves_nobody() -> None:
    """Down until 50 s, for a request that comes at 0: it is served after that."""
    shape = cluster((model("a"),))
    found = lp_bound(subject(shape, asks((0.0, "a", 4.0)), mishaps=((0.0, NodeLost("n1")), (50.0, NodeBack("n1")))))
    assert 50.0 <= found.mean_s <= 54.0


def test_a_node_at_half_speed_serves_half() -> None:
    """From the middle of the work on: 4 s of it take 2 + 4 s."""
    shape = cluster((model("a"),))
    found = lp_bound(subject(shape, asks((0.0, "a", 4.0)), mishaps=((2.0, SpeedTurned("n1", 0.5)),)), FINE)
    assert found.mean_s == pytest.approx(6.0, abs=1.1)


def test_the_way_there_is_counted() -> None:
    """Up-link and the nearest node; the way back too where all are answered."""
    shape = cluster((model("a"),), speeds=(1.0, 1.0))
    network = Network({"s1": {"n1": 0.3, "n2": 0.2}}, {"a": 0.1}, {"a": 0.15})
    here, far = (subject(shape, asks((0.0, "a", 4.0)), network=one) for one in (at_once(shape), network))
    assert lp_bound(far, FINE).mean_s == pytest.approx(lp_bound(here, FINE).mean_s + 0.3, abs=0.2)
    drained = Limits(bin_s=0.5, drain_s=10.0)
    assert lp_bound(far, drained).mean_s == pytest.approx(lp_bound(here, drained).mean_s + 0.3 + 0.35, abs=0.01)


def test_without_time_it_is_what_service_alone_takes() -> None:
    """No program is solved in a nanosecond: the bound is weak, true, and says so."""
    found = lp_bound(one_node((0.0, "a", 8.0), (0.0, "a", 8.0)), Limits(bin_s=16.0, time_limit_s=1e-9))
    assert (found.source, found.mean_s, found.gap_ratio) == ("service", 8.0, None)
    assert found.attempts == (Attempt(16.0, None, "time-out"), Attempt(32.0, None, "time-out"))


@pytest.mark.parametrize("limits", [Limits(bin_s=0.0), Limits(time_limit_s=float("nan")), Limits(drain_s=-1.0)])
def test_limits_that_are_none_are_refused(limits: Limits) -> None:
    """Nothing is solved for them."""
    with pytest.raises(InputError, match="above 0"):
        lp_bound(one_node((0.0, "a", 8.0)), limits)


def test_a_window_without_requests_has_no_bound() -> None:
    """There is no latency."""
    with pytest.raises(InputError, match="no request"):
        lp_bound(one_node())


def test_wrong_prices_prove_less_never_more() -> None:
    """Least x1 + x2 with x1 + 2·x2 ≥ 4: 2; any prices whatever prove at most that, the right ones all of it."""
    above, equal = Rows(), Rows()
    above.put(above.begin(np.array([-4.0])), np.array([0, 1]), np.array([-1.0, -2.0]))
    case = Program(np.ones(2), 0.0, above.matrix(2), above.right(), equal.matrix(2), equal.right(), np.full(2, 9.0))
    solved = solve(case, 10.0)
    assert solved.status == "optimal"
    assert solved.value == pytest.approx(2.0)
    assert solved.bound == pytest.approx(2.0)
    proved = [weak_dual(case, np.array([-price]), np.zeros(0)) for price in np.linspace(-1.0, 3.0, 41)]
    assert max(proved) == pytest.approx(2.0)


MODELS = (
    model("a", work_s=4.0, gb=2, start_s=3.0),
    model("b", work_s=9.0, gb=3, start_s=6.0),
    model("c", work_s=2.0, gb=1, start_s=2.0, concurrency=2),
)
REQUESTS = st.lists(
    st.tuples(st.floats(0.0, 99.0), st.sampled_from("abc"), st.sampled_from((0.5, 1.0, 1.5))), min_size=1, max_size=40
)
MISHAPS = st.sampled_from(
    (
        (),
        ((30.0, NodeLost("n1")), (60.0, NodeBack("n1"))),
        ((10.0, SpeedTurned("n2", 0.5)), (70.0, SpeedTurned("n2", 3.0))),
    )
)


@settings(max_examples=40, deadline=None)
@given(
    drawn=REQUESTS,
    mishaps=MISHAPS,
    policy=st.sampled_from(("sed-static", "lru", "marginal-dpp")),
    speeds=st.sampled_from(((1.0, 1.0), (0.6, 1.4), (1.0, 1.0, 2.0))),
)
def test_no_policy_is_below_it(
    drawn: list[tuple[float, str, float]],
    mishaps: tuple[tuple[float, Mishap], ...],
    policy: PolicyName,
    speeds: tuple[float, ...],
) -> None:
    """Random requests with work of their own, nodes lost and slowed, several speeds, every kind of policy."""
    mean_work_s = {one.id: one.work_s for one in MODELS}
    demand = [Arrival(at_s, "s1", name, factor * mean_work_s[name]) for at_s, name, factor in drawn]
    shape = cluster(MODELS, speeds=speeds, gb=5)
    case = subject(shape, demand, end_s=120.0, mishaps=mishaps)
    static = placed([["a", "b"]] + [["a", "c"]] * (len(speeds) - 1))
    played = play(Game(case, PolicyAt(policy, fresh=True), 1, static), lambda share: None)
    assert played.figures.latency_s.mean is not None
    assert lp_bound(case, Limits(bin_s=4.0)).mean_s <= played.figures.latency_s.mean + 1e-9


def test_the_command_prints_a_bound(capsys: pytest.CaptureFixture[str]) -> None:
    """The same number in words and as JSON; what cannot be bounded is refused in one line."""
    options = ["bound", "city7-stationary", "--load", "0.6", "--seed", "3", "--duration", "120", "--bin", "10"]
    assert invoke([*options, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["source"], document["load"], document["seed"]) == ("program", 0.6, 3)
    assert invoke(options) == 0
    assert f"{document['mean_s']:.4f} s" in capsys.readouterr().out
    assert invoke(["bound", "no-such-thing"]) == 2
    assert invoke(["bound", "city7-stationary", "--bin", "0"]) == 2
    assert "above 0" in capsys.readouterr().err
