"""Replies in the vocabulary become drafts and guides, or faults: feasibility and trust region (CONTROL §3)."""

from typing import Any

import pytest

from fairlead.contracts.decisions import EpochInput
from fairlead.contracts.plans import Guide, PlanDraft
from fairlead.contracts.replies import PlannerReply, SlotReply
from fairlead.contracts.tuning import PolicySettings
from fairlead.policy.aliases import Aliases, named
from fairlead.policy.dialogue import Opening
from fairlead.policy.parsing import Fault
from fairlead.policy.planner_gate import drafted, largest_tilt, meant
from fairlead.policy.slot_gate import furthest, guided
from fairlead.policy.weighing import RouteTopic
from tests.policy.dialogues import (
    RATES,
    SHAPE,
    SPEAKING,
    case,
    epoch_asked,
    large_slot_asked,
    opening,
    planner_reply,
    slot_asked,
    slot_reply,
)
from tests.policy.situations import NOW_S, asked, cluster, model, node, pod, view

NODES = named("n", [[n.id] for n in SHAPE.nodes])
MODELS = named("m", [[m.id] for m in SHAPE.models])
SLOT = opening(slot_asked())
EPOCH = epoch_asked()
CASES = (case(1, EPOCH, {**RATES, "gone": 1.0}), case(2, EPOCH, {}))
PLAN = opening(EPOCH, CASES)


def ids(found: Opening) -> list[str]:
    """Return the ids that no message to a model may name."""
    shape = found.briefing.asked.cluster
    return [*(n.id for n in shape.nodes), *(m.id for m in shape.models)]


def plan_of(reply: dict[str, Any], found: Opening = PLAN) -> PlanDraft | Fault:
    """Return what the gate makes of a planner reply."""
    given = found.briefing.asked
    assert not isinstance(found.about, RouteTopic)
    assert given == found.about.given
    return drafted(PlannerReply.model_validate(reply), found.about.given, found.about.meant)


def draft(reply: dict[str, Any], found: Opening = PLAN) -> PlanDraft:
    """Return the draft; there is no fault."""
    made = plan_of(reply, found)
    assert isinstance(made, PlanDraft)
    return made


def fault(reply: dict[str, Any], found: Opening = PLAN) -> Fault:
    """Return the fault; there is one, and it is told to the model without any id."""
    made = plan_of(reply, found)
    assert isinstance(made, Fault)
    assert not any(one in made.said for one in ids(found))
    return made


