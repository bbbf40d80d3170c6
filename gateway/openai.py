"""The ingress towards clients: OpenAI-shaped requests in over HTTP, their errors in OpenAI's envelope."""

import json
import math
import re
from collections.abc import Mapping
from uuid import uuid4

import structlog
from aiohttp import web

from fairlead.contracts.cluster import Kind, ModelSpec
from gateway.ingress import Ingress
from gateway.requests import Ask, Open, Refusal
from gateway.serving import Answer

PATHS: Mapping[str, tuple[Kind, ...]] = {
    "/v1/chat/completions": ("text", "vision-language"),
    "/v1/completions": ("text", "vision-language"),
    "/v1/images/generations": ("image",),
}
"""Endpoint and the kinds of model that it serves."""

REQUEST_ID = re.compile(r"[A-Za-z0-9_.:/-]{1,128}\Z")
"""The same as `contracts.base.Name`."""

JSON_TYPE = "application/json"


class OpenAi:
    """Handler of an ingress's port."""

    def __init__(self, ingress: Ingress, models: Mapping[str, ModelSpec]) -> None:
        """Serve the given models; `models` may be replaced when the cluster changes."""
        self.models = models
        self._ingress = ingress
        self._log = structlog.get_logger()

    async def handle(self, request: web.BaseRequest) -> Answer | None:
        """Answer a request under `/v1`; None for a path that is not one."""
        path = request.path
        kinds = PATHS.get(path)
        if kinds is not None:
            reply = HttpReply(request)
            if request.method != "POST":
                await reply.refuse(Refusal(405, "method_not_allowed", f"{path} takes POST, not {request.method}"), None)
                return reply.response
            try:
                await self._generate(request, path, kinds, reply)
            except ConnectionError:
                raise
            except Exception as error:
                self._log.exception("request failed", error=str(error))
                if reply.response is None:
                    words = "the gateway failed on this request; its log has the cause"
                    await reply.refuse(Refusal(500, "internal", words, "server_error"), None)
            return reply.response
        if path == "/v1/models" and request.method == "GET":
            return _json(200, {"object": "list", "data": [_card(m) for m in self.models.values()]})
        if path.startswith("/v1/models/") and request.method == "GET":
            model = path.removeprefix("/v1/models/")
            if model in self.models:
                return _json(200, _card(self.models[model]))
            reply = HttpReply(request)
            await reply.refuse(self._unknown(model), None)
            return reply.response
        return None

    async def _generate(self, request: web.BaseRequest, path: str, kinds: tuple[Kind, ...], reply: "HttpReply") -> None:
        asked = request.headers.get("x-request-id")
        if asked is not None and REQUEST_ID.match(asked) is None:
            words = "x-request-id must be 1 to 128 letters, digits or characters of _.:/-"
            return await reply.refuse(Refusal(400, "bad_request_id", words, param="x-request-id"), None)
        reply.request_id = asked or uuid4().hex
        body = await _body(request)
        if isinstance(body, Refusal):
            return await reply.refuse(body, None)
        checked = self._checked(body, path, kinds)
        if isinstance(checked, Refusal):
            self._ingress.ledger.refused[checked.code] += 1
            return await reply.refuse(checked, None)
        await self._ingress.serve(Ask(reply.request_id, checked, path, body), reply)

    def _checked(self, body: bytes, path: str, kinds: tuple[Kind, ...]) -> str | Refusal:
        """Return the model asked for, or why the body cannot be taken."""
        try:
            asked = json.loads(body)
        except ValueError as error:
            return Refusal(400, "bad_json", f"the body is not JSON: {str(error)[:200]}")
        name = asked.get("model") if isinstance(asked, dict) else None
        if not isinstance(name, str):
            return Refusal(400, "model_missing", "the body must be a JSON object with a string 'model'", param="model")
        model = self.models.get(name)
        if model is None:
            return self._unknown(name)
        if model.kind not in kinds:
            right = sorted(p for p, served in PATHS.items() if model.kind in served)
            words = f"model {name!r} is of kind {model.kind}, which {path} does not serve: use {' or '.join(right)}"
            return Refusal(400, "wrong_endpoint", words, param="model")
        if model.kind == "text" and _has_image(asked):
            words = f"model {name!r} takes text alone: a message has a part that is not text"
            return Refusal(400, "image_not_supported", words, param="messages")
        return name

    def _unknown(self, name: str) -> Refusal:
        known = ", ".join(sorted(self.models)[:10])
        return Refusal(404, "model_not_found", f"there is no model {name[:64]!r}; known are {known}", param="model")


