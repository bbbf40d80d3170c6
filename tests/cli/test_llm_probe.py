"""`fairlead doctor --llm`: asks through the real dialogue, counts what was valid, says where the rest failed."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from fairlead.contracts.tuning import PolicySettings
from fairlead.policy.registry import decide_slot
from fairlead_cli import llm_probe
from fairlead_cli.main import invoke
from testbed.llm_situations import AWAKE, SITUATIONS, epoch_situation, slot_situation
from testbed.scripted_behaviours import mix_of
from testbed.scripted_llm import Line, Script, serving
from tests.adapters.llm_server import LlmServer, fails, http

KEY = "sk-test-0123456789abcdefghij"
SETTINGS = PolicySettings()


@contextmanager
def in_a_thread(server: Callable[[], AbstractAsyncContextManager[str]]) -> Iterator[str]:
    """Run a server beside a command that has a loop of its own; give its address."""
    up, down, address = threading.Event(), threading.Event(), []

    async def run() -> None:
        async with server() as url:
            address.append(url)
            up.set()
            while not down.is_set():
                await asyncio.sleep(0.01)

    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    try:
        assert up.wait(20)
        yield address[0]
    finally:
        down.set()
        thread.join(20)


@contextmanager
def scripted(mix: str, lines: list[Line]) -> Iterator[str]:
    """Serve a mix of behaviours; `lines` has the server's log in the end."""

    @asynccontextmanager
    async def server() -> AsyncIterator[str]:
        async with serving(Script(mix_of(mix), seed=3), 0) as (url, one):
            yield url
            lines.extend(one.lines)

    with in_a_thread(server) as url:
        yield url


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at nothing but what a test names: no settings, no other system, no endpoint of the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))
    for name in ("OPENAI_BASE_URL", "OPENAI_API_KEY", "FAIRLEAD_CONTROL_URL", "FAIRLEAD_CONFIG"):
        monkeypatch.delenv(name, raising=False)


def finding(document: dict[str, Any]) -> dict[str, str]:
    """Return what was found of the language model."""
    found: dict[str, str] = next(one for one in document["items"] if one["what"] == "language model")
    return found


