"""The fold of readings into the view of a decision."""

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairlead.contracts.base import Message
from fairlead.contracts.decisions import ModelView, NodeView, PodView, Snapshot
from fairlead.contracts.events import Wake
from fairlead.contracts.readings import GatewayReport, NodeReport
from fairlead.contracts.tuning import PolicySettings
from fairlead.policy.believing import FASTER_MOST
from fairlead.policy.snapshot import allowed_age_s, fold, outdated, totals, with_wakes
from tests.slot_agent.edge import ORIGIN_S, Edge, cluster

TUNING = PolicySettings()
NOW_S = ORIGIN_S + 100.0


def edge() -> Edge:
    """Return three nodes; `m1` and `m2` are awake on `n1`, `m1` on `n2`."""
    made = Edge(cluster(), NOW_S)
    made.awake("n1", "m1")
    made.awake("n1", "m2")
    made.awake("n2", "m1")
    return made


def folded(
    made: Edge,
    now_s: float = NOW_S,
    nodes: Iterable[NodeReport] | None = None,
    gateways: Iterable[GatewayReport] | None = None,
    before: dict[str, int] | None = None,
) -> Snapshot:
    """Return the fold of the edge's reports, or of those given."""
    return fold(
        now_s,
        made.cluster,
        tuple(made.node_reports() if nodes is None else nodes),
        tuple(made.gateway_reports() if gateways is None else gateways),
        made.arrived,
        before or {},
        TUNING,
    )


def node(snapshot: Snapshot, name: str) -> NodeView:
    """Return the view of a node."""
    return next(n for n in snapshot.nodes if n.node == name)


def model(snapshot: Snapshot, name: str) -> ModelView:
    """Return the view of a model."""
    return next(m for m in snapshot.models if m.model == name)


def pod(snapshot: Snapshot, of: str, name: str) -> PodView:
    """Return the view of a pod."""
    return next(p for p in node(snapshot, of).pods if p.model == name)


def changed(message: Message, **fields: Any) -> Any:
    """Return `message` with other values, checked like any that arrives."""
    return type(message).model_validate({**dict(message), **fields})


@pytest.mark.parametrize(("said", "believed"), [(1e6, FASTER_MOST), (2.0, 2.0), (1e-6, 1e-6)])
def test_a_keepers_boast_of_its_speed_is_believed_within_bounds(said: float, believed: float) -> None:
    """Of nodes that were declared at speed 1; what a keeper says against itself counts as it is."""
    reports = edge().gateway_reports()
    lies = [r if r.keeper is None else changed(r, keeper=changed(r.keeper, speed=said)) for r in reports]
    assert [n.speed for n in folded(edge(), gateways=lies).nodes if n.up] == [believed] * 3


def test_agents_and_keepers_readings_of_a_pod_are_joined() -> None:
    """Phase and age come from the agent, work and count from the keeper."""
    made = edge()
    made.pods["n1"]["m1"].count = 3
    snapshot = folded(made)
    view = pod(snapshot, "n1", "m1")
    assert (view.phase, view.work_s, view.count, view.running) == ("ready", 6.0, 3, 1)
    assert view.since_at_s == NOW_S - 1000.0
    assert [p.model for p in node(snapshot, "n1").pods] == ["m1", "m2"]
    assert node(snapshot, "n1").up
    assert node(snapshot, "n1").observed_at_s == NOW_S


def test_work_that_a_node_has_done_since_its_report_is_taken_off() -> None:
    """Two busy pods share the node: 4 s after the report each has 2 s of work less, and one request less."""
    made = edge()
    made.pods["n1"]["m1"].count = 3
    made.pods["n1"]["m2"].count = 2
    nodes, gateways = tuple(made.node_reports()), tuple(made.gateway_reports())
    snapshot = folded(made, NOW_S + 4.0, nodes, gateways)
    assert pod(snapshot, "n1", "m1").work_s == pytest.approx(4.0)
    assert pod(snapshot, "n1", "m2").work_s == pytest.approx(2.0)
    assert (pod(snapshot, "n1", "m1").count, pod(snapshot, "n1", "m2").count) == (2, 1)


