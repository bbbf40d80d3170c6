"""How a port is closed."""

import asyncio

import aiohttp
import pytest
from aiohttp import web

from gateway.serving import STOP_S, listening

TICK_S = STOP_S / 20.0
"""Wall seconds between two ticks; a loop that is held up ticks less often, never more."""


async def test_a_request_that_does_not_end_holds_its_port_up_once() -> None:
    """It is cancelled after the time that it may take, not after twice as much."""
    begun, cancelled, ticks = asyncio.Event(), asyncio.Event(), 0

    async def handle(_: web.BaseRequest) -> web.Response:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        raise AssertionError("nobody sets that event")

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(TICK_S)
            ticks += 1

    async with aiohttp.ClientSession() as session:
        async with listening("127.0.0.1", 0, (handle,), body_limit_bytes=1000, what="the test's port") as port:
            asking = asyncio.ensure_future(session.get(f"http://127.0.0.1:{port}/"))
            await begun.wait()
            ticking = asyncio.ensure_future(tick())
        ticking.cancel()
        async with asyncio.timeout(20.0):
            await cancelled.wait()
        with pytest.raises(aiohttp.ClientError):
            await asking
    assert ticks < 30
