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
    assert talks["took_s"] == pytest.approx(3.0 * talks["questions"])
    assert invoke([*RUN, "agents@fresh", "--llm", "scripted:good=1", "--mode", "shadow"]) == 0
    assert "221 dialogues, 0 acted" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["agents@fresh"], "none is named: --llm"),
        (["agents", "--llm", "local"], "started by `fairlead up` alone"),
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
