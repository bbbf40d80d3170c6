"""The real text model in its pod, served for tests and benchmarks; and why it cannot be here."""

import importlib.util
import json
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

from fairlead.contracts.errors import ConfigError
from testbed.llama_server import weights
from tests.node_agent.pods import free_port

LOAD_S = 120.0
"""How long loading may take on a machine that is busy with other things; it takes 1 to 6 s."""


def missing() -> str:
    """Return why the model cannot run here; empty if it can."""
    if importlib.util.find_spec("xllamacpp") is None:
        return "the wheel xllamacpp is not installed (extra local)"
    try:
        weights()
    except ConfigError as error:
        return str(error)
    return ""


@contextmanager
def serving(stderr: int | IO[bytes] = subprocess.DEVNULL) -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    """Run the server as a pod would; give its address once it is ready, and its process. It is ended at the end."""
    port = free_port()
    command = [sys.executable, "-m", "testbed.real_text_server", "--port", str(port), "--name", "tiny"]
    with subprocess.Popen(command, stderr=stderr) as server:
        try:
            end_s = time.monotonic() + LOAD_S
            address = f"http://127.0.0.1:{port}"
            while not ready(address):
                assert server.poll() is None, "the server ended"
                assert time.monotonic() < end_s, "the model never loaded"
                time.sleep(0.05)
            yield address, server
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(30)


def ready(address: str) -> bool:
    """Return whether the health check says so."""
    try:
        with urllib.request.urlopen(f"{address}/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


def post(address: str, path: str, call: dict[str, Any]) -> dict[str, Any]:
    """Return the server's answer."""
    request = urllib.request.Request(
        f"{address}{path}", json.dumps(call).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=LOAD_S) as answer:
        found: dict[str, Any] = json.load(answer)
        return found


def tokens(address: str, text: str) -> int:
    """Return how many tokens SmolLM2 reads `text` as."""
    return len(post(address, "/tokenize", {"content": text})["tokens"])
