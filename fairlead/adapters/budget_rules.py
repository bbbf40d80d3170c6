"""What may be spent on language models, as a pure value: minutes in which it was spent, and what is set aside.

A window is made of whole minutes and counts every minute that touches it, so that it never says less than was spent
in any stretch of that length.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from fairlead.contracts.dialogue import BudgetLimits, BudgetSpent, Refusal
from fairlead.contracts.errors import InputError

MINUTE_S = 60
HOUR_S = 3600
DAY_S = 86_400

OPEN_MINUTES = 2
"""Whole minutes by which a question may outlast its reservation: the planner's deadline is three slots of 30 s. What
is never settled counts as spent that much later, for its server may have counted it as late."""

NANOS = 1e9
"""Money is summed in whole billionths: a token at 0.15 a million takes 150 of them, and sums are exact."""


@dataclass(frozen=True, slots=True)
class Amount:
    """Tokens, and money in billionths."""

    tokens: int
    nanos: int

    def plus(self, other: "Amount") -> "Amount":
        """Return both together."""
        return Amount(self.tokens + other.tokens, self.nanos + other.nanos)


@dataclass(frozen=True, slots=True)
class Booking:
    """What was spent in a minute, counted from the Unix epoch."""

    minute: int
    amount: Amount


@dataclass(frozen=True, slots=True)
class Reservation:
    """What is set aside for a question."""

    ask: str
    minute: int
    """In which it was set aside."""
    amount: Amount


def amount(tokens: int, money: float) -> Amount:
    """Return what is spent; money is rounded up. Raises `InputError` for less than nothing and what is no number."""
    if tokens < 0 or not 0 <= money < math.inf:
        raise InputError(f"{tokens} tokens and {money} of money cannot be spent: give 0 or more of both")
    return Amount(tokens, math.ceil(round(money * NANOS, 3)))


@dataclass(frozen=True, slots=True)
class Ledger:
    """What was spent within the last day, over all agents, and what is set aside."""

    spent: tuple[Booking, ...] = ()
    """Ascending, one for each minute."""
    open: tuple[Reservation, ...] = ()
    """In the order in which they were made, one for each question."""

    def reserve(self, ask: str, wanted: Amount, limits: BudgetLimits, now_s: float) -> "Ledger | Refusal":
        """Return the ledger with `wanted` set aside, or why it is not; a question asked again sets aside once more."""
        for limit in _limits(limits):
            refusal = limit.refuses(
                self._spent_within(limit.for_s, now_s), self._open_within(limit.for_s, now_s), wanted
            )
            if refusal is not None:
                return refusal
        before = next((one.amount for one in self.open if one.ask == ask), Amount(0, 0))
        others = tuple(one for one in self.open if one.ask != ask)
        made = Reservation(ask, _minute(now_s), before.plus(wanted))
        return Ledger(self.spent, (*others, made))._kept(now_s)

    def settle(self, ask: str, took: Amount, now_s: float) -> "Ledger":
        """Return the ledger with what a question took in place of what was set aside for it.

        It is spent now, which is never before its server counted it; also where nothing was set aside, or less.
        """
        minute = _minute(now_s)
        by_minute = {one.minute: one.amount for one in self.spent}
        by_minute[minute] = by_minute.get(minute, Amount(0, 0)).plus(took)
        spent = tuple(Booking(at, by_minute[at]) for at in sorted(by_minute))
        return Ledger(spent, tuple(one for one in self.open if one.ask != ask))._kept(now_s)

    def totals(self, now_s: float) -> BudgetSpent:
        """Return what counts within the last hour and day."""
        hour = self._spent_within(HOUR_S, now_s).plus(self._open_within(HOUR_S, now_s))
        day = self._spent_within(DAY_S, now_s).plus(self._open_within(DAY_S, now_s))
        return BudgetSpent(
            tokens_hour=hour.tokens,
            tokens_day=day.tokens,
            money_hour=hour.nanos / NANOS,
            money_day=day.nanos / NANOS,
        )

    def _spent_within(self, for_s: int, now_s: float) -> Amount:
        first = _minute(now_s - for_s)
        return _sum(one.amount for one in self.spent if one.minute >= first)

    def _open_within(self, for_s: int, now_s: float) -> Amount:
        first = _minute(now_s - for_s) - OPEN_MINUTES
        return _sum(one.amount for one in self.open if one.minute >= first)

    def _kept(self, now_s: float) -> "Ledger":
        """Return the ledger without what no window can count any more."""
        first = _minute(now_s - DAY_S)
        return Ledger(
            tuple(one for one in self.spent if one.minute >= first),
            tuple(one for one in self.open if one.minute >= first - OPEN_MINUTES),
        )


@dataclass(frozen=True, slots=True)
class _Limit:
    """One of the limits; `most` in tokens or in billionths of money."""

    money: bool
    for_s: int
    most: int

    def refuses(self, spent: Amount, reserved: Amount, wanted: Amount) -> Refusal | None:
        """Return why this limit does not let `wanted` be set aside; None if it does."""
        was, aside, more = ((one.nanos if self.money else one.tokens) for one in (spent, reserved, wanted))
        if was + aside + more <= self.most:
            return None
        unit = "of money" if self.money else "tokens"
        window = "an hour" if self.for_s == HOUR_S else "a day"
        shown = [f"{one / NANOS:.9g}" if self.money else str(one) for one in (was, self.most, aside, more)]
        return Refusal(
            code="budget-money" if self.money else "budget-tokens",
            text=f"{shown[0]} of {shown[1]} {unit} {window} are spent, {shown[2]} reserved, {shown[3]} wanted",
        )


def _limits(limits: BudgetLimits) -> tuple[_Limit, ...]:
    """Return those that are set."""
    tokens = ((HOUR_S, limits.tokens_per_hour), (DAY_S, limits.tokens_per_day))
    money = ((HOUR_S, limits.money_per_hour), (DAY_S, limits.money_per_day))
    return (
        *(_Limit(False, for_s, most) for for_s, most in tokens if most is not None),
        *(_Limit(True, for_s, math.floor(round(most * NANOS, 3))) for for_s, most in money if most is not None),
    )


def _minute(at_s: float) -> int:
    return math.floor(at_s / MINUTE_S)


def _sum(amounts: Iterable[Amount]) -> Amount:
    total = Amount(0, 0)
    for one in amounts:
        total = total.plus(one)
    return total
