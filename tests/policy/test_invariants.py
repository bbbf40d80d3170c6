"""The numbered invariants of DESIGN §8 as far as slot decisions can keep or break them, over drawn situations."""

from collections.abc import Iterator

from hypothesis import given, settings

from fairlead.contracts.decisions import PodView, SlotDecision, SlotInput
from fairlead.contracts.tuning import PolicyName
from fairlead.policy.feasibility import check_placement, check_rows
from fairlead.policy.rates import by_model, learned
from fairlead.policy.registry import decide_slot
from tests.hash_seeds import run_under
from tests.policy.situations import inputs, placed, rules

ALL: tuple[PolicyName, ...] = (
    "marginal-dpp",
    "lru",
    "sed-static",
    "random-static",
    "round-robin",
    "least-loaded-slot",
    "random-dynamic",
    "dpp",
    "bmw-dpp",
)
ADAPTIVE: tuple[PolicyName, ...] = ("marginal-dpp", "lru")
STARTS = ("rule1-missing", "rule1-lost", "rule1-wait", "rule2-worth", "warm", "pinned", "lru-absent", "lru-wait")


def here(i: SlotInput) -> dict[tuple[str, str], PodView]:
    """Return the pods on nodes that are up, those in back-off left out."""
    return {(n.node, p.model): p for n in i.snapshot.nodes if n.up for p in n.pods if p.phase != "off"}


def newly_stopped(i: SlotInput, decision: SlotDecision) -> Iterator[tuple[str, str]]:
    """Yield (node, model) of what this decision lists as stoppable and the placement in force does not."""
    before = {(n.node, m) for n in (i.placement.nodes if i.placement else ()) for m in n.stoppable}
    for node in decision.placement.nodes if decision.placement else ():
        for model in node.stoppable:
            if (node.node, model) not in before:
                yield node.node, model


def demand(i: SlotInput) -> dict[str, float]:
    """Return D of each model."""
    rates = by_model(i, learned(i))
    waiting = {m.model: m.held for m in i.snapshot.models}
    for pod in here(i).values():
        waiting[pod.model] += pod.count - pod.running
    return {m: r + waiting[m] / (2 * i.settings.slot_s) for m, r in rates.items()}


@given(inputs(ALL))
def test_invariant_02_what_shall_be_awake_fits_the_memory_of_its_node(i: SlotInput) -> None:
    """Also where pods still leave: their successors may only wait for room that they free."""
    decision = decide_slot(i)
    if decision.placement is None:
        return
    assert check_placement(decision.placement.nodes, i.cluster) == ()


@given(inputs(ALL))
def test_invariant_03_rows_sum_to_one_and_name_only_pods_that_are_there_soon_enough(i: SlotInput) -> None:
    """A pod that the table's own placement starts counts as starting."""
    decision = decide_slot(i)
    if decision.table is None:
        return
    resident = {pair for pair, pod in here(i).items() if pod.phase != "sleeping"}
    begun = {n.node: frozenset(m for m in n.awake if (n.node, m) not in resident) for n in placed(decision).values()}
    assert check_rows(decision.table.rows, i.cluster, i.snapshot, begun) == ()
    for row in decision.table.rows:
        assert abs(sum(s.probability for s in row.shares) - 1.0) <= 1e-9
        assert all(s.probability >= 0.0 for s in row.shares)


@settings(max_examples=200)
@given(inputs(ADAPTIVE))
def test_invariant_04_the_last_ready_pod_of_a_model_with_demand_stops_only_for_one_that_is_missed(
    i: SlotInput,
) -> None:
    """Operators' overrides apart; rule 2 never takes it, rule 1 only for a model that waits."""
    decision = decide_slot(i)
    fixed = {(o.node, o.model) for o in i.overrides} | {(r.node, r.model) for r in rules(decision, "banned")}
    pinned = {r.node for r in rules(decision, "pinned")}
    missed = {r.node for r in rules(decision, "rule1-missing", "rule1-lost", "rule1-wait", "lru-absent", "lru-wait")}
    pressed = demand(i)
    stoppable = {(n.node, m) for n in (decision.placement.nodes if decision.placement else ()) for m in n.stoppable}
    for node, model in newly_stopped(i, decision):
        left = [key for key, p in here(i).items() if key[1] == model and p.phase == "ready" and key not in stoppable]
        if left or pressed[model] <= i.settings.rate_start_per_s or (node, model) in fixed or node in pinned:
            continue
        assert node in missed