def test_a_good_model_is_valid_throughout(capsys: pytest.CaptureFixture[str]) -> None:
    """Ten dialogues for each agent, one question each, all valid."""
    lines: list[Line] = []
    with scripted("good=1", lines) as url:
        assert invoke(["doctor", "--llm", "--llm-url", url, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert finding(document)["state"] == "ok"
    planner, slot = document["llm"]
    assert [planner["reply"], slot["reply"]] == ["PlannerReply", "SlotReply"]
    for one in (planner, slot):
        assert (one["dialogues"], one["valid"], one["valid_at_once"], one["asks"]) == (10, 10, 10, 10)
        assert (one["model"], one["style"], one["faults"]) == ("scripted", "schema", [])
        assert 0 < one["seconds_p50"] <= one["seconds_max"]
    assert planner["prompt_tokens"] == sum(one.prompt_tokens for one in lines if one.agent == "planner")
    assert slot["reply_tokens"] == sum(one.reply_tokens for one in lines if one.agent == "slot-agent")


def test_what_fails_is_counted_by_step(capsys: pytest.CaptureFixture[str]) -> None:
    """Each question is in the server's log, each bad reply among the faults with its step and words."""
    lines: list[Line] = []
    with scripted("good=0.5,nan=0.25,html=0.25", lines) as url:
        assert invoke(["doctor", "--llm", "--llm-url", url, "--json"]) == 0
    probed = json.loads(capsys.readouterr().out)["llm"]
    assert sum(one["asks"] for one in probed) == len({line.ask for line in lines}) == len(lines)
    counts = {"not-finite": 0, "not-json": 0}
    for one in probed:
        assert one["dialogues"] == 10
        for fault in one["faults"]:
            assert fault["step"] == "parse"
            assert fault["example"]
            counts[fault["code"]] += fault["count"]
    by_behaviour = [line.behaviour for line in lines]
    assert counts == {"not-finite": by_behaviour.count("nan"), "not-json": by_behaviour.count("html")}


def test_people_get_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    """Shares in words, and what went wrong beneath."""
    with scripted("good=0.5,empty=0.5", []) as url:
        assert invoke(["doctor", "--llm", "--llm-url", url]) == 0
    said = capsys.readouterr()
    assert " of 10 " in said.out
    assert "call:empty" in said.out
    assert said.err == ""


def test_nobody_there_is_unfit_and_soon_known(capsys: pytest.CaptureFixture[str]) -> None:
    """Three dialogues for each agent tell enough; exit 1."""
    with in_a_thread(nobody) as url:
        pass
    assert invoke(["doctor", "--llm", "--llm-url", url, "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert finding(document)["state"] == "fail"
    assert "unreachable" in finding(document)["words"]
    for one in document["llm"]:
        assert (one["dialogues"], one["answers"], one["valid"]) == (llm_probe.GIVE_UP, 0, 0)
        assert one["faults"][0]["code"] == "unreachable"
        assert "ConnectError" in one["faults"][0]["example"]


@asynccontextmanager
async def nobody() -> AsyncIterator[str]:
    """Serve for a moment, so that the address is one where nobody is any more."""
    async with LlmServer().running() as server:
        yield server.url


def test_without_an_endpoint_there_is_nothing_to_ask(capsys: pytest.CaptureFixture[str]) -> None:
    """Plain `doctor` says so and is content; `--llm` is a usage error."""
    assert invoke(["doctor", "--json"]) == 0
    assert "runs on the fallback" in finding(json.loads(capsys.readouterr().out))["words"]
    assert invoke(["doctor", "--llm"]) == 2
    assert "no language model is configured" in capsys.readouterr().err


@pytest.mark.parametrize("url", ["local", "replay:x", "ftp://h/v1"])
def test_what_is_no_address_is_refused(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 2 before anything is looked at."""
    assert invoke(["doctor", "--llm-url", url]) == 2
    assert capsys.readouterr().out == ""


def test_the_plain_doctor_says_who_would_be_asked(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first that is listed, or the one that is named, if it is there; the key is not shown."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    asked: list[Any] = []

    @asynccontextmanager
    async def server() -> AsyncIterator[str]:
        names = http(json.dumps({"data": [{"id": name} for name in ("a", "b", "c", "d")]}))
        async with LlmServer(models=names).running() as one:
            yield one.url
            asked.extend(one.asked)

    with in_a_thread(server) as url:
        for more, state, words in (
            ([], "ok", "asked is a, the first it lists"),
            (["--llm-model", "b"], "ok", "asked is b"),
            (["--llm-model", "e"], "warn", "lists a, b, c and 1 more, not e"),
        ):
            assert invoke(["doctor", "--llm-url", url, "--json", *more]) == 0
            said = capsys.readouterr().out
            found = finding(json.loads(said))
            assert found["state"] == state
            assert words in found["words"]
            assert "with the key of OPENAI_API_KEY" in found["words"]
            assert KEY not in said
    assert asked == []


def test_the_plain_doctor_says_that_nobody_answers(capsys: pytest.CaptureFixture[str]) -> None:
    """With the server's words; a file that is replayed is looked at too."""

    @asynccontextmanager
    async def server() -> AsyncIterator[str]:
        async with LlmServer(models=fails(503, "loading")).running() as one:
            yield one.url

    with in_a_thread(server) as url:
        assert invoke(["doctor", "--llm-url", url, "--json"]) == 1
    assert "server-error, HTTP 503: loading" in finding(json.loads(capsys.readouterr().out))["words"]
    Path("fairlead.yaml").write_text("llm: {replay: asked.jsonl}\n")
    assert invoke(["doctor", "--json"]) == 1
    assert "asked.jsonl, which is not there" in finding(json.loads(capsys.readouterr().out))["words"]
    Path("asked.jsonl").touch()
    assert invoke(["doctor", "--json"]) == 0


def test_the_situations_are_always_the_same_and_all_different() -> None:
    """Seven nodes whose memory is kept, four models that all have something to route."""
    slots = [slot_situation(number, SETTINGS) for number in range(SITUATIONS)]
    assert slots == [slot_situation(number, SETTINGS) for number in range(SITUATIONS)]
    assert len({one.snapshot.to_json() for one in slots}) == SITUATIONS
    assert len({epoch_situation(number, SETTINGS).to_json() for number in range(SITUATIONS)}) == SITUATIONS
    memory = {model.id: model.memory_bytes for model in slots[0].cluster.models}
    for node in slots[0].cluster.nodes:
        assert sum(memory[model] for model in AWAKE[node.id]) <= node.memory_bytes
    for one in slots:
        table = decide_slot(one).table
        assert table is not None
        assert {row.model for row in table.rows} == set(memory)
