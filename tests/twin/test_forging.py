"""A node that lies about itself in messages that are valid: what it gains by that is bounded (`policy.believing`)."""

from dataclasses import replace

import pytest

from fairlead.policy.believing import FASTER_MOST
from fairlead.studies.cells import Cell, CellResult, ScenarioAt, playable, run_cell
from fairlead.studies.references import recorded_reference_s
from fairlead.studies.replay import FIGURES
from fairlead.twin.engine import Engine
from fairlead.twin.forging import BOAST_SPEED, IDLE, Tale, liar
from fairlead.twin.play import Game, engine_of, policy_at
from fairlead.twin.scenarios import scenario
from fairlead.twin.subjects import subject_of

CITY7 = subject_of(scenario("city7-rotating"), 0.8, 1, 100.0, 700.0)
LIAR = next(node for node in CITY7.cluster.nodes if node.id == liar(CITY7.cluster))

SOURCE = ScenarioAt("city7-rotating", 0.8, 300.0, 1500.0)

AGENTS_MOST = 1.02
"""F of agents in `auto` over that of the fallback, at most."""

COSTS_MOST = FASTER_MOST * len(CITY7.cluster.sites)
"""How many times as long as it says anybody may wait at a liar: each of the ingresses knows of its own tickets alone,
and takes it for so much faster than it is."""


def ends(tale: Tale, state: str) -> list[tuple[int, str, float | None]]:
    """Return who was served where until when, in a run in which a node tells a tale."""
    engine: Engine = engine_of(Game(CITY7, policy_at(f"marginal-dpp@{state}"), 1))
    engine.nodes[LIAR.id].tale = tale
    engine.run(CITY7.window.end_at_s)
    return [(one.number, one.node, one.ended_at_s) for one in engine.ended]


@pytest.mark.parametrize("state", ["5s", "fresh"])
def test_a_lie_beyond_the_bounds_is_worth_what_the_bounds_are(state: str) -> None:
    """Who boasts of a million is taken for the most that is believed: the same requests end at the same instants."""
    assert IDLE.speed == BOAST_SPEED
    boast = ends(IDLE, state)
    assert boast == ends(replace(IDLE, speed=FASTER_MOST * LIAR.speed), state)
    assert boast != ends(Tale(), state)


def found(policy: str) -> CellResult:
    """Return what a policy comes to."""
    return run_cell(Cell(SOURCE, policy, 1))


def figure(name: str, result: CellResult) -> float:
    """Return a figure of a run."""
    reference_s = recorded_reference_s(ScenarioAt(SOURCE.name, SOURCE.load))
    assert reference_s is not None
    value = FIGURES[name](result, reference_s)
    assert value is not None
    return value


@pytest.fixture(scope="module")
def forged() -> CellResult:
    """Return what the fallback makes of a node that lies."""
    return found("forged@5s")


@pytest.mark.parametrize("name", ["mean", "objective"])
def test_what_a_liar_costs_is_bounded(name: str, forged: CellResult) -> None:
    """Mean latency and F of the same demand are less than so many times the honest ones.

    Where the word of a node is taken as it comes, the same lie makes the mean latency forty times as long.
    """
    honest = figure(name, found("marginal-dpp@5s"))
    assert honest < figure(name, forged) <= COSTS_MOST * honest


def test_agents_add_nothing_to_a_lie(forged: CellResult) -> None:
    """In `auto`, by prompts that the liar's word is in and a gate whose branches begin with it."""
    agents = found("agents:forged@5s")
    assert agents.arrived == forged.arrived
    assert figure("objective", agents) <= AGENTS_MOST * figure("objective", forged)


def test_a_gate_whose_predictions_do_not_come_is_not_believed() -> None:
    """The twin begins with what the liar says, and is off by more than it foretells; an honest node's it is not."""
    codes = []
    for name in ("forged@5s", "hostile@5s"):
        with playable(Cell(SOURCE, f"agents:{name}", 1)) as game:
            engine = engine_of(game)
            engine.run(600.0)
        codes.append({step.code for one in engine.spoken for step in one.steps if step.name == "twin"})
    assert "wrong" in codes[0]
    assert codes[1] == {"worse", "no-worse"}
