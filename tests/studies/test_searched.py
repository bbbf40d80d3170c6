"""Placements that were searched fit and are found by the scenario's name."""

import pytest

from fairlead.studies.searched import searched_placement
from fairlead.twin.clusters import cluster, default_ports


@pytest.mark.parametrize("name", ["", "city7-stationary", "city7-rotating"])
def test_the_searched_placement_fits_and_has_every_model(name: str) -> None:
    """`sed-static` gets a placement of city7 that its nodes can hold."""
    shape = cluster("city7", default_ports("city7"))
    memory = {model.id: model.memory_bytes for model in shape.models}
    placement = searched_placement("city7", name)
    assert [one.node for one in placement] == [node.id for node in shape.nodes]
    for node, one in zip(shape.nodes, placement, strict=True):
        assert sum(memory[model] for model in one.awake) <= node.memory_bytes
    assert {model for one in placement for model in one.awake} == set(memory)


def test_a_scenario_whose_own_placement_was_searched_gets_that_one() -> None:
    """Others get that of their cluster; the catalogue has none."""
    assert searched_placement("city7", "city7-burst") == searched_placement("city7")
    assert searched_placement("city7", "city7-rotating") != searched_placement("city7")
    assert searched_placement("catalogue", "catalogue-roomy") == ()
