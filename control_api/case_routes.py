"""Case memory: remembered epochs, listed, read, carried from one system to another, quarantined, deleted."""

import re
from typing import Annotated

import structlog
from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from control_api.context import ControlRoute, caller_of, context_of
from control_api.messages import answer, body_of, page
from control_api.parameters import MOST, Cursor, Limit, NamePath, described
from fairlead.contracts.cases import Case, CaseSummary, Quarantine
from fairlead.contracts.errors import Conflict, InputError, NotFound
from fairlead.contracts.ports import Page

ClusterQuery = Annotated[
    str | None,
    Query(pattern=r"^[A-Za-z0-9_.:/-]{1,128}$", description="Those of one cluster alone, by its digest."),
]

PATH_SEGMENT = re.compile(r"[A-Za-z0-9_.:-]+")
"""Ids that a path can name; those of our evaluators are."""

router = APIRouter(prefix="/api/v1", route_class=ControlRoute)


@router.get("/cases", operation_id="list_cases", tags=["cases"], **described(pages=CaseSummary))
async def list_cases(
    request: Request, cluster: ClusterQuery = None, limit: Limit = None, cursor: Cursor = None
) -> Response:
    """List remembered epochs, those that began last first."""
    context = context_of(request)
    found = await context.store.cases(cluster=cluster, limit=context.most(limit), cursor=cursor)
    return page(Page(tuple(summary_of(case) for case in found.items), found.cursor))


@router.get("/cases/{case}", operation_id="read_case", tags=["cases"], **described(Case, refusals=(404, 409)))
async def read_case(request: Request, case: NamePath) -> Response:
    """Return a remembered epoch in full: what was seen, what was decided, what came of it."""
    return answer(await context_of(request).store.case(case))


@router.post(
    "/cases", operation_id="import_case", tags=["cases"], **described(Case, status=201, body=Case, refusals=(409,))
)
async def import_case(request: Request) -> Response:
    """Keep a case that another system has measured; it says from now on that it was imported."""
    context = context_of(request)
    given = await body_of(request, Case)
    if not PATH_SEGMENT.fullmatch(given.id):
        raise InputError(f"the id {given.id!r} cannot stand in a path: give the case another one, without slashes")
    if given.ended_at_s < given.began_at_s:
        raise InputError(f"case {given.id!r} ends at {given.ended_at_s}, before it begins at {given.began_at_s}")
    if given.cited > MOST:
        raise InputError(f"case {given.id!r} is said to be cited more than {MOST} times: that is no count")
    try:
        await context.store.case(given.id)
    except NotFound:
        pass
    else:
        raise Conflict(f"case {given.id!r} is there already: delete it first")
    made = given.model_copy(update={"provenance": given.provenance.model_copy(update={"imported": True})})
    await context.store.add_case(made, capacity=context.settings.llm.case_capacity)
    structlog.get_logger("audit").info("case imported", case=made.id, by=caller_of(request))
    return answer(made, 201)


@router.delete("/cases/{case}", operation_id="delete_case", tags=["cases"], **described(status=204, refusals=(404,)))
async def delete_case(request: Request, case: NamePath) -> Response:
    """Forget a remembered epoch: no prompt shows it any more."""
    await context_of(request).store.delete_case(case)
    structlog.get_logger("audit").info("case deleted", case=case, by=caller_of(request))
    return Response(status_code=204)


@router.post(
    "/cases/{case}/quarantine",
    operation_id="quarantine_case",
    tags=["cases"],
    **described(Case, body=Quarantine, refusals=(404, 409)),
)
async def quarantine_case(request: Request, case: NamePath) -> Response:
    """Have no model shown a remembered epoch, for a reason; it stays, and can be released."""
    given = await body_of(request, Quarantine)
    return await _marked(request, case, given.why)


@router.delete(
    "/cases/{case}/quarantine",
    operation_id="release_case",
    tags=["cases"],
    **described(Case, refusals=(404, 409)),
)
async def release_case(request: Request, case: NamePath) -> Response:
    """Let a remembered epoch be shown again."""
    return await _marked(request, case, "")


async def _marked(request: Request, case: str, why: str) -> Response:
    store = context_of(request).store
    await store.case(case)
    await store.quarantine_cases([case], why)
    done = "case quarantined" if why else "case released"
    structlog.get_logger("audit").info(done, case=case, by=caller_of(request), why=why)
    return answer(await store.case(case))


def summary_of(case: Case) -> CaseSummary:
    """Return what a listing shows of a case."""
    return CaseSummary(
        id=case.id,
        epoch=case.epoch,
        began_at_s=case.began_at_s,
        source=case.provenance.source,
        objective=case.realised.objective,
        advantage=case.advantage,
        quarantined=case.quarantined,
        cited=case.cited,
        cluster=case.provenance.cluster,
    )
