"""What the tests of runtimes and agents start: models, nodes, a small real server, and the warm parent."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from fairlead.contracts.cluster import Launch, ModelSpec, NodeSpec
from fairlead.contracts.containers import Container
from fairlead.contracts.plans import NodePlacement, Placement
from fairlead.contracts.settings import Settings

DEADLINE_S = 20.0
"""How long a test waits for what must come."""

SERVER = """
import http.server, os, signal, sys, time
born = time.monotonic()
if len(sys.argv) > 3 and sys.argv[3] == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if len(sys.argv) > 3 and sys.argv[3] == "crash":
    sys.exit(7)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if time.monotonic() - born > float(sys.argv[2]) else 503)
        self.end_headers()
    def log_message(self, *_):
        pass
http.server.HTTPServer((os.environ.get("POD_IP", "127.0.0.1"), int(sys.argv[1])), Handler).serve_forever()
"""
"""A model server as small as can be: port, seconds until it is ready, and a manner. `POD_IP` is where it listens."""


def model(name: str, *, launcher: str = "exec", start_s: float = 0.3, gb: int = 1, manner: str = "plain") -> ModelSpec:
    """Return a model whose pod is a small real process."""
    command = ("{python}", "-c", SERVER, "{port}", f"{start_s}", manner)
    return ModelSpec.from_json(
        json.dumps(
            {
                "id": name,
                "kind": "text",
                "memory_bytes": gb * 1_000_000_000,
                "work_s": 1.0,
                "start_delay_s": start_s,
                "launch": {"launcher": launcher, "command": command},
            }
        )
    )


def contained(
    name: str, *, start_s: float = 0.3, gb: int = 1, manner: str = "plain", image: str = "small:1"
) -> ModelSpec:
    """Return a model whose pod is a container with the same program."""
    container = Container(image=image, command=(sys.executable, "-c", SERVER, "{port}", f"{start_s}", manner))
    spec = model(name, start_s=start_s, gb=gb)
    return spec.model_copy(update={"launch": None, "container": container})


def missing_program(name: str) -> ModelSpec:
    """Return a model whose program is not there."""
    launch = Launch(launcher="exec", command=("/nowhere/to-be-found", "{port}"))
    return model(name).model_copy(update={"launch": launch})


def node(keeper_url: str = "http://127.0.0.1:1", gb: int = 4) -> NodeSpec:
    """Return the node of the tests; the Kubernetes lab has one of that name for it."""
    return NodeSpec(
        id="n1", memory_bytes=gb * 1_000_000_000, speed=1.0, keeper_url=keeper_url, kubernetes_node="node-1"
    )


def placement(
    generation: int,
    *awake: str,
    stoppable: tuple[str, ...] = (),
    forced: tuple[str, ...] = (),
    expires_at_s: float | None = None,
) -> Placement:
    """Return a placement for the node; it lasts an hour unless said otherwise."""
    return Placement(
        generation=generation,
        plan_generation=0,
        slot=0,
        created_at_s=0.0,
        expires_at_s=time.time() + 3600.0 if expires_at_s is None else expires_at_s,
        decision=f"slot-{generation}",
        nodes=(NodePlacement(node="n1", awake=awake, stoppable=stoppable, forced=forced),),
    )


@contextlib.contextmanager
def warm_parent(directory: Path, speed: float = 1.0) -> Iterator[str]:
    """Run a warm parent and give its socket; it ends in good order."""
    config, path = directory / "fairlead.yaml", directory / "warm"
    config.write_text(Settings(speed=speed).to_json())
    command = [sys.executable, "-m", "testbed.warm_parent", "--socket", str(path), "--config", str(config)]
    with subprocess.Popen(command) as parent:
        try:
            end_s = time.monotonic() + DEADLINE_S
            while not _answers(path):
                assert time.monotonic() < end_s, "the warm parent never answered"
                time.sleep(0.01)
            yield str(path)
        finally:
            parent.send_signal(signal.SIGTERM)
            assert parent.wait(DEADLINE_S) == 0
        assert not path.exists()


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


def kill(pid: int) -> None:
    """Kill a process with its group."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def free_port() -> int:
    """Return a loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
