"""What messages check across their fields, each with an error that names the id and what is allowed."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from fairlead.contracts.cluster import Cluster, Launch, ModelSpec, NodeSpec, SiteSpec
from fairlead.contracts.containers import Container, WeightsVolume
from fairlead.contracts.episodes import Distance, EpisodeHeader, MishapLine, Payload
from fairlead.contracts.plans import EpochPlan, Intent, NodePlacement, Placement, RoutingTable, Row, Share

LAUNCH = Launch(launcher="exec", command=("serve",))
NODE = NodeSpec(id="n1", memory_bytes=8, speed=1.0, keeper_url="http://127.0.0.1:1")
MODEL = ModelSpec(id="m1", kind="text", memory_bytes=4, work_s=1.0, start_delay_s=1.0, launch=LAUNCH)
SITE = SiteSpec(id="s1", node="n1", url="http://127.0.0.1:2")


def a_cluster(**change: Any) -> Cluster:
    """Return a small cluster with some of its parts changed."""
    return Cluster(**{"nodes": (NODE,), "models": (MODEL,), "sites": (SITE,), **change})


def a_row(*probabilities: float) -> Row:
    """Return a row over nodes n0, n1 and so on."""
    shares = tuple(Share(node=f"n{i}", probability=p) for i, p in enumerate(probabilities))
    return Row(zone="*", model="m1", rule="marginal", prior_weight_s=0.0, explore=0.0, shares=shares)


def test_cluster_holds_together() -> None:
    """A cluster without nodes may name any model: nodes are added later."""
    assert a_cluster().sites[0].node == "n1"
    assert a_cluster(nodes=(), sites=()).models == (MODEL,)
    assert a_cluster(sites=(SITE.model_copy(update={"node": None}),)).sites[0].node is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"nodes": (NODE, NODE)}, "node 'n1' is defined twice"),
        ({"models": (MODEL, MODEL)}, "model 'm1' is defined twice"),
        ({"sites": (SITE, SITE)}, "site 's1' is defined twice"),
        ({"nodes": (NODE.model_copy(update={"id": "z"}), NODE)}, "node 'n1' stands after 'z'"),
        ({"sites": (SITE.model_copy(update={"node": "n9"}),)}, "beside node 'n9', which is not defined"),
        ({"models": (MODEL.model_copy(update={"memory_bytes": 9}),)}, "needs 9 bytes, the largest node 'n1' has 8"),
    ],
)
def test_cluster_refuses(change: dict[str, Any], said: str) -> None:
    """Duplicate ids, disorder, unknown nodes and models larger than every node are refused by name."""
    with pytest.raises(ValidationError, match=said):
        a_cluster(**change)


def test_a_model_can_be_started_somehow() -> None:
    """By a launch, a container or both."""
    assert ModelSpec(**{**dict(MODEL), "launch": None, "container": Container(image="vision:1")}).launch is None
    with pytest.raises(ValidationError, match="'m1' has neither launch nor container"):
        ModelSpec(**{**dict(MODEL), "launch": None})


def test_weights_of_a_machine_have_an_absolute_path() -> None:
    """A claim's name and an image's reference have none."""
    assert WeightsVolume(source="claim", name="weights", mount_path="/weights").name == "weights"
    with pytest.raises(ValidationError, match="host path 'weights': give an absolute path"):
        WeightsVolume(source="host-path", name="weights", mount_path="/weights")


def test_launch_names_a_program() -> None:
    """A pod needs a command."""
    with pytest.raises(ValidationError, match="command is empty"):
        Launch(launcher="exec", command=())


@pytest.mark.parametrize("bad", ["", "A", "a_b", "-a", "a-", "a" * 64, "a\n", "ä"])
def test_ids_are_dns_labels(bad: str) -> None:
    """An id can name a Kubernetes object."""
    with pytest.raises(ValidationError):
        NODE.model_validate({**NODE.to_document(), "id": bad})


@given(st.lists(st.floats(0.01, 1.0), min_size=1, max_size=8))
def test_invariant_03_a_row_sums_to_one(parts: list[float]) -> None:
    """A row is taken exactly if its probabilities sum to 1 within 1e-9, whatever its length."""
    total = sum(parts)
    row = a_row(*(part / total for part in parts))
    assert abs(sum(share.probability for share in row.shares) - 1.0) <= 1e-9
    short = [part / total * 0.999 for part in parts]
    with pytest.raises(ValidationError, match="must sum to 1"):
        a_row(*short)


@pytest.mark.parametrize("shares", [(), (1.5, -0.5), (0.5, 0.4), (float("nan"),), (2.0,)])
def test_invariant_03_bad_rows_are_refused(shares: tuple[float, ...]) -> None:
    """Empty rows, negative entries, wrong sums and NaN are refused."""
    with pytest.raises(ValidationError):
        a_row(*shares)


def test_a_row_names_a_node_once() -> None:
    """Two shares of one node are a mistake, not a sum."""
    share = Share(node="n1", probability=0.5)
    with pytest.raises(ValidationError, match="'n1' stands twice"):
        Row(zone="*", model="m1", rule="strict", prior_weight_s=0.0, explore=0.0, shares=(share, share))


def test_intent_does_not_contradict_itself() -> None:
    """A node cannot prefer what it avoids."""
    with pytest.raises(ValidationError, match=r"both prefers and avoids \['m1'\]"):
        Intent(node="n1", role="generalist", prefer=("m1", "m2"), avoid=("m1",), bias=0)


def test_placement_of_a_node_is_one_thing() -> None:
    """A pod is to be awake or may stop, never both; only a stoppable one can be forced."""
    NodePlacement(node="n1", awake=("m1",), stoppable=("m2",), forced=("m2",))
    with pytest.raises(ValidationError, match="'m1' stands twice"):
        NodePlacement(node="n1", awake=("m1",), stoppable=("m1",))
    with pytest.raises(ValidationError, match=r"forces \['m2'\], not stoppable"):
        NodePlacement(node="n1", awake=("m1",), stoppable=(), forced=("m2",))


def test_plans_placements_and_tables_name_each_once() -> None:
    """A node, model or row that stands twice is refused."""
    intent = Intent(node="n1", role="generalist", prefer=(), avoid=(), bias=0)
    times: dict[str, Any] = {"created_at_s": 1.0, "expires_at_s": 2.0}
    with pytest.raises(ValidationError, match="node 'n1' stands twice"):
        EpochPlan(
            generation=1, parent=0, epoch=1, source="fallback", intents=(intent, intent), priorities=(), warm=(),
            why="", **times,
        )  # fmt: skip
    one = NodePlacement(node="n1", awake=(), stoppable=())
    with pytest.raises(ValidationError, match="node 'n1' stands twice"):
        Placement(generation=1, plan_generation=0, slot=1, decision="d", nodes=(one, one), **times)
    with pytest.raises(ValidationError, match=r"row '\*/m1' stands twice"):
        RoutingTable(
            generation=1, placement_generation=1, plan_generation=0, slot=1, decision="d", source="fallback",
            rows=(a_row(1.0), a_row(1.0)), work=(), speeds=(), **times,
        )  # fmt: skip


def test_an_episodes_header_holds_together() -> None:
    """The window begins before its end; the network names each pair of site and node, and each model, once."""
    fields: dict[str, Any] = {
        "name": "some.run",
        "begins_at_s": 0.0,
        "window_start_s": 1.0,
        "window_end_s": 2.0,
        "cluster": a_cluster(),
        "distances": (Distance(site="s1", node="n1", one_way_s=0.1),),
        "payloads": (Payload(model="m1", up_s=0.1, down_s=0.0),),
        "seed": 1,
    }
    assert EpisodeHeader(**fields).version == 1
    for change, why in (
        ({"window_start_s": 2.0}, "is not before window_end_s"),
        ({"distances": ()}, "each pair of a site and a node"),
        ({"distances": fields["distances"] * 2}, "each pair of a site and a node"),
        ({"payloads": ()}, "each model of the cluster once"),
        ({"name": "Some Run"}, "pattern"),
    ):
        with pytest.raises(ValidationError, match=why):
            EpisodeHeader(**(fields | change))


def test_a_nodes_new_speed_comes_with_its_turn_alone() -> None:
    """A lost node has none; a slower one has one."""
    assert MishapLine(at_s=1.0, what="speed-turned", node="n1", speed=0.5).speed == 0.5
    assert MishapLine(at_s=1.0, what="node-lost", node="n1").speed is None
    with pytest.raises(ValidationError, match="speed goes with speed-turned"):
        MishapLine(at_s=1.0, what="speed-turned", node="n1")
    with pytest.raises(ValidationError, match="speed goes with speed-turned"):
        MishapLine(at_s=1.0, what="node-lost", node="n1", speed=0.5)
