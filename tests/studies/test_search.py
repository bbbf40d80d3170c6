"""The search of placements: descent, starts, and the file that it writes."""

import itertools
from collections.abc import Callable, Sequence

import pytest

from fairlead.contracts.plans import NodePlacement
from fairlead.policy.baselines import random_placement
from fairlead.studies.cells import ScenarioAt
from fairlead.studies.search import (
    UNSERVED_S,
    Descent,
    Sets,
    Training,
    Trial,
    descended,
    document,
    fitting,
    mean_s,
    placed,
    random_starts,
    refined,
    sets_of,
)

SHORT = Training(ScenarioAt("city7-stationary", 0.6, 30.0, 200.0), (1, 2))


def by_count(run: Callable[[Trial], float], trials: Sequence[Trial]) -> Sequence[float]:
    """Pretend that a run takes longer the fewer pods of `image` there are, and each other pod a little less."""
    found = []
    for _, placement, seed in trials:
        pods = list(itertools.chain.from_iterable(placement))
        found.append(100.0 - 10.0 * pods.count("image") - 0.1 * len(pods) + seed)
    return found


def one_by_one(run: Callable[[Trial], float], trials: Sequence[Trial]) -> Sequence[float]:
    """Do the runs."""
    return [run(one) for one in trials]


def test_every_set_that_fits_is_tried() -> None:
    """The empty one too, none twice."""
    sets = fitting(SHORT.cluster(), 6_000_000_000)
    assert len(set(sets)) == len(sets)
    assert frozenset() in sets
    assert {"image", "small-text"} in sets
    assert {"image", "vision-language"} not in sets


def test_a_descent_ends_where_no_single_node_can_be_made_better() -> None:
    """Whatever it starts from; what lacks a model is never better."""
    cluster = SHORT.cluster()
    for start in random_starts(SHORT, 3):
        told: list[float] = []
        end = descended(SHORT, start, by_count, lambda tried, best_s, told=told: told.append(best_s))  # type: ignore[misc]
        assert set().union(*end.placement) == {model.id for model in cluster.models}
        assert told == sorted(told, reverse=True)
        assert told[-1] == end.mean_s
        for at, node in enumerate(cluster.nodes):
            for models in fitting(cluster, node.memory_bytes):
                other = (*end.placement[:at], models, *end.placement[at + 1 :])
                if set().union(*other) == {model.id for model in cluster.models}:
                    values = by_count(mean_s, [(SHORT, other, seed) for seed in SHORT.seeds])
                    assert sum(values) / len(values) >= end.mean_s - 1e-9


def test_a_placement_without_a_model_is_not_even_played() -> None:
    """Nor is any played twice."""
    played: list[Trial] = []

    def noted(run: Callable[[Trial], float], trials: Sequence[Trial]) -> Sequence[float]:
        played.extend(trials)
        return by_count(run, trials)

    end = descended(SHORT, tuple(frozenset({"small-text"}) for _ in range(7)), noted, lambda tried, best_s: None)
    models = {model.id for model in SHORT.cluster().models}
    assert all(set().union(*placement) == models for _, placement, _ in played)
    assert len(set(played)) == len(played)
    assert end.mean_s == UNSERVED_S  # no node has room for the other three


def test_of_several_ends_the_best_on_other_seeds_is_taken() -> None:
    """Its mean is that on these seeds; one that lacks a model is none."""
    rest = tuple(frozenset({"small-text", "vision-language"}) for _ in range(4))
    large, image = frozenset({"large-text", "small-text"}), frozenset({"image"})
    some = [
        Descent((*first, *rest), 1.0, 1, 1) for first in ((large, image, large), (large, image, image), (image,) * 3)
    ]
    end = refined(SHORT, (3, 4), some, by_count)
    assert end.placement == some[1].placement
    assert end.mean_s == pytest.approx(100.0 - 20.0 - 1.2 + 3.5)
    assert refined(SHORT, (3, 4), some[2:], by_count).mean_s == UNSERVED_S


def test_a_run_of_a_better_placement_is_faster() -> None:
    """With one pod of each model on the slowest nodes, requests wait longer than on a random full placement."""
    cluster = SHORT.cluster()
    full = next(random_starts(SHORT, 1))
    sparse: Sets = (
        frozenset({"image"}),
        frozenset({"large-text", "small-text"}),
        *(frozenset() for _ in range(4)),
        frozenset({"vision-language"}),
    )
    means = [one_by_one(mean_s, [(SHORT, one, 1)])[0] for one in (full, sparse)]
    assert means[0] < means[1]
    assert sets_of(cluster, random_placement(cluster, 0)) == full


def test_what_was_found_is_written_as_it_is_read() -> None:
    """With the scenario's cluster, and the provenance as given."""
    found = Descent(next(random_starts(SHORT, 1)), 9.0, 2, 50)
    written = document(SHORT, found, {"date": "2026-11-21"})
    assert (written["cluster"], written["scenario"]) == ("city7", "city7-stationary")
    assert written["provenance"] == {"date": "2026-11-21"}
    placement = written["placement"]
    assert isinstance(placement, list)
    assert tuple(NodePlacement.model_validate(one) for one in placement) == placed(SHORT.cluster(), found.placement)
