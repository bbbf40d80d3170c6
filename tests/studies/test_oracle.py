"""A rollout with perfect knowledge: its candidates fit, and looking ahead pays."""

from dataclasses import replace

from fairlead.contracts.plans import NodePlacement
from fairlead.policy.feasibility import check_placement
from fairlead.policy.measuring import Window
from fairlead.studies.oracle import CANDIDATES, candidates, foresee
from fairlead.studies.searched import searched_placement
from fairlead.twin.calendar import NodeLost
from fairlead.twin.play import Game, engine_of, play, policy_at
from fairlead.twin.requests import at_once
from fairlead.twin.scenarios import scenario
from fairlead.twin.subjects import Subject, subject_of
from tests.twin.scene import asks, cluster, model

BASE = policy_at("marginal-dpp@fresh")


def awake(nodes: tuple[NodePlacement, ...]) -> dict[str, frozenset[str]]:
    """Return what is awake, by node."""
    return {one.node: frozenset(one.awake) for one in nodes}


def test_candidates_fit_and_keep_every_model_somewhere() -> None:
    """At least twelve on city7, each once, none as it is now; the searched placement is one of them."""
    subject = subject_of(scenario("city7-rotating"), 0.8, 1, 60.0, 400.0)
    searched = searched_placement("city7", "city7-rotating")
    engine = engine_of(Game(subject, BASE, 1))
    for until_s in (0.0, 130.0, 260.0):
        engine.run(until_s)
        found = candidates(engine, subject.cluster, searched)
        now = {name: frozenset(node.pods) for name, node in engine.nodes.items()}
        assert 12 <= len(set(found)) == len(found) < CANDIDATES
        for nodes in found:
            assert check_placement(nodes, subject.cluster) == ()
            assert set().union(*awake(nodes).values()) == {one.id for one in subject.cluster.models}
            assert awake(nodes) != now
        assert awake(found[0]) == awake(searched)


def test_a_dead_node_is_no_candidate() -> None:
    """Nothing is put there, and the others are as they were."""
    subject = subject_of(scenario("city7-rotating"), 0.8, 1, 60.0, 400.0)
    engine = engine_of(Game(replace(subject, mishaps=((50.0, NodeLost("node-5")),)), BASE, 1))
    engine.run(100.0)
    found = candidates(engine, subject.cluster, searched_placement("city7", "city7-rotating"))
    assert found
    assert all("node-5" not in awake(nodes) for nodes in found)


def test_who_knows_what_comes_is_ready_for_it() -> None:
    """When all requests turn from one model to the other, the base policy learns it late; the oracle knew."""
    shape = cluster([model("m1"), model("m2", start_s=40.0)], (1.0, 1.0, 1.0), gb=2)
    demand = asks(*((2.5 * k, "m1" if k < 40 else "m2", 4.0) for k in range(80)))
    subject = Subject("turn", shape, at_once(shape), lambda: iter(demand), Window(0.0, 260.0))
    game = Game(subject, BASE, 1)
    told: list[float] = []
    base, oracle = play(game, lambda share: None).figures, foresee(game, told.append)
    assert oracle.figures.latency_s.mean is not None
    assert base.latency_s.mean is not None
    assert oracle.figures.latency_s.mean < 0.9 * base.latency_s.mean
    assert oracle.figures.arrived == base.arrived == 80
    assert oracle.considered >= oracle.imposed > 0
    assert told[-1] == 1.0
