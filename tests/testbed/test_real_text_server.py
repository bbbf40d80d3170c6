"""The real text model in its pod: it loads, answers, streams, and ends when told."""

import json
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.testbed.real_text import LOAD_S, missing, serving

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "all is there")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Run the server and give its address; what it says of itself at its end is looked at."""
    with tempfile.TemporaryFile() as said:
        with serving(said) as (address, server):
            yield address
        assert server.returncode == 0
        said.seek(0)
        facts = json.loads(next(line for line in said if line.startswith(b'{"url"')))
    assert facts["url"] == address
    assert 100_000_000 < facts["resident_bytes"] < 400_000_000
    assert facts["loaded_s"] > 0


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
