"""What every route works on, and the route that checks, times and answers for all of them."""

import difflib
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from control_api import problems
from control_api.access import WHO_MAY, Access, Unauthenticated
from control_api.metrics import ControlMetrics
from control_api.watch import Watch
from fairlead.contracts.errors import FairleadError, InputError, foreign
from fairlead.contracts.ports import Clock, Store
from fairlead.contracts.settings import Settings

Handler: TypeAlias = Callable[[Request], Coroutine[Any, Any, Response]]

UNTIMED = frozenset(("read_placement", "read_table", "read_plan_in_force", "read_events"))
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

    def most(self, limit: int | None) -> int:
        """Return how many items a page has at most, where a call asks for `limit`."""
        return limit or self.settings.control.page_limit


def context_of(request: Request) -> Context:
    """Return what the routes of this application work on."""
    context: Context = request.app.state.context
    return context


def caller_of(request: Request) -> str:
    """Return who calls, in words for an audit; every operation of the table of roles knows."""
    caller: str = request.state.caller
    return caller


def answering(operation: str, handle: Handler) -> Handler:
    """Wrap what handles a call: it asks whether the caller may, counts, times, and tells refusals as problems."""
    log = structlog.get_logger("control")

    async def answered(request: Request) -> Response:
        context = context_of(request)
        began_s = time.perf_counter()
        try:
            if operation in WHO_MAY:
                peer = request.client.host if request.client else None
                authorization = request.headers.get("authorization")
                request.state.caller = await context.access.check(operation, authorization, peer)
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


class ControlRoute(APIRoute):
    """A route of which every call is answered as `answering` does, and which refuses unknown or doubled parameters."""

    def get_route_handler(self) -> Handler:
        """Wrap what FastAPI makes of the function."""
        handle = super().get_route_handler()
        operation = self.operation_id or self.name
        known = frozenset(parameter.alias for parameter in self.dependant.query_params)

        async def checked(request: Request) -> Response:
            unknown = sorted(set(request.query_params) - known)
            if unknown and operation in WHO_MAY:
                near = difflib.get_close_matches(unknown[0], known, 1)
                hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(sorted(known)) or 'none'}"
                raise InputError(f"query parameter {foreign(unknown[0])!r} is unknown: {hint}")
            given = Counter(name for name, _ in request.query_params.multi_items())
            name, times = next(iter(given.most_common(1)), ("", 0))
            if times > 1 and operation in WHO_MAY:
                raise InputError(f"query parameter {foreign(name)!r} stands {times} times: give one")
            return await handle(request)

        return answering(operation, checked)


class Shortcut:
    """The application behind a table of calls that are too frequent for its way through routers and middleware.

    A report takes 0.4 ms less CPU, 1.2 in place of 1.6 (`bench/reports.py`, 2026-11). Both ways lead to the same
    functions and refusals.
    """

    def __init__(self, app: FastAPI, direct: Mapping[tuple[str, str], tuple[str, Handler]]) -> None:
        self._app = app
        self._direct = {call: answering(operation, handle) for call, (operation, handle) in direct.items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a call of the table here, any other by way of the application."""
        handle = self._direct.get((scope.get("method", ""), scope.get("path", "")))
        if handle is None:
            await self._app(scope, receive, send)
            return
        scope["app"] = self._app
        response = await handle(Request(scope, receive))
        await response(scope, receive, send)


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
