"""Cases as columns: put, replaced, dropped, grown; regimes; who is forgotten first."""

import math

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from fairlead.contracts.cases import Advantage, Case, CaseFeatures
from fairlead.contracts.plans import Warm
from fairlead.policy.cases_kernel import BLOCK, SHORT, TREND_SCALE, encoded, likeness, similarity, stacked
from fairlead.policy.cases_retrieval import select
from fairlead.policy.cases_shelf import REGIMES_MOST, ROOM, SKETCH, Shelf, forgettable, remembered, shelf, significant
from tests.policy.remembering import case, memories, model, situation

BUSY, OTHER = situation(-1.0, -3.0, -4.0), situation(-4.0, -3.0, -1.0)
NOW_S = 100_000.0


def full(*cases: Case) -> Shelf:
    """Return the cases on a shelf, in the order given."""
    made = Shelf(encoded(BUSY))
    for one in cases:
        made.put(remembered(one))
    return made


def contents(made: Shelf) -> dict[str, tuple[float, ...]]:
    """Return what a shelf says of each case, regimes apart."""
    columns, keys = made.columns, made.keys
    return {
        name: (
            columns.began_at_s[row],
            columns.objective[row],
            columns.advantage_low[row],
            columns.said[row],
            *columns.marks[row, : columns.said[row]],
            *keys.rate[row],
            *keys.awake[row],
            keys.day[row],
        )
        for row, name in enumerate(made.ids)
    }


@given(memories(), st.lists(st.tuples(st.booleans(), st.integers(0, 23)), max_size=40))
def test_a_shelf_holds_what_was_put_and_not_dropped(cases: tuple[Case, ...], moves: list[tuple[bool, int]]) -> None:
    """In whatever order; a case that comes again takes its own place."""
    made, kept = Shelf(encoded(BUSY)), dict[str, Case]()
    for put, at in moves:
        if at >= len(cases):
            continue
        one = cases[at]
        if put:
            one = one.model_copy(update={"realised": one.realised.model_copy(update={"objective": 0.1 * len(kept)})})
            made.put(remembered(one))
            kept[one.id] = one
        else:
            made.drop(one.id)
            kept.pop(one.id, None)
    assert len(made) == len(kept)
    found, expected = contents(made), contents(full(*kept.values()))
    assert found.keys() == kept.keys()
    for name, values in found.items():
        np.testing.assert_array_equal(values, expected[name])


def test_a_shelf_grows() -> None:
    """By doubling; nothing is lost."""
    made = full(*(case(n, 0.001 * n, BUSY) for n in range(2 * ROOM + 1)))
    assert len(made) == 2 * ROOM + 1
    assert [made.columns.objective[row] for row in (0, ROOM, 2 * ROOM)] == [0.0, 0.001 * ROOM, 0.002 * ROOM]
    assert shelf(()) is None


def test_many_cases_are_compared_as_few_are() -> None:
    """Block by block."""
    one = encoded(BUSY)
    keys = stacked([encoded(situation(-1.0 + 0.1 * n, -3.0, -4.0)) for n in range(7)])
    many = keys.some(np.arange(BLOCK + 5) % 7)
    assert likeness(one, many).tolist() == [likeness(one, keys)[n % 7] for n in range(BLOCK + 5)]


def test_wide_sums_are_those_of_narrow_ones() -> None:
    """More models than are summed term by term."""
    wide = CaseFeatures(
        models=tuple(model(f"m{n:03d}", -2.0) for n in range(2 * SHORT)), nodes=(), failures=0, day_ratio=0.5
    )
    other = wide.model_copy(update={"models": tuple(m.model_copy(update={"trend": 1.0}) for m in wide.models)})
    assert similarity(wide, other) == pytest.approx(math.exp(-0.5 / TREND_SCALE**2), abs=1e-6)


def test_like_rates_are_of_one_regime() -> None:
    """Whichever comes first leads it."""
    near = situation(-1.1, -3.0, -4.0)
    made = full(case(1, 0.3, BUSY), case(2, 0.3, OTHER), case(3, 0.3, near), case(4, 0.3, OTHER))
    assert made.columns.regime.tolist() == [0, 1, 0, 1]


