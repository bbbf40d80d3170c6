"""Pausing nodes in the twin: one pod runs at a time, who has least work left."""

from fairlead.contracts.cluster import Cluster
from fairlead.twin.calendar import SpeedTurned
from tests.twin.scene import asks, cluster, ends, model, played, run

MODELS = (model("a", work_s=2.0), model("b", work_s=12.0))


def pausing(shape: Cluster) -> Cluster:
    """Return a cluster whose nodes pause pods."""
    return shape.model_copy(update={"nodes": tuple(n.model_copy(update={"pausing": True}) for n in shape.nodes)})


def test_a_short_request_interrupts_a_long_one_that_then_goes_on() -> None:
    """Shared the long one would end at 14, the short one at 7."""
    demand = asks((0.0, "b", 12.0), (3.0, "a", 2.0))
    assert ends(played(run(pausing(cluster(MODELS)), demand, awake=[["a", "b"]]))) == [14.0, 5.0]
    assert ends(played(run(cluster(MODELS), demand, awake=[["a", "b"]]))) == [14.0, 7.0]


def test_one_that_is_nearly_done_is_not_interrupted() -> None:
    """At 11 s it has 1 s left."""
    demand = asks((0.0, "b", 12.0), (11.0, "a", 2.0))
    assert ends(played(run(pausing(cluster(MODELS)), demand, awake=[["a", "b"]]))) == [12.0, 14.0]


def test_the_order_rests_on_mean_work_the_ends_on_the_true_one() -> None:
    """The long model's request is done after 1 s of work, which nobody knew: the short model's goes first."""
    demand = asks((0.0, "b", 1.5), (0.5, "a", 3.0))
    assert ends(played(run(pausing(cluster(MODELS)), demand, awake=[["a", "b"]]))) == [4.5, 3.5]


def test_a_turn_of_speed_holds_for_who_runs() -> None:
    """From 1 s on at half the speed: the short one ends at 3, the long one has done nothing yet."""
    demand = asks((0.0, "a", 2.0), (0.0, "b", 2.0))
    engine = run(pausing(cluster(MODELS)), demand, awake=[["a", "b"]], mishaps=[(1.0, SpeedTurned("n1", 0.5))])
    assert ends(played(engine)) == [3.0, 7.0]
