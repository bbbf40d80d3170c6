"""The circuit breaker: opens after failures in a row, lets one question through, closes by an answer."""

from hypothesis import given
from hypothesis import strategies as st

from fairlead.adapters.llm_breaker import Breaker

FAILURES, OPEN_S = 3, 10.0


def test_it_opens_after_failures_in_a_row() -> None:
    """An answer in between begins the count anew; opening is told once."""
    one = Breaker(FAILURES, OPEN_S)
    assert [one.failed(0.0), one.failed(0.0)] == [False, False]
    one.succeeded()
    assert [one.failed(1.0), one.failed(1.0), one.failed(1.0)] == [False, False, True]
    assert (one.state(1.0), one.admits(10.9), one.state(11.0)) == ("open", False, "half-open")
    assert one.failed(11.0) is False
    assert one.state(20.9) == "open"


def test_half_open_tries_one_at_a_time() -> None:
    """Called off, the next one tries; answered, it is closed."""
    one = Breaker(1, OPEN_S)
    one.failed(0.0)
    assert one.admits(10.0)
    one.begin(10.0)
    assert not one.admits(10.0)
    one.given_up()
    assert one.admits(10.0)
    one.begin(10.0)
    one.succeeded()
    assert (one.state(10.0), one.admits(10.0)) == ("closed", True)


@given(st.lists(st.tuples(st.sampled_from(["ok", "fail", "off"]), st.floats(0.0, 20.0)), max_size=40))
def test_it_admits_unless_it_has_failed_lately(story: list[tuple[str, float]]) -> None:
    """Whatever happens: not admitted only within `OPEN_S` of a failure, with at least `FAILURES` since an answer."""
    one, now_s, failures, failed_at_s = Breaker(FAILURES, OPEN_S), 0.0, 0, float("-inf")
    for what, for_s in story:
        now_s += for_s
        admitted = one.admits(now_s)
        assert admitted == (failures < FAILURES or now_s - failed_at_s >= OPEN_S)
        if not admitted:
            continue
        one.begin(now_s)
        if what == "ok":
            one.succeeded()
            failures = 0
        elif what == "fail":
            one.failed(now_s)
            failures, failed_at_s = failures + 1, now_s
        else:
            one.given_up()