def wishes(**by_node: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a wish for each of four nodes, neutral unless said."""
    plain = {"role": "generalist", "prefer": [], "avoid": [], "bias": 0}
    return [{**plain, "node": f"n{k:02d}", **by_node.get(f"n{k:02d}", {})} for k in range(1, 5)]


def test_a_planner_reply_becomes_a_draft_in_ids() -> None:
    """Intents of all nodes, priorities of all models: what is not said is neutral; the rates are the case's."""
    made = draft(planner_reply(PLAN, nodes=wishes(n04={"role": "drain", "avoid": ["m01"], "bias": 4}), why="a\x1bb"))
    assert [(i.node, i.role, i.prefer, i.avoid, i.bias) for i in made.intents][2:] == [
        ("edge-3", "generalist", (), (), 0),
        ("say-yes", "drain", (), (SPEAKING[0],), 4),
    ]
    assert [(p.model, p.priority, p.expected) for p in made.priorities] == [
        (SPEAKING[0], 2, "same"),
        ("large-text", 2, "same"),
        ("small-text", 2, "same"),
        ("vision", 3, "rising"),
    ]
    assert [(w.model, w.node, w.at_s) for w in made.warm] == [("vision", "edge-1", NOW_S + 20.0)]
    assert {r.model: r.per_s for r in made.rates} == RATES
    assert made.why == "a b"


def test_times_of_warm_count_from_the_epochs_begin() -> None:
    """`now` is the begin of an epoch that has not begun, else now."""
    warm = [{"model": "m04", "node": "n01", "at": "now"}, {"model": "m04", "node": "n02", "at": 60}]
    for begins_at_s, expected in (
        (NOW_S + 20.0, [NOW_S + 20.0, NOW_S + 80.0]),
        (NOW_S - 100.0, [NOW_S, NOW_S - 40.0]),
        (None, [NOW_S, NOW_S + 60.0]),
    ):
        found = opening(epoch_asked(begins_at_s=begins_at_s))
        made = draft(planner_reply(found, warm=warm), found)
        assert [w.at_s for w in made.warm] == expected


def test_a_pod_that_is_wished_warm_twice_is_warmed_once() -> None:
    """The first time counts."""
    warm = [{"model": "m04", "node": "n01", "at": at} for at in (30, "now")]
    assert [w.at_s for w in draft(planner_reply(PLAN, warm=warm)).warm] == [NOW_S + 50.0]


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        ({"nodes": wishes()[:3]}, "node-once", "n04 must stand in nodes exactly once"),
        ({"nodes": [*wishes(), *wishes()[:1]]}, "node-once", "n01 must stand in nodes exactly once"),
        ({"nodes": wishes(n01={"node": "n07"})}, "unknown-node", "there is no node n07"),
        ({"nodes": wishes(n01={"avoid": ["m12"]})}, "unknown-model", "there is no model m12"),
        ({"models": [{"model": "m05", "priority": 1, "expected": "same"}]}, "unknown-model", "there is no model m05"),
        ({"warm": [{"model": "m01", "node": "n05", "at": "now"}]}, "unknown-node", "there is no node n05"),
        ({"warm": [{"model": "m09", "node": "n01", "at": "now"}]}, "unknown-model", "there is no model m09"),
        ({"rates_of": "c5"}, "unknown-case", "there is no case c5"),
        (
            {"models": [{"model": "m02", "priority": 1, "expected": "same"}] * 2},
            "model-once",
            "m02 must stand in models at most once",
        ),
        (
            {"nodes": wishes(n04={"prefer": ["m01", "m02", "m03"]})},
            "memory",
            "n04 prefers more than fits its memory: 6.5 of 6.0 GB; "
            "m01 has demand: prefer it on a node that is not drained and where all preferred models fit",
        ),
        (
            {"nodes": wishes(n01={"prefer": ["m01", "m02"]})},
            "neglected",
            "m03 has demand: prefer it on a node that is not drained and where all preferred models fit",
        ),
        (
            {"warm": [{"model": "m01", "node": "n01", "at": 301}]},
            "warm-time",
            "m01 is to be warm 301 s after the epoch's begin, which lasts 300 s",
        ),
    ],
)
def test_an_infeasible_plan_is_a_fault_told_in_aliases(change: dict[str, Any], code: str, said: str) -> None:
    """So that no id speaks to the model; people are told in ids."""
    found = fault(planner_reply(PLAN, **change))
    assert (found.step, found.code) == ("feasibility", code)
    assert found.said.startswith(said)


def test_people_are_told_the_ids() -> None:
    """In the journal."""
    assert "'say-yes'" in fault(planner_reply(PLAN, nodes=wishes(n04={"prefer": ["m01", "m02", "m03"]}))).text


def test_a_model_that_is_warmed_must_fit_its_node() -> None:
    """On none of a group that can take it, the first is named."""
    shape = cluster([node("atom", 2.0), node("box", 9.0)], [model("big", 5.0), model("tiny", 1.0)])
    views = (view("atom"), view("box", pod("big")))
    given = epoch_asked(slot_asked(cluster=shape, snapshot=slot_asked().snapshot.model_copy(update={"nodes": views})))
    found = opening(given.model_copy(update={"rates": (), "parent": None}))
    reply = planner_reply(found, nodes=wishes()[:2], warm=[{"model": "m01", "node": "n01", "at": 0}], models=[])
    assert fault(reply, found).said == "m01 in warm does not fit n01"


def test_an_unknown_case_that_is_only_cited_is_passed_over() -> None:
    """It changes nothing."""
    assert draft(planner_reply(PLAN, cases_cited=["c1", "c4"])).rates == draft(planner_reply(PLAN)).rates
    assert draft(planner_reply(PLAN, rates_of=None)).rates == ()
    assert draft(planner_reply(PLAN, rates_of="c2")).rates == ()


