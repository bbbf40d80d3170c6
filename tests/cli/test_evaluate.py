"""`fairlead agents evaluate`: what it prints comes from runs of the twin, and names what it must not be taken for."""

import json

import pytest

from fairlead_cli.main import invoke

SHORT = ("agents", "evaluate", "--scenario", "city7-event", "--load", "0.6", "--seeds", "1", "--duration", "60")


def test_an_evaluation_has_gain_shares_and_costs(capsys: pytest.CaptureFixture[str]) -> None:
    """A rule that answers badly half of the time: malformed replies and fallbacks are counted, tokens and seconds."""
    assert invoke([*SHORT, "--llm", "scripted:good=0.5,bad=0.5", "--llm-seconds", "1", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    (run,) = told["runs"]
    assert (told["llm"], told["mode"], told["seeds"]) == ("scripted:good=0.5,bad=0.5", "auto", [1])
    assert told["gain"]["value"] == pytest.approx(run["objective"]["fallback"] - run["objective"]["agents"])
    assert 0.0 < told["malformed_ratio"] < 1.0
    assert told["fallback_ratio"] == pytest.approx(1.0 - run["acting"] / run["dialogues"])
    assert told["tokens"] == run["tokens"] > 1000
    assert told["took_s"] >= told["questions"] - 20
    assert told["money"] == 0.0


@pytest.mark.parametrize(("seconds", "unanswered"), [(9.0, 0.0), (1000.0, 1.0)])
def test_the_stand_in_takes_the_seconds_that_are_asked_for(
    capsys: pytest.CaptureFixture[str], seconds: float, unanswered: float
) -> None:
    """On the virtual clock, which runs out on the slower one at its deadline."""
    assert invoke([*SHORT, "--warm-up", "0", "--llm", "stand-in", "--llm-seconds", f"{seconds:g}", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["llm_seconds"] == seconds
    assert told["unanswered_ratio"] == unanswered
    assert told["took_s"] >= told["questions"] * min(seconds, 15.0)


def test_the_stand_in_is_named_and_stands_alone(capsys: pytest.CaptureFixture[str]) -> None:
    """It is asked as a policy of its own; options of a real model do not go with it."""
    assert invoke([*SHORT, "--llm", "stand-in"]) == 0
    assert "stand-in, mode auto, city7-event at 0.6" in capsys.readouterr().out
    assert invoke([*SHORT, "--llm", "stand-in", "--mode", "shadow"]) == 2
    assert "stands alone" in capsys.readouterr().err
    assert invoke([*SHORT, "--llm", "scripted:good=1", "--scenario", "nowhere"]) == 2
    assert "nowhere" in capsys.readouterr().err
