"""What of an agent's memory still holds for the process that has begun now."""

from fairlead.contracts.agent_memory import AgentMemory, Gains, Predictions

AWAY_SLOTS = 2.0
"""It is kept each slot: where it was not for longer, the agent was away, and with it what the twin had played."""


def resumed(found: AgentMemory | None, fresh: AgentMemory, slot_s: float) -> AgentMemory:
    """Return what an agent goes on with: `fresh`, and of what was found whatever is of the same thing.

    What dialogues were worth is of one language model and one prompt, the twin's error of one Fairlead; the watchdog
    holds whoever proposes. A memory of the future is another clock's.
    """
    if found is None or found.at_s > fresh.at_s + slot_s:
        return fresh
    predictions = found.predictions if found.version == fresh.version else Predictions()
    if fresh.at_s - found.at_s > AWAY_SLOTS * slot_s:
        predictions = Predictions(errors=predictions.errors)
    same = (found.llm, found.prompt) == (fresh.llm, fresh.prompt)
    update = {"gains": found.gains if same else Gains(), "predictions": predictions, "watch": found.watch}
    return fresh.model_copy(update=update)
