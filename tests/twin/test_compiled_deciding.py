"""Compiled decisions: the placements and rows of `decide_slot`, on random inputs and on larger clusters."""

from dataclasses import dataclass

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from bench.fallback import made_up, situation
from fairlead.contracts.cluster import Cluster
from fairlead.contracts.decisions import SlotDecision, SlotInput
from fairlead.contracts.tuning import PolicyName
from fairlead.policy.arrays import board as arrays
from fairlead.policy.arrays import flags
from fairlead.policy.baselines import random_placement
from fairlead.policy.rates import by_model
from fairlead.policy.registry import decide_slot
from fairlead.twin.compiled.board import NOT_IN_ROW, POLICIES, Asked, Board, Standing, board, standing, tuning
from fairlead.twin.compiled.deciding import decide
from fairlead.twin.compiled.native import installed
from tests.policy.situations import inputs

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


@dataclass(frozen=True, slots=True)
class Laid:
    """An input as the compiled core takes it."""

    asked: Asked
    board: Board
    standing: Standing


def laid_out(i: SlotInput) -> Laid:
    """Return an input without plan and overrides as the compiled core takes it."""
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
    asked = Asked(POLICIES[i.policy], i.trigger == "slot", i.slot, i.now_s, i.seed)
    return Laid(asked, found, force)


def places(cluster: Cluster) -> tuple[dict[str, int], dict[str, int]]:
    """Return the number of each node and of each model."""
    return {n.id: k for k, n in enumerate(cluster.nodes)}, {m.id: k for k, m in enumerate(cluster.models)}


def agree(i: SlotInput, laid: Laid) -> SlotDecision:
    """Decide both ways, compare all that both say, and return the reference's decision."""
    decision = decide_slot(i)
    before = [one.copy() for one in laid.standing]
    changed = decide(laid.asked, laid.board, tuning(i.settings), laid.standing)
    assert changed == (decision.placement is not None)
    if decision.placement is None or decision.table is None:
        assert all(np.array_equal(one, was) for one, was in zip(laid.standing, before, strict=True))
        return decision
    at_node, at_model = places(i.cluster)
    awake, stoppable = flags(decision.placement.nodes, at_node, at_model)
    assert np.array_equal(laid.standing.awake, awake)
    assert np.array_equal(laid.standing.stoppable, stoppable)
    chance = np.full(awake.shape, NOT_IN_ROW)
    for row in decision.table.rows:
        for share in row.shares:
            chance[at_node[share.node], at_model[row.model]] = share.probability
    np.testing.assert_allclose(laid.standing.chance, chance, rtol=0.0, atol=EXACT)
    if decision.state.rates:
        np.testing.assert_array_equal(laid.standing.rate, [r.per_s for r in decision.state.rates])
    return decision


@settings(max_examples=250, deadline=None)
@given(inputs(policies=KNOWN), st.sampled_from((0, 0, 1, 4)))
def test_the_compiled_core_decides_as_the_reference(i: SlotInput, host: int) -> None:
    """Any pods, placement in force and demand, nodes with and without memory for sleeping pods.

    The same pods stay, go and start, the same rows, the same rates.
    """
    nodes = tuple(n.model_copy(update={"host_memory_bytes": host * n.memory_bytes}) for n in i.cluster.nodes)
    cluster = i.cluster.model_copy(update={"nodes": nodes})
    bare = i.model_copy(update={"plan": None, "overrides": (), "cluster": cluster})
    agree(bare, laid_out(bare))


@pytest.mark.parametrize("trigger", ["slot", "event"])
@pytest.mark.parametrize(("nodes", "models"), [(7, 4), (40, 20), (200, 30)])
def test_large_clusters_are_dealt_into_the_same_blocks(nodes: int, models: int, trigger: str) -> None:
    """Several starts a slot, each in its block, displacing whom the reference displaces."""
    draws = np.random.default_rng([nodes, models])
    for _ in range(3):
        one = situation(made_up(nodes, models, draws), draws, trigger)
        agree(one, laid_out(one))


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
