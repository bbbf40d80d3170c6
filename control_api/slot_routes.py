"""A slot as a whole: who decided in it, what was asked and judged, what it cost, what came."""

import asyncio
from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Path, Request
from starlette.responses import Response

from control_api.context import Context, ControlRoute, context_of
from control_api.messages import answer
from control_api.parameters import MOST, described
from fairlead.adapters.store_rules import cursor_of
from fairlead.contracts.cases import Case
from fairlead.contracts.decisions import DecisionRecord, DecisionSummary
from fairlead.contracts.errors import NotFound
from fairlead.contracts.hindsight import DecisionWorth, PlanWorth, SlotAccount
from fairlead.policy.cases import cluster_digest
from fairlead.policy.hindsight import account, case_of, measured, turned_out, window_s
from fairlead.policy.periods import Periods

LINES_MOST = 500
"""Lines of the journal that two slots have at most: events are decided every 5 s, and whenever a model is missed."""

router = APIRouter(prefix="/api/v1", route_class=ControlRoute)


@router.get("/slots/{slot}", operation_id="read_slot", tags=["decisions"], **described(SlotAccount, refusals=(404,)))
async def read_slot(request: Request, slot: Annotated[int, Path(ge=0, le=MOST)]) -> Response:
    """Return what was decided in a slot and for it, by whom, what it cost, and what came."""
    context = context_of(request)
    settings = context.settings
    slots = Periods(settings.clock_origin_s, settings.controller.slot_s)
    window = slots.begins_at_s(slot), slots.begins_at_s(slot + 1)
    lines = await _lines(context, slot, window[0], slots.begins_at_s(slot + 2))
    if not lines:
        now = slots.at(context.clock.now_s())
        raise NotFound(f"nothing was decided in slot {slot}: slot {now} is running; the journal is `decisions`")
    names = dict.fromkeys((lines[0].id, *(line.id for line in lines if line.asks)))
    records = await asyncio.gather(*(context.store.decision(name) for name in names))
    dialogues = await asyncio.gather(*(worth_of(context, one) for one in records if one.dialogue is not None))
    now_s = context.clock.now_s()
    tallies = await context.store.tallies(window[0], max(window[0], min(window[1], now_s)))
    return answer(account(records[0], lines, dialogues, measured(window, tallies, now_s)))


async def _lines(context: Context, slot: int, since_s: float, until_s: float) -> Sequence[DecisionSummary]:
    """Return what was decided in a slot, and in the next one after a dialogue about it, oldest first."""
    found = await context.store.decision_summaries(agent="slot-agent", limit=LINES_MOST, cursor=cursor_of(until_s, ""))
    lines = [line for line in found.items if line.made_at_s >= since_s]
    return [line for line in reversed(lines) if slot == (line.number if line.about is None else line.about)]


async def worth_of(context: Context, record: DecisionRecord) -> DecisionWorth:
    """Return what a decision cost, what the twin expected of it, and what came."""
    now_s = context.clock.now_s()
    since_s, until_s = window_s(record)
    tallies = await context.store.tallies(since_s, max(since_s, min(until_s, now_s)))
    found: Case | PlanWorth | None = None
    if record.agent == "planner":
        found = await context.store.plan_worth(record.id)
    if found is None and (name := case_of(record, cluster_digest(record.input.cluster))) is not None:
        found = next(iter(await context.store.some_cases((name,))), None)
    return turned_out(record, tallies, now_s, found)
