"""Listening: one socket per role, without routing tables or middle layers, and a clear word if a port is taken."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from fairlead.contracts.errors import ConfigError

Answer = web.StreamResponse
Handler = Callable[[web.BaseRequest], Awaitable[Answer | None]]
"""Returns None for a path that it does not know."""

CLIENT_GONE = 499
"""Status that nobody gets to see: the client closed the connection."""

KEEP_ALIVE_S = 75.0
"""Wall seconds that an idle connection stays: above the 15 s after which aiohttp's clients drop theirs."""

STOP_S = 1.0
"""Wall seconds that requests in flight may take to end when their port closes; own choice, the time of a pod's stop. A
gateway has two ports, closed one after the other."""


class Door:
    """Who may still come to a port."""

    def __init__(self) -> None:
        self.is_shut = False
        self.sockets: asyncio.Server | None = None
        """What listens, once something does."""

    def shut(self) -> None:
        """Take no new connection, and close each that is open after its next answer: its client asks elsewhere."""
        self.is_shut = True
        if self.sockets is not None:
            self.sockets.close()


@asynccontextmanager
async def listening(
    host: str,
    port: int,
    handlers: tuple[Handler, ...],
    *,
    body_limit_bytes: int,
    what: str,
    door: Door | None = None,
) -> AsyncIterator[int]:
    """Serve on a port, asking each handler in turn, and yield the port; at the end, requests in flight are cancelled.

    They have `STOP_S` to end by themselves; whoever wants to give them more shuts the door first.
    """
    door = door or Door()

    async def handle(request: web.BaseRequest) -> Answer:
        try:
            for handler in handlers:
                answer = await handler(request)
                if answer is not None:
                    if door.is_shut:
                        answer.force_close()
                    return answer
        except ConnectionError:  # the client left in the middle of a write: there is nobody to answer
            if request.transport is not None:
                request.transport.close()
            return web.Response(status=CLIENT_GONE)
        return web.json_response(
            {
                "error": {
                    "message": f"there is no {request.path[:200]}",
                    "type": "invalid_request_error",
                    "code": "no_path",
                }
            },
            status=404,
        )

    def request_of(message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> web.BaseRequest:
        return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=body_limit_bytes)

    loop = asyncio.get_running_loop()
    server = web.Server(
        handle,
        request_factory=request_of,
        handler_cancellation=True,
        keepalive_timeout=KEEP_ALIVE_S,
        access_log=None,
    )
    try:
        sockets = await loop.create_server(server, host, port, backlog=1024)
    except OSError as error:
        raise ConfigError(
            f"{what} cannot listen on {host}:{port}: {error.strerror or error}; free the port or configure another"
        ) from error
    door.sockets = sockets
    try:
        yield sockets.sockets[0].getsockname()[1]
    finally:
        sockets.close()
        server.pre_shutdown()
        await server.shutdown(timeout=STOP_S / 2.0)  # it waits so long twice, first for an answer, then for its end
