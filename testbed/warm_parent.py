"""The warm parent of a machine's emulated pods: imports everything once, forks pods, shares out the nodes' compute.

    python -m testbed.warm_parent --socket PATH --config FILE

Node agents speak to it over a unix socket, one JSON object a line, one line back; `address` is null for a port of the
pod's own:

    {"op": "fork", "node": NodeSpec, "model": ModelSpec, "instance": NAME, "ordered_at_s": T, "address": [HOST, PORT]}
        → {"ok": true, "pid": …, "start_ticks": …, "port": …} | {"ok": false, "error": "…"}
    {"op": "list", "node": ID}
        → {"ok": true, "pods": [{"model", "instance", "pid", "start_ticks", "port", "ordered_at_s"}, …]}

The loop is a plain `select`, whose time-outs are exact to microseconds (event loops round theirs up to milliseconds,
30 ms of emulated time at speed 30) and which a fork leaves behind without a trace. Pods outlive any node agent; SIGTERM
ends them all.
"""

import argparse
import contextlib
import gc
import json
import os
import select
import signal
import socket
import struct
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from fairlead.adapters.clock import ScaledClock
from fairlead.adapters.process_table import start_ticks
from fairlead.contracts.cluster import ModelSpec, NodeSpec
from fairlead.contracts.errors import PodFault, foreign
from fairlead.contracts.settings import Settings
from testbed.emulated_clock import Reached, SharedClock
from testbed.emulated_pod import BEGIN, ORDER, PACKET_BYTES, REACHED, PodPlan, live

GROUP_S = 1.0
"""Wall seconds at most that a forked child takes until its first statement; one that died before never gets there."""

END_S = 3.0
"""Wall seconds that pods have to end before they are killed; own choice, ten times a stop at speed 3."""

MOST_DESCRIPTORS = 1000
"""`select` cannot watch descriptors from 1024 on (select(2))."""


@dataclass(frozen=True, slots=True)
class Child:
    """A forked pod."""

    node: str
    model: str
    instance: str
    pid: int
    start_ticks: int
    port: int
    memory_bytes: int
    ordered_at_s: float
    channel: socket.socket

    def entry(self) -> dict[str, Any]:
        """Return what an agent may know of it."""
        names = ("model", "instance", "pid", "start_ticks", "port", "ordered_at_s")
        return {name: getattr(self, name) for name in names}


@dataclass(slots=True)
class Client:
    """A node agent's connection."""

    connection: socket.socket
    buffer: bytearray = field(default_factory=bytearray)


