"""Loopback ports for processes that listen later, and again after a restart: chosen, and kept from other runs."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

LOWEST = 20_000
USUAL_FIRST_OUTGOING = 32_768
"""Where Linux begins to hand out ports to outgoing connections unless told otherwise (ip(7))."""


class Ports:
    """The ports of one run.

    A port that is chosen is free now, but its process binds it only later, and another run may look at the same
    moment: so each is claimed by the name of an abstract unix socket, which the kernel gives to one process only and
    takes back when that one ends, however it ends.
    """

    def __init__(self) -> None:
        self._claims: dict[int, socket.socket] = {}

    def take(self, wanted: int | None = None) -> int:
        """Return a port that nobody listens on and no other run has: `wanted` if it is one, else any.

        Any comes from below the range that the kernel hands to outgoing connections, so that it stays free while the
        process that owns it is restarted.
        """
        for port in self._candidates(wanted):
            if self.claim(port):
                return port
        raise OSError("no loopback port is free")

    def claim(self, port: int) -> bool:
        """Return whether a port is ours from now on; False if somebody listens there or another run has it."""
        if port in self._claims or not is_free(port):
            return False
        name = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            name.bind(f"\0fairlead-port-{port}")
        except OSError:
            name.close()
            return False
        self._claims[port] = name
        return True

    def release(self) -> None:
        """Give all ports back."""
        while self._claims:
            self._claims.popitem()[1].close()

    def _candidates(self, wanted: int | None) -> Iterator[int]:
        if wanted is not None:
            yield wanted
        span = first_outgoing_port() - LOWEST
        start = os.getpid() * 37 % span
        for step in range(span):
            yield LOWEST + (start + step) % span


def is_free(port: int) -> bool:
    """Return whether a loopback port can be listened on now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def first_outgoing_port() -> int:
    """Return the first port that the kernel hands to outgoing connections, where it leaves room below."""
    try:
        words = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii").split()
        first = int(words[0])
    except (OSError, ValueError, IndexError):
        return USUAL_FIRST_OUTGOING
    return first if first > LOWEST + 1000 else USUAL_FIRST_OUTGOING