def test_rates_of_a_case_are_told_of_every_model_from_when_the_reply_says() -> None:
    """What the case does not name was not asked for; without a case there is nothing to tell, and no time for it."""
    begins_at_s = EPOCH.begins_at_s
    assert begins_at_s is not None
    told = draft(planner_reply(PLAN, rates_at=90))
    assert {r.model for r in told.rates} == {m.id for m in EPOCH.cluster.models}
    assert told.rates_at_s == begins_at_s + 90.0
    assert draft(planner_reply(PLAN, rates_at="now")).rates_at_s == max(begins_at_s, EPOCH.now_s)
    assert draft(planner_reply(PLAN, rates_of=None, rates_at=90)).rates_at_s is None
    assert draft(planner_reply(PLAN, rates_of="c2", rates_at=90)).rates_at_s is None


def test_the_largest_tilt_is_at_most_two_and_one_where_nothing_is_wished() -> None:
    """CONTROL §2 rule 4: the vocabulary has nothing stronger."""
    plain = draft(planner_reply(PLAN, nodes=wishes(), models=[]))
    assert largest_tilt(plain, EPOCH) == 1.0
    strong = wishes(n01={"avoid": ["m01"], "bias": 4})
    most = draft(planner_reply(PLAN, nodes=strong, models=[{"model": "m01", "priority": 0, "expected": "silent"}]))
    assert largest_tilt(most, EPOCH) == 2.0
    assert largest_tilt(plain, EPOCH.model_copy(update={"cluster": cluster([], [])})) == 1.0


GROUPS = Aliases(
    nodes=(("n01", ("edge-1", "say-yes")), ("n02", ("edge-2", "edge-3"))),
    models=(("m01", (SPEAKING[0], "large-text")), ("m02", ("small-text", "vision"))),
)
"""Two groups of two nodes, and of two models."""


def grouped_plan(nodes: list[dict[str, Any]], given: EpochInput = EPOCH, **changes: Any) -> PlanDraft | Fault:
    """Return what becomes of a reply about groups."""
    reply = {
        "nodes": nodes,
        "models": [],
        "warm": [],
        "rates_of": None,
        "confidence": 0,
        "cases_cited": [],
        "why": "",
        **changes,
    }
    return drafted(PlannerReply.model_validate(reply), given, meant(GROUPS, ()))


def test_a_group_of_models_is_dealt_out_over_the_nodes_that_prefer_it() -> None:
    """Each takes the next that fits beside what it has, up to three; what is said of a node holds for its group."""
    first, second = wishes(n01={"prefer": ["m01"], "bias": 1}, n02={"prefer": ["m02", "m01"], "role": "specialist"})[:2]
    made = grouped_plan([first, second])
    assert isinstance(made, PlanDraft)
    assert [(i.node, i.role, i.prefer, i.bias) for i in made.intents] == [
        ("edge-1", "generalist", (SPEAKING[0], "large-text"), 1),
        ("say-yes", "generalist", (SPEAKING[0], "large-text"), 1),
        ("edge-2", "specialist", ("small-text", SPEAKING[0], "vision"), 0),
        ("edge-3", "specialist", ("small-text", "large-text", "vision"), 0),
    ]


def test_of_a_group_of_models_each_node_avoids_up_to_three() -> None:
    """Whatever their memory."""
    first, second = wishes(n01={"avoid": ["m01", "m02"]})[:2]
    made = grouped_plan([first, second])
    assert isinstance(made, PlanDraft)
    assert made.intents[0].avoid == (SPEAKING[0], "small-text", "large-text")


def test_of_a_group_of_models_of_which_none_fits_one_is_a_fault() -> None:
    """The reply prefers what cannot be."""
    shape = cluster([node("a", 2.0), node("b", 9.0)], [model("big", 5.0), model("bigger", 6.0), model("tiny", 1.0)])
    given = EPOCH.model_copy(update={"cluster": shape})
    aliases = Aliases(nodes=named("n", [["a"], ["b"]]), models=named("m", [["big", "bigger"], ["tiny"]]))
    nodes = wishes(n01={"prefer": ["m02", "m01"]})[:2]
    reply = {"nodes": nodes, "models": [], "warm": [], "rates_of": None, "confidence": 0, "cases_cited": [], "why": ""}
    found = drafted(PlannerReply.model_validate(reply), given, meant(aliases, ()))
    assert isinstance(found, Fault)
    assert found.code == "memory"
    assert found.said.startswith("n01 prefers more than fits its memory: 6.0 of 2.0 GB")


