"""The named clusters are those of CONTROL §5."""

import pytest

from fairlead.contracts.errors import ConfigError
from fairlead.twin.clusters import GB, NAMES, cluster, default_ports, listeners, total_speed


@pytest.mark.parametrize("name", NAMES)
def test_every_named_cluster_is_consistent_and_listens_on_the_ports_given(name: str) -> None:
    """Each keeper and ingress gets the port of its id, by mapping or by call."""
    ports = default_ports(name)
    shape = cluster(name, ports)
    assert shape == cluster(name, lambda who: ports[who])
    assert sorted(ports) == sorted(listeners(shape))
    assert len(set(ports.values())) == len(ports)
    for node in shape.nodes:
        assert node.keeper_url == f"http://127.0.0.1:{ports[node.id]}"
    for site in shape.sites:
        assert site.url == f"http://127.0.0.1:{ports[site.id]}"


def test_city7_has_the_figures_of_control() -> None:
    """Σ speed 6.4, 52 GB, ingresses at nodes 1, 3 and 5."""
    shape = cluster("city7", default_ports("city7"))
    assert total_speed(shape) == pytest.approx(6.4)
    assert sum(node.memory_bytes for node in shape.nodes) == 52 * GB
    assert [site.node for site in shape.sites] == ["node-1", "node-3", "node-5"]
    assert {model.id: (model.work_s, model.start_delay_s) for model in shape.models} == {
        "small-text": (2, 12),
        "large-text": (8, 25),
        "vision-language": (4, 20),
        "image": (24, 50),
    }


def test_catalogue_needs_twice_the_memory_there_is() -> None:
    """24 models that need 101 GB on 52."""
    shape = cluster("catalogue", default_ports("catalogue"))
    assert len(shape.models) == 24
    assert sum(model.memory_bytes for model in shape.models) == pytest.approx(101.4 * GB)


def test_home3_runs_one_real_model_as_a_process_of_its_own() -> None:
    """Three nodes; the launcher runs a command."""
    shape = cluster("home3", default_ports("home3"))
    assert len(shape.nodes) == 3
    (model,) = shape.models
    assert model.id == "smollm2-135m"
    assert model.launch is not None
    assert model.launch.launcher == "exec"


@pytest.mark.parametrize(
    ("name", "nodes", "models", "sites"), [("metro100", 100, 20, 10), ("nation1000", 1000, 100, 20)]
)
def test_large_clusters_are_like_the_small_ones(name: str, nodes: int, models: int, sites: int) -> None:
    """As many nodes and models as CONTROL says, hardly two alike, with room for all models twice."""
    shape = cluster(name, default_ports(name))
    assert (len(shape.nodes), len(shape.models), len(shape.sites)) == (nodes, models, sites)
    assert len({(n.memory_bytes, n.speed) for n in shape.nodes}) > 0.8 * nodes
    assert len({(m.work_s, m.start_delay_s) for m in shape.models}) > 0.8 * models
    assert total_speed(shape) == pytest.approx(6.4 / 7 * nodes, rel=0.1)
    assert sum(n.memory_bytes for n in shape.nodes) > 2 * sum(m.memory_bytes for m in shape.models)


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    """The message says what there is."""
    with pytest.raises(ConfigError, match=r"city8.*catalogue.*city7.*home3"):
        cluster("city8", {})
