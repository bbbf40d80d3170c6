"""The timetable: what follows what, and when."""

import pytest

from fairlead.contracts.forecasts import Change
from fairlead.policy.timetable import DAY_S, coming, cycle, daily


def change(at_s: float, before: str, after: str, began_at_s: float | None) -> Change:
    """Return a change that was noticed."""
    return Change(at_s=at_s, before=before, after=after, began_at_s=began_at_s)


ROUND = tuple(
    change(1200.0 * (k + 1), f"r{k % 3 + 1}", f"r{(k + 1) % 3 + 1}", None if k == 0 else 1200.0 * k) for k in range(9)
)
"""r1, r2, r3 and again, twenty minutes each; when the first r1 began was not seen."""


def test_a_cycle_is_known_from_its_second_round_on() -> None:
    """Of r1 two whole rounds were seen, the first had no begin; r2 follows, after twenty minutes."""
    found = cycle(ROUND, "r1")
    assert found is not None
    assert (found.after, found.median_s, found.seen, found.missed) == ("r2", 1200.0, 2, 1)
    assert cycle(ROUND[:4], "r1") is None
    assert cycle(ROUND, "r9") is None


def test_what_comes_is_expected_at_its_time_and_at_once_when_overdue() -> None:
    """A change that is a little late is expected now; one that is later still is not waited for any more."""
    found = coming(ROUND, "r1", 12_000.0, 12_600.0)
    assert found is not None
    assert (found.regime, found.at_s, found.low_at_s, found.high_at_s) == ("r2", 13_200.0, 13_200.0, 13_200.0)
    late = coming(ROUND, "r1", 12_000.0, 13_300.0)
    assert late is not None
    assert late.at_s == 13_300.0
    assert coming(ROUND, "r1", 12_000.0, 13_400.0) is None
    assert coming(ROUND, "r1", None, 12_600.0) is None
    assert coming(ROUND, "r9", 12_000.0, 12_600.0) is None


def test_lengths_that_differ_are_no_habit() -> None:
    """A regime that lasts ten minutes or thirty says nothing of when it ends; nor does one that several follow."""
    uneven = tuple(
        change(4000.0 * k + lasts, "r1", "r2", 4000.0 * k) for k, lasts in enumerate((600.0, 1200.0, 1800.0))
    )
    assert cycle(uneven, "r1") is None
    mixed = tuple(change(4000.0 * k + 600.0, "r1", f"r{2 + k % 3}", 4000.0 * k) for k in range(6))
    assert cycle(mixed, "r1") is None


NOW_DAYS = 20_779
"""Days since the Unix epoch, as instants of a running system are."""


@pytest.mark.parametrize("first_day", [0, NOW_DAYS])
def test_a_regime_that_begins_at_a_time_of_day_is_expected_tomorrow(first_day: int) -> None:
    """Seen on three days at eight, it comes at eight; where it is already that, nothing is expected."""
    at_eight = tuple(change((first_day + k) * DAY_S + 28_800.0 + 60.0 * k, "r1", "r2", None) for k in range(3))
    now_s = (first_day + 3) * DAY_S
    assert [one.after for one in daily(at_eight, now_s)] == ["r2"]
    today = coming(at_eight, "r1", None, now_s + 3600.0)
    assert today is not None
    assert (today.regime, today.at_s, today.seen, today.missed) == ("r2", now_s + 28_860.0, 3, 0)
    tomorrow = coming(at_eight, "r1", None, now_s + 43_200.0)
    assert tomorrow is not None
    assert tomorrow.at_s == now_s + DAY_S + 28_860.0
    assert coming(at_eight, "r2", None, now_s + 3600.0) is None


def test_a_time_of_day_about_midnight_is_one() -> None:
    """Five to twelve on one day, five past on the next: it is expected at the next midnight, and not twice."""
    about = tuple(change((NOW_DAYS + k) * DAY_S + off_s, "r1", "r2", None) for k, off_s in ((1, -300.0), (2, 300.0)))
    now_s = (NOW_DAYS + 2) * DAY_S + 43_200.0
    found = coming(about, "r1", None, now_s)
    assert found is not None
    assert (found.at_s, found.seen, found.missed) == ((NOW_DAYS + 3) * DAY_S, 2, 0)
    assert (found.low_at_s, found.high_at_s) == (found.at_s - 300.0, found.at_s + 300.0)
    late = coming(about, "r1", None, found.at_s + 600.0)
    assert late is not None
    assert late.at_s == found.at_s + 600.0
    assert daily(about[:1], now_s) == ()


def test_days_on_which_it_did_not_begin_count_against_it() -> None:
    """Three of four days are a habit, two of four are none."""
    three = tuple(change((NOW_DAYS + k) * DAY_S + 28_800.0, "r1", "r2", None) for k in (0, 1, 3))
    now_s = (NOW_DAYS + 4) * DAY_S
    assert [(one.seen, one.missed) for one in daily(three, now_s)] == [(3, 1)]
    assert daily((three[0], three[2]), now_s) == ()


def test_what_came_twice_on_one_day_is_not_daily() -> None:
    """Two changes within a quarter of an hour of one day say nothing of the next."""
    twice = (change(100.0, "r1", "r2", None), change(400.0, "r1", "r2", 250.0))
    assert daily(twice, 1000.0) == ()


def test_the_nearer_of_two_habits_comes_first() -> None:
    """A cycle and a time of day may both know what comes."""
    at_noon = tuple(change(day * DAY_S + 43_200.0, "r8", "r9", None) for day in range(3))
    now_s = 3 * DAY_S + 43_000.0
    found = coming((*ROUND, *at_noon), "r1", now_s - 100.0, now_s)
    assert found is not None
    assert (found.regime, found.at_s) == ("r9", now_s + 200.0)