def test_of_a_group_the_model_asked_for_most_is_warmed_on_the_first_node_that_can() -> None:
    """A node that starts nothing new, is not up, or has the model is passed over."""
    warm = [{"model": "m02", "node": "n01", "at": "now"}]
    plain = wishes()[:2]
    made = grouped_plan(plain, warm=warm)
    assert isinstance(made, PlanDraft)
    assert [(w.model, w.node) for w in made.warm] == [("small-text", "edge-1")]  # both have it: the first
    warm = [{"model": "m01", "node": "n02", "at": "now"}, {"model": "m01", "node": "n01", "at": "now"}]
    made = grouped_plan([plain[0], {**plain[1], "role": "standby"}], down("edge-2", "edge-3"), warm=warm)
    assert isinstance(made, PlanDraft)
    assert [(w.model, w.node) for w in made.warm] == [("large-text", "edge-2"), ("large-text", "say-yes")]


def down(*nodes: str) -> EpochInput:
    """Return what is known when these nodes are not up."""
    views = tuple(v.model_copy(update={"up": v.node not in nodes}) for v in EPOCH.snapshot.nodes)
    return EPOCH.model_copy(update={"snapshot": EPOCH.snapshot.model_copy(update={"nodes": views})})


def test_no_plan_closes_more_of_the_cluster_than_is_trusted() -> None:
    """Standby and drain count alike, nodes that are not up do not; all drained would starve everybody."""
    for role in ("standby", "drain"):
        found = fault(planner_reply(PLAN, nodes=wishes(**{f"n{k:02d}": {"role": role} for k in range(1, 5)})))
        assert (found.step, found.code) == ("trust", "outside")
        assert found.said == "standby and drain close 1.00 of the memory that is up, at most 0.30 is trusted"
        assert draft(planner_reply(PLAN, nodes=wishes(n01={"role": role})))
    two = wishes(n01={"role": "standby"}, n04={"role": "drain"})
    assert fault(planner_reply(PLAN, nodes=two)).code == "outside"
    given = down("edge-1")
    assert draft(planner_reply(PLAN, nodes=two), opening(given, CASES))


def test_no_plan_closes_all_that_a_model_with_demand_could_start_on() -> None:
    """One that fits no node at all is not held against it."""
    shape = cluster([node("a", 10.0), *(node(n, 8.0) for n in "bcde")], [model("huge", 9.0), model("tiny", 1.0)])
    seen = EPOCH.snapshot.model_copy(
        update={"nodes": tuple(view(n) for n in "abcde"), "models": (asked("huge", arrived=1, ago_s=1.0),)}
    )
    given = EPOCH.model_copy(update={"cluster": shape, "snapshot": seen})
    aliases = meant(Aliases(nodes=named("n", [[n] for n in "abcde"]), models=named("m", [["huge"], ["tiny"]])), ())
    plain = {"role": "generalist", "prefer": [], "avoid": [], "bias": 0}
    nodes = [{**plain, "node": f"n{k:02d}", "role": "standby" if k == 1 else "generalist"} for k in range(1, 6)]
    reply = {"nodes": nodes, "models": [], "warm": [], "rates_of": None, "confidence": 0, "cases_cited": [], "why": ""}
    found = drafted(PlannerReply.model_validate(reply), given, aliases)
    assert isinstance(found, Fault)
    assert (found.step, found.code, found.said) == (
        "trust", "shut-out", "m01 has demand and fits no node that stays open"
    )  # fmt: skip
    gone = tuple(v.model_copy(update={"up": v.node != "a"}) for v in seen.nodes)
    without = given.model_copy(update={"snapshot": seen.model_copy(update={"nodes": gone})})
    assert isinstance(drafted(PlannerReply.model_validate(reply), without, aliases), PlanDraft)


