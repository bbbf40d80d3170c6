"""The ledger of what is spent on language models: whatever happens, no window ever holds more than its limit."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead.adapters.budget_rules import DAY_S, HOUR_S, MINUTE_S, OPEN_MINUTES, Amount, Ledger, amount
from fairlead.contracts.dialogue import BudgetLimits, Refusal


@dataclass(frozen=True, slots=True)
class Question:
    """A question in a history: when after the one before, what it wants, what it takes of that, and when it ends."""

    after_s: float
    tokens: int
    took_ratio: float
    ends_after_s: float
    settled: bool
    """False where its process dies; the server counts what it took all the same."""


QUESTIONS = st.lists(
    st.builds(
        Question,
        after_s=st.one_of(st.floats(0.0, 90.0), st.floats(HOUR_S - 60.0, HOUR_S + 180.0), st.floats(0.0, 5000.0)),
        tokens=st.integers(0, 600),
        took_ratio=st.floats(0.0, 1.0),
        ends_after_s=st.floats(0.0, OPEN_MINUTES * MINUTE_S),
        settled=st.booleans(),
    ),
    max_size=40,
)


def play(questions: list[Question], limits: BudgetLimits) -> list[tuple[float, int]]:
    """Return when which tokens were counted by the server, with each question settled at its instant."""
    ledger, at_s = Ledger(), 1_000_000.0
    counted: list[tuple[float, int]] = []
    waiting: list[tuple[float, str, int]] = []
    for n, question in enumerate(questions):
        at_s += question.after_s
        for ended_s, ask, tokens in sorted(one for one in waiting if one[0] <= at_s):
            ledger = ledger.settle(ask, Amount(tokens, 0), ended_s)
        waiting = [one for one in waiting if one[0] > at_s]
        after = ledger.reserve(f"a{n}", Amount(question.tokens, 0), limits, at_s)
        if isinstance(after, Refusal):
            continue
        ledger = after
        tokens, ended_s = int(question.tokens * question.took_ratio), at_s + question.ends_after_s
        counted.append((ended_s, tokens))
        if question.settled:
            waiting.append((ended_s, f"a{n}", tokens))
    return counted


@given(QUESTIONS)
def test_no_stretch_of_an_hour_ever_takes_more_than_the_limit(questions: list[Question]) -> None:
    """Whenever questions come, end, or die; counted by the server at the last instant that is possible."""
    counted = play(questions, BudgetLimits(tokens_per_hour=1000))
    for end_s, _ in counted:
        assert sum(tokens for at_s, tokens in counted if end_s - HOUR_S < at_s <= end_s) <= 1000


@given(QUESTIONS)
def test_no_day_ever_takes_more_than_the_limit(questions: list[Question]) -> None:
    """So too where an hour has no limit."""
    slow = [Question(one.after_s * 20, one.tokens, one.took_ratio, one.ends_after_s, one.settled) for one in questions]
    counted = play(slow, BudgetLimits(tokens_per_day=1000))
    for end_s, _ in counted:
        assert sum(tokens for at_s, tokens in counted if end_s - DAY_S < at_s <= end_s) <= 1000


@given(st.lists(st.tuples(st.integers(1, 400), st.integers(0, 800)), min_size=1, max_size=20))
def test_a_settlement_counts_in_full_whatever_was_set_aside(asks: list[tuple[int, int]]) -> None:
    """Also where a server counted more than was reserved; nothing is reserved before it has aged out."""
    ledger = Ledger()
    for n, (wanted, took) in enumerate(asks):
        reserved = ledger.reserve(f"a{n}", Amount(wanted, 0), BudgetLimits(), 60.0 * n)
        assert isinstance(reserved, Ledger)
        ledger = reserved.settle(f"a{n}", Amount(took, 0), 60.0 * n)
    total = sum(took for _, took in asks)
    now_s = 60.0 * len(asks)
    assert ledger.totals(now_s).tokens_hour == total
    for extra, fits in ((0, True), (1, False)):
        limits = BudgetLimits(tokens_per_hour=total)
        assert isinstance(ledger.reserve("b", Amount(extra, 0), limits, now_s), Ledger) is fits


def test_what_was_spent_leaves_a_window_with_its_minute() -> None:
    """A minute counts while any part of it is within the last hour or day."""
    ledger = Ledger().settle("a", Amount(5, 0), 119.0)
    for at_s, hour, day in ((119.0, 5, 5), (3719.9, 5, 5), (3720.0, 0, 5), (86_519.9, 0, 5), (86_520.0, 0, 0)):
        assert (ledger.totals(at_s).tokens_hour, ledger.totals(at_s).tokens_day) == (hour, day)


def test_what_is_never_settled_counts_as_spent_two_minutes_later() -> None:
    """Longer than a question may take; then it ages out, and the ledger forgets it."""
    ledger = Ledger().reserve("a", Amount(5, 0), BudgetLimits(), 60.0)
    assert isinstance(ledger, Ledger)
    for at_s, hour, day in ((60.0, 5, 5), (3839.9, 5, 5), (3840.0, 0, 5), (86_639.9, 0, 5), (86_640.0, 0, 0)):
        assert (ledger.totals(at_s).tokens_hour, ledger.totals(at_s).tokens_day) == (hour, day)
    assert ledger.settle("b", Amount(0, 0), 86_639.0).open == ledger.open
    assert ledger.settle("b", Amount(0, 0), 86_640.0).open == ()


def test_the_ledger_holds_no_more_than_a_day() -> None:
    """However long it is kept: a booking for each minute that a window can count."""
    ledger = Ledger()
    for n in range(4000):
        ledger = ledger.settle("a", Amount(1, 1), 45.0 * n)
    assert len(ledger.spent) == DAY_S / MINUTE_S + 1
    assert sum(one.amount.tokens for one in ledger.spent) == ledger.totals(45.0 * 3999).tokens_day


@pytest.mark.parametrize(("money", "nanos"), [(0.3, 300_000_000), (1.5e-7, 150), (1.1, 1_100_000_000), (1e-10, 1)])
def test_money_is_summed_exactly(money: float, nanos: int) -> None:
    """In billionths, rounded up; a float's own rounding does not count."""
    assert amount(0, money).nanos == nanos


def test_ten_dimes_are_a_unit_of_money() -> None:
    """As floats they would be a little less, and an eleventh question would find room."""
    ledger = Ledger()
    for n in range(10):
        after = ledger.reserve(f"a{n}", amount(1, 0.1), BudgetLimits(money_per_day=1.0), 0.0)
        assert isinstance(after, Ledger)
        ledger = after
    assert ledger.totals(0.0).money_day == 1.0
    assert isinstance(ledger.reserve("b", amount(1, 1e-9), BudgetLimits(money_per_day=1.0), 0.0), Refusal)
