"""Slot decisions, compiled: what `policy.slot.decide` decides, without reasons, prices, plans, overrides and guides.

`tests/twin/test_compiled_deciding.py` holds it to the same placements and rows on random inputs.
"""

from fairlead.twin.compiled.board import COUNTED_SLOT, PLACEMENT, TABLE, Asked, Board, Standing, Tuning
from fairlead.twin.compiled.deciding_rows import put_rows
from fairlead.twin.compiled.deciding_static import put_in_force, static_draft
from fairlead.twin.compiled.drafting import drafted
from fairlead.twin.compiled.native import native


@native
def decide(asked: Asked, board: Board, tuning: Tuning, standing: Standing) -> bool:
    """Decide, and put it in force in `standing`; True if there is a new placement with its table.

    A slot decision always has one; an event decision that changes nothing leaves all but the rates as it was. `board`
    is the fold of the newest reports at `asked.now_s` (`policy.snapshot`), with pending wakes in `held`,
    `oldest_held_s` and `asked_at_s`; it is not changed. Ingresses choose by `standing.chance` with the rule of the
    policy's rows (`policy.slot`), agents reconcile to `standing.awake` and `standing.stoppable`.
    """
    learn(asked, board, tuning, standing)
    draft = drafted(board, standing.rate, tuning.slot_s)
    static_draft(board, tuning, standing, draft)
    changed = put_in_force(board, draft, standing.given, standing)
    if not (changed or asked.slot_trigger or standing.number[PLACEMENT] == 0):
        return False
    put_rows(asked, board, draft, standing)
    standing.number[PLACEMENT] += 1
    standing.number[TABLE] += 1
    return True


@native
def learn(asked: Asked, board: Board, tuning: Tuning, standing: Standing) -> None:
    """Count a slot's arrivals into the rates, once (`policy.rates`)."""
    before = standing.number[COUNTED_SLOT]
    if not asked.slot_trigger or asked.slot <= before:
        return
    slots = asked.slot - before if before >= 0 else 1
    gain = 1.0 - 2.0 ** (-slots / tuning.rate_half_life_slots)
    for m in range(len(standing.rate)):
        seen = board.models[m].arrived / (slots * tuning.slot_s)
        standing.rate[m] = max(0.0, standing.rate[m] + gain * (seen - standing.rate[m]))
    standing.number[COUNTED_SLOT] = asked.slot
