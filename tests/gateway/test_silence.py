"""A keeper that says nothing any more: what becomes of the requests that it has."""

import asyncio

import pytest

from fairlead.adapters.clock import ScaledClock
from fairlead.adapters.keeper_http import SILENCES, HttpKeeper, frame
from fairlead.contracts.errors import KeeperUnavailable
from fairlead.contracts.tickets import Granted, Update
from tests.gateway.test_keepers import ticket
from tests.waiting import until


async def test_requests_of_a_keeper_that_stays_silent_are_given_up_unless_their_answer_has_begun() -> None:
    """As of a machine without power, which breaks no connection; once silent, it may be this process that stalled."""
    heard: dict[str, list[Update | bytes]] = {"waits": [], "streams": []}

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        for update in (Granted(waited_s=0.0), *((b"a byte",) if b"streams" in head else ())):
            piece = frame(update)
            writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        await writer.drain()
        await reader.read()
        writer.close()

    async def ask(request: str) -> None:
        async for update in keeper.offer(ticket(request), b"{}"):
            heard[request].append(update)

    server = await asyncio.start_server(speak, "127.0.0.1", 0)
    keeper = HttpKeeper(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", None, ScaledClock())
    waits, streams = asyncio.create_task(ask("waits")), asyncio.create_task(ask("streams"))
    await until(lambda: [len(one) for one in heard.values()] == [1, 2])
    for _ in range(SILENCES):
        assert not waits.done()
        with pytest.raises(KeeperUnavailable, match="state"):
            _ = [state async for state in keeper.states(0.05)]
    with pytest.raises(KeeperUnavailable, match="offer"):
        await asyncio.wait_for(waits, 5.0)
    assert not streams.done()
    streams.cancel()
    await asyncio.gather(streams, return_exceptions=True)
    await keeper.close()
    server.close()
    await server.wait_closed()
