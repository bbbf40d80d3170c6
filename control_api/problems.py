"""Errors as RFC 9457 problem details: every answer that is not a success has this one shape."""

import http
from collections.abc import Mapping

import pydantic
from starlette.responses import Response

from fairlead.contracts.errors import FairleadError
from fairlead.contracts.events import Problem

MEDIA_TYPE = "application/problem+json"

CODES: Mapping[int, str] = {
    400: "bad-request",
    401: "unauthenticated",
    403: "denied",
    404: "not-found",
    405: "method-not-allowed",
    408: "timed-out",
    413: "too-large",
    415: "unsupported-media-type",
    422: "bad-input",
    428: "precondition-required",
}
"""Stable codes of what HTTP itself refuses; those of our errors stand with them in `fairlead.contracts.errors`."""

DETAIL_CHARS = 2048
PATH_CHARS = 256


class Refusal(Exception):
    """A request that HTTP itself refuses: too large, without its precondition, of another media type."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


def problem(
    status: int, detail: str, path: str, code: str | None = None, headers: Mapping[str, str] | None = None
) -> Response:
    """Return the answer for a refusal of `path`."""
    code = code or CODES.get(status, "internal")
    document = Problem(
        type=f"urn:fairlead:problem:{code}",
        title=http.HTTPStatus(status).phrase,
        status=status,
        detail=detail[:DETAIL_CHARS],
        code=code,
        instance=path[:PATH_CHARS],
    )
    return Response(document.to_json(), status, headers, MEDIA_TYPE)


def of_error(error: FairleadError, path: str) -> Response:
    """Return the answer for one of our errors."""
    headers = {"Retry-After": "1"} if error.status == 503 else None
    return problem(error.status, str(error), path, error.code, headers)


def of_validation(error: pydantic.ValidationError) -> str:
    """Return the first things that are wrong with a body, where and why, without what was sent."""
    told = []
    for one in error.errors(include_url=False, include_context=False, include_input=False)[:5]:
        where = ".".join(str(part) for part in one["loc"])
        told.append(f"{where}: {one['msg'].removeprefix('Value error, ')}" if where else one["msg"])
    more = error.error_count() - len(told)
    return "; ".join(told) + (f"; and {more} more" if more else "")
