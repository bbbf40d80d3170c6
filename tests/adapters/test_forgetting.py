"""Which cases are forgotten: laws that hold for any memory."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from fairlead.adapters.store_rules import CaseMark, forgettable, mark_of
from tests.adapters import store_examples as some

MARKS = st.lists(
    st.builds(
        CaseMark,
        id=st.from_regex(r"[a-z0-9]{1,6}", fullmatch=True),
        began_at_s=st.integers(0, 50).map(float),
        objective=st.floats(0.0, 2.0),
        regime=st.sampled_from(["a", "b", "c"]),
    ),
    unique_by=lambda one: one.id,
    max_size=60,
)


@given(MARKS, st.integers(0, 40))
def test_as_many_are_left_as_there_is_room_for(marks: list[CaseMark], capacity: int) -> None:
    """Nobody is forgotten twice or invented, in whatever order they come."""
    forgotten = forgettable(marks, capacity)
    assert len(set(forgotten)) == len(forgotten) == max(0, len(marks) - capacity)
    assert set(forgotten) <= {one.id for one in marks}
    assert forgettable(marks[::-1], capacity) == forgotten


@given(MARKS, st.integers(3, 40))
def test_the_best_and_the_worst_tenth_stay(marks: list[CaseMark], capacity: int) -> None:
    """However old they are."""
    forgotten = set(forgettable(marks, capacity))
    ranked = sorted(one.objective for one in marks)
    tenth = -(-capacity // 10)
    gone = [one.objective for one in marks if one.id in forgotten]
    if gone:
        assert ranked[tenth - 1] <= min(gone)
        assert max(gone) <= ranked[-tenth]


@given(MARKS, st.integers(0, 40))
def test_the_oldest_of_the_commonest_regime_go_first(marks: list[CaseMark], capacity: int) -> None:
    """A regime loses cases only while no other has more that may go; within one the younger outlive the older."""
    forgotten = set(forgettable(marks, capacity))
    tenth = -(-capacity // 10) if capacity > 2 else 0
    ranked = sorted(marks, key=lambda one: (one.objective, -one.began_at_s, one.id))
    spared = {one.id for one in (*ranked[:tenth], *ranked[len(ranked) - tenth :])}
    left = Counter(one.regime for one in marks if one.id not in forgotten)
    kept = [one for one in marks if one.id not in forgotten | spared]
    for gone in (one for one in marks if one.id in forgotten):
        assert all(one.began_at_s >= gone.began_at_s for one in kept if one.regime == gone.regime)
        assert all(left[one.regime] <= left[gone.regime] + 1 for one in kept)


def test_a_regime_is_the_order_of_the_busiest_models() -> None:
    """Of three; equal ones by id."""
    assert mark_of(some.case(busiest=("b", "a", "d", "c"))).regime == "b,a,d"
    assert mark_of(some.case(busiest=())).regime == ""
