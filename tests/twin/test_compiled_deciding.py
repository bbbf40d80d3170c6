"""Compiled decisions: the placements and rows of `decide_slot`, on random inputs and on larger clusters."""

from dataclasses import dataclass

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from bench.fallback import made_up, situation
from fairlead.contracts.cluster import Cluster
from fairlead.contracts.decisions import SlotDecision, SlotInput
from fairlead.contracts.plans import (
    EpochPlan,
    Guide,
    GuideRow,
    Intent,
    ModelPriority,
    NodeRole,
    Override,
    Rate,
    Share,
    Warm,
)
from fairlead.contracts.tuning import PolicyName, PolicySettings
from fairlead.policy.arrays import board as arrays
from fairlead.policy.arrays import flags
from fairlead.policy.baselines import random_placement
from fairlead.policy.rates import by_model
from fairlead.policy.registry import decide_slot
from fairlead.twin.compiled.board import NOT_IN_ROW, POLICIES, Asked, Board, Standing, board, standing, tuning
from fairlead.twin.compiled.deciding import decide
from fairlead.twin.compiled.native import installed
from fairlead.twin.compiled.plans import Wants, unknown, wanting
from tests.policy.situations import NOW_S, ROLES, inputs, override, plan
from tests.policy.situations import cluster as cluster_of
from tests.policy.situations import model as model_of

pytestmark = pytest.mark.skipif(not installed(), reason="the compiled core needs numba")

EXACT = 1e-12
"""Rows may differ by rounding where a row has more than 128 pods; else they are the same bits."""

KNOWN: tuple[PolicyName, ...] = (
    "marginal-dpp",
    "marginal-dpp",
    "lru",
    "sed-static",
    "round-robin",
    "least-loaded-slot",
)


LONE = cluster_of((), (model_of("a"),))
"""A cluster of one model and no node."""


@dataclass(frozen=True, slots=True)
class Laid:
    """An input as the compiled core takes it."""

    asked: Asked
    board: Board
    standing: Standing


def laid_out(i: SlotInput) -> Laid:
    """Return an input as the compiled core takes it."""
    seen, found = arrays(i, by_model(i, i.state)), board(i.cluster)
    found.nodes["speed"], found.nodes["up"], found.nodes["seen"] = seen.speed, seen.up, seen.seen
    arrived = {view.model: view.arrived for view in i.snapshot.models}
    found.models["arrived"] = [arrived[model] for model in seen.models]
    for name in ("held", "oldest_held_s", "asked_at_s"):
        found.models[name] = getattr(seen.demand, name)
    for name in ("starting", "ready", "leaving", "stopping", "sleeping", "blocked", "ready_in_s", "left_s", "count"):
        found.pods[name] = getattr(seen.pods, name)
    found.pods["running"], found.pods["used_at_s"] = seen.pods.running, seen.pods.used_at_s
    found.pods["since_at_s"] = i.now_s - seen.pods.age_s
    first = i.static or random_placement(i.cluster, i.seed)
    force = standing(flags(first, *places(i.cluster))[0], i.settings.rate_start_per_s)
    force.rate[:], force.awake[:], force.stoppable[:] = seen.demand.rate, seen.was_awake, seen.was_stoppable
    force.number[:] = i.state.slot if i.state.rates else -1, int(i.placement is not None), 0
    asked = Asked(POLICIES[i.policy], i.trigger == "slot", i.trigger == "advice", i.slot, i.now_s, i.seed)
    return Laid(asked, wanting(found, i.cluster, Wants(i.plan, i.guide, i.overrides)), force)


def places(cluster: Cluster) -> tuple[dict[str, int], dict[str, int]]:
    """Return the number of each node and of each model."""
    return {n.id: k for k, n in enumerate(cluster.nodes)}, {m.id: k for k, m in enumerate(cluster.models)}


def agree(i: SlotInput, laid: Laid) -> SlotDecision:
    """Decide both ways, compare all that both say, and return the reference's decision."""
    decision = decide_slot(i)
    before = [one.copy() for one in laid.standing]
    changed = decide(laid.asked, laid.board, tuning(i.settings), laid.standing)
    assert changed == (decision.table is not None)
    if decision.table is None:
        assert all(np.array_equal(one, was) for one, was in zip(laid.standing, before, strict=True))
        return decision
    at_node, at_model = places(i.cluster)
    placement = decision.placement or i.placement
    awake, stoppable = flags(() if placement is None else placement.nodes, at_node, at_model)
    assert np.array_equal(laid.standing.awake, awake)
    assert np.array_equal(laid.standing.stoppable, stoppable)
    chance, prior_s = np.full(awake.shape, NOT_IN_ROW), np.zeros(len(at_model))
    for row in decision.table.rows:
        prior_s[at_model[row.model]] = row.prior_weight_s
        for share in row.shares:
            chance[at_node[share.node], at_model[row.model]] = share.probability
    np.testing.assert_allclose(laid.standing.chance, chance, rtol=0.0, atol=EXACT)
    np.testing.assert_array_equal(laid.standing.prior_s, prior_s)
    if decision.state.rates:
        np.testing.assert_array_equal(laid.standing.rate, [r.per_s for r in decision.state.rates])
    return decision


