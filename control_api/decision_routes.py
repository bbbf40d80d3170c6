"""Plans, placements, tables and the journal: read, proposed, judged, replayed."""

import asyncio

from fastapi import APIRouter, Request
from starlette.responses import Response

from control_api.context import Context, ControlRoute, context_of
from control_api.messages import JSON, answer, body_of, page
from control_api.parameters import (
    AgentQuery,
    Cursor,
    GenerationPath,
    Limit,
    NamePath,
    NewerThan,
    WaitS,
    described,
)
from control_api.slot_routes import worth_of
from control_api.watch import Kind
from fairlead.adapters.store_rules import cursor_of
from fairlead.contracts.decisions import DecisionRecord, DecisionSummary, Replayed, Snapshot
from fairlead.contracts.errors import InputError, NotFound, StaleGeneration
from fairlead.contracts.hindsight import DecisionWorth
from fairlead.contracts.plans import EpochPlan, Placement, PlanDraft, RoutingTable, Verdict
from fairlead.policy.epoch import check
from fairlead.policy.periods import Periods
from fairlead.policy.snapshot import fold, totals

PUBLISH_TRIES = 5
"""Times that an operator's plan is placed behind the newest one, should another be published meanwhile."""

router = APIRouter(prefix="/api/v1", route_class=ControlRoute)


async def _newest(request: Request, kind: Kind, newer_than: int | None, wait_s: float) -> Response:
    held = await context_of(request).watch.newest(kind, newer_than or 0, wait_s)
    if held is not None:
        return Response(held.body, 200, None, JSON)
    if newer_than is None:
        raise NotFound(f"there is no {kind} yet")
    return Response(status_code=204)


@router.get(
    "/placements/current",
    operation_id="read_placement",
    tags=["decisions"],
    **described(Placement, refusals=(404,), otherwise={204: "None is newer"}),
)
async def read_placement(request: Request, newer_than: NewerThan = None, wait_s: WaitS = 0.0) -> Response:
    """Return the placement in force, as soon as it is newer than `newer_than`; 204 if none is after `wait_s`."""
    return await _newest(request, "placement", newer_than, wait_s)


@router.get(
    "/tables/current",
    operation_id="read_table",
    tags=["decisions"],
    **described(RoutingTable, refusals=(404,), otherwise={204: "None is newer"}),
)
async def read_table(request: Request, newer_than: NewerThan = None, wait_s: WaitS = 0.0) -> Response:
    """Return the table in force, as soon as it is newer than `newer_than`; 204 if none is after `wait_s`."""
    return await _newest(request, "table", newer_than, wait_s)


@router.get(
    "/plans/current",
    operation_id="read_plan_in_force",
    tags=["decisions"],
    **described(EpochPlan, refusals=(404,), otherwise={204: "None is newer"}),
)
async def read_plan_in_force(request: Request, newer_than: NewerThan = None, wait_s: WaitS = 0.0) -> Response:
    """Return the plan in force, as soon as it is newer than `newer_than`; 204 if none is after `wait_s`."""
    return await _newest(request, "plan", newer_than, wait_s)


async def snapshot_of(context: Context) -> Snapshot:
    """Return the fold of the newest readings now, arrivals counted since the newest decision of the slot agent."""
    store = context.store
    arrived = await store.arrived()
    newest = await store.decisions(agent="slot-agent", limit=1, cursor=None)
    before = arrived
    if newest.items:
        before = totals(newest.items[0].input.snapshot, counted=newest.items[0].kind == "slot")
    return fold(
        context.clock.now_s(),
        await store.cluster(),
        await store.latest_node_reports(),
        await store.latest_gateway_reports(),
        arrived,
        before,
        context.settings.controller,
    )


@router.get("/snapshot", operation_id="read_snapshot", tags=["readings"], **described(Snapshot))
async def read_snapshot(request: Request) -> Response:
    """Return the newest readings as a decision would see them now."""
    return answer(await snapshot_of(context_of(request)))


@router.get("/plans", operation_id="list_plans", tags=["decisions"], **described(pages=EpochPlan))
async def list_plans(request: Request, limit: Limit = None, cursor: Cursor = None) -> Response:
    """List plans, newest first."""
    context = context_of(request)
    return page(await context.store.plans(limit=context.most(limit), cursor=cursor))


async def _verdict(context: Context, draft: PlanDraft) -> Verdict:
    reasons = check(draft, await context.store.cluster(), await snapshot_of(context))
    return Verdict(valid=not reasons, reasons=reasons)


@router.post("/plans:validate", operation_id="validate_plan", tags=["decisions"], **described(Verdict, body=PlanDraft))
async def validate_plan(request: Request) -> Response:
    """Say whether a draft could be a plan; change nothing."""
    return answer(await _verdict(context_of(request), await body_of(request, PlanDraft)))