def test_a_pod_that_the_keeper_does_not_name_has_no_queue() -> None:
    """The agent started it a moment ago; the keeper's list of queues is complete without it."""
    made = edge()
    gateways = tuple(made.gateway_reports())
    made.obey(None)
    made.awake("n3", "m3")
    snapshot = folded(made, gateways=gateways)
    assert (pod(snapshot, "n3", "m3").count, pod(snapshot, "n3", "m3").used_at_s) == (0, None)


@pytest.mark.parametrize(("ready_at_s", "left_s"), [(NOW_S + 7.0, 7.0), (NOW_S - 1.0, 0.0), (None, 6.0)])
def test_a_starting_pod_says_how_long_it_still_takes(ready_at_s: float | None, left_s: float) -> None:
    """Without an estimate of the agent the model's start delay counts from when the start began, 4 s ago."""
    made = edge()
    reports = list(made.node_reports())
    first = reports[0].pods[0]
    starting = changed(first, phase="starting", since_at_s=NOW_S - 4.0, ready_at_s=ready_at_s)
    reports[0] = changed(reports[0], pods=(starting,))
    assert pod(folded(made, nodes=reports), "n1", "m1").ready_in_s == left_s


def test_a_sleeping_pod_says_how_long_it_takes_to_wake_if_its_keeper_knows() -> None:
    """A keeper that does not name it says nothing."""
    made = edge()
    reports = list(made.node_reports())
    reports[0] = changed(reports[0], pods=tuple(changed(p, phase="sleeping") for p in reports[0].pods))
    gateways = list(made.gateway_reports())
    keeper = gateways[0].keeper
    assert keeper is not None
    sleeping = changed(keeper.pods[0], phase="sleeping", ready_in_s=1.5)
    gateways[0] = changed(gateways[0], keeper=changed(keeper, pods=(sleeping,)))
    snapshot = folded(made, nodes=reports, gateways=gateways)
    assert (pod(snapshot, "n1", "m1").ready_in_s, pod(snapshot, "n1", "m2").ready_in_s) == (1.5, 0.0)


def test_what_an_agent_says_of_its_pods_stands_in_the_snapshot() -> None:
    """Of those alone that are not as ordered, in as many words as a message may have."""
    made = edge()
    reports = list(made.node_reports())
    assert node(folded(made, nodes=reports), "n1").troubles == ()
    reason = "EvictionByEvictionAPI: " + "drained " * 40
    first = changed(reports[0].pods[0], reason=reason[:256])
    reports[0] = changed(reports[0], pods=(first, *reports[0].pods[1:]))
    (trouble,) = node(folded(made, nodes=reports), "n1").troubles
    assert trouble.startswith(f"{first.model}: EvictionByEvictionAPI: drained")
    assert len(trouble) == 256


def test_an_off_pod_is_seen_only_while_it_is_in_back_off() -> None:
    """Where it crashed nothing is started now."""
    made = edge()
    reports = list(made.node_reports())
    off = {"phase": "off", "memory_bytes": 0, "crashes": 1}
    pods = (
        changed(reports[0].pods[0], backoff_until_s=NOW_S + 5.0, **off),
        changed(reports[0].pods[1], backoff_until_s=NOW_S - 5.0, **off),
    )
    reports[0] = changed(reports[0], pods=pods)
    assert [(p.model, p.blocked) for p in node(folded(made, nodes=reports), "n1").pods] == [("m1", True)]


@pytest.mark.parametrize("who", ["agent", "keeper"])
def test_invariant_10_a_reading_older_than_three_reports_is_not_used_and_is_named(who: str) -> None:
    """The node is not up, its pods are not believed, and the snapshot says whose reading is too old."""
    made = edge()
    nodes, gateways = tuple(made.node_reports()), tuple(made.gateway_reports())
    late_s = NOW_S + allowed_age_s(TUNING) + 0.1
    made.now_s = late_s
    if who == "agent":
        gateways = tuple(made.gateway_reports())
    else:
        nodes = tuple(made.node_reports())
    snapshot = folded(made, late_s, nodes, gateways)
    names = ("n1", "n2", "n3")
    assert snapshot.stale == tuple(f"{'node' if who == 'agent' else 'gateway'}/{n}" for n in names)
    assert [(n.up, n.pods, n.observed_at_s) for n in snapshot.nodes] == [(False, (), NOW_S)] * 3


