"""What is written into Kubernetes objects, what is read out of them, and which differences count."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead.contracts.containers import MODEL_LABEL, NODE_LABEL, Container
from fairlead.contracts.errors import FOREIGN_CHARS
from fairlead.contracts.plans import Row, Share
from kube_sync.declared import FINALIZER, NO_LAUNCH, NO_PODS, Pods, declared, pods_by_model, told
from kube_sync.objects import budget_object, conditioned, covers, name_of, needless, service_object
from kube_sync.routing import generation_in, is_ours, mirrored, routes_of, said_of, services_in, weights_in
from node_agent.pod_objects import labels_of
from tests.adapters import store_examples as some

GATEWAY = ("infra", "edge")
IDS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", fullmatch=True)


def row(model: str = "text", zone: str = "*", **shares: float) -> Row:
    """Return a row; `n1=0.5` is half for node n1."""
    return Row(
        zone=zone,
        model=model,
        rule="marginal",
        prior_weight_s=0.0,
        explore=0.0,
        shares=tuple(Share(node=node, probability=p) for node, p in shares.items()),
    )


def table(*rows: Row, generation: int = 7) -> Any:
    """Return a table of these rows."""
    return some.table(generation).model_copy(update={"rows": rows})


def ready(**models: str) -> dict[str, Pods]:
    """Return pods that serve: `text="n1 n2"`."""
    return {model: Pods(frozenset(nodes.split()), frozenset(nodes.split())) for model, nodes in models.items()}


@given(st.lists(IDS, min_size=2, max_size=2), st.lists(IDS, min_size=2, max_size=2))
def test_names_are_labels_and_differ_where_ids_do(one: list[str], other: list[str]) -> None:
    """Also where ids run together to the same letters, or are as long as ids may be."""
    name = name_of(*one)
    assert name == name_of(*one)
    assert len(name) <= 63
    assert name == name.strip("-")
    assert name.replace("-", "").isalnum()
    assert (name == name_of(*other)) == (one == other)
    assert name_of("a-b", "c") != name_of("a", "b-c")


def test_what_others_add_does_not_count_and_what_they_change_does() -> None:
    """Defaults of the server and fields of others are theirs; of a list each item counts."""
    wanted = {"spec": {"ports": [{"port": 80}], "empty": None}}
    assert covers({"spec": {"ports": [{"port": 80, "protocol": "TCP"}], "type": "ClusterIP"}, "kind": "x"}, wanted)
    assert not covers({"spec": {"ports": [{"port": 80}, {"port": 81}]}}, wanted)
    assert not covers({"spec": {"ports": [{"port": 81}]}}, wanted)
    assert not covers({"spec": {"ports": "80"}}, wanted)
    assert not covers(None, wanted)
    assert covers({"a": 1.0}, {"a": 1})
    one, more = ({"selector": labels} for labels in ({"a": "b"}, {"a": "b", "c": "d"}))
    assert covers(one, one)
    assert not covers(more, one), "it selects other pods"


@given(IDS, IDS)
def test_a_budget_is_of_one_model_and_named_as_nothing_of_the_chart(model: str, release: str) -> None:
    """It selects the pods of its model, of which one that is ready stays; the chart's own ends in `-control`."""
    budget = budget_object(model, "edge")
    assert budget["metadata"]["name"] != f"{release}-control"
    assert budget["spec"]["selector"]["matchLabels"].items() <= labels_of(model, "n1", "i").items()
    assert budget["spec"]["minAvailable"] == 1


def test_a_budget_goes_with_the_last_pod_of_its_model_or_when_there_is_a_better_one() -> None:
    """None is taken away before the one in its place is there; a store that has lost its models takes none at once."""
    new, old = ({"metadata": {"labels": {MODEL_LABEL: "text"}}} for _ in range(2))
    both = {name_of("text"): new, "fairlead-text": old}
    assert needless(both, ["text"], []) == [old]
    assert needless({"fairlead-text": old}, ["text"], []) == []
    assert needless({name_of("text"): new}, [], ["text"]) == []
    assert needless({name_of("text"): new}, [], []) == [new]


