"""Estimates from what was recorded: right where they can be known, and silent where they cannot."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from fairlead.studies.estimates import Found, estimates, weighted_mean, weighted_share
from fairlead.studies.statistics import Interval
from fairlead_cli.main import invoke
from tests.studies.recorded_run import Course, recorded
from tests.twin.scene import cluster, model

SHAPE = cluster((model("a", work_s=5.0),), speeds=(1.0, 2.0))
APART_S = 20.0
"""Between requests: each is alone."""


def found(path: Path, courses: Sequence[Course]) -> dict[str, Found]:
    """Return what is found of each node."""
    return {one.node: one for one in estimates(recorded(path, SHAPE, courses, run_s=APART_S * len(courses)))}


def skewed(count: int, heavy: float = 0.8, light: float = 0.2, known: bool = True) -> list[Course]:
    """Return requests of which the heavy ones go to n1 with one probability, the light ones with another.

    Half have work 8 and fail with probability 0.4, half have work 2 and never fail.
    """
    draws = np.random.default_rng(5)
    courses = []
    for at in range(count):
        work_s, to_n1 = (8.0, heavy) if at % 2 else (2.0, light)
        node = "n1" if draws.random() < to_n1 else "n2"
        chance = to_n1 if node == "n1" else 1.0 - to_n1
        sent_s = APART_S * at
        ended_s = sent_s + (work_s if node == "n1" else work_s / 2)
        failed = work_s == 8.0 and draws.random() < 0.4
        courses.append(
            Course("a", node, work_s, sent_s, sent_s, ended_s, failed=failed, propensity=chance if known else None)
        )
    return courses


def ends(found: Interval | None) -> tuple[float, float]:
    """Return the ends of an interval that there must be."""
    assert found is not None
    assert found.low is not None
    assert found.high is not None
    return found.low, found.high


def test_weights_undo_who_was_sent_where(tmp_path: Path) -> None:
    """Those sent to n1 take 6.2 s on average and a third fails; all would take 4.25 s there, and a fifth would fail.

    4.25 and not 5: of the answered ones, 60 of 160 are heavy.
    """
    one = found(tmp_path / "a.jsonl", skewed(2000))["n1"]
    assert one.why == ""
    assert ends(one.alone_s)[0] > 5.5
    assert ends(one.failed_ratio)[0] > 0.25
    assert ends(one.all_alone_s)[0] < 4.25 < ends(one.all_alone_s)[1]
    assert ends(one.all_failed_ratio)[0] < 0.2 < ends(one.all_failed_ratio)[1]


def test_intervals_hold_what_they_promise() -> None:
    """About 95 of 100 samples; the weighted ones a little less, for their error is linearised."""
    draws, means, shares = np.random.default_rng(7), 0, 0
    for _ in range(400):
        chances = draws.uniform(0.3, 0.9, 300)
        there = draws.random(300) < chances
        values = draws.exponential(2.0, 300) + 1.0 / chances
        mean = weighted_mean(values[there], 1.0 / chances[there])
        share = weighted_share((values > 4.0)[there].astype(float), 1.0 / chances[there])
        true_share = float(np.exp(-(4.0 - 1.0 / chances) / 2.0).mean())
        means += ends(mean)[0] < 2.0 + float((1.0 / chances).mean()) < ends(mean)[1]
        shares += ends(share)[0] < true_share < ends(share)[1]
    assert min(means, shares) >= 0.93 * 400


def test_without_exploring_nothing_is_known_of_those_who_went_elsewhere(tmp_path: Path) -> None:
    """All that were sent there could not have gone elsewhere: what all would have taken is not identifiable."""
    for one in found(tmp_path / "a.jsonl", skewed(200, heavy=1.0, light=0.0)).values():
        assert one.why == "not identifiable: 50% of the requests could not have gone there"
        assert one.all_alone_s is None
        assert one.all_failed_ratio is None
        assert one.service_s is not None


def test_without_propensities_nothing_is_weighted(tmp_path: Path) -> None:
    """What was sent there is known all the same."""
    one = found(tmp_path / "a.jsonl", skewed(200, known=False))["n2"]
    assert "not known how likely" in one.why
    assert one.support is None
    assert one.alone_s is not None


def test_of_few_requests_nothing_is_said(tmp_path: Path) -> None:
    """Nine are too few."""
    for one in found(tmp_path / "a.jsonl", skewed(14, heavy=0.5, light=0.5)).values():
        assert one.requests < 10
        assert (one.alone_s, one.service_s, one.failed_ratio) == (None, None, None)
        assert "too few" in one.why


def test_what_moved_is_left_out(tmp_path: Path) -> None:
    """Its propensity is that of the node it was sent to first."""
    courses = skewed(40, heavy=1.0, light=1.0)
    moved = [*courses[:30], *(Course("a", "n1", 8.0, c.sent_s, c.had_s, c.ended_s, attempts=2) for c in courses[30:])]
    assert found(tmp_path / "a.jsonl", moved)["n1"].requests == 30


def test_the_command_prints_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In columns those with requests, as JSON all."""
    path = recorded(tmp_path / "a.jsonl", SHAPE, skewed(40, 1.0, 1.0), run_s=800.0)
    assert invoke(["estimates", str(path)]) == 0
    assert "n2" not in capsys.readouterr().out
    assert invoke(["estimates", str(path), "--json"]) == 0
    assert [one["node"] for one in json.loads(capsys.readouterr().out)["items"]] == ["n1", "n2"]
    assert invoke(["estimates", str(path), "--last", "60"]) == 2
    assert "--last" in capsys.readouterr().err
