"""What stands in paths, queries and headers, and how operations are described in the OpenAPI document."""

from typing import Annotated, Any, Literal

from fastapi import Header, Path, Query

from control_api.messages import page_schema, schema_of
from control_api.problems import MEDIA_TYPE
from fairlead.contracts.base import Message
from fairlead.contracts.events import Problem

MOST = 2**53
"""Numbers beyond are refused: JSON readers do not agree on them."""

IdPath = Annotated[str, Path(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
NamePath = Annotated[str, Path(pattern=r"^[A-Za-z0-9_.:-]{1,128}$")]
GenerationPath = Annotated[int, Path(ge=1, le=MOST)]
AgentPath = Annotated[Literal["planner", "slot-agent"], Path()]
Limit = Annotated[int | None, Query(ge=1, le=1000, description="Most items of the page; control.page_limit without.")]
Cursor = Annotated[str | None, Query(max_length=512, description="From the page before.")]
AgentQuery = Annotated[Literal["planner", "slot-agent"] | None, Query(description="Those of one agent alone.")]
NewerThan = Annotated[int | None, Query(ge=0, le=MOST, description="Answer 204 unless a newer one is in force.")]
WaitS = Annotated[float, Query(ge=0, le=60, description="Wall seconds to wait for a newer one.")]
IfMatch = Annotated[str | None, Header(max_length=64, description="The `ETag` of a GET; 428 without.")]

PROBLEM = {MEDIA_TYPE: {"schema": schema_of(Problem)}}
WHY = {
    400: "The request cannot be read",
    401: "No token, or an unknown one",
    403: "The token's role may not do this",
    404: "There is nothing of that id",
    409: "Another state than the caller thought",
    412: "`If-Match` names another revision",
    413: "The body is over the limit",
    415: "The body is no JSON",
    422: "What was sent cannot be taken; nothing was changed",
    428: "`If-Match` is missing",
    500: "A fault of ours",
    503: "The database does not answer now",
}


def described(
    answers: type[Message] | None = None,
    *,
    pages: type[Message] | None = None,
    status: int = 200,
    body: type[Message] | None = None,
    refusals: tuple[int, ...] = (),
    tagged: bool = False,
    otherwise: dict[int, str] | None = None,
) -> dict[str, Any]:
    """Return how an operation is described: its answer, its body, its refusals.

    `otherwise` names successes without a body; `tagged` says that the answer has an `ETag`.
    """
    responses: dict[int | str, dict[str, Any]] = {}
    schema = page_schema(pages) if pages else schema_of(answers) if answers else None
    responses[status] = {"description": "Done"}
    if schema:
        responses[status]["content"] = {"application/json": {"schema": schema}}
    if tagged:
        responses[status]["headers"] = {"ETag": {"description": "Its revision", "schema": {"type": "string"}}}
    for code, words in (otherwise or {}).items():
        responses[code] = {"description": words}
    always = (401, 403, 422, 500, 503, *((413, 415) if body else ()))
    for code in sorted({*always, *refusals}):
        responses[code] = {"description": WHY[code], "content": PROBLEM}
    described: dict[str, Any] = {"responses": responses, "status_code": status, "response_model": None}
    if body:
        described["openapi_extra"] = {
            "requestBody": {"required": True, "content": {"application/json": {"schema": schema_of(body)}}}
        }
    return described
