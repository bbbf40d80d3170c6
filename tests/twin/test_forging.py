"""A node that lies about itself in messages that are valid: what that costs is bounded (`policy.believing`)."""

import pytest

from fairlead.policy.believing import FASTER_MOST
from fairlead.studies.cells import Cell, CellResult, ScenarioAt, playable, run_cell
from fairlead.studies.references import recorded_reference_s
from fairlead.studies.replay import FIGURES
from fairlead.twin.engine import Engine
from fairlead.twin.forging import BOAST, Tale, liar
from fairlead.twin.play import Game, engine_of, policy_at
from fairlead.twin.scenarios import scenario
from fairlead.twin.subjects import subject_of

SOURCE = ScenarioAt("city7-rotating", 0.8, 300.0, 1500.0)

COSTS_MOST = BOAST * len(subject_of(scenario(SOURCE.name), SOURCE.load, 1).cluster.sites)
"""How many times as long as it says anybody may wait at a liar: each of the ingresses knows of its own tickets alone,
and it says that it is so much faster than it is."""


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

    Each ingress has its own tickets there. Without that the same lie of the slowest node cost forty times the latency.
    """
    honest = figure(name, found("marginal-dpp@5s"))
    assert honest < figure(name, forged) <= COSTS_MOST * honest


@pytest.mark.parametrize("state", ["5s", "fresh"])
def test_a_boast_beyond_the_bounds_is_worth_what_the_bounds_are(state: str) -> None:
    """A speed a thousand times beyond all belief ends the same requests at the same instants as one just beyond."""
    some, more = (ends(Tale(10.0 * k * FASTER_MOST, 0.0, 0.0), state) for k in (1.0, 1000.0))
    assert some == more
    assert some != ends(Tale(), state)


def ends(tale: Tale, state: str) -> list[tuple[int, str, float | None]]:
    """Return who was served where until when, in a short run in which a node tells a tale."""
    subject = subject_of(scenario(SOURCE.name), SOURCE.load, 1, 60.0, 300.0)
    engine: Engine = engine_of(Game(subject, policy_at(f"marginal-dpp@{state}"), 1))
    engine.nodes[liar(subject.cluster)].tale = tale
    engine.run(subject.window.end_at_s)
    return [(one.number, one.node, one.ended_at_s) for one in engine.ended]


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