def test_invariant_10_a_reading_of_the_allowed_age_is_used() -> None:
    """Three report periods are allowed."""
    made = edge()
    nodes, gateways = tuple(made.node_reports()), tuple(made.gateway_reports())
    snapshot = folded(made, NOW_S + allowed_age_s(TUNING), nodes, gateways)
    assert snapshot.stale == ()
    assert all(n.up for n in snapshot.nodes)


def test_invariant_10_a_node_that_never_reported_is_absent_not_empty() -> None:
    """It is not up, and there is no time at which it was observed."""
    made = edge()
    made.lose("n3")
    view = node(folded(made), "n3")
    assert (view.up, view.observed_at_s, view.speed) == (False, None, 1.0)


def test_invariant_10_a_model_that_no_gateway_names_was_never_asked_for() -> None:
    """Its last arrival is None, not 0."""
    assert model(folded(edge()), "m3").asked_at_s is None


def test_a_reading_from_the_future_is_of_another_clock_and_not_used() -> None:
    """It would else count as fresh until our time comes to it."""
    made = edge()
    made.now_s = NOW_S + 1000.0
    nodes, gateways = tuple(made.node_reports()), tuple(made.gateway_reports())
    snapshot = folded(made, NOW_S, nodes, gateways)
    assert len(snapshot.stale) == 6
    assert not any(n.up for n in snapshot.nodes)


def test_reports_of_what_the_cluster_does_not_have_are_left_out() -> None:
    """Nodes, gateways and models that were taken out may still be reported for a while."""
    made = edge()
    nodes, gateways = tuple(made.node_reports()), tuple(made.gateway_reports())
    made.cluster = cluster(nodes=2, models=1)
    snapshot = folded(made, NOW_S + 100.0, nodes, gateways)
    assert [n.node for n in snapshot.nodes] == ["n1", "n2"]
    assert snapshot.stale == ("gateway/n1", "gateway/n2", "node/n1", "node/n2")
    fresh = folded(made, NOW_S, nodes, gateways)
    assert [p.model for p in node(fresh, "n1").pods] == ["m1"]


def test_held_requests_add_up_and_the_oldest_ages() -> None:
    """Two gateways hold; the report of the older wait is 2 s old."""
    made = edge()
    nodes = tuple(made.node_reports())
    made.ask("m3")
    gateways = list(made.gateway_reports())
    held = changed(gateways[0].models[2], held=2, oldest_held_s=4.0, asked_at_s=NOW_S - 4.0)
    gateways[0] = changed(gateways[0], models=(held,))
    gateways[1] = changed(gateways[1], models=(changed(held, held=1, oldest_held_s=3.0, asked_at_s=NOW_S),))
    gateways[2] = changed(gateways[2], models=(changed(held, held=0, oldest_held_s=0.0, asked_at_s=None),))
    view = model(folded(made, NOW_S + 2.0, nodes, gateways), "m3")
    assert (view.held, view.oldest_held_s, view.asked_at_s) == (3, 6.0, NOW_S)


def test_arrivals_are_the_differences_of_totals_and_never_negative() -> None:
    """A total that fell gives 0, and counting goes on from it."""
    made = edge()
    made.arrived = {"m1": 12, "m2": 3}
    snapshot = folded(made, before={"m1": 7, "m2": 5})
    assert [(m.arrived, m.arrived_total) for m in snapshot.models] == [(5, 12), (0, 3), (0, 0)]
    assert totals(snapshot, counted=True) == {"m1": 12, "m2": 3, "m3": 0}
    assert totals(snapshot, counted=False)["m1"] == 7
    unknown = changed(snapshot, models=(changed(snapshot.models[0], arrived_total=None),))
    assert totals(unknown, counted=True) == {}


def wake(name: str, reason: str = "missing", site: str | None = None, wait_s: float = 0.0) -> Wake:
    """Return what a gateway said a second ago."""
    return Wake.model_validate({"model": name, "reason": reason, "site": site, "wait_s": wait_s, "at_s": NOW_S - 1.0})