def test_a_condition_keeps_its_instant_until_its_status_changes() -> None:
    """A new reason alone is no change."""
    old = [{"type": "Accepted", "status": "True", "reason": "A", "lastTransitionTime": "then"}]
    same, other = ({"type": "Accepted", "status": status, "reason": "B"} for status in ("True", "False"))
    assert conditioned(old, [same], "now")[0] == {**same, "lastTransitionTime": "then"}
    assert conditioned(old, [other], "now")[0]["lastTransitionTime"] == "now"
    assert conditioned([], [same], "now")[0]["lastTransitionTime"] == "now"


def test_a_route_carries_the_weights_of_its_row() -> None:
    """A pod that is not ready weighs nothing; rows of a zone need the site's header too."""
    given = table(row(n1=0.25, n2=0.75), row(zone="site-1", n1=0.5, n3=0.5))
    whole, zoned = routes_of(given, ready(text="n1 n3"), {}, GATEWAY, "edge")
    assert (whole.weights, zoned.weights) == ({"n1": 10_000, "n2": 0}, {"n1": 5000, "n3": 5000})
    assert generation_in(whole.document) == 7
    assert whole.document["spec"]["parentRefs"] == [{"namespace": "infra", "name": "edge"}]
    matches = [one.document["spec"]["rules"][0]["matches"][0]["headers"] for one in (whole, zoned)]
    assert [[(h["name"], h["value"]) for h in headers] for headers in matches] == [
        [("x-fairlead-model", "text")],
        [("x-fairlead-model", "text"), ("x-fairlead-site", "site-1")],
    ]
    assert services_in(whole.document) == {name_of("text", "n1"), name_of("text", "n2")}
    assert weights_in(whole.document, "text", whole.weights) == whole.weights


def test_a_route_stays_while_its_weights_are_near_enough() -> None:
    """Half a percent is not worth a call; a pod that stops is, and so is a node that a person wrote into it."""
    first = routes_of(table(row(n1=0.5, n2=0.5)), ready(text="n1 n2"), {}, GATEWAY, "edge")[0].document
    found = {first["metadata"]["name"]: first}

    def again(*rows: Row, text: str = "n1 n2") -> Any:
        return routes_of(table(*rows, generation=8), ready(text=text), found, GATEWAY, "edge")[0]

    assert again(row(n1=0.504, n2=0.496)).document == first
    moved, lost = again(row(n1=0.52, n2=0.48)), again(row(n1=0.5, n2=0.5), text="n2")
    assert (generation_in(moved.document), moved.weights) == (8, {"n1": 5200, "n2": 4800})
    assert (generation_in(lost.document), lost.weights) == (8, {"n1": 0, "n2": 10_000})
    first["spec"]["rules"][0]["backendRefs"][0]["name"] = "somebody"
    assert generation_in(again(row(n1=0.5, n2=0.5)).document) == 8
    assert generation_in({"metadata": {"annotations": None}}) == 0


def said(*conditions: tuple[str, str, int], parent: str = "edge", in_time: bool = False) -> tuple[str, str]:
    """Return what is made of conditions (type, status, generation) on a route of generation 3."""
    told = [
        {"type": t, "status": s, "observedGeneration": g, "reason": "Why", "message": "so"} for t, s, g in conditions
    ]
    status = {"parents": [{"parentRef": {"namespace": "infra", "name": parent}, "conditions": told}]}
    route = {"metadata": {"namespace": "edge", "generation": 3}, "status": status}
    return said_of(route, GATEWAY, answered_in_time=in_time)


def test_what_the_gateway_says_of_a_route_is_read_back() -> None:
    """Accepted, rejected with the gateway's reason, of an older generation, or of another gateway's concern."""
    good = ("Accepted", "True", 3), ("ResolvedRefs", "True", 3)
    assert said(*good) == ("accepted", "")
    assert said(good[0], ("ResolvedRefs", "False", 3)) == ("rejected", "Why: so")
    assert said(("Accepted", "False", 3)) == ("rejected", "Why: so")
    assert said(("Accepted", "True", 2), in_time=True) == ("waiting", "")
    assert said(("Accepted", "True", 2)) == ("stale", "the gateway speaks of generation 2, not 3")
    assert said(*good, parent="another", in_time=True) == ("waiting", "")
    assert said()[0] == "waiting"
    assert "is its controller running?" in said()[1]