def test_what_comes_after_the_last_regime_is_of_the_nearest() -> None:
    """Their number is bounded, so that a case costs no more than so many comparisons."""
    many = [case(n, 0.3, situation(3.0 * (n % 32), 3.0 * (n // 32 % 32), 0.0)) for n in range(REGIMES_MOST)]
    made = full(*many, case(999, 0.3, situation(90.0 + 6.0, 1000.0, 0.0)))
    assert made.columns.regime.max() == REGIMES_MOST - 1
    assert len(set(made.columns.regime.tolist())) == REGIMES_MOST


def test_who_is_in_quarantine_goes_first_and_who_is_proven_last() -> None:
    """Of one regime; then the oldest."""
    values = (0.1, 0.9, 0.3, 0.3, 0.3, 0.3)
    lows = (None, None, 0.02, None, None, None)
    cases = [
        case(n, value, BUSY, low=low, quarantined=n == 5)
        for n, (value, low) in enumerate(zip(values, lows, strict=True))
    ]
    assert forgettable(full(*cases), 1) == tuple(f"c-00{n}-1" for n in (5, 3, 4, 2, 0))


def test_each_regime_keeps_its_share_of_the_capacity() -> None:
    """Of three with as many cases each, whatever their F and age."""
    cases = [case(n, 0.3 + 0.001 * n, situation(9.0 * (n % 3), 0.0, 0.0)) for n in range(30)]
    made = full(*cases)
    gone = forgettable(made, 9)
    left = [n for n in range(30) if f"c-{n:03d}-1" not in gone]
    assert sorted(n % 3 for n in left) == [0, 0, 0, 1, 1, 1, 2, 2, 2]


@pytest.mark.parametrize(
    ("low", "high", "surely"), [(0.01, 0.2, True), (-0.2, -0.01, True), (-0.01, 0.2, False), (0.0, 0.0, False)]
)
def test_an_advantage_is_significant_where_its_interval_is_on_one_side(
    low: float, high: float, *, surely: bool
) -> None:
    """Better or worse."""
    assert significant(Advantage(value=0.5 * (low + high), low=low, high=high, twin="1")) is surely


def test_of_a_long_plan_a_sketch_is_kept() -> None:
    """The same of equal plans, so that they agree."""
    long = tuple(Warm(model=f"m{k}", node="n1", at_s=5.0) for k in range(2 * SKETCH))
    one, two = (remembered(case(n, warm=long)) for n in (1, 2))
    assert len(one.marks) == SKETCH
    assert one.marks.tolist() == two.marks.tolist()


def test_what_an_imported_case_says_of_its_advantage_is_not_believed() -> None:
    """Nobody here has seen it."""
    made = case(1, 0.0, BUSY, low=0.9)
    strange = made.model_copy(update={"provenance": made.provenance.model_copy(update={"imported": True})})
    assert (remembered(made).advantage_low, remembered(made).proven) == (0.9, True)
    assert (remembered(strange).advantage_low, remembered(strange).proven) == (None, False)


def test_a_poisoned_case_never_comes_before_a_proven_one() -> None:
    """It claims to be the very situation, a perfect F and a large gain: it counts as half of what the fallback does."""
    poisoned = case(99, 0.0, BUSY, low=5.0, warm=(Warm(model="m1", node="n1", at_s=5.0),))
    poisoned = poisoned.model_copy(update={"provenance": poisoned.provenance.model_copy(update={"imported": True})})
    near = situation(-1.1, -3.0, -4.0)
    proven = [case(n, 0.5, near, low=0.01, warm=(Warm(model="m2", node="n1", at_s=float(n)),)) for n in (1, 2)]
    own = [case(n, 0.45, near) for n in (3, 4)]
    hits = select(BUSY, full(poisoned, *proven, *own), now_s=NOW_S, k=4)
    assert [hit.id for hit in hits][:2] == [proven[1].id, own[1].id]
    many = [poisoned.model_copy(update={"id": f"p-{n}"}) for n in range(50)]
    hits = select(BUSY, full(*many, *proven, *own), now_s=NOW_S, k=4)
    assert hits[0].id == proven[1].id
    assert sum(hit.id.startswith("p-") for hit in hits) <= 1
