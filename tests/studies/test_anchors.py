"""Bounds with memory and start delays: above the linear one where these decide, below whatever the twin plays."""

import json

import pytest

from fairlead.contracts.errors import InputError
from fairlead.policy.measuring import Window
from fairlead.studies.anchors import ANCHORS, anchor, mixed_bound
from fairlead.studies.bound import Limits, lp_bound
from fairlead.twin.play import Game, play, policy_at
from fairlead.twin.requests import at_once
from fairlead.twin.subjects import Subject
from fairlead_cli import bound as command
from tests.twin.scene import asks, cluster, model

SHAPE = cluster((model("a", work_s=4.0, gb=3, start_s=10.0), model("b", work_s=6.0, gb=3, start_s=15.0)))


def both_at_once() -> Subject:
    """Return one request for each of two models that do not fit on the node together."""
    demand = asks((0.0, "a", 4.0), (0.0, "b", 6.0))
    return Subject("s", SHAPE, at_once(SHAPE), lambda: iter(demand), Window(0.0, 60.0))


def test_who_does_not_fit_waits_for_a_start() -> None:
    """At best `b` is done at 6 s, then `a` is started for 10 s and done at 20 s or later: 13 s on average.

    Without memory both are done by 10 s. Instants 5 s apart lose up to 5 s of a start, and a bin half a second.
    """
    found = mixed_bound(both_at_once(), 1.0, 60.0)
    assert found.status == "optimal"
    assert 10.0 <= found.mean_s <= 13.0
    assert lp_bound(both_at_once(), Limits(bin_s=1.0)).mean_s <= 8.0


@pytest.mark.parametrize("seed", [1, 2])
def test_no_policy_is_below_it(seed: int) -> None:
    """Also where its time ends before it is solved."""
    subject = anchor("one-node", seed)
    found = mixed_bound(subject, 2.0, 3.0)
    for policy in ("marginal-dpp@fresh", "lru@fresh", "marginal-dpp@5s"):
        mean_s = play(Game(subject, policy_at(policy), seed), lambda share: None).figures.latency_s.mean
        assert mean_s is not None
        assert found.mean_s <= mean_s


def test_anchors_are_small_and_the_same_for_the_same_seed() -> None:
    """In order of time, inside the window, other for another seed."""
    for one in ANCHORS:
        first, again, other = (list(anchor(one.name, seed).demand()) for seed in (1, 1, 2))
        assert first == again != other
        assert first == sorted(first, key=lambda arrival: arrival.at_s)
        assert first[-1].at_s < anchor(one.name, 1).window.end_at_s
        assert max(len(one.speeds), len(one.models)) <= 3


def test_what_cannot_be_bounded_is_refused() -> None:
    """An unknown name, too many models, no time at all."""
    with pytest.raises(InputError, match="two-nodes"):
        anchor("no-such", 1)
    shape = cluster([model(name) for name in "abcd"])
    with pytest.raises(InputError, match="3 and 3 at most"):
        mixed_bound(Subject("s", shape, at_once(shape), lambda: iter(()), Window(0.0, 9.0)), 1.0, 1.0)
    with pytest.raises(InputError, match="nothing was proved"):
        mixed_bound(anchor("three-nodes", 1), 1.0, 1e-6)


def test_the_command_prints_bounds_and_policies(capsys: pytest.CaptureFixture[str]) -> None:
    """As JSON and in columns."""
    command.anchors(policy=["lru@fresh"], seed=1, bin_s=5.0, limit_s=1.0, as_json=True)
    items = json.loads(capsys.readouterr().out)["items"]
    assert [one["subject"] for one in items] == [one.name for one in ANCHORS]
    assert all(one["mean_s"] <= one["policies"]["lru@fresh"] for one in items)
    command.anchors(policy=["lru@fresh"], seed=1, bin_s=5.0, limit_s=1.0, as_json=False)
    assert "three-nodes" in capsys.readouterr().out
