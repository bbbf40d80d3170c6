"""The inside of a forked pod: its event loop, and the channel by which it asks the node's shared clock for work.

The channel is a pair of sequenced-packet sockets, so that a packet is a message. From the pod: `BEGIN` with the
request, the instant and the marks in work seconds, or `CANCEL`. To the pod: request and index of the mark that was
reached. Its end means that the warm parent has gone; a pod cannot tell time slices by itself and ends.
"""

import asyncio
import os
import socket
import struct
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import uvloop

from fairlead.adapters.clock import ScaledClock
from fairlead.contracts.cluster import ModelSpec
from testbed.model_server import ModelServer, serve

ORDER = struct.Struct("<BId")
"""Kind, request, instant on the machine's monotonic clock; a begin is followed by its marks, doubles."""

REACHED = struct.Struct("<II")
"""Request and mark."""

BEGIN, CANCEL = 1, 2

PACKET_BYTES = 4096
"""More than the longest message: 8 marks take 77 bytes."""


@dataclass(frozen=True, slots=True)
class PodPlan:
    """What a fork is told."""

    node: str
    node_speed: float
    model: ModelSpec
    instance: str
    ordered_at_s: float
    """Domain instant of the order; the pod is ready its start delay later."""


class ChannelCompute:
    """The shared clock behind a channel."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel

    def begin(self, request: int, marks: tuple[float, ...]) -> None:
        """Begin the work of a request now."""
        head = ORDER.pack(BEGIN, request, time.monotonic())
        self._channel.send(head + struct.pack(f"<{len(marks)}d", *marks))

    def cancel(self, request: int) -> None:
        """Give up the rest of a request now."""
        self._channel.send(ORDER.pack(CANCEL, request, time.monotonic()))


def live(plan: PodPlan, clock: ScaledClock, listener: socket.socket, channel: socket.socket) -> int:
    """Be the pod until SIGTERM; return the exit status."""
    Path("/proc/self/comm").write_text(f"pod-{plan.model.id}"[:15])
    channel.setblocking(False)
    server = ModelServer(plan.model, plan.node_speed, clock, ChannelCompute(channel))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(server, plan, listener, channel))
    return 0


async def _run(server: ModelServer, plan: PodPlan, listener: socket.socket, channel: socket.socket) -> None:
    def told() -> None:
        while True:
            try:
                packet = channel.recv(PACKET_BYTES)
            except BlockingIOError:
                return
            except ConnectionError:
                packet = b""
            if not packet:
                sys.stderr.write(f"pod {plan.node}/{plan.model.id}: the warm parent has gone\n")
                os._exit(3)
            request, mark = REACHED.unpack(packet)
            server.reached(request, mark)

    asyncio.get_running_loop().add_reader(channel.fileno(), told)
    await serve(server, listener, plan.ordered_at_s)