def test_rows_of_a_model_stay_in_their_mirror_while_nobody_could_tell_the_difference() -> None:
    """The generation shown is that of the table which changed them."""
    first = mirrored(table(row(n1=0.5, n2=0.5), row("image", n1=1.0)), {})
    assert [(one.model, one.table_generation) for one in first.values()] == [("image", 7), ("text", 7)]
    near, far = row(n1=0.502, n2=0.498), row(n1=0.6, n2=0.4)
    assert mirrored(table(near, generation=8), first)["text"] == first["text"]
    assert mirrored(table(near.model_copy(update={"explore": 0.1}), generation=8), first)["text"].table_generation == 8
    assert mirrored(table(far, generation=8), first)["text"].table_generation == 8
    assert list(mirrored(table(near, generation=8), first)) == ["text"]


def test_a_declaration_is_a_model_or_says_why_not() -> None:
    """Its id is the object's name; what Kubernetes cannot check is told with its place."""
    model = some.model().model_copy(update={"launch": None, "container": Container(image="a:1")})
    spec = model.to_document()
    del spec["id"], spec["revision"], spec["launch"]
    found = {"metadata": {"name": "text", "generation": 4, "finalizers": [FINALIZER]}, "spec": spec}
    one = declared(found)
    assert (one.spec, one.refusal, one.leaving, one.finalizers) == (model, "", False, (FINALIZER,))
    shown = told(one, some.model(revision=2), "", Pods(frozenset("a"), frozenset("ab")))
    assert (shown["revision"], shown["ready"], shown["pods"], shown["observedGeneration"]) == (2, 1, 2, 4)
    assert shown["conditions"][0]["status"] == "True"
    bad = declared({**found, "spec": {**spec, "work_s": -1}, "metadata": {"name": "x", "deletionTimestamp": "now"}})
    assert (bad.spec, bad.leaving) == (None, True)
    assert bad.refusal.startswith("work_s: ")
    refused = told(bad, None, bad.refusal, NO_PODS)
    assert "revision" not in refused
    assert refused["conditions"][0]["message"] == bad.refusal
    neither = declared({**found, "spec": {**spec, "container": None}})
    assert "neither launch nor container" in neither.refusal


def test_a_declaration_cannot_have_a_node_agent_run_a_command() -> None:
    """Whether it has a container beside it or not, and whatever the schema lets through."""
    spec = some.model().to_document()
    del spec["id"], spec["revision"]
    for container in (None, {"image": "a:1"}):
        found = declared({"metadata": {"name": "text"}, "spec": {**spec, "container": container}})
        assert (found.spec, found.refusal) == (None, NO_LAUNCH)
    assert len(NO_LAUNCH) <= FOREIGN_CHARS


def pod(node: str, status: str = "True", **meta: Any) -> dict[str, Any]:
    """Return a pod of model text."""
    labels = {MODEL_LABEL: "text", NODE_LABEL: node}
    return {"metadata": {"labels": labels, **meta}, "status": {"conditions": [{"type": "Ready", "status": status}]}}


def test_a_pod_serves_when_it_is_ready_and_nobody_deletes_it() -> None:
    """Others than ours are passed over."""
    pods = [pod("n1"), pod("n2", "False"), pod("n3", deletionTimestamp="now"), {"metadata": {}}]
    assert pods_by_model(pods) == {"text": Pods(frozenset({"n1"}), frozenset({"n1", "n2", "n3"}))}


@pytest.mark.parametrize(("name", "ours"), [(name_of("text", "n1"), True), ("by-hand", False)])
def test_only_services_that_we_made_are_ours_to_delete(name: str, ours: bool) -> None:
    """One that somebody labelled likewise is not."""
    service = service_object("text", "n1", 8000, "edge")
    service["metadata"]["name"] = name
    assert is_ours(service) is ours
