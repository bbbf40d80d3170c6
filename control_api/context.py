"""What every route works on, and the route that checks, times and answers for all of them."""

import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import structlog
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from control_api import problems
from control_api.access import WHO_MAY, Access, Unauthenticated
from control_api.metrics import ControlMetrics
from control_api.watch import Watch
from fairlead.contracts.errors import FairleadError
from fairlead.contracts.ports import Clock, Store
from fairlead.contracts.settings import Settings

UNTIMED = frozenset(("read_placement", "read_table", "read_events"))
"""Operations that wait on purpose."""


@dataclass(frozen=True, slots=True)
class Context:
    """The parts of one control API."""

    settings: Settings
    store: Store
    clock: Clock
    access: Access
    watch: Watch
    metrics: ControlMetrics


def context_of(request: Request) -> Context:
    """Return what the routes of this application work on."""
    context: Context = request.app.state.context
    return context


class ControlRoute(APIRoute):
    """A route that first asks whether the caller may, and answers every refusal with a problem document."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wrap what FastAPI makes of the function."""
        handle = super().get_route_handler()
        operation = self.operation_id or self.name
        log = structlog.get_logger("control")

        async def answered(request: Request) -> Response:
            context = context_of(request)
            began_s = time.perf_counter()
            try:
                if operation in WHO_MAY:
                    peer = request.client.host if request.client else None
                    await context.access.check(operation, request.headers.get("authorization"), peer)
                response = await handle(request)
            except Exception as error:
                response = refused(error, request.url.path)
                if response.status_code == 500:
                    log.error("a call failed", operation=operation, exc_info=error)
            context.metrics.calls.labels(operation, response.status_code).inc()
            if operation not in UNTIMED:
                context.metrics.call_seconds.labels(operation).observe(time.perf_counter() - began_s)
            return response

        return answered


def refused(error: Exception, path: str) -> Response:
    """Return the problem document for whatever a call ended with."""
    match error:
        case FairleadError():
            return problems.of_error(error, path)
        case problems.Refusal():
            return problems.problem(error.status, error.detail, path)
        case Unauthenticated():
            return problems.problem(401, str(error), path, headers={"WWW-Authenticate": "Bearer"})
        case RequestValidationError():
            return problems.problem(422, _wrong(error), path)
        case HTTPException():
            return problems.problem(error.status_code, _of_http(error), path, headers=error.headers)
        case ClientDisconnect():
            return problems.problem(400, "the client went away while its body was read", path)
        case _:
            return problems.problem(500, "this is our fault: see the log of the control API", path)


def _wrong(error: RequestValidationError) -> str:
    """Return which parameters are wrong and why."""
    return "; ".join(f"{'.'.join(str(part) for part in one['loc'])}: {one['msg']}" for one in error.errors()[:5])


def _of_http(error: HTTPException) -> str:
    match error.status_code:
        case 404:
            return "there is nothing at this path: see /docs"
        case 405:
            return "this path does not take that method: see `Allow` and /docs"
        case _:
            return str(error.detail)
