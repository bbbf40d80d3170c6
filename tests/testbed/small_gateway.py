"""A small HTTP server that answers as a gateway would, or misbehaves in a named way."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from testbed.openai_calls import tiny_png


class SmallGateway:
    """Answers OpenAI-shaped calls at `url`; `manner` says how, and may be changed while it runs."""

    def __init__(self, manner: str) -> None:
        self.manner = manner
        self.url = ""
        self.seen: list[tuple[str, dict[str, object]]] = []
        """Request id and body of every call, in order of arrival."""
        self.release = asyncio.Event()
        """Lets go of the calls that hang."""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one call in the manner that is set."""
        body = json.loads(await request.read())
        self.seen.append((request.headers["x-request-id"], body))
        match self.manner:
            case "break-before":
                assert request.transport is not None
                request.transport.abort()
                return web.Response()
            case "hang":
                await self.release.wait()
            case "refuse":
                return web.json_response({"error": {"code": "no-pod"}}, status=503)
            case "other-model":
                body["model"] = "another"
            case "garbage":
                return web.Response(body=b"<html>", content_type="text/html")
        if body.get("stream") or self.manner in ("break-after", "cut-stream", "double-stream"):
            return await self._stream(request, body)
        return web.json_response(answer(body, request.path))

    async def _stream(self, request: web.Request, body: dict[str, object]) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        event = {"id": "a", "model": body["model"], "choices": [{"delta": {"content": "word"}}]}
        await response.write(f"data: {json.dumps(event)}\n\n".encode())
        if self.manner == "break-after":
            assert request.transport is not None
            request.transport.abort()
        elif self.manner != "cut-stream":
            await response.write(b"data: [DONE]\n\n" * (2 if self.manner == "double-stream" else 1))
        return response


def answer(body: dict[str, object], path: str) -> dict[str, object]:
    """Return a full answer of the path's shape."""
    if path.endswith("/images/generations"):
        return {"data": [{"b64_json": base64.b64encode(tiny_png()).decode()}]}
    return {"id": "a", "model": body["model"], "choices": [{"message": {"role": "assistant", "content": "words"}}]}


@asynccontextmanager
async def small_gateway(manner: str = "answer") -> AsyncIterator[SmallGateway]:
    """Run one on a free loopback port."""
    gateway = SmallGateway(manner)
    app = web.Application()
    app.router.add_post("/v1/{rest:.*}", gateway.handle)
    runner = web.AppRunner(app, shutdown_timeout=1.0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    gateway.url = f"http://{host}:{port}"
    try:
        yield gateway
    finally:
        gateway.release.set()
        await runner.cleanup()
