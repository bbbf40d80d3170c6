"""`fairlead twin run --policy agents`: whom it asks, what it says of that, and what it refuses."""

import json
from pathlib import Path

import pytest

from fairlead_cli.main import invoke

RUN = ["twin", "run", "home3", "--load", "0.05", "--policy"]


def test_the_stand_in_is_named_as_such_and_what_was_said_is_counted(capsys: pytest.CaptureFixture[str]) -> None:
    """In the JSON for programs, in a line for people."""
    assert invoke([*RUN, "agents@fresh", "--llm", "scripted:good=1", "--llm-seconds", "3", "--json"]) == 0
    talks = json.loads(capsys.readouterr().out)["talks"]
    assert talks["dialogues"] == 200 + 21
    assert talks["unanswered"] == 0
    assert talks["took_s"] == pytest.approx(3.0 * talks["questions"] + talks["judged"])
    assert invoke([*RUN, "agents@fresh", "--llm", "scripted:good=0.1,empty=0.9", "--mode", "shadow"]) == 0
    assert "221 dialogues, 0 acted" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["agents@fresh"], "none is named: --llm"),
        (["agents", "--llm", "local"], "cannot be asked here"),
        (["agents", "--llm", "scripted:best=1"], "'best' is none of"),
        (["agents", "--llm", "scripted:good=1", "--llm", "http://127.0.0.1:9/v1"], "stands alone"),
        (["agents", "--llm", "replay:nowhere.jsonl"], "there is no such file"),
        (["agents", "--llm", "scripted:good=1", "--mode", "assist"], "none of auto, shadow"),
        (["lru", "--llm", "scripted:good=1"], "agents only"),
    ],
)
def test_what_cannot_be_asked_is_refused(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what to do, exit status 2, nothing asked."""
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    assert invoke([*RUN, *arguments]) == 2
    assert words in capsys.readouterr().err


def test_a_recorded_model_answers_the_same_run_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file of exchanges in place of an endpoint: what it does not have is `diverged`, and the fallback acts."""
    empty = tmp_path / "said.jsonl"
    empty.write_text("")
    assert invoke([*RUN, "agents@fresh", "--llm", f"replay:{empty}", "--json"]) == 0
    talks = json.loads(capsys.readouterr().out)["talks"]
    assert talks["questions"] == talks["unanswered"] > 0
    assert talks["acting"] == 0


def test_agents_are_compared_with_the_fallback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A recorded model in a replay; a model that nobody asks is refused, so is an agent without one."""
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    said = tmp_path / "said.jsonl"
    said.write_text("")
    words = ["replay", "home3", "--load", "0.05", "--seeds", "1", "--jobs", "1", "--duration", "300", "--json", "-"]
    words += ["--store", str(tmp_path / "cells"), "--policy", "lru@fresh"]
    assert invoke([*words, "--policy", "agents@fresh", "--llm", f"replay:{said}"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [row["policy"] for row in document["results"]] == ["lru@fresh", "agents@fresh"]
    assert invoke([*words, "--policy", "agents@fresh"]) == 2
    assert "none is named: --llm" in capsys.readouterr().err
    assert invoke([*words, "--llm", f"replay:{said}"]) == 2
    assert "policy agents only" in capsys.readouterr().err