def routes_of(
    routes: dict[str, Any], found: Opening = SLOT, aliases: Aliases | None = None, **settings: float
) -> Guide | Fault:
    """Return what the gate makes of a slot reply with these routes."""
    assert isinstance(found.about, RouteTopic)
    reply = SlotReply.model_validate({"routes": routes, "hold": {}, "why": "so\x00"})
    chosen = PolicySettings().model_copy(update=settings)
    made = guided(reply, found.about.table, aliases or found.question.aliases, chosen)
    assert isinstance(made, Guide) or not any(one in made.said for one in ids(found))
    return made


def rows(made: Guide | Fault) -> dict[tuple[str, str], dict[str, float]]:
    """Return the rows of a guide."""
    assert isinstance(made, Guide)
    return {(r.zone, r.model): {s.node: round(s.probability, 6) for s in r.shares} for r in made.rows}


def own_row(name: str) -> dict[str, float]:
    """Return the fallback's row of a model."""
    assert isinstance(SLOT.about, RouteTopic)
    return {s.node: s.probability for r in SLOT.about.table.rows if r.model == name for s in r.shares}


def test_a_slot_reply_becomes_a_guide_in_ids() -> None:
    """Rows over all nodes that have a pod; unknown nodes and those without one are left out, the rest is normalised."""
    made = routes_of({"*": {"m02": {"n01": 0.48, "n02": 0.16, "n03": 0.32, "n04": 0.02, "n77": 0.02}}})
    assert rows(made) == {("*", "large-text"): {"edge-1": 0.5, "edge-2": 0.166667, "edge-3": 0.333333}}
    assert isinstance(made, Guide)
    assert (made.slot, made.why) == (8, "so ")
    assert isinstance(SLOT.about, RouteTopic)
    assert furthest(made, SLOT.about.table) < 0.01
    named_zero = routes_of({"*": {"m02": {"n01": 0.6, "n03": 0.4}}})
    assert rows(named_zero)["*", "large-text"]["edge-2"] == 0.0


@pytest.mark.parametrize(
    ("routes", "code", "said"),
    [
        ({"z01": {"m02": {"n01": 1.0}}}, "unknown-zone", "there is no zone z01"),
        ({"*": {"m02": {"n01": 0.5, "n02": 0.4}}}, "row-sum", "row *.m02 sums to 0.9, it must sum to 1"),
        ({"*": {"m02": {"n01": 0.7, "n02": 0.4}}}, "row-sum", "row *.m02 sums to 1.1, it must sum to 1"),
        ({"*": {"m02": {}}}, "row-sum", "row *.m02 sums to 0, it must sum to 1"),
        ({"*": {"m02": {"n04": 1.0}}}, "row-empty", "row *.m02 names no node where the model has a pod"),
        ({"*": {"m02": {"n04": 1.0, "n01": 0.0}}}, "row-empty", "row *.m02 names no node where the model has a pod"),
        (
            {"*": {"m04": {"n01": 1.0}, "m99": {"n01": 0.1}}},
            "no-rows",
            "the reply has no row of a model that has a pod",
        ),
        ({"*": {}}, "no-rows", "the reply has no row of a model that has a pod"),
    ],
)
def test_rows_that_cannot_be_are_a_fault(routes: dict[str, Any], code: str, said: str) -> None:
    """An empty row is a malformed reply, not a uniform one."""
    found = routes_of(routes)
    assert isinstance(found, Fault)
    assert (found.step, found.code, found.said) == ("feasibility", code, said)


def test_sums_within_the_tolerance_are_normalised() -> None:
    """Models round to two digits."""
    for off in (-0.05, 0.05):
        assert isinstance(routes_of({"*": {"m02": {"n01": 0.5, "n02": 0.17, "n03": 0.33 + off}}}), Guide)


def test_rows_too_far_from_the_fallbacks_are_outside_the_trust_region() -> None:
    """Total variation more than 0.3; the guide says how far it goes."""
    own = own_row("large-text")
    moved = {"n01": own["edge-1"] - 0.3, "n02": own["edge-2"], "n03": own["edge-3"] + 0.3}
    made = routes_of({"*": {"m02": moved}})
    assert isinstance(made, Guide)
    assert isinstance(SLOT.about, RouteTopic)
    assert furthest(made, SLOT.about.table) == pytest.approx(0.3)
    found = routes_of({"*": {"m02": {"n02": 1.0}}})
    assert isinstance(found, Fault)
    assert (found.step, found.code) == ("trust", "outside")
    assert found.said == "row *.m02 is 0.83 away from the fallback's, at most 0.30 is trusted"
    assert "large-text" in found.text


