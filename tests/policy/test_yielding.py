"""Who is late lets those pass who can be on time, until it has waited long enough; nobody else changes places."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead.contracts.tuning import PolicyName, PolicySettings
from fairlead.policy.backlog import Backlog
from fairlead.policy.yielding import next_up, yields

ALWAYS, NEVER = float("-inf"), float("inf")


@pytest.mark.parametrize(
    ("on_time_from_s", "patient_from_s", "expected"),
    [
        (ALWAYS, ALWAYS, 7),
        (NEVER, ALWAYS, 7),
        (20.0, ALWAYS, 8),
        (20.5, ALWAYS, 9),
        (20.0, 10.0, 8),
        (20.0, 10.1, 7),
    ],
)
def test_the_oldest_that_can_be_on_time_is_next_unless_the_oldest_of_all_waits_no_more(
    on_time_from_s: float, patient_from_s: float, expected: int
) -> None:
    """Arrived at 10, 20 and 30 s, in whatever order they stand in the queue."""
    assert next_up([(9, 30.0), (7, 10.0), (8, 20.0)], on_time_from_s, patient_from_s) == expected


def test_of_those_who_came_together_the_first_number_goes() -> None:
    """And of nobody, nobody."""
    assert next_up([(4, 1.0), (3, 1.0)], 0.0, ALWAYS) == 3
    with pytest.raises(ValueError, match="empty"):
        next_up([], 0.0, 0.0)


@given(st.lists(st.floats(0.0, 100.0), min_size=1, max_size=12), st.floats(0.0, 60.0), st.floats(60.0, 200.0))
def test_nobody_waits_for_ever_and_nobody_is_passed_but_by_the_timely(
    arrived: list[float], deadline_s: float, patience_s: float
) -> None:
    """Served one a 10 s: whoever is passed is late by then, and who was patient enough is the oldest there is."""
    left, now_s = dict(enumerate(arrived)), 100.0
    while left:
        chosen = next_up(left.items(), now_s - deadline_s, now_s - patience_s)
        passed = [a for n, a in left.items() if (a, n) < (left[chosen], chosen)]
        assert all(now_s - deadline_s > a >= now_s - patience_s for a in passed)
        del left[chosen]
        now_s += 10.0


@pytest.mark.parametrize(("policy", "yielding", "expected"), [("marginal-dpp", True, True), ("lru", True, False)])
def test_baselines_are_first_come_first_served(policy: PolicyName, yielding: bool, expected: bool) -> None:
    """Whatever the setting says; without it nobody yields."""
    assert yields(policy, PolicySettings(yielding=yielding)) is expected
    assert not yields(policy, PolicySettings(yielding=False))


def test_a_request_is_expected_to_be_served_beside_those_that_are_busy_now() -> None:
    """4 s of work at speed 2: alone, beside another pod, beside one in the same pod too."""
    account = Backlog(2.0, 0.0)
    account.declare("a", 4.0)
    account.declare("b", 1.0)
    assert account.service_s("a") == 2.0
    account.start("b", 1, 0.0)
    assert account.service_s("a") == 4.0
    account.start("a", 2, 0.0)
    assert account.service_s("a") == 8.0