def test_a_missed_model_is_held_as_long_as_its_wake_says() -> None:
    """The report that will say so has not come yet."""
    snapshot = with_wakes(folded(edge()), (wake("m3", wait_s=2.0), wake("m2", "wait"), wake("m1", "node-lost")))
    assert (model(snapshot, "m3").held, model(snapshot, "m3").oldest_held_s) == (1, 3.0)
    assert model(snapshot, "m3").asked_at_s == NOW_S - 1.0
    assert (model(snapshot, "m2").held, model(snapshot, "m2").asked_at_s) == (0, NOW_S - 1.0)
    assert (model(snapshot, "m1").held, model(snapshot, "m1").asked_at_s) == (0, None)


def test_without_wakes_the_snapshot_is_as_it_was() -> None:
    """The same value, not a copy."""
    snapshot = folded(edge())
    assert with_wakes(snapshot, ()) is snapshot


def test_a_wake_does_not_take_back_what_a_report_said() -> None:
    """More held for longer, and asked later, stays."""
    made = edge()
    made.held_since_s["m3"] = NOW_S - 50.0
    made.asked_at_s["m3"] = NOW_S
    view = model(with_wakes(folded(made), (wake("m3"),)), "m3")
    assert (view.held, view.oldest_held_s, view.asked_at_s) == (1, 50.0, NOW_S)


def test_a_wake_is_outdated_once_those_who_may_have_sent_it_have_reported() -> None:
    """Its own site where it names one, else all sites that are heard; and always after three report periods."""
    made = edge()
    reports = tuple(made.gateway_reports())
    assert outdated(wake("m3"), NOW_S, reports, TUNING)
    assert not outdated(wake("m3"), NOW_S, (), TUNING)
    assert outdated(wake("m3"), NOW_S + 20.0, (), TUNING)
    old = (changed(reports[0], observed_at_s=NOW_S - 2.0), *reports[1:])
    assert not outdated(wake("m3"), NOW_S, old, TUNING)
    assert outdated(wake("m3", site="s2"), NOW_S, old, TUNING)
    assert not outdated(wake("m3", site="s1"), NOW_S, old, TUNING)


@given(
    ages_s=st.lists(st.floats(0.0, 60.0), min_size=6, max_size=6),
    order=st.permutations(range(3)),
    counts=st.dictionaries(st.sampled_from(["m1", "m2", "m3"]), st.integers(0, 9)),
    before=st.dictionaries(st.sampled_from(["m1", "m2", "m3"]), st.integers(0, 9)),
)
@settings(max_examples=60)
def test_invariant_10_whatever_the_ages_only_readings_in_time_are_used(
    ages_s: list[float], order: list[int], counts: dict[str, int], before: dict[str, int]
) -> None:
    """Up means both readings in time; too old means named; order of the reports says nothing; arrivals ≥ 0."""
    made = edge()
    made.arrived = counts
    nodes = [changed(r, observed_at_s=NOW_S - a) for r, a in zip(made.node_reports(), ages_s[:3], strict=True)]
    gateways = [
        changed(r, observed_at_s=NOW_S - a, keeper=changed(r.keeper, observed_at_s=NOW_S - a))
        for r, a in zip(made.gateway_reports(), ages_s[3:], strict=True)
        if r.keeper is not None
    ]
    snapshot = folded(made, nodes=nodes, gateways=gateways, before=before)
    assert snapshot == folded(
        made, nodes=[nodes[i] for i in order], gateways=[gateways[i] for i in order], before=before
    )
    for view, agent, gateway in zip(snapshot.nodes, nodes, gateways, strict=True):
        in_time = [NOW_S - r.observed_at_s <= 15.0 for r in (agent, gateway)]
        assert view.up == all(in_time)
        assert view.up or view.pods == ()
        assert (f"node/{view.node}" in snapshot.stale) is not in_time[0]
        assert (f"gateway/{view.node}" in snapshot.stale) is not in_time[1]
    assert all(m.arrived >= 0 for m in snapshot.models)
