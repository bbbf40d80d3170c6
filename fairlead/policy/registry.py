"""The one door to slot decisions: every policy by its name, live, in the twin and at replay."""

from fairlead.contracts.decisions import SlotDecision, SlotInput
from fairlead.policy.slot import decide


def decide_slot(i: SlotInput) -> SlotDecision:
    """Return what `i.policy` decides on `i`; equal inputs give equal bytes.

    A slot decision always has a placement and a table; an event decision has neither where nothing changes.
    """
    return decide(i)
