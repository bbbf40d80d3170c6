"""Messages in and out of HTTP: bodies read within their limit and strictly, entity tags, pages."""

import json
from typing import Any, TypeVar

import pydantic
from starlette.requests import Request
from starlette.responses import Response

from control_api.problems import Refusal, of_validation
from fairlead.contracts.base import Message
from fairlead.contracts.errors import InputError
from fairlead.contracts.ports import Page

Item = TypeVar("Item", bound=Message)
JSON = "application/json"
REFERENCE = "#/components/schemas/{model}"

REVISION_MOST = 2**53
"""Entity tags beyond are refused: no resource is changed that often."""


async def body_of(request: Request, message: type[Item]) -> Item:
    """Return the message in the body. Raises `Refusal` 413 or 415, `InputError` where it is none."""
    kind = request.headers.get("content-type", JSON).partition(";")[0].strip().lower()
    if kind != JSON:
        raise Refusal(415, f"the body is {kind[:64]!r}: send {JSON}")
    raw = await _within(request, request.app.state.context.settings.control.body_limit_bytes)
    try:
        return message.from_json(raw)
    except pydantic.ValidationError as error:
        raise InputError(f"the body is no {message.__name__}: {of_validation(error)}") from error


async def _within(request: Request, limit: int) -> bytes:
    too_large = Refusal(413, f"the body is larger than {limit} bytes (control.body_limit_bytes)")
    declared = request.headers.get("content-length", "0")
    if declared.isdecimal() and int(declared) > limit:
        raise too_large
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            raise too_large
        parts.append(part)
    return b"".join(parts)


def answer(message: Message, status: int = 200, revision: int | None = None) -> Response:
    """Return a message as it stands, with its entity tag if it has one."""
    headers = None if revision is None else {"ETag": f'"{revision}"'}
    return Response(message.to_json(), status, headers, JSON)


def page(found: Page[Item]) -> Response:
    """Return a page: `items`, and the `cursor` of the next page or null."""
    items = ",".join(item.to_json() for item in found.items)
    return Response(f'{{"items":[{items}],"cursor":{json.dumps(found.cursor)}}}', 200, None, JSON)


def everything(items: tuple[Item, ...]) -> Response:
    """Return a listing that fits one page."""
    return page(Page(items, None))


def expected_revision(if_match: str | None) -> int:
    """Return the revision that `If-Match` names. Raises `Refusal` 428 without one, `InputError` if it is none."""
    if if_match is None:
        raise Refusal(428, 'a change names what it changes: send `If-Match: "REVISION"`, the `ETag` of a GET')
    tag = if_match.strip().removeprefix("W/").strip('"')
    if not (tag.isascii() and tag.isdecimal()) or int(tag[:20]) > REVISION_MOST:
        raise InputError('`If-Match` is no revision: send the `ETag` of a GET, such as "3"')
    return int(tag)


def schema_of(message: type[Message]) -> dict[str, str]:
    """Return the reference to a message's schema."""
    return {"$ref": REFERENCE.format(model=message.__name__)}


def page_schema(message: type[Message]) -> dict[str, Any]:
    """Return the schema of a page of these."""
    return {
        "type": "object",
        "required": ["items", "cursor"],
        "additionalProperties": False,
        "properties": {
            "items": {"type": "array", "items": schema_of(message)},
            "cursor": {"type": ["string", "null"], "description": "Opaque; give it back for the next page."},
        },
    }
