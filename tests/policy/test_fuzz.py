"""Replies spoilt by the thousand: none raises, none ends in a decision that is not sound."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.policy.fuzz import fuzzed

REPLIES = 5_000
"""In each of two runs here: seconds. `make acceptance` weighs 100 000."""


@pytest.mark.parametrize("seed", [1, 2])
def test_invariant_08_spoilt_replies_end_in_sound_decisions(seed: int) -> None:
    """Every decision that a reply reaches is checked; every answer has one rung `call`, every dialogue one end."""
    found = fuzzed(REPLIES, seed)
    calls = sum(times for step, times in found.items() if step.startswith("call:"))
    ends = found["fallback:ok"] + found["mode:auto"]
    assert calls >= REPLIES
    assert calls == ends + found["repair:asked"]
    assert found["call:ok"] == found["parse:ok"] + sum(
        times for step, times in found.items() if step.startswith("parse:") and step != "parse:ok"
    )
    assert found["mode:auto"] == found["twin:no-worse"] == found["trust:ok"]
    for code in ("not-json", "not-an-object", "duplicate-key", "not-finite", "too-deep"):
        assert found[f"parse:{code}"] > 0
    for step in ("schema:schema", "feasibility:row-sum", "feasibility:memory", "trust:outside", "repair:no-time"):
        assert found[step] > 0


def test_the_same_seed_spoils_the_same_replies() -> None:
    """A failure can be found again, also from the command line."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.policy.fuzz", "200", "3"],
        capture_output=True,
        cwd=Path(__file__).parents[2],
        timeout=120,
        check=True,
        text=True,
    )
    found = fuzzed(200, 3)
    assert f'"fallback:ok": {found["fallback:ok"]}' in done.stdout