def test_a_group_of_nodes_has_its_share_spread_as_the_fallback_spreads_it() -> None:
    """And a row of a group of models holds for each of them that has a pod where the row names one."""
    own = own_row("small-text")
    made = rows(routes_of({"*": {"m02": {"n01": 0.5, "n02": 0.5}}}, aliases=GROUPS))
    assert set(made) == {("*", "small-text")}  # of vision there is no pod
    row = made["*", "small-text"]
    assert row["edge-2"] + row["edge-3"] == pytest.approx(0.5)
    assert row["edge-1"] == pytest.approx(0.5 * own["edge-1"] / (own["edge-1"] + own["say-yes"]), abs=1e-6)
    both = rows(routes_of({"*": {"m01": {"n01": 0.5, "n02": 0.5}}}, aliases=GROUPS, trust_tv=1.0))
    assert set(both) == {("*", SPEAKING[0]), ("*", "large-text")}
    assert both["*", SPEAKING[0]]["edge-3"] > 0.9  # the share of n01 names no pod of it
    one = routes_of({"*": {"m01": {"n01": 1.0}}}, aliases=GROUPS, trust_tv=1.0)
    assert set(rows(one)) == {("*", "large-text")}


def test_a_group_that_the_fallback_gives_nothing_is_spread_evenly() -> None:
    """A row may hold zeros."""
    assert isinstance(SLOT.about, RouteTopic)
    table = SLOT.about.table
    row = next(r for r in table.rows if r.model == "large-text")
    last = tuple(s.model_copy(update={"probability": float(s.node == "edge-3")}) for s in row.shares)
    alone = table.model_copy(update={"rows": (row.model_copy(update={"shares": last}),)})
    aliases = Aliases(nodes=(("n01", ("edge-1", "edge-2")), ("n02", ("edge-3",))), models=GROUPS.models)
    reply = SlotReply.model_validate({"routes": {"*": {"m01": {"n01": 0.2, "n02": 0.8}}}, "hold": {}, "why": ""})
    made = guided(reply, alone, aliases, PolicySettings())
    assert rows(made) == {("*", "large-text"): {"edge-1": 0.1, "edge-2": 0.1, "edge-3": 0.8}}


def test_a_zone_of_its_own_is_measured_against_the_row_for_all() -> None:
    """Where the fallback has no row for it."""
    aliases = Aliases(nodes=NODES, models=MODELS, zones=(("*", ("*",)), ("z01", ("north", "south"))))
    made = routes_of({"z01": {"m02": {"n01": 0.5, "n02": 0.17, "n03": 0.33}}}, aliases=aliases)
    assert set(rows(made)) == {("north", "large-text"), ("south", "large-text")}
    assert isinstance(made, Guide)
    assert isinstance(SLOT.about, RouteTopic)
    assert furthest(made, SLOT.about.table) < 0.01


def test_a_cluster_asked_about_in_groups_is_guided_row_by_row() -> None:
    """Each model with a pod has a row that names only nodes of its own."""
    found = opening(large_slot_asked())
    assert isinstance(found.about, RouteTopic)
    assert found.question.aliases.grouped
    made = routes_of(slot_reply(found, 0.1)["routes"], found)
    own = {r.model: {s.node for s in r.shares} for r in found.about.table.rows}
    guide = {model: set(row) for (_, model), row in rows(made).items()}
    assert guide == {model: own[model] for model in guide}
    assert all(any(m in guide for m in group) for _, group in found.question.aliases.models)


def test_a_plan_for_a_cluster_asked_about_in_groups_has_an_intent_for_each_node() -> None:
    """And every model with demand finds a node."""
    given = epoch_asked(large_slot_asked())
    found = opening(given)
    assert found.question.aliases.grouped
    made = draft(planner_reply(found), found)
    assert sorted(i.node for i in made.intents) == [n.id for n in given.cluster.nodes]
    assert {m for i in made.intents for m in i.prefer} == {m.id for m in given.cluster.models}