class HttpReply:
    """The port `Reply` over one HTTP exchange."""

    __slots__ = ("_request", "_stream", "request_id", "response")

    def __init__(self, request: web.BaseRequest) -> None:
        self.response: Answer | None = None
        """What the handler returns to the server; None while there is none."""
        self.request_id = ""
        self._request = request
        self._stream: web.StreamResponse | None = None

    async def whole(self, one: Open, status: int, content_type: str, body: bytes) -> None:
        """Answer in one piece."""
        headers = self._headers(one)
        headers["content-type"] = content_type
        self.response = web.Response(status=status, body=body, headers=headers)

    async def refuse(self, refusal: Refusal, one: Open | None) -> None:
        """Answer with an error."""
        response = _json(refusal.status, _envelope(refusal))
        response.headers.update(self._headers(one))
        if refusal.retry_after_s is not None:
            response.headers["retry-after"] = str(math.ceil(refusal.retry_after_s))
        self.response = response

    async def begin(self, one: Open, status: int, content_type: str) -> None:
        """Begin a stream."""
        headers = self._headers(one)
        headers["content-type"] = content_type
        headers["cache-control"] = "no-cache"
        self._stream = web.StreamResponse(status=status, headers=headers)
        self.response = self._stream
        await self._stream.prepare(self._request)

    async def write(self, piece: bytes) -> None:
        """Pass a piece on."""
        if self._stream is not None:
            await self._stream.write(piece)

    async def finish(self) -> None:
        """End the stream properly."""
        if self._stream is not None:
            await self._stream.write_eof()

    async def break_off(self, refusal: Refusal) -> None:
        """Send an error event, then close the connection where a proper end would stand."""
        if self._stream is None:
            return
        await self._stream.write(b"data: " + json.dumps(_envelope(refusal)).encode() + b"\n\n")
        if self._request.transport is not None:
            self._request.transport.close()

    def _headers(self, one: Open | None) -> dict[str, str]:
        headers = {"x-request-id": self.request_id} if self.request_id else {}
        if one is not None:
            if one.node is not None:
                headers["x-fairlead-node"] = one.node
            if one.granted_at_s is not None:
                headers["x-fairlead-wait"] = f"{one.granted_at_s - one.arrived_at_s:.3f}"
            headers["x-fairlead-decision"] = one.decision or "none"
        return headers


async def _body(request: web.BaseRequest) -> bytes | Refusal:
    limit = request._client_max_size
    too_large = Refusal(413, "body_too_large", f"the body is larger than {limit} bytes, which is this site's limit")
    if (request.content_length or 0) > limit:
        return too_large
    try:
        return await request.read()
    except web.HTTPRequestEntityTooLarge:
        return too_large


def _has_image(asked: dict[str, object]) -> bool:
    messages = asked.get("messages")
    return isinstance(messages, list) and any(
        isinstance(part, dict) and part.get("type") not in (None, "text")
        for message in messages
        if isinstance(message, dict) and isinstance(message.get("content"), list)
        for part in message["content"]
    )


def _card(model: ModelSpec) -> dict[str, object]:
    return {"id": model.id, "object": "model", "created": 0, "owned_by": "fairlead", "kind": model.kind}


def _envelope(refusal: Refusal) -> dict[str, object]:
    error: dict[str, object] = {
        "message": refusal.message,
        "type": refusal.type,
        "param": refusal.param,
        "code": refusal.code,
    }
    if refusal.stage is not None:
        error["stage"] = refusal.stage
        error["eta_s"] = refusal.retry_after_s
    return {"error": error}


def _json(status: int, document: object) -> web.Response:
    return web.Response(status=status, body=json.dumps(document).encode(), headers={"content-type": JSON_TYPE})
