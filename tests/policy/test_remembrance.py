"""What an agent goes on with after a restart: of the same model, prompt, Fairlead and clock, all; else what holds."""

import pytest

from fairlead.contracts.agent_memory import AgentMemory, Gains, Prediction, Predictions, Trip, Watch
from fairlead.policy.remembrance import resumed

SLOT_S = 30.0
FRESH = AgentMemory(agent="planner", at_s=1000.0, llm="a model", prompt="planner/1", version="1.0")
GAINS = Gains(dialogues=40, gain=0.2)
OPEN = (Prediction(at_s=900.0, until_s=1020.0, latency_s=5.0),)
PREDICTIONS = Predictions(open=OPEN, errors=(0.25, 0.5))
WATCH = Watch(trips=1, last=Trip(code="latency", text="slow", cited=("case-1",), until_s=1200.0))
FOUND = FRESH.model_copy(update={"at_s": 990.0, "gains": GAINS, "predictions": PREDICTIONS, "watch": WATCH})


def test_all_of_it_where_nothing_else_has_changed() -> None:
    """As of now."""
    assert resumed(FOUND, FRESH, SLOT_S) == FOUND.model_copy(update={"at_s": 1000.0})


@pytest.mark.parametrize("found", [None, FOUND.model_copy(update={"at_s": 1030.1})])
def test_nothing_where_nothing_was_kept_or_by_another_clock(found: AgentMemory | None) -> None:
    """A slot of the future is let: two machines' clocks are never quite the same."""
    assert resumed(found, FRESH, SLOT_S) == FRESH


@pytest.mark.parametrize("change", [{"llm": "another"}, {"prompt": "planner/2"}])
def test_what_another_model_or_prompt_was_worth_does_not_count(change: dict[str, str]) -> None:
    """The twin's error and the watchdog do."""
    found = resumed(FOUND.model_copy(update=change), FRESH, SLOT_S)
    assert (found.gains, found.predictions, found.watch) == (Gains(), PREDICTIONS, WATCH)


def test_another_fairlead_has_another_twin() -> None:
    """Its predictions are not known to be right or wrong yet; gains and the watchdog go on."""
    found = resumed(FOUND.model_copy(update={"version": "0.9"}), FRESH, SLOT_S)
    assert (found.gains, found.predictions, found.watch) == (GAINS, Predictions(), WATCH)


def test_what_was_predicted_before_an_absence_is_not_held_against_the_twin() -> None:
    """What was measured before it is: two slots without a word are an absence."""
    at_s = FRESH.at_s - 2.0 * SLOT_S
    assert resumed(FOUND.model_copy(update={"at_s": at_s}), FRESH, SLOT_S).predictions == PREDICTIONS
    found = resumed(FOUND.model_copy(update={"at_s": at_s - 0.1}), FRESH, SLOT_S)
    assert found.predictions == Predictions(errors=(0.25, 0.5))


def test_an_older_document_loads() -> None:
    """Without what has been added since."""
    text = '{"agent":"planner","at_s":1.0,"llm":"a model","prompt":"planner/1","version":"1.0"}'
    assert AgentMemory.from_json(text) == FRESH.model_copy(update={"at_s": 1.0})
