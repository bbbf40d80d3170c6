"""What operators say in words: notes of what will be, and the goal that everything is judged by."""

import secrets
from collections.abc import Sequence
from typing import Literal

import structlog
from fastapi import APIRouter, Request
from starlette.responses import Response

from control_api.context import Context, ControlRoute, caller_of, context_of
from control_api.messages import answer, body_of, everything
from control_api.parameters import NamePath, described
from fairlead.contracts.dialogue import AgentStatus, Approval
from fairlead.contracts.errors import InputError, NotFound, foreign
from fairlead.contracts.events import Mode
from fairlead.contracts.notes import Aims, Goal, GoalDraft, GoalReading, GoalView, Note, NoteDraft
from fairlead.contracts.settings import Settings
from fairlead.policy.goals import aimed, in_force, read_goal, unread, view

UNREAD = "the rule understands nothing of it"

router = APIRouter(prefix="/api/v1", route_class=ControlRoute)


@router.get("/notes", operation_id="list_notes", tags=["words"], **described(pages=Note))
async def list_notes(request: Request) -> Response:
    """List what operators have said, those that begin first first, over ones too."""
    return everything(await context_of(request).store.notes())


@router.post("/notes", operation_id="create_note", tags=["words"], **described(Note, status=201, body=NoteDraft))
async def create_note(request: Request) -> Response:
    """Keep a note; it stands in the planner's prompts about epochs that its time touches."""
    context = context_of(request)
    draft, now_s = await body_of(request, NoteDraft), context.clock.now_s()
    if draft.until_s <= now_s:
        raise InputError(f"the note's time was over at {draft.until_s:.0f}, it is {now_s:.0f} now (domain seconds)")
    note = Note(
        id=f"note-{secrets.token_hex(4)}",
        text=draft.text,
        from_s=draft.from_s,
        until_s=draft.until_s,
        by=_signed(request, draft.by),
        created_at_s=now_s,
    )
    made = await context.store.put_note(note, if_revision=None)
    structlog.get_logger("audit").info("note added", note=made.id, by=made.by)
    return answer(made, 201)


@router.get("/notes/{note}", operation_id="read_note", tags=["words"], **described(Note, refusals=(404,), tagged=True))
async def read_note(request: Request, note: NamePath) -> Response:
    """Return a note."""
    found = next((one for one in await context_of(request).store.notes() if one.id == note), None)
    if found is None:
        raise NotFound(f"there is no note {foreign(note)!r}")
    return answer(found, revision=found.revision)


@router.delete("/notes/{note}", operation_id="delete_note", tags=["words"], **described(status=204, refusals=(404,)))
async def delete_note(request: Request, note: NamePath) -> Response:
    """Forget a note; decisions that have used it keep it in the journal."""
    await context_of(request).store.delete_note(note)
    structlog.get_logger("audit").info("note deleted", note=note, by=caller_of(request))
    return Response(status_code=204)


@router.get("/goal", operation_id="read_goal", tags=["words"], **described(GoalView))
async def read_the_goal(request: Request) -> Response:
    """Return the goal in force with weights and priorities, and the one that waits for approval."""
    return answer(await _viewed(context_of(request)))


@router.get("/goals", operation_id="list_goals", tags=["words"], **described(pages=Goal))
async def list_goals(request: Request) -> Response:
    """List all goals that were ever set, newest first, with what was answered."""
    return everything(await context_of(request).store.goals())


@router.get("/goals/{goal}", operation_id="read_one_goal", tags=["words"], **described(Goal, refusals=(404,)))
async def read_one_goal(request: Request, goal: NamePath) -> Response:
    """Return a goal, with what a model was asked about it and answered."""
    return answer(await context_of(request).store.goal(goal))


@router.post("/goal", operation_id="set_goal", tags=["words"], **described(Goal, status=201, body=GoalDraft))
async def set_goal(request: Request) -> Response:
    """Read a goal in words, unless a reading comes along; it acts once it is approved.

    A rule reads it at once. Where the planner has a language model, that may read it until `asked_until_s`.
    """
    context = context_of(request)
    draft, cluster = await body_of(request, GoalDraft), await context.store.cluster()
    asked_until_s = await _asked_until_s(context) if draft.reading is None else None
    reading = draft.reading or read_goal(draft.text, cluster)
    if reading is None and asked_until_s is not None:
        reading = GoalReading(aims=Aims(), priorities=(), read_by="rule", why=UNREAD)
    if reading is None:
        raise InputError(unread(draft.text))
    strange = sorted({one.model for one in reading.priorities} - {m.id for m in cluster.models})
    if strange:
        raise InputError(f"there is no model {strange[0]!r} to give a priority")
    if draft.until_s is not None and draft.until_s <= max(draft.from_s, context.clock.now_s()):
        raise InputError(f"until_s {draft.until_s:.0f} is over, or not after from_s: a goal is for a time to come")
    return await _kept(request, draft, reading, asked_until_s)


