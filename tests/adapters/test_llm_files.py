"""Recorded questions: replayed in their order, by two processes in one file, never guessed."""

import asyncio
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest
import structlog

from fairlead.adapters.llm_files import RecordingLlm, ReplayingLlm
from fairlead.adapters.memory_llm import MemoryLlm, Saying
from fairlead.adapters.memory_store import MemoryStore
from fairlead.adapters.openai_llm import connected
from fairlead.contracts.dialogue import Exchange
from fairlead.contracts.errors import ConfigError
from fairlead.contracts.settings import LlmSettings
from tests.adapters.llm_questions import answer, question


async def test_what_was_recorded_is_replayed(tmp_path: Path) -> None:
    """Failures too; equal questions in their order, over and over, each answer equal to the last byte."""
    file = str(tmp_path / "asked.jsonl")
    script = ('{"a":1}', Saying(code="reset", took_s=0.5), '{"b":"☃\\n"}')
    llm = RecordingLlm(MemoryLlm(script), file)
    asked = (question("one"), question("two"), question("one"))
    answers = [await llm.ask(ask, id=f"x.{n}", deadline_s=20) for n, ask in enumerate(asked)]
    assert llm.statuses()[0].last_code == "ok"
    await llm.close()
    again = ReplayingLlm(file)
    for _ in range(2):
        got = [await again.ask(ask, id="y.1", deadline_s=20) for ask in asked]
        assert [one.to_json() for one in got] == [one.to_json() for one in answers]
    assert again.statuses()[0].url == f"replay:{file}"[:256]
    await again.close()


async def test_what_was_never_asked_has_diverged(tmp_path: Path) -> None:
    """One character more is another question; so is another limit. Nothing is asked instead."""
    file = tmp_path / "asked.jsonl"
    file.write_text(Exchange(id="x.1", ask=question(), answer=answer()).to_json() + "\n")
    llm = connected(LlmSettings(replay=str(file)), "planner", MemoryStore(), {})
    assert (await llm.ask(question(), id="y.1", deadline_s=20)) == answer()
    for other in (question("n01 m01 0.5"), question(reply_tokens=101)):
        got = await llm.ask(other, id="y.2", deadline_s=20)
        assert (got.code, got.text, got.attempts, got.endpoint) == ("diverged", None, 0, "")
    assert llm.statuses()[0].last_code == "diverged"
    await llm.close()


@pytest.mark.parametrize("line", ['{"id":"x.1"', "", "[]", '{"id":"x.1","ask":{},"answer":{}}', "\x00"])
def test_a_line_that_is_none_is_named(tmp_path: Path, line: str) -> None:
    """With its number, before anything starts."""
    good = Exchange(id="x.1", ask=question(), answer=answer()).to_json()
    file = tmp_path / "asked.jsonl"
    file.write_text(f"{good}\n{line}\n{good}\n")
    with pytest.raises(ConfigError, match="line 2 is no recorded exchange"):
        connected(LlmSettings(replay=str(file)), "planner", MemoryStore(), {})


@pytest.mark.parametrize("which", ["replay", "record"])
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, which: str) -> None:
    """Before anything starts."""
    file = str(tmp_path / "none" / "asked.jsonl")
    settings = LlmSettings(replay=file) if which == "replay" else LlmSettings(record=file)
    with pytest.raises(ConfigError, match=f"{which}:{file} cannot be"):
        connected(settings, "planner", MemoryStore(), {})


async def test_a_replay_can_be_recorded(tmp_path: Path) -> None:
    """What a run asked of a file, as a file of its own, readable by this user alone."""
    old, new = tmp_path / "old.jsonl", tmp_path / "new.jsonl"
    old.write_text(Exchange(id="x.1", ask=question(), answer=answer()).to_json() + "\n")
    llm = connected(LlmSettings(replay=str(old), record=str(new)), "planner", MemoryStore(), {})
    await llm.ask(question(), id="y.1", deadline_s=20)
    await llm.ask(question("other"), id="y.2", deadline_s=20)
    await llm.close()
    first, second = map(Exchange.from_json, new.read_text().splitlines())
    assert (first.id, first.answer) == ("y.1", answer())
    assert (second.id, second.answer.code) == ("y.2", "diverged")
    assert new.stat().st_mode & 0o777 == 0o600


async def test_a_torn_line_does_not_take_the_next_one_with_it(tmp_path: Path) -> None:
    """A process that was killed in the midst of a line leaves one bad line, which is named."""
    file = tmp_path / "asked.jsonl"
    file.write_text('{"id":"x')
    llm = RecordingLlm(MemoryLlm(["{}"]), str(file))
    await llm.ask(question(), id="x.1", deadline_s=20)
    await llm.close()
    torn, whole = file.read_text().splitlines()
    assert torn == '{"id":"x'
    assert Exchange.from_json(whole).id == "x.1"
    with pytest.raises(ConfigError, match="line 1 "):
        ReplayingLlm(str(file))


WRITER = """
import asyncio, sys
from fairlead.adapters.llm_files import RecordingLlm
from fairlead.adapters.memory_llm import MemoryLlm
from tests.adapters.llm_questions import question

async def main() -> None:
    llm = RecordingLlm(MemoryLlm(lambda ask: "x" * 50_000), sys.argv[1])
    for number in range(100):
        await llm.ask(question(), id=f"{sys.argv[2]}.{number}", deadline_s=60)
    await llm.close()

asyncio.run(main())
"""


async def test_two_processes_write_one_file(tmp_path: Path) -> None:
    """A hundred lines of 50 KB from each: all whole, each process's in its order."""
    file = tmp_path / "asked.jsonl"
    writers = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", WRITER, str(file), name) for name in ("a", "b")
    ]
    assert [await one.wait() for one in writers] == [0, 0]
    ids = [Exchange.from_json(line).id for line in file.read_bytes().splitlines()]
    assert sorted(ids) == sorted(f"{name}.{number}" for name in "ab" for number in range(100))
    for name in "ab":
        own = [one for one in ids if one.startswith(name)]
        assert own == [f"{name}.{number}" for number in range(100)]


HOLDER = """
import fcntl, sys
file = open(sys.argv[1], "ab")
fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


async def test_an_answer_waits_for_no_lock_for_ever(tmp_path: Path) -> None:
    """Another process that does not let go costs the line, which is said, not the answer."""
    file = tmp_path / "asked.jsonl"
    llm = RecordingLlm(MemoryLlm(["{}", "{}"]), str(file))
    holder = await asyncio.create_subprocess_exec(sys.executable, "-c", HOLDER, str(file), stdin=PIPE, stdout=PIPE)
    assert holder.stdout is not None
    assert await holder.stdout.readline() == b"held\n"
    with structlog.testing.capture_logs() as log:
        assert (await llm.ask(question(), id="x.1", deadline_s=20)).code == "ok"
    assert [one["event"] for one in log] == ["an answer could not be recorded"]
    waiting = asyncio.ensure_future(llm.ask(question(), id="x.2", deadline_s=20))
    await asyncio.sleep(0)
    await holder.communicate(b"")
    assert (await waiting).code == "ok"
    assert "x.2" in file.read_text()
    await llm.close()


async def test_after_its_end_nothing_is_written(tmp_path: Path) -> None:
    """A late answer does not reach a file that was closed."""
    file = tmp_path / "asked.jsonl"
    llm = RecordingLlm(MemoryLlm(["{}"]), str(file))
    await llm.close()
    with structlog.testing.capture_logs() as log:
        assert (await llm.ask(question(), id="x.1", deadline_s=20)).code == "no-endpoint"
    assert len(log) == 1
    assert file.read_bytes() == b""
