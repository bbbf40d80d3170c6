"""The keeper's port: offers, bodies, withdrawals, state and pods over HTTP; `adapters/keeper_http` has the format."""

import asyncio
import hmac
import ipaddress
import re
from contextlib import aclosing
from urllib.parse import unquote

from aiohttp import web
from pydantic import ValidationError

from fairlead.adapters.keeper_http import OFFER_HEADER, ROOT, frame
from fairlead.contracts.errors import FairleadError, foreign
from fairlead.contracts.tickets import Granted, Head, Offer, PodSet, Queued
from gateway.keeper import Keeper
from gateway.serving import Answer

FLUSH_BYTES = 65_536
"""An answer that is not a stream goes on in pieces of at least this, or whole: fewer writes, same last byte."""

STREAM_TYPE = "text/event-stream"

DRAINED = re.compile(r"/pods/([a-z0-9-]{1,63})/drained")
"""Asked by the `preStop` hook of a pod of Kubernetes."""

AFTER = re.compile(r"[0-9]{1,3}")
"""Whole wall seconds before which the hook is not answered; none asks for as many as it may wait."""

DRAINED_S = 600.0
"""Wall seconds that the hook may wait, as a drain of our own may (`NodeAgentSettings.drain_limit_s`)."""

BodyKey = tuple[str, str, int]


class KeeperApi:
    """Handler of a keeper's port."""

    def __init__(self, keeper: Keeper, token: str | None) -> None:
        """Ask for `token` as bearer; without one, answer loopback clients only."""
        self._keeper = keeper
        self._expected = None if token is None else f"Bearer {token}".encode()
        self._bodies: dict[BodyKey, asyncio.Future[bytes]] = {}
        """Bodies that follow their grant."""

    async def handle(self, request: web.BaseRequest) -> Answer | None:
        """Answer a request under `/keeper/v1`; None for a path that is not one."""
        path = request.rel_url.raw_path
        if not path.startswith(ROOT + "/"):
            return None
        if (asked := DRAINED.fullmatch(path.removeprefix(ROOT))) and request.method == "GET":
            return await self._drained(asked[1], request.query.get("after_s", "0"))
        if not self._may(request):
            return _problem(403, "denied", "the keeper takes its token, or loopback clients where none is set")
        match (request.method, path.removeprefix(ROOT)):
            case ("POST", "/offers"):
                return await self._offer(request)
            case ("GET", "/state"):
                return await self._state(request)
            case ("PUT", "/pods"):
                return await self._pods(request)
            case ("POST", tail) if tail.startswith("/offers/") and tail.endswith(":withdraw"):
                return await self._withdraw(request)
            case ("PUT", tail) if tail.startswith("/offers/") and tail.endswith("/body"):
                return await self._body(request, tail)
        return None

    async def _offer(self, request: web.BaseRequest) -> Answer:
        try:
            offer = Offer.from_json(request.headers.get(OFFER_HEADER, ""))
            inline = await request.read()
        except (ValidationError, web.HTTPRequestEntityTooLarge) as error:
            return _problem(400, "bad-offer", foreign(error))
        if len(inline) == offer.body_bytes:
            return await self._carry(request, offer, inline)
        if inline:
            return _problem(400, "bad-offer", f"the body has {len(inline)} bytes, the offer says {offer.body_bytes}")
        key = (offer.site, offer.ticket.request, offer.ticket.attempt)
        body = self._bodies[key] = asyncio.get_running_loop().create_future()
        try:
            return await self._carry(request, offer, body)
        finally:
            if self._bodies.get(key) is body:
                del self._bodies[key]
            body.cancel()

    async def _carry(self, request: web.BaseRequest, offer: Offer, body: "bytes | asyncio.Future[bytes]") -> Answer:
        """Pass all updates on; what need not go at once goes together."""
        answer = web.StreamResponse(headers={"content-type": "application/octet-stream"})
        updates = self._keeper.offer(offer, body)
        out = bytearray()
        live = False
        try:
            async for update in updates:
                out += frame(update)
                kind = type(update)
                if kind is Head:
                    live = update.content_type.startswith(STREAM_TYPE)  # type: ignore[union-attr]
                if kind is Queued or kind is Granted or (kind is bytes and (live or len(out) >= FLUSH_BYTES)):
                    if not answer.prepared:
                        await answer.prepare(request)
                    await answer.write(bytes(out))
                    out.clear()
        finally:
            await updates.aclose()
        if not answer.prepared:
            return web.Response(body=bytes(out), headers=answer.headers)
        await answer.write_eof(bytes(out))
        return answer

    async def _state(self, request: web.BaseRequest) -> Answer:
        answer = web.StreamResponse(headers={"content-type": "application/x-ndjson"})
        await answer.prepare(request)
        async with aclosing(self._keeper.states()) as states:
            async for state in states:
                await answer.write(state.model_dump_json().encode() + b"\n")
        await answer.write_eof()
        return answer

    async def _pods(self, request: web.BaseRequest) -> Answer:
        try:
            uses = await self._keeper.declare(PodSet.from_json(await request.read()))
        except ValidationError as error:
            return _problem(422, "bad-input", foreign(error))
        except FairleadError as error:
            return _problem(error.status, error.code, str(error))
        return web.Response(body=uses.to_json().encode(), content_type="application/json")

    async def _drained(self, model: str, after_s: str) -> Answer:
        """Answer once a pod is free of requests, and not before `after_s` wall seconds have passed.

        A kubelet waits for it, which has no token and learns nothing else.
        """
        if not AFTER.fullmatch(after_s):
            return _problem(400, "bad-input", f"after_s is {foreign(after_s)!r}: whole seconds are allowed, to 999")
        try:
            async with asyncio.timeout(DRAINED_S):
                await asyncio.sleep(int(after_s))
                await self._keeper.drained(model)
        except TimeoutError:
            return _problem(503, "not-drained", f"{model} has had requests for {DRAINED_S:g} s, or is not to stop")
        return web.Response(status=204)

    async def _withdraw(self, request: web.BaseRequest) -> Answer:
        try:
            offer = Offer.from_json(await request.read())
        except ValidationError as error:
            return _problem(400, "bad-offer", foreign(error))
        withdrawal = await self._keeper.withdraw(offer)
        return web.Response(body=withdrawal.to_json().encode(), content_type="application/json")

    async def _body(self, request: web.BaseRequest, tail: str) -> Answer:
        parts = tail.split("/")
        key = (request.headers.get("x-fairlead-site", ""), unquote(parts[2]), int(parts[3]) if len(parts) == 5 else 0)
        waiting = self._bodies.get(key)
        if waiting is None or waiting.done():
            return _problem(404, "not-found", f"no offer of {key[1]!r}, attempt {key[2]}, waits for its body")
        try:
            body = await request.read()
        except web.HTTPRequestEntityTooLarge as error:
            return _problem(413, "too-large", foreign(error))
        if not waiting.done():
            waiting.set_result(body)
        return web.Response(status=204)

    def _may(self, request: web.BaseRequest) -> bool:
        if self._expected is not None:
            given = request.headers.get("authorization", "").encode()
            return hmac.compare_digest(given, self._expected)
        peer = request.transport.get_extra_info("peername") if request.transport is not None else None
        return peer is not None and (peer[0] == "127.0.0.1" or ipaddress.ip_address(peer[0]).is_loopback)


def _problem(status: int, code: str, detail: str) -> web.Response:
    problem = {"type": "about:blank", "title": code, "status": status, "detail": detail, "code": code, "instance": ""}
    return web.json_response(problem, status=status, content_type="application/problem+json")
