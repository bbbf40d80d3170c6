"""The real text model in its pod: it loads, answers, streams, and ends when told."""

import importlib.util
import json
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

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


pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "all is there")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Run the server as a pod would and give its address once it is ready."""
    port = free_port()
    command = [sys.executable, "-m", "testbed.real_text_server", "--port", str(port), "--name", "tiny"]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as server:
        end_s = time.monotonic() + LOAD_S
        address = f"http://127.0.0.1:{port}"
        while not ready(address):
            assert server.poll() is None, server.stderr and server.stderr.read().decode()
            assert time.monotonic() < end_s, "the model never loaded"
            time.sleep(0.05)
        yield address
        server.send_signal(signal.SIGTERM)
        assert server.wait(30) == 0
        assert server.stderr is not None
        facts = json.loads(next(line for line in server.stderr if line.startswith(b'{"url"')))
    assert facts["url"] == address
    assert 100_000_000 < facts["resident_bytes"] < 400_000_000
    assert facts["loaded_s"] > 0


def ready(address: str) -> bool:
    """Return whether the health check says so."""
    try:
        with urllib.request.urlopen(f"{address}/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


def ask(address: str, **more: object) -> bytes:
    """Return the body of an answer to a short question."""
    call = {"model": "tiny", "messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 6, **more}
    request = urllib.request.Request(
        f"{address}/v1/chat/completions", json.dumps(call).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=LOAD_S) as answer:
        assert answer.status == 200
        return bytes(answer.read())


def test_it_answers_in_words(url: str) -> None:
    """One completion in OpenAI's shape, with text that nobody wrote down."""
    answer = json.loads(ask(url))
    assert answer["object"] == "chat.completion"
    assert answer["choices"][0]["message"]["content"].strip()
    assert 1 <= answer["usage"]["completion_tokens"] <= 6


def test_it_streams(url: str) -> None:
    """Several events, then the end."""
    events = [line[6:] for line in ask(url, stream=True).split(b"\n") if line.startswith(b"data: ")]
    assert events[-1] == b"[DONE]"
    words = [json.loads(e)["choices"][0]["delta"].get("content") or "" for e in events[:-1]]
    assert len([w for w in words if w]) >= 2


def test_it_names_its_model(url: str) -> None:
    """By the name that it was given, not by a path."""
    with urllib.request.urlopen(f"{url}/v1/models", timeout=5) as answer:
        assert [m["id"] for m in json.load(answer)["data"]] == ["tiny"]


def test_weights_that_are_not_there_are_a_clear_failure() -> None:
    """One line, exit status 1."""
    command = [sys.executable, "-m", "testbed.real_text_server", "--weights", str(Path("/nowhere.gguf"))]
    done = subprocess.run(command, capture_output=True, timeout=LOAD_S, check=False)
    assert done.returncode == 1
    assert b"/nowhere.gguf cannot be served" in done.stderr
