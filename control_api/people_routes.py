"""What people set: overrides, modes and tokens."""

import structlog
from fastapi import APIRouter, Request
from starlette.responses import Response

from control_api.access import new_token
from control_api.context import ControlRoute, caller_of, context_of
from control_api.messages import answer, body_of, everything, expected_revision
from control_api.parameters import AgentPath, IfMatch, NamePath, described
from fairlead.contracts.errors import InputError, foreign
from fairlead.contracts.events import Mode, TokenDraft, TokenGiven, TokenRecord
from fairlead.contracts.plans import Override

router = APIRouter(prefix="/api/v1", route_class=ControlRoute)


@router.get("/overrides", operation_id="list_overrides", tags=["people"], **described(pages=Override))
async def list_overrides(request: Request) -> Response:
    """List what operators have fixed."""
    return everything(await context_of(request).store.overrides())


@router.post(
    "/overrides",
    operation_id="create_override",
    tags=["people"],
    **described(Override, status=201, body=Override, refusals=(409,)),
)
async def create_override(request: Request) -> Response:
    """Pin a model to a node, or ban it from there."""
    store = context_of(request).store
    override = await body_of(request, Override)
    cluster = await store.cluster()
    if override.node not in {node.id for node in cluster.nodes}:
        raise InputError(f"there is no node {override.node!r} to {override.action} a model at")
    if override.model not in {model.id for model in cluster.models}:
        raise InputError(f"there is no model {override.model!r} to {override.action}")
    return answer(await store.put_override(override, if_revision=None), 201)


@router.delete(
    "/overrides/{override}", operation_id="delete_override", tags=["people"], **described(status=204, refusals=(404,))
)
async def delete_override(request: Request, override: NamePath) -> Response:
    """Lift an override."""
    await context_of(request).store.delete_override(override)
    return Response(status_code=204)


@router.get("/mode", operation_id="list_modes", tags=["people"], **described(pages=Mode))
async def list_modes(request: Request) -> Response:
    """List who may act for each agent."""
    store = context_of(request).store
    return everything((await store.mode("planner"), await store.mode("slot-agent")))


@router.get("/mode/{agent}", operation_id="read_mode", tags=["people"], **described(Mode, tagged=True))
async def read_mode(request: Request, agent: AgentPath) -> Response:
    """Return who may act for an agent."""
    mode = await context_of(request).store.mode(agent)
    return answer(mode, revision=mode.revision)


@router.put(
    "/mode/{agent}",
    operation_id="change_mode",
    tags=["people"],
    **described(Mode, body=Mode, refusals=(409, 412, 428), tagged=True),
)
async def change_mode(request: Request, agent: AgentPath, if_match: IfMatch = None) -> Response:
    """Change who may act for an agent, from now on; the instant is ours, and the token stands beside `by`."""
    context = context_of(request)
    revision = expected_revision(if_match)
    given = await body_of(request, Mode)
    if given.agent != agent:
        raise InputError(f"the path names {agent!r}, the body {given.agent!r}")
    before = await context.store.mode(agent)
    said = "" if given.by == before.by else given.by  # who reads, changes and sends back says nothing of itself
    by = foreign(f"{said}, {caller_of(request)}" if said else caller_of(request))
    changed = given.model_copy(update={"by": by, "at_s": context.clock.now_s()})
    made = await context.store.put_mode(changed, if_revision=revision)
    log = structlog.get_logger("audit")
    log.info("mode changed", agent=agent, before=before.mode, mode=made.mode, by=made.by, revision=made.revision)
    return answer(made, revision=made.revision)


@router.get("/tokens", operation_id="list_tokens", tags=["people"], **described(pages=TokenRecord))
async def list_tokens(request: Request) -> Response:
    """List tokens by what is kept of them: hashes."""
    return everything(await context_of(request).store.tokens())


@router.post(
    "/tokens",
    operation_id="create_token",
    tags=["people"],
    **described(TokenGiven, status=201, body=TokenDraft, refusals=(409,)),
)
async def create_token(request: Request) -> Response:
    """Make a token; its secret is shown here and never again."""
    context = context_of(request)
    draft = await body_of(request, TokenDraft)
    secret, record = new_token(draft.role, draft.note, context.clock.now_s())
    await context.store.add_token(record)
    context.access.forget()
    given = TokenGiven(id=record.id, role=record.role, note=record.note, token=secret, created_at_s=record.created_at_s)
    return answer(given, 201)


@router.delete(
    "/tokens/{token}", operation_id="delete_token", tags=["people"], **described(status=204, refusals=(404,))
)
async def delete_token(request: Request, token: NamePath) -> Response:
    """Forget a token: it is refused from now on here, within seconds by other control APIs."""
    context = context_of(request)
    await context.store.delete_token(token)
    context.access.forget()
    return Response(status_code=204)
