"""A language model on this machine: a child that lives as long as it is needed, and is asked when it answers."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from fairlead.adapters.memory_store import MemoryStore
from fairlead.adapters.openai_llm import connected
from fairlead.adapters.prompt_files import prompt_texts
from fairlead.contracts.dialogue import DialogueSettings, Sampling
from fairlead.contracts.errors import ConfigError, Unavailable
from fairlead.contracts.settings import Settings
from fairlead.policy.dialogue import Briefing, advise, hold
from testbed import local_llm
from testbed.scripted_join import verdicts
from tests.node_agent.pods import free_port
from tests.policy.prompt_scenes import scene
from tests.testbed.real_text import missing

ROOT = Path(__file__).parents[2]
GONE_S = 30.0

needs_weights = pytest.mark.skipif(bool(missing()), reason=missing() or "all is there")


def gone(pids: set[int]) -> None:
    """Return once none of the processes lives; they must end in time."""
    until_s = time.monotonic() + GONE_S
    while any(psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE for pid in pids):
        assert time.monotonic() < until_s, pids
        time.sleep(0.05)


@needs_weights
async def test_a_child_answers_a_real_question_and_ends_with_its_context() -> None:
    """The slot agent's own question, by the real client: whatever it says, the ladder has a verdict."""
    port = free_port()
    settings = local_llm.asking(Settings(), port)
    assert await local_llm.missing(port) == "it starts"
    with local_llm.child(port) as process:
        await local_llm.answering(process, port)
        llm = connected(settings.llm, "slot-agent", MemoryStore(), {})
        try:
            talking = DialogueSettings(deadline_s=300.0, sampling=Sampling(reply_tokens=64), llm="local")
            briefing = Briefing(scene(3, 1), prompt_texts()["slot-agent"], talking, (), ())
            held = await hold("slot-agent-1-1", advise(briefing), llm, 300.0)
        finally:
            await llm.close()
    answer = held.exchanges[0].answer
    assert (answer.code, answer.style, answer.model) == ("ok", "schema", "smollm2-135m")
    assert 0 < answer.reply_tokens <= 64
    assert answer.prompt_tokens > 300
    assert len(verdicts(held.advice.steps)) == len(held.exchanges)
    assert process.poll() is not None


@needs_weights
async def test_a_child_that_cannot_serve_is_told() -> None:
    """Somebody has its port: it ends, and whoever waits hears of it."""
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        with local_llm.child(port) as process, pytest.raises(Unavailable, match="ended with status 2 while starting"):
            await local_llm.answering(process, port)


def test_a_slot_must_be_long_enough() -> None:
    """10 s of wall time."""
    with pytest.raises(ConfigError, match="use --speed 1"):
        local_llm.asking(Settings(speed=3.1), 1)
    assert local_llm.asking(Settings(speed=3.0), 1).llm.planner_deadline_slots == 3.0


@needs_weights
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_an_agent_takes_its_model_with_it(tmp_path: Path, number: signal.Signals) -> None:
    """`fairlead planner --llm local`: the child ends with it, however it ends."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("FAIRLEAD_", "OPENAI_"))}
    environ |= {"PYTHONPATH": str(ROOT), "FAIRLEAD_MONGODB_URI": "mongodb://127.0.0.1:9/?directConnection=true"}
    command = [sys.executable, "-m", "fairlead_cli", "planner", "--llm", "local"]
    log = tmp_path / "log"
    with log.open("wb") as out, subprocess.Popen(command, cwd=tmp_path, env=environ, stdout=out, stderr=out) as agent:
        until_s = time.monotonic() + 120.0
        while "answers at" not in log.read_text():
            assert agent.poll() is None, log.read_text()
            assert time.monotonic() < until_s, log.read_text()
            time.sleep(0.1)
        children = {one.pid for one in psutil.Process(agent.pid).children(recursive=True)}
        assert children
        agent.send_signal(number)
        agent.wait(60)
    gone(children)
