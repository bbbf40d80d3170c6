"""Agents and what they propose: who acts and why, what a language model may still cost, and a person's answers."""

from typing import Literal, assert_never, get_args

import structlog
from fastapi import APIRouter, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

from control_api.context import ControlRoute, caller_of, context_of
from control_api.messages import answer, page
from control_api.parameters import Cursor, Limit, NamePath, described
from fairlead.contracts.dialogue import (
    AgentName,
    Agents,
    AgentStatus,
    AgentView,
    Approval,
    Budget,
    BudgetLeft,
    BudgetLimits,
    BudgetSpent,
    ModeName,
    Proposal,
)
from fairlead.contracts.events import Mode
from fairlead.contracts.settings import Settings

SILENT_PERIODS = 3
"""Slots, or epochs of the planner, without a word after which an agent counts as silent; as reports do (DESIGN §8)."""

router = APIRouter(prefix="/api/v1", route_class=ControlRoute)


@router.get("/agents", operation_id="list_agents", tags=["agents"], **described(Agents))
async def list_agents(request: Request) -> Response:
    """List the agents: mode, who acts and why, what their language model has done; and the budget they share."""
    context = context_of(request)
    said = {status.agent: status for status in await context.store.agent_statuses()}
    modes = [await context.store.mode(agent) for agent in get_args(AgentName)]
    now_s = context.clock.now_s()
    return answer(
        Agents(
            items=tuple(viewed(mode, said.get(mode.agent), context.settings, now_s) for mode in modes),
            budget=budgeted(context.settings.llm.budget, await context.store.spent()),
        )
    )


def viewed(mode: Mode, status: AgentStatus | None, settings: Settings, now_s: float) -> AgentView:
    """Return an agent as it stands: what it said last, corrected by what was set since."""
    why = _why_not(mode, status, settings, now_s)
    if why is None and status is not None:
        acting, why = status.acting, status.why
    else:
        acting = "fallback"
    return AgentView(
        agent=mode.agent,
        mode=mode.mode,
        mode_by=mode.by,
        mode_at_s=mode.at_s,
        acting=acting,
        why=why or "",
        status=status,
    )


def _why_not(mode: Mode, status: AgentStatus | None, settings: Settings, now_s: float) -> str | None:
    """Return why the fallback acts whatever the agent says of its last dialogue; None where that is the newest."""
    if settings.policy != "marginal-dpp":
        return f"policy {settings.policy} is a baseline: language models are asked under marginal-dpp alone"
    if mode.mode == "off":
        return _meaning("off")
    if status is None:
        if settings.llm.endpoints or settings.llm.replay is not None:
            return "no dialogue with its language model has ended yet: is it running?"
        return "no language model is configured: start with --llm URL or --llm local, or set llm.endpoints"
    if status.llm == "none":
        return status.why or "no language model is configured"
    slots = 1 if mode.agent == "slot-agent" else settings.controller.epoch_slots
    silent_s = now_s - status.at_s
    if silent_s > SILENT_PERIODS * slots * settings.controller.slot_s:
        return f"no dialogue has ended for {silent_s:.0f} s: is it running?"
    if status.mode != mode.mode:
        return f"{_meaning(mode.mode)}, since its last dialogue"
    return None


def _meaning(mode: ModeName) -> str:
    """Return what a mode says of the proposals to come."""
    match mode:
        case "auto":
            return "mode is auto: the next proposal that passes the gates acts"
        case "assist":
            return "mode is assist: the next proposal that passes the gates waits for a person"
        case "shadow":
            return "mode is shadow: proposals are judged and journaled, the fallback acts"
        case "off":
            return "mode is off: no language model is asked"
        case _:
            assert_never(mode)


def budgeted(limits: BudgetLimits, spent: BudgetSpent) -> Budget:
    """Return the budget with what is left of it."""
    return Budget(
        limits=limits,
        spent=spent,
        left=BudgetLeft(
            tokens_hour=None if limits.tokens_per_hour is None else max(0, limits.tokens_per_hour - spent.tokens_hour),
            tokens_day=None if limits.tokens_per_day is None else max(0, limits.tokens_per_day - spent.tokens_day),
            money_hour=None if limits.money_per_hour is None else max(0.0, limits.money_per_hour - spent.money_hour),
            money_day=None if limits.money_per_day is None else max(0.0, limits.money_per_day - spent.money_day),
        ),
    )


@router.get("/proposals", operation_id="list_proposals", tags=["agents"], **described(pages=Proposal))
async def list_proposals(request: Request, limit: Limit = None, cursor: Cursor = None) -> Response:
    """List what agents in mode `assist` proposed, newest first."""
    context = context_of(request)
    return page(await context.store.proposals(limit=context.most(limit), cursor=cursor))


@router.post(
    "/proposals/{proposal}:approve",
    operation_id="approve_proposal",
    tags=["agents"],
    **described(Proposal, refusals=(404, 409), tagged=True),
)
async def approve_proposal(request: Request, proposal: NamePath) -> Response:
    """Let a proposal act, if it still fits, until its slot or epoch ends."""
    return await _answered(request, proposal, "approved")


@router.post(
    "/proposals/{proposal}:decline",
    operation_id="decline_proposal",
    tags=["agents"],
    **described(Proposal, refusals=(404, 409), tagged=True),
)
async def decline_proposal(request: Request, proposal: NamePath) -> Response:
    """Leave it to the fallback."""
    return await _answered(request, proposal, "declined")


@router.api_route("/proposals/{proposal}:approve", methods=["GET", "PUT", "PATCH", "DELETE"], include_in_schema=False)
@router.api_route("/proposals/{proposal}:decline", methods=["GET", "PUT", "PATCH", "DELETE"], include_in_schema=False)
async def answers_are_posted() -> Response:
    """Refuse the methods of a proposal: its path would take the answer for a part of the id."""
    raise HTTPException(405, headers={"Allow": "POST"})


@router.get(
    "/proposals/{proposal}",
    operation_id="read_proposal",
    tags=["agents"],
    **described(Proposal, refusals=(404,), tagged=True),
)
async def read_proposal(request: Request, proposal: NamePath) -> Response:
    """Return a proposal, and what was answered."""
    found = await context_of(request).store.proposal(proposal)
    return answer(found, revision=found.revision)


async def _answered(request: Request, name: str, said: Literal["approved", "declined"]) -> Response:
    """Write a person's answer beside the proposal; the store takes the first one alone, and only in time."""
    context = context_of(request)
    found = await context.store.proposal(name)
    approval = Approval(answer=said, by=caller_of(request), at_s=context.clock.now_s())
    made = await context.store.put_proposal(found.model_copy(update={"approval": approval}), if_revision=found.revision)
    structlog.get_logger("audit").info("proposal answered", proposal=name, answer=said, by=approval.by)
    return answer(made, revision=made.revision)