@router.post(
    "/plans",
    operation_id="publish_plan",
    tags=["decisions"],
    **described(EpochPlan, status=201, body=PlanDraft, refusals=(409,)),
)
async def publish_plan(request: Request) -> Response:
    """Put a draft in force as an operator's plan, until the end of its epoch."""
    context = context_of(request)
    draft = await body_of(request, PlanDraft)
    verdict = await _verdict(context, draft)
    if not verdict.valid:
        words = "; ".join(f"{reason.rule}: {reason.text}" for reason in verdict.reasons[:5])
        raise InputError(f"the draft is not feasible: {words}")
    for _ in range(PUBLISH_TRIES):
        plan = _following((await context.store.generations()).plan, draft, context)
        try:
            await context.store.publish_plan(plan)
        except StaleGeneration:
            continue
        return answer(plan, 201)
    raise StaleGeneration(f"other plans were published {PUBLISH_TRIES} times meanwhile: send it again")


def _following(parent: int, draft: PlanDraft, context: Context) -> EpochPlan:
    """Return the draft as the plan after `parent`."""
    controller = context.settings.controller
    epochs = Periods(context.settings.clock_origin_s, controller.slot_s * controller.epoch_slots)
    now_s = context.clock.now_s()
    epoch = epochs.at(now_s)
    return EpochPlan(
        generation=parent + 1,
        parent=parent,
        epoch=epoch,
        created_at_s=now_s,
        expires_at_s=epochs.begins_at_s(epoch + 1) + controller.slot_s,
        source="operator",
        intents=draft.intents,
        priorities=draft.priorities,
        warm=draft.warm,
        why=draft.why,
    )


@router.get(
    "/plans/{generation}", operation_id="read_plan", tags=["decisions"], **described(EpochPlan, refusals=(404,))
)
async def read_plan(request: Request, generation: int) -> Response:
    """Return the plan of a generation."""
    plan = await _plan(context_of(request), generation)
    if plan is None:
        raise NotFound(f"there is no plan {generation}")
    return answer(plan)


async def _plan(context: Context, generation: int) -> EpochPlan | None:
    if not 0 < generation < 2**53:
        return None
    found = await context.store.plans(limit=1, cursor=cursor_of(generation + 1))
    return next((plan for plan in found.items if plan.generation == generation), None)


@router.get("/tables", operation_id="list_tables", tags=["decisions"], **described(pages=RoutingTable))
async def list_tables(request: Request, limit: Limit = None, cursor: Cursor = None) -> Response:
    """List tables, newest first."""
    context = context_of(request)
    return page(await context.store.tables(limit=context.most(limit), cursor=cursor))


@router.get(
    "/tables/{generation}",
    operation_id="read_old_table",
    tags=["decisions"],
    **described(RoutingTable, refusals=(404,)),
)
async def read_old_table(request: Request, generation: GenerationPath) -> Response:
    """Return a table that is or was in force."""
    found = await context_of(request).store.tables(limit=1, cursor=cursor_of(generation + 1))
    for table in found.items:
        if table.generation == generation:
            return answer(table)
    raise NotFound(f"there is no table {generation}")


@router.get("/decisions", operation_id="list_decisions", tags=["decisions"], **described(pages=DecisionSummary))
async def list_decisions(
    request: Request, agent: AgentQuery = None, limit: Limit = None, cursor: Cursor = None
) -> Response:
    """List the journal, newest first: who decided what when, not the inputs."""
    context = context_of(request)
    found = await context.store.decision_summaries(agent=agent, limit=context.most(limit), cursor=cursor)
    return page(found)


@router.get(
    "/decisions/{decision}",
    operation_id="read_decision",
    tags=["decisions"],
    **described(DecisionRecord, refusals=(404,)),
)
async def read_decision(request: Request, decision: NamePath) -> Response:
    """Return a line of the journal: all that is needed to decide again."""
    return answer(await context_of(request).store.decision(decision))


@router.get(
    "/decisions/{decision}/worth",
    operation_id="read_decision_worth",
    tags=["decisions"],
    **described(DecisionWorth, refusals=(404,)),
)
async def read_decision_worth(request: Request, decision: NamePath) -> Response:
    """Return what a decision cost, what the twin expected of it, and what came."""
    context = context_of(request)
    return answer(await worth_of(context, await context.store.decision(decision)))


@router.post(
    "/decisions/{decision}/replay",
    operation_id="replay_decision",
    tags=["decisions"],
    **described(Replayed, refusals=(404, 409)),
)
async def replay_decision(request: Request, decision: NamePath) -> Response:
    """Execute a decision again from the journal alone, and compare; 409 `diverged` if a model was asked otherwise."""
    record = await context_of(request).store.decision(decision)
    return answer(await asyncio.to_thread(_again, record))


def _again(record: DecisionRecord) -> Replayed:
    """Return what deciding again gives, with the prompts of this Fairlead; raises `Diverged`."""
    from fairlead.adapters.prompt_files import prompt_texts
    from fairlead.policy.replay import again  # all policies and numpy: 0.3 s and 25 MB that no other call needs

    return again(record, prompt_texts())