@st.composite
def plans(draw: st.DrawFn, cluster: Cluster) -> EpochPlan | None:
    """Draw a plan of any roles, preferences, priorities, warm pods and rates, now and then one that has expired."""
    nodes, models = [n.id for n in cluster.nodes], [m.id for m in cluster.models]
    some = st.lists(st.sampled_from(models), max_size=2, unique=True)
    pairs = st.tuples(st.sampled_from(nodes), st.sampled_from(models))
    warm = draw(st.lists(st.tuples(pairs, st.sampled_from((-61.0, -60.0, -5.0, 0.0, 3.0))), max_size=4))
    intents = []
    for node in nodes:
        prefer = draw(some)
        avoid = [m for m in draw(some) if m not in prefer]
        bias = draw(st.integers(0, 4))
        intents.append(Intent(node=node, role=draw(ROLES), prefer=tuple(prefer), avoid=tuple(avoid), bias=bias))
    drawn = plan(
        tuple(intents),
        tuple(ModelPriority(model=m, priority=draw(st.integers(0, 4)), expected="same") for m in models),
        tuple(Warm(model=m, node=n, at_s=NOW_S + ago_s) for (n, m), ago_s in warm),
        NOW_S + draw(st.sampled_from((0.0, 300.0, 300.0, 300.0))),
    )
    rates = tuple(Rate(model=m, per_s=draw(st.sampled_from((0.0, 0.01, 0.3, 2.0)))) for m in draw(some))
    told = {"rates": rates, "rates_at_s": draw(st.sampled_from((None, NOW_S, NOW_S - 30.0, NOW_S - 59.0, NOW_S + 1.0)))}
    return draw(st.sampled_from((None, drawn, drawn.model_copy(update=told))))


@st.composite
def guides(draw: st.DrawFn, i: SlotInput) -> Guide | None:
    """Draw rows, now and then of another slot, over any nodes of the cluster, also such without a pod."""
    nodes = [n.id for n in i.cluster.nodes]
    rows: list[GuideRow] = []
    for model in i.cluster.models:
        named = draw(st.lists(st.sampled_from(nodes), max_size=len(nodes), unique=True))
        if named:
            chances = [draw(st.sampled_from((0.0, 0.1, 0.3, 0.5, 1.0))) for _ in named]
            shares = tuple(Share(node=n, probability=p) for n, p in zip(named, chances, strict=True))
            rows.append(GuideRow(zone="*", model=model.id, shares=shares))
    slot = draw(st.sampled_from((i.slot, i.slot, i.slot, i.slot + 1)))
    shown = draw(st.booleans())
    return Guide(slot=slot, rows=tuple(rows), why="") if rows and shown else None


@st.composite
def orders(draw: st.DrawFn, cluster: Cluster) -> tuple[Override, ...]:
    """Draw what operators have fixed, also for one pod twice, and such that is over."""
    pairs = st.tuples(st.sampled_from([n.id for n in cluster.nodes]), st.sampled_from([m.id for m in cluster.models]))
    found = []
    for k, (node, model) in enumerate(draw(st.lists(pairs, max_size=5))):
        action, ago_s = draw(st.sampled_from(("pin", "ban"))), draw(st.sampled_from((1.0, 10.0)))
        until_s = draw(st.sampled_from((None, NOW_S, NOW_S + 9.0)))
        found.append(override(node, model, action, name=f"o{k}", ago_s=ago_s, until_s=until_s))
    return tuple(found)


@settings(max_examples=250, deadline=None)
@given(inputs(policies=KNOWN), st.sampled_from((0, 0, 1, 4)), st.data())
def test_the_compiled_core_decides_as_the_reference(i: SlotInput, host: int, data: st.DataObject) -> None:
    """Any pods, placement in force and demand, plan, proposed rows and orders; memory for sleeping pods or none.

    The same pods stay, go and start, the same rows and their priors, the same rates.
    """
    pausing = data.draw(st.booleans())
    nodes = tuple(
        n.model_copy(update={"host_memory_bytes": host * n.memory_bytes, "pausing": pausing}) for n in i.cluster.nodes
    )
    cluster = i.cluster.model_copy(update={"nodes": nodes})
    update: dict[str, object] = {
        "cluster": cluster,
        "plan": data.draw(plans(cluster)),
        "guide": data.draw(guides(i)),
        "overrides": data.draw(orders(cluster)),
        "settings": PolicySettings(trust_tv=data.draw(st.sampled_from((0.3, 0.9)))),
    }
    if data.draw(st.integers(0, 9)) == 9:
        update["trigger"] = "advice"
    wished = i.model_copy(update=update)
    agree(wished, laid_out(wished))


