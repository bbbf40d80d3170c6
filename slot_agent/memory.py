"""What the slot agent remembers between decisions, and how it remembers again after a restart: from its journal."""

from collections.abc import Mapping
from dataclasses import dataclass

from fairlead.contracts.decisions import DecisionRecord, SlotDecision, SlotInput, SlotState
from fairlead.contracts.plans import Guide
from fairlead.policy.snapshot import totals


@dataclass(frozen=True, slots=True)
class Memory:
    """What one decision hands to the next."""

    state: SlotState
    arrived: Mapping[str, int]
    """Per model, all requests that had arrived when the rates were last updated."""
    decided: int
    """The newest slot with a slot decision; -1 if there is none."""
    guide: Guide | None = None
    """What a language model proposed and acts, until the slot of that decision ends."""
    llm: str = "no-llm"
    """Why no reply was in that decision; so too for events that follow it."""
    dialogue: str = ""
    """That of the newest line of the journal, if it has one."""

    def guiding(self, slot: int) -> Guide | None:
        """Return the proposal that steers decisions of `slot`, if there is one."""
        return self.guide if self.guide is not None and self.guide.slot == slot else None


def recall(record: DecisionRecord | None, slot: int, arrived: Mapping[str, int]) -> Memory:
    """Return what the newest line of the journal remembers; `arrived` is counted on from where it says nothing.

    A decision for a slot that has not come yet was made with another origin of the clock: its rates are kept, its
    count of slots is not. Only a slot's own decision has counted what arrived; one on an event or on advice has not.
    """
    before = max(0, slot - 1)
    if record is None or not isinstance(record.input, SlotInput) or not isinstance(record.output, SlotDecision):
        return Memory(SlotState(slot=before, rates=(), rotation=0), dict(arrived), -1)
    state = record.output.state
    dialogue = record.dialogue.id if record.dialogue is not None else ""
    if record.input.slot > slot:
        return Memory(state.model_copy(update={"slot": before}), dict(arrived), -1, dialogue=dialogue)
    counted = record.input.trigger == "slot"
    decided = record.input.slot if counted else (state.slot if state.rates else -1)
    seen = totals(record.input.snapshot, counted=counted) or dict(arrived)
    return Memory(state, seen, decided, record.input.guide, record.input.llm, dialogue)