@router.post("/goal:undo", operation_id="undo_goal", tags=["words"], **described(Goal, status=201, refusals=(409,)))
async def undo_goal(request: Request) -> Response:
    """Propose what was in force before the goal that is; it acts once it is approved, like any other."""
    context = context_of(request)
    goals, now_s = await context.store.goals(), context.clock.now_s()
    current = in_force(goals, now_s)
    if current is None:
        raise InputError("no goal is in force: there is nothing to undo")
    before = in_force([one for one in goals if one.id != current.id], now_s)
    reading = before.reading if before is not None else GoalReading(aims=Aims(), priorities=(), read_by="undo")
    draft = GoalDraft(
        text=before.text if before is not None else "as configured",
        from_s=now_s,
        until_s=before.until_s if before is not None else None,
        by="",
    )
    return await _kept(request, draft, reading.model_copy(update={"read_by": "undo"}))


@router.post(
    "/goals/{goal}:approve", operation_id="approve_goal", tags=["words"], **described(Goal, refusals=(404, 409))
)
async def approve_goal(request: Request, goal: NamePath) -> Response:
    """Put a goal in force: weights from the next decision on, priorities from the next plan on."""
    return await _answered(request, goal, "approved")


@router.post("/goals/{goal}:reject", operation_id="reject_goal", tags=["words"], **described(Goal, refusals=(404, 409)))
async def reject_goal(request: Request, goal: NamePath) -> Response:
    """Leave everything as it is."""
    return await _answered(request, goal, "declined")


async def _viewed(context: Context) -> GoalView:
    return view(await context.store.goals(), context.settings.controller, context.clock.now_s())


async def _asked_until_s(context: Context) -> float | None:
    """Return until when the planner's language model may read a goal; None where none is asked."""
    said, mode = await context.store.agent_statuses(), await context.store.mode("planner")
    for_s = reading_for_s(context.settings, mode, said)
    return None if for_s is None else context.clock.now_s() + for_s


def reading_for_s(settings: Settings, mode: Mode, said: Sequence[AgentStatus]) -> float | None:
    """Return for how many domain seconds a goal is left to the planner's language model, as long as it has for a plan.

    None where there is no model, or where it is not asked: switched off, or under a policy that takes no advice.
    """
    if mode.mode == "off" or settings.policy != "marginal-dpp":
        return None
    asks = any(one.agent == "planner" and one.llm != "none" for one in said)
    return settings.llm.planner_deadline_slots * settings.controller.slot_s if asks else None


async def _kept(
    request: Request, draft: GoalDraft, reading: GoalReading, asked_until_s: float | None = None
) -> Response:
    """Keep a goal that waits for approval, with what it would change."""
    context = context_of(request)
    weights = context.settings.controller.weights
    goal = Goal(
        id=f"goal-{secrets.token_hex(4)}",
        text=draft.text,
        from_s=draft.from_s,
        until_s=draft.until_s,
        by=_signed(request, draft.by),
        created_at_s=context.clock.now_s(),
        reading=reading,
        weights=weights,
        changes=(),
        asked_until_s=asked_until_s,
    )
    read = aimed(goal, reading, await _viewed(context), weights)
    return answer(await context.store.put_goal(read, if_revision=None), 201)


async def _answered(request: Request, name: str, said: Literal["approved", "declined"]) -> Response:
    """Write a person's answer beside the goal; the store takes the first one alone."""
    context = context_of(request)
    found = await context.store.goal(name)
    approval = Approval(answer=said, by=caller_of(request), at_s=context.clock.now_s())
    made = await context.store.put_goal(found.model_copy(update={"approval": approval}), if_revision=found.revision)
    structlog.get_logger("audit").info("goal answered", goal=name, answer=said, by=approval.by)
    return answer(made)


def _signed(request: Request, said: str) -> str:
    """Return who says so: their own words, and the token that they showed."""
    return foreign(f"{said}, {caller_of(request)}" if said else caller_of(request))