def test_rows_of_one_zone_are_the_references() -> None:
    """The compiled core has one row for a model; it says what it does not know in place of doing it wrong."""
    row = GuideRow(zone="*", model="a", shares=(Share(node="n1", probability=1.0),))
    assert unknown(None) is None
    assert unknown(Guide(slot=1, rows=(row,), why="")) is None
    assert "of one zone" in str(unknown(Guide(slot=1, rows=(row.model_copy(update={"zone": "s1"}),), why="")))
    twice = Guide(slot=1, rows=(row, row), why="")
    assert "two proposed rows" in str(unknown(twice))
    with pytest.raises(ValueError, match="two proposed rows"):
        wanting(board(LONE), LONE, Wants(guide=twice))


@pytest.mark.parametrize("trigger", ["slot", "event"])
@pytest.mark.parametrize(("nodes", "models"), [(7, 4), (40, 20), (200, 30)])
def test_large_clusters_are_dealt_into_the_same_blocks(nodes: int, models: int, trigger: str) -> None:
    """Several starts a slot, each in its block, displacing whom the reference displaces."""
    draws = np.random.default_rng([nodes, models])
    for _ in range(3):
        one = situation(made_up(nodes, models, draws), draws, trigger)
        agree(one, laid_out(one))


def wishes(i: SlotInput, draws: np.random.Generator) -> SlotInput:
    """Return the input with a plan, rows near those of the fallback, and orders, of which many change something."""
    nodes, models, now_s = [n.id for n in i.cluster.nodes], [m.id for m in i.cluster.models], i.now_s

    def some(of: list[str], count: int) -> list[str]:
        return [str(one) for one in draws.choice(of, count)]

    roles: tuple[NodeRole, ...] = ("generalist", "generalist", "generalist", "standby", "drain")
    intents = tuple(
        Intent(
            node=n,
            role=roles[int(draws.integers(len(roles)))],
            prefer=(models[0],),
            avoid=(models[-1],),
            bias=int(draws.integers(5)),
        )
        for n in nodes
    )
    warm = tuple(
        Warm(model=m, node=n, at_s=now_s - float(draws.integers(50)))
        for n, m in zip(some(nodes, 6), some(models, 6), strict=True)
    )
    priorities = tuple(ModelPriority(model=m, priority=int(draws.integers(5)), expected="same") for m in models)
    told = {
        "rates": tuple(Rate(model=m, per_s=float(draws.uniform(0.0, 1.0))) for m in models[::2]),
        "rates_at_s": now_s - 10.0 if draws.random() < 0.3 else None,
    }
    orders = tuple(
        override(n, m, "pin" if draws.random() < 0.5 else "ban", name=f"o{k}", until_s=now_s + 60.0)
        for k, (n, m) in enumerate(zip(some(nodes, 4), some(models, 4), strict=True))
    )
    table = decide_slot(i).table
    rows = () if table is None else tuple(GuideRow(zone="*", model=r.model, shares=r.shares[::-1]) for r in table.rows)
    update = {
        "plan": plan(intents, priorities, warm, now_s + 300.0).model_copy(update=told),
        "guide": Guide(slot=i.slot, rows=rows, why="") if rows else None,
        "overrides": orders,
        "settings": PolicySettings(trust_tv=0.6),
    }
    return i.model_copy(update=update)


@pytest.mark.parametrize(("nodes", "models", "count"), [(7, 4, 40), (14, 8, 30), (40, 20, 8)])
def test_what_people_and_plans_want_is_done_alike(nodes: int, models: int, count: int) -> None:
    """Pods that are pinned, banned, warmed and evacuated, rows with priors: all of it happens, and in the same way."""
    draws = np.random.default_rng([nodes, models, 6])
    seen: set[str] = set()
    for k in range(count):
        trigger = "event" if k % 4 == 3 else "slot"
        one = wishes(situation(made_up(nodes, models, draws), draws, trigger), draws)
        decision = agree(one, laid_out(one))
        seen |= {reason.rule for reason in decision.reasons}
        rows = () if decision.table is None else decision.table.rows
        seen |= {"guided" for row in rows if row.prior_weight_s > 0.0}
    assert seen >= {"pinned", "banned", "warm", "warm-refused", "drain", "guided", "rule2-worth"}


@pytest.mark.parametrize("policy", ["marginal-dpp", "lru"])
def test_what_is_in_force_is_what_the_next_decision_begins_with(policy: PolicyName) -> None:
    """Slot after slot on pods that do not follow: rates, ordered starts and their victims are remembered alike."""
    draws = np.random.default_rng(5)
    i = situation(made_up(14, 6, draws), draws, "slot").model_copy(update={"policy": policy})
    laid = laid_out(i)
    for slot in (100, 101, 103):
        asked = laid.asked._replace(slot=slot)
        decision = agree(i.model_copy(update={"slot": slot}), Laid(asked, laid.board, laid.standing))
        assert laid.standing.number.tolist() == [slot, i.next_placement, i.next_placement]
        update = {"state": decision.state, "placement": decision.placement, "next_placement": i.next_placement + 1}
        i = i.model_copy(update=update)
