"""The application: all routes, every refusal a problem document, and an OpenAPI document of the shared messages."""

import re
from typing import Any

import pydantic.json_schema
from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse, Response

from control_api import (
    agent_routes,
    case_routes,
    cluster_routes,
    decision_routes,
    people_routes,
    reading_routes,
    slot_routes,
    words_routes,
)
from control_api.access import WHO_MAY, Access
from control_api.context import Context, ControlRoute, Shortcut, context_of, refused
from control_api.messages import REFERENCE
from control_api.metrics import ControlMetrics
from control_api.problems import problem
from control_api.watch import Watch
from fairlead.contracts import cases, cluster, decisions, dialogue, events, notes, plans, readings, resources
from fairlead.contracts.base import Message
from fairlead.contracts.ports import Clock, Store
from fairlead.contracts.settings import Settings

MESSAGES: tuple[type[Message], ...] = (
    cases.Case,
    cases.CaseSummary,
    cases.Quarantine,
    cluster.Cluster,
    decisions.DecisionRecord,
    decisions.DecisionSummary,
    decisions.Replayed,
    decisions.Snapshot,
    dialogue.Agents,
    dialogue.Proposal,
    events.Mode,
    events.Problem,
    events.TokenDraft,
    events.TokenGiven,
    events.TokenRecord,
    events.Wake,
    notes.Goal,
    notes.GoalDraft,
    notes.GoalView,
    notes.Note,
    notes.NoteDraft,
    plans.EpochPlan,
    plans.Override,
    plans.Placement,
    plans.PlanDraft,
    plans.RoutingTable,
    plans.Verdict,
    readings.Accepted,
    readings.GatewayReport,
    readings.NodeReport,
    readings.Outcome,
    resources.RouteStates,
)
"""What bodies and answers are made of; the parts of these come with them."""

health = APIRouter(route_class=ControlRoute)


@health.get("/healthz", operation_id="healthz", tags=["health"], response_class=PlainTextResponse)
async def healthz() -> Response:
    """Answer while the process lives, whatever the database does."""
    return Response("ok\n", media_type="text/plain")


@health.get(
    "/readyz",
    operation_id="readyz",
    tags=["health"],
    response_class=PlainTextResponse,
    responses={503: {"description": "The database does not answer", "content": {"application/problem+json": {}}}},
)
async def readyz(request: Request) -> Response:
    """Answer 200 once the database answers and its schema is ours, else 503."""
    context = context_of(request)
    if not context.watch.store_up:
        return problem(503, "the database does not answer", request.url.path, "store-unavailable")
    return Response("ready\n", media_type="text/plain")


@health.get("/metrics", operation_id="metrics", tags=["health"], response_class=PlainTextResponse)
async def metrics(request: Request) -> Response:
    """Return what is measured, for Prometheus."""
    return Response(context_of(request).metrics.exposition(), media_type=CONTENT_TYPE_LATEST)


def context(settings: Settings, store: Store, clock: Clock) -> Context:
    """Return the parts that an application works on."""
    metrics = ControlMetrics()
    return Context(
        settings=settings,
        store=store,
        clock=clock,
        access=Access(store, clock, auth=settings.control.auth),
        watch=Watch(store, clock, metrics),
        metrics=metrics,
    )


def create_app(context: Context, version: str) -> FastAPI:
    """Return the application on these parts; somebody else runs `context.watch`."""
    app = FastAPI(title="Fairlead control API", version=version, separate_input_output_schemas=False)
    app.state.context = context
    # routes are tried in turn: those that edge processes call all the time come first
    for router in (
        reading_routes.router,
        decision_routes.router,
        slot_routes.router,
        cluster_routes.router,
        people_routes.router,
        words_routes.router,
        agent_routes.router,
        case_routes.router,
        health,
    ):
        app.include_router(router)
    app.add_exception_handler(HTTPException, _refuse)
    app.add_exception_handler(RequestValidationError, _refuse)
    app.add_exception_handler(Exception, _refuse)
    document: dict[str, Any] = {}

    def openapi() -> dict[str, Any]:
        if not document:
            document.update(_openapi(app))
        return document

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's own way to extend the document
    return app


def hastened(app: FastAPI) -> Shortcut:
    """Return the application with a shortcut to its reports."""
    return Shortcut(
        app,
        {
            ("POST", "/api/v1/reports/node"): ("report_node", reading_routes.report_node),
            ("POST", "/api/v1/reports/gateway"): ("report_gateway", reading_routes.report_gateway),
        },
    )


async def _refuse(request: Request, error: Exception) -> Response:
    response = refused(error, request.url.path)
    if response.status_code == 405:
        response.headers["Allow"] = ", ".join(_allowed(request.app, request.url.path))
    return response


def _allowed(app: FastAPI, path: str) -> list[str]:
    """Return the methods of a path; each is a route of its own, and the router knows of the first one only."""
    paths: dict[str, dict[str, Any]] = app.openapi()["paths"]
    fitting = [template for template in paths if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), path)]
    nearest = max(fitting, key=lambda template: len(re.sub(r"\{\w+\}", "", template)), default=None)
    return sorted(method.upper() for method in paths[nearest]) if nearest is not None else ["GET"]


def _openapi(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document: the routes, the messages' schemas, and who may do what."""
    document = get_openapi(title=app.title, version=app.version, routes=app.routes)
    _, definitions = pydantic.json_schema.models_json_schema(
        [(message, "validation") for message in MESSAGES], ref_template=REFERENCE
    )
    components = document.setdefault("components", {})
    components["schemas"] = definitions["$defs"]
    secured = app.state.context.settings.control.auth
    if secured:
        components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    for path in document["paths"].values():
        for operation in path.values():
            roles = WHO_MAY.get(operation["operationId"])
            if roles is None:
                continue
            if secured:
                operation["security"] = [{"token": []}]
            operation["x-roles"] = sorted(roles)
    return document