class WarmParent:
    """Forks, reaps, and keeps one shared clock for each node."""

    def __init__(self, listener: socket.socket, clock: ScaledClock) -> None:
        self._listener = listener
        self._clock = clock
        self._clients: dict[int, Client] = {}
        self._children: dict[int, Child] = {}
        self._channels: dict[int, Child] = {}
        self._instances: dict[str, Child] = {}
        self._clocks: dict[str, SharedClock] = {}
        self._ending = False
        self._wake, wake = socket.socketpair()
        wake.setblocking(False)
        self._wake.setblocking(False)
        self._alarm = wake
        signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._end)

    def run(self) -> None:
        """Serve until SIGTERM, then end all pods."""
        while not self._ending:
            self._turn(self._left_s())
        self._end_children()

    def _end(self, *_: object) -> None:
        self._ending = True

    def _left_s(self) -> float | None:
        at_s = min((c.next_at_s() for c in self._clocks.values()), default=float("inf"))
        return None if at_s == float("inf") else max(0.0, at_s - time.monotonic())

    def _turn(self, timeout_s: float | None) -> None:
        """Wait for what comes first: a message, a mark, a signal."""
        channels = self._channels
        watched = [self._wake.fileno(), self._listener.fileno(), *self._clients, *channels]
        ready, _, _ = select.select(watched, [], [], timeout_s)
        for descriptor in ready:
            child = channels.get(descriptor)
            if child is not None:
                self._hear(child)
        now_s = time.monotonic()
        for node_clock in self._clocks.values():
            self._tell(node_clock.advance(now_s))
        for descriptor in ready:
            if descriptor == self._wake.fileno():
                with contextlib.suppress(BlockingIOError):
                    self._wake.recv(4096)
                self._reap()
            elif descriptor == self._listener.fileno():
                connection, _ = self._listener.accept()
                self._clients[connection.fileno()] = Client(connection)
            elif descriptor in self._clients:
                self._serve(self._clients[descriptor])

    def _hear(self, child: Child) -> None:
        """Take what a pod asks of its node's clock."""
        node_clock = self._clocks[child.node]
        while child.pid in self._children:
            try:
                packet = child.channel.recv(PACKET_BYTES)
            except BlockingIOError:
                return
            except ConnectionError:
                packet = b""
            if not packet:
                self._tell(node_clock.remove(child.instance, time.monotonic()))
                self._reap()
                if child.pid in self._children:
                    os.waitpid(child.pid, 0)
                    self._forget(child.pid)
                return
            kind, request, at_s = ORDER.unpack_from(packet)
            if kind == BEGIN:
                marks = struct.unpack(f"<{(len(packet) - ORDER.size) // 8}d", packet[ORDER.size :])
                self._tell(node_clock.begin(child.instance, request, marks, at_s))
            else:
                self._tell(node_clock.cancel(child.instance, request, at_s))

    def _tell(self, reached: tuple[Reached, ...]) -> None:
        """Tell pods which marks were reached."""
        for one in reached:
            child = self._instances.get(one.pod)
            if child is not None:
                with contextlib.suppress(OSError):
                    child.channel.send(REACHED.pack(one.request, one.mark))

    def _reap(self) -> None:
        """Free what ended pods claimed."""
        with contextlib.suppress(ChildProcessError):
            while (pid := os.waitpid(-1, os.WNOHANG)[0]) != 0:
                self._forget(pid)

    def _forget(self, pid: int) -> None:
        child = self._children.pop(pid, None)
        if child is not None:
            self._tell(self._clocks[child.node].remove(child.instance, time.monotonic()))
            del self._channels[child.channel.fileno()], self._instances[child.instance]
            child.channel.close()

    def _serve(self, client: Client) -> None:
        try:
            piece = client.connection.recv(65_536)
        except ConnectionError:
            piece = b""
        if not piece:
            del self._clients[client.connection.fileno()]
            client.connection.close()
            return
        client.buffer += piece
        while (end := client.buffer.find(b"\n")) >= 0:
            line = bytes(client.buffer[:end])
            del client.buffer[: end + 1]
            with contextlib.suppress(ConnectionError):
                client.connection.sendall(json.dumps(self._answer(line)).encode() + b"\n")

    def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            call = json.loads(line)
            match call["op"]:
                case "fork":
                    return {"ok": True, **self._fork(call).entry()}
                case "list":
                    self._reap()
                    mine = [c.entry() for c in self._children.values() if c.node == call["node"]]
                    return {"ok": True, "pods": mine}
            return {"ok": False, "error": f"there is no op {foreign(call['op'])!r}: fork and list are allowed"}
        except (ValueError, KeyError, TypeError, ValidationError, PodFault, OSError) as error:
            return {"ok": False, "error": f"{type(error).__name__}: {foreign(error)}"}

    def _fork(self, call: dict[str, Any]) -> Child:
        """Fork a pod; raises `PodFault` where its memory does not fit beside what the node's pods claim."""
        node = NodeSpec.from_json(json.dumps(call["node"]))
        model = ModelSpec.from_json(json.dumps(call["model"]))
        plan = PodPlan(node.id, node.speed, model, str(call["instance"]), float(call["ordered_at_s"]))
        self._reap()
        if plan.instance in self._instances:
            raise PodFault(f"instance {plan.instance} lives already: give each start a name of its own")
        claimed = sum(c.memory_bytes for c in self._children.values() if c.node == node.id)
        if claimed + model.memory_bytes > node.memory_bytes:
            raise PodFault(
                f"{model.id} claims {model.memory_bytes} bytes on {node.id}, where {claimed} of {node.memory_bytes} "
                "are claimed: stop a pod first"
            )
        if len(self._children) * 2 + len(self._clients) > MOST_DESCRIPTORS:
            raise PodFault(f"{len(self._children)} pods are all that one warm parent watches: start another one")
        self._clocks.setdefault(node.id, SharedClock(node.speed * self._clock.speed, time.monotonic()))
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        host, port = call.get("address") or ("127.0.0.1", 0)
        listener.bind((str(host), int(port)))
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        pid = os.fork()
        if pid == 0:
            self._become(plan, listener, theirs)
        theirs.close()
        _await_own_group(pid)
        port = int(listener.getsockname()[1])
        listener.close()
        child = Child(
            node.id,
            model.id,
            plan.instance,
            pid,
            start_ticks(pid) or 0,
            port,
            model.memory_bytes,
            plan.ordered_at_s,
            ours,
        )
        self._children[pid] = self._channels[ours.fileno()] = self._instances[child.instance] = child
        return child

    def _become(self, plan: PodPlan, listener: socket.socket, channel: socket.socket) -> None:
        """Turn the forked child into a pod; never returns."""
        status = 70
        try:
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            os.setsid()
            for other in self._children.values():
                other.channel.close()
            for client in self._clients.values():
                client.connection.close()
            for inherited in (self._listener, self._wake, self._alarm):
                inherited.close()
            status = live(plan, self._clock, listener, channel)
        except BaseException as error:
            sys.stderr.write(f"pod {plan.node}/{plan.model.id} failed: {type(error).__name__}: {error}\n")
        finally:
            sys.stderr.flush()
            os._exit(status)

    def _end_children(self) -> None:
        deadline_s = time.monotonic() + END_S
        for pid in self._children:
            os.kill(pid, signal.SIGTERM)
        while self._children and (left_s := deadline_s - time.monotonic()) > 0:
            at_s = self._left_s()
            self._turn(left_s if at_s is None else min(left_s, at_s))
        for pid in list(self._children):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            self._forget(pid)


def _await_own_group(pid: int) -> None:
    """Return once a forked child leads its own group: who kills the group of a pod that was just named finds it."""
    end_s = time.monotonic() + GROUP_S
    with contextlib.suppress(ProcessLookupError):
        while os.getpgid(pid) != pid and time.monotonic() < end_s:
            time.sleep(0.0002)


def main() -> None:
    """Listen where the command line says until SIGTERM."""
    words = argparse.ArgumentParser(prog="python -m testbed.warm_parent", description="Fork emulated pods on request.")
    words.add_argument("--socket", required=True, type=Path, help="unix socket to listen on")
    words.add_argument("--config", required=True, type=Path, help="fairlead.yaml: speed and origin of the clock")
    given = words.parse_args()
    settings = Settings.from_json(json.dumps(yaml.safe_load(given.config.read_text()) or {}))
    listener = socket.socket(socket.AF_UNIX)
    with contextlib.suppress(FileNotFoundError):
        given.socket.unlink()
    listener.bind(str(given.socket))
    parent = WarmParent(listener, ScaledClock(settings.speed, settings.clock_origin_s))
    listener.listen(64)
    gc.collect()
    gc.freeze()
    try:
        parent.run()
    finally:
        given.socket.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