@settings(max_examples=200)
@given(inputs(ADAPTIVE))
def test_invariant_05_nothing_stops_inside_its_dwell_and_every_stop_makes_room(i: SlotInput) -> None:
    """Rule 2 stays within its churn budget; what is to start fits once the stoppable pods of its node have gone."""
    decision = decide_slot(i)
    starts_s = {m.id: m.start_delay_s for m in i.cluster.models}
    up = sum(n.up for n in i.snapshot.nodes)
    forced = {r.node for r in rules(decision, "pinned")}
    for node, model in newly_stopped(i, decision):
        if (node, model) in {(o.node, o.model) for o in i.overrides} or node in forced:
            continue
        assert i.now_s - here(i)[node, model].since_at_s >= starts_s[model]
    assert len(rules(decision, "rule2-worth")) <= max(1, up // i.settings.nodes_per_start)
    if i.trigger == "event":
        assert rules(decision, "rule2-worth") == []


@given(inputs(ALL))
def test_invariant_07_equal_inputs_give_equal_bytes(i: SlotInput) -> None:
    """Also when the input went through JSON, as in the journal."""
    assert decide_slot(i).to_json() == decide_slot(SlotInput.from_json(i.to_json())).to_json()


def test_invariant_07_the_hash_seed_changes_nothing() -> None:
    """A decision of a busy cluster in two processes that hash differently."""
    program = (
        "import numpy as np; from bench.fallback import made_up, situation; "
        "from fairlead.policy.registry import decide_slot; d = np.random.default_rng(1); "
        "c = made_up(30, 9, d); "
        "print(decide_slot(situation(c, d, 'slot')).to_json(), decide_slot(situation(c, d, 'event')).to_json())"
    )
    outputs = [run_under(seed, "-c", program) for seed in ("1", "2")]
    assert outputs[0] == outputs[1]
    assert b"rule2-worth" in outputs[0]


@given(inputs(ALL))
def test_invariant_09_what_is_published_carries_the_generations_it_was_given(i: SlotInput) -> None:
    """Placement and table come together, name one another and their plan, and a slot decision always has both."""
    decision = decide_slot(i)
    assert (decision.placement is None) == (decision.table is None)
    if decision.placement is None or decision.table is None:
        assert i.trigger == "event"
        return
    assert decision.placement.generation == decision.table.placement_generation == i.next_placement
    assert decision.table.generation == i.next_table
    known = i.plan.generation if i.plan is not None else 0
    assert decision.placement.plan_generation == decision.table.plan_generation == known


@given(inputs(ADAPTIVE))
def test_invariant_12_without_demand_nothing_is_started(i: SlotInput) -> None:
    """A model that nobody asked for gets no pod, unless an operator or the plan says so."""
    decision = decide_slot(i)
    views = {m.model: m for m in i.snapshot.models}
    pressed = demand(i)
    for reason in rules(decision, *STARTS):
        if reason.rule in ("pinned", "warm"):
            continue
        one = views[str(reason.model)]
        quiet = one.held == 0 and one.asked_at_s is None and pressed[one.model] <= i.settings.rate_start_per_s
        assert not quiet


@given(inputs(ADAPTIVE))
def test_invariant_12_a_decision_does_not_undo_the_one_before_it(i: SlotInput) -> None:
    """Decided again at once on the same pods, with its own placement in force: what was to start still is.

    Apart from nodes where something starts because the pod that it has elsewhere was free to stop: once that one is
    sure to stay, a last ready pod need not go for it.
    """
    first = decide_slot(i)
    if first.placement is None:
        return
    then = {"placement": first.placement, "state": first.state, "trigger": "event", "next_placement": 3}
    again = decide_slot(i.model_copy(update=then))
    now = placed(again) if again.placement is not None else placed(first)
    demands, resident = demand(i), here(i)
    up = {n.node for n in i.snapshot.nodes if n.up}
    unsure = {m for n in (i.placement.nodes if i.placement else ()) for m in n.stoppable}
    for node in first.placement.nodes:
        starting = {m for m in node.awake if (node.node, m) not in resident}
        if node.node not in up or starting & unsure:
            continue
        for model in sorted(starting):
            assert demands[model] <= i.settings.rate_start_per_s or model in now[node.node].awake
