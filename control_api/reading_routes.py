"""Reports in, outcomes and events out."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request
from starlette.responses import Response, StreamingResponse

from control_api.context import Context, ControlRoute, context_of
from control_api.messages import JSON, answer, body_of, page
from control_api.parameters import Cursor, Limit, described
from fairlead.adapters.store_rules import EVERY_KIND
from fairlead.contracts.errors import InputError, foreign
from fairlead.contracts.events import Event, EventKind
from fairlead.contracts.readings import Accepted, GatewayReport, KeeperState, KeeperStates, NodeReport, Outcome

ALIVE_EVERY_S = 15.0
"""Wall seconds of silence after which an event stream says that it is still there; proxies cut after 30 to 60."""

TAKEN = Accepted(accepted=True).to_json().encode()
KNOWN = Accepted(accepted=False).to_json().encode()

router = APIRouter(prefix="/api/v1", route_class=ControlRoute)


def _accepted(context: Context, kind: str, reporter: str, at_s: float, kept: bool) -> Response:
    context.metrics.reports.labels(kind, "taken" if kept else "repeated").inc()
    if kept and context.watch.listened_to:
        context.watch.tell("report", reporter, at_s, kind)
    return Response(TAKEN if kept else KNOWN, 200, None, JSON)


@router.post("/reports/node", operation_id="report_node", tags=["readings"], **described(Accepted, body=NodeReport))
async def report_node(request: Request) -> Response:
    """Take a node agent's report; one that was taken before changes nothing."""
    context = context_of(request)
    report = await body_of(request, NodeReport)
    kept = await context.store.append_node_report(report)
    if kept:
        context.metrics.node_reported(report)
    return _accepted(context, "node", report.node, report.observed_at_s, kept)


@router.post(
    "/reports/gateway", operation_id="report_gateway", tags=["readings"], **described(Accepted, body=GatewayReport)
)
async def report_gateway(request: Request) -> Response:
    """Take a gateway's report and its outcomes; one that was taken before changes nothing."""
    context = context_of(request)
    report = await body_of(request, GatewayReport)
    kept = await context.store.append_gateway_report(report)
    if kept:
        context.metrics.gateway_reported(report)
    return _accepted(context, "gateway", report.gateway, report.observed_at_s, kept)


@router.get("/keepers", operation_id="read_keepers", tags=["readings"], **described(KeeperStates))
async def read_keepers(
    request: Request,
    nodes: Annotated[str | None, Query(max_length=65_536, description="Comma-separated; all without.")] = None,
) -> Response:
    """Return the queues of nodes as their gateways' newest reports have them: for an ingress whose stream is down."""
    wanted = None if nodes is None else frozenset(nodes.split(","))
    newest: dict[str, KeeperState] = {}
    reports = await context_of(request).store.latest_gateway_reports()
    for report in sorted(reports, key=lambda r: r.observed_at_s):
        if report.keeper is not None and (wanted is None or report.keeper.node in wanted):
            newest[report.keeper.node] = report.keeper
    return answer(KeeperStates(items=tuple(newest[node] for node in sorted(newest))))


@router.get("/outcomes", operation_id="list_outcomes", tags=["readings"], **described(pages=Outcome))
async def list_outcomes(request: Request, limit: Limit = None, cursor: Cursor = None) -> Response:
    """List how requests ended, the last first."""
    context = context_of(request)
    return page(await context.store.outcomes(limit=context.most(limit), cursor=cursor))


STREAM = {
    **described(),
    "responses": {
        **described()["responses"],
        200: {"description": "Events as they happen", "content": {"text/event-stream": {"schema": {"type": "string"}}}},
    },
}


@router.get("/events", operation_id="read_events", tags=["readings"], **STREAM)
async def read_events(
    request: Request,
    kinds: Annotated[str | None, Query(max_length=256, description="Comma-separated; all without.")] = None,
    last_event_id: Annotated[str | None, Header(max_length=20)] = None,
) -> Response:
    """Send each change as a server-sent event, from now on or after `Last-Event-ID`."""
    wanted = _kinds(kinds)
    after = int(last_event_id) if last_event_id is not None and last_event_id.isdecimal() else None
    events = context_of(request).watch.events(wanted, after)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(_sent(events), 200, headers, "text/event-stream")


def _kinds(words: str | None) -> frozenset[EventKind]:
    if words is None:
        return frozenset(EVERY_KIND)
    asked = {word.strip() for word in words.split(",") if word.strip()}
    unknown = sorted(asked - set(EVERY_KIND))
    if unknown or not asked:
        raise InputError(f"kinds {foreign(words)!r}: known are {', '.join(EVERY_KIND)}")
    return frozenset(kind for kind in EVERY_KIND if kind in asked)


async def _sent(events: AsyncIterator[Event]) -> AsyncIterator[bytes]:
    """Yield events as server-sent ones, and a comment where there is nothing to say."""
    yield b": events follow\n\n"
    coming = asyncio.ensure_future(anext(events))
    try:
        while True:
            done, _ = await asyncio.wait((coming,), timeout=ALIVE_EVERY_S)
            if not done:
                yield b": alive\n\n"
                continue
            try:
                event = coming.result()
            except StopAsyncIteration:
                return
            yield f"id: {event.sequence}\nevent: {event.kind}\ndata: {event.to_json()}\n\n".encode()
            coming = asyncio.ensure_future(anext(events))
    finally:
        coming.cancel()
        await asyncio.gather(coming, return_exceptions=True)
