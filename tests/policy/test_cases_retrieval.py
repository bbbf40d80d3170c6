"""Similarity, what is shown and what is forgotten."""

import itertools

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from fairlead.contracts.cases import Case, CaseFeatures
from fairlead.contracts.plans import Intent, ModelPriority, Warm
from fairlead.policy.cases_kernel import agreement, decision_marks, encoded, likeness, same_demand, similarity, stacked
from fairlead.policy.cases_retrieval import SHORTLIST, retrieve, select
from fairlead.policy.cases_shelf import Shelf, forgettable, remembered, shelf
from tests.policy.remembering import EPOCH_S, case, memories, model, node, situation, situations

NOW_S = 100_000.0
BUSY, OTHER = situation(-1.0, -3.0, -4.0), situation(-4.0, -3.0, -1.0)


def full(cases: tuple[Case, ...]) -> Shelf:
    """Return the cases as retrieval keeps them."""
    made = shelf(remembered(c) for c in cases)
    assert made is not None
    return made


def shown(found: tuple[tuple[Case, float], ...]) -> list[int]:
    """Return the epochs of what was found."""
    return [c.epoch for c, _ in found]


@given(situations(), situations())
def test_similarity_is_a_share_symmetric_and_one_for_equal(a: CaseFeatures, b: CaseFeatures) -> None:
    """A kernel: K(a, a) = 1, K(a, b) = K(b, a), within [0, 1]."""
    assert similarity(a, a) == 1.0
    assert similarity(a, b) == similarity(b, a)
    assert 0.0 <= similarity(a, b) <= 1.0


@given(st.lists(situations(), min_size=1, max_size=6))
def test_many_at_once_are_as_one_by_one(many: list[CaseFeatures]) -> None:
    """Stacking changes nothing, nor does taking some of the stack."""
    keys = stacked([encoded(one) for one in many])
    alike = likeness(encoded(many[0]), keys)
    assert alike.tolist() == [similarity(many[0], one) for one in many]
    rows = np.array([len(many) - 1])
    assert likeness(encoded(many[0]), keys.some(rows)).tolist() == [alike[-1]]


@pytest.mark.parametrize(
    "other",
    [
        situation(-1.6, -3.0, -4.0),
        situation(failures=1),
        situation(day=0.75),
        situation(nodes=(node("n1", "m1", "m2"), node("n2", "m3", up=False))),
        situation(nodes=(node("n1", "m1", "m2"), node("n2", "m1"))),
        situation(nodes=(node("n1", "m1", "m2"), node("n2", "m3", free=0.6))),
        situation(nodes=(node("n1", "m1", "m2"), node("n2", "m3", speed=0.5))),
        situation(nodes=(node("n1", "m1", "m2"), node("n2", "m3", work=60.0))),
        *(
            situation().model_copy(update={"models": (model("m1", -2.0, **more), *situation().models[1:])})
            for more in (
                {"trend": 1.0},
                {"dispersion": 4.0},
                {"backlog_s": 60.0},
                {"price_s": 50.0},
                {"slowdown": 3.0},
            )
        ),
    ],
)
def test_every_feature_tells_situations_apart(other: CaseFeatures) -> None:
    """One that differs in a single one is less alike than an equal one, and not wholly unlike."""
    assert 0.0 < similarity(situation(), other) < 0.99


def test_the_hours_before_and_after_midnight_are_near() -> None:
    """Time of day goes round."""
    late = situation(day=0.99)
    assert similarity(late, situation(day=0.01)) > similarity(late, situation(day=0.8))


def test_what_a_lost_node_held_is_not_compared() -> None:
    """Of a node that is not heard nothing is known: absent is not zero."""
    gone = [
        situation(nodes=(node("n1", "m1"), node("n2", up=False, free=free, speed=speed)))
        for free, speed in ((0.0, 1.0), (0.9, 2.0))
    ]
    assert similarity(*gone) == 1.0


FAR = st.floats(allow_nan=False, allow_infinity=False)


@given(FAR, FAR.map(abs), st.integers(0, 10**400))
def test_what_an_imported_case_says_is_compared_whatever_it_is(any_value: float, size: float, failures: int) -> None:
    """Without an overflow: not alike, or alike, but a number."""
    strange = CaseFeatures(
        models=tuple(
            model(
                name,
                any_value,
                trend=any_value,
                dispersion=size,
                backlog_s=size,
                price_s=any_value,
                slowdown=size or 1.0,
            )
            for name in ("m1", "m2", "m3")
        ),
        nodes=tuple(node(name, speed=size or 1.0, work=size) for name in ("n1", "n2")),
        failures=failures,
        day_ratio=1.0,
    )
    assert 0.0 <= similarity(situation(), strange) <= 1.0
    assert similarity(strange, strange) == 1.0
    odd = case(1, size, strange, low=any_value)
    found = retrieve(situation(), (odd, case(2)), now_s=abs(any_value))
    assert {c.epoch for c, _ in found} == {1, 2}


def test_two_regimes_of_rotating_are_far_and_chance_is_near() -> None:
    """CONTROL §5: one model × 2.2 in place of another, against a sampling error of a tenth."""
    share = np.array([0.5, 0.3, 0.2])

    def mix(times: np.ndarray[tuple[int], np.dtype[np.float64]]) -> CaseFeatures:
        rates = share * times
        return situation(*(float(r) for r in np.log(rates / rates.sum())))

    first = mix(np.array([2.2, 1.0, 1.0]))
    assert similarity(first, mix(np.array([1.0, 2.2, 1.0]))) < 0.25
    assert similarity(first, mix(np.array([2.0, 1.1, 0.95]))) > 0.9


def test_other_nodes_or_models_are_not_alike() -> None:
    """Cases are compared within one cluster."""
    fewer = situation().model_copy(update={"models": situation().models[:2]})
    assert similarity(situation(), fewer) == 0.0
    assert similarity(situation(), situation(nodes=(node("n1", "m1", "m2"),))) == 0.0
    empty = CaseFeatures(models=(), nodes=(), failures=0, day_ratio=0.0)
    assert similarity(empty, empty) == 1.0
    stranger = situation(nodes=(node("n1", "m1", "m2", "m9"), node("n2", "m3")))
    assert similarity(situation(), stranger) == 1.0, "a model that the cluster does not have stands nowhere"


def test_plans_agree_in_what_they_say_beyond_the_neutral_one() -> None:
    """Two neutral ones agree, whatever words their roles have; else by the share of what both say."""
    neutral = Intent(node="n1", role="specialist", prefer=("m1",), avoid=(), bias=0)
    asking = Intent(node="n1", role="drain", prefer=("m1",), avoid=("m2",), bias=2)
    steady = ModelPriority(model="m1", priority=2, expected="same")
    rising = ModelPriority(model="m1", priority=2, expected="rising")
    warm = Warm(model="m1", node="n1", at_s=5.0)
    nothing = decision_marks(case(1, intents=(neutral,), priorities=(steady,)))
    assert len(nothing) == 0
    assert agreement(nothing, decision_marks(case(2))) == 1.0
    one = decision_marks(case(3, intents=(asking,), priorities=(rising,), warm=(warm,)))
    assert len(one) == 5
    assert agreement(one, nothing) == 0.0
    assert agreement(one, decision_marks(case(4, warm=(warm,)))) == pytest.approx(0.2)


@given(memories(), situations(), st.integers(0, 6))
def test_at_most_k_each_once_none_quarantined_and_no_more_than_there_are(
    cases: tuple[Case, ...], now: CaseFeatures, k: int
) -> None:
    """Whatever is remembered."""
    found = retrieve(now, cases, now_s=NOW_S, k=k)
    usable = [c for c in cases if not c.quarantined]
    assert len(found) == min(k, len(usable))
    assert len({c.id for c, _ in found}) == len(found)
    assert not any(c.quarantined for c, _ in found)
    assert all(s == similarity(now, c.features) for c, s in found)


@given(memories(), situations(), st.integers(2, 6))
def test_always_one_bad_case_where_there_is_one(cases: tuple[Case, ...], now: CaseFeatures, k: int) -> None:
    """The last one is of the worst third by F, and none of the worst third is more similar."""
    usable = [c for c in cases if not c.quarantined]
    values = sorted((c.realised.objective for c in usable), reverse=True)
    found = retrieve(now, cases, now_s=NOW_S, k=k)
    if len(set(values)) < 2:
        return
    last, alike = found[-1]
    limit = values[-(-len(values) // 3) - 1]
    assert last.realised.objective >= limit
    assert last.realised.objective > values[-1]
    surely_bad = [c for c in usable if c.realised.objective > max(limit, values[-1])]
    assert all(similarity(now, c.features) <= alike for c in surely_bad)


@given(memories(most=10), situations(), st.randoms(use_true_random=False))
def test_the_order_of_cases_changes_nothing(cases: tuple[Case, ...], now: CaseFeatures, chance: object) -> None:
    """Equal scores go by id; a case that stands there twice counts once."""
    mixed = list(cases) + list(cases[:1])
    getattr(chance, "shuffle")(mixed)  # noqa: B009
    assert retrieve(now, mixed, now_s=NOW_S) == retrieve(now, cases, now_s=NOW_S)


def test_the_most_similar_come_first() -> None:
    """All else equal; the bad one is last."""
    near = situation(-1.1, -3.0, -4.0)
    cases = (case(1, 0.3, OTHER), case(2, 0.3, near), case(3, 0.3, BUSY), case(4, 0.9, OTHER))
    found = retrieve(BUSY, cases, now_s=NOW_S, k=3)
    assert shown(found) == [3, 2, 4]
    assert found[0][1] == 1.0


def test_of_two_alike_the_one_that_went_better_comes_first() -> None:
    """By realised F where the twin has said nothing, compared with what was alike: an easy hour is no merit."""
    cases = (case(1, 0.5, BUSY), case(2, 0.3, BUSY), case(3, 0.4, BUSY), case(4, 0.01, OTHER))
    assert shown(retrieve(BUSY, cases, now_s=NOW_S, k=2)) == [2, 1]


def test_an_advantage_over_the_fallback_counts_before_the_realised_f() -> None:
    """A dear hour in which the plan saved much beats a cheap one in which it spoilt something."""
    cases = (case(1, 0.3, BUSY, low=-0.1), case(2, 0.4, BUSY, low=0.08), case(3, 0.9, OTHER))
    assert shown(retrieve(BUSY, cases, now_s=NOW_S, k=2))[0] == 2


def test_an_old_case_counts_less() -> None:
    """Half each week; one of a clock ahead counts as new."""
    week = round(7 * 86_400 / EPOCH_S)
    old, new, ahead = case(1, 0.3, BUSY), case(2 + week, 0.3, BUSY), case(9 * week, 0.3, BUSY)
    assert shown(retrieve(BUSY, (old, new), now_s=(3 + week) * EPOCH_S, k=1)) == [new.epoch]
    assert shown(retrieve(BUSY, (new, ahead), now_s=0.0, k=1)) == [ahead.epoch], "as new as the other: by id"


def test_a_near_duplicate_gives_way_to_another_decision() -> None:
    """The same situation under another plan is shown before a repetition, a repetition before nothing."""
    other_plan = (Intent(node="n1", role="specialist", prefer=("m1",), avoid=(), bias=2),)
    cases = (
        case(1, 0.3, BUSY),
        case(2, 0.3, BUSY),
        case(3, 0.3, BUSY),
        case(4, 0.3, situation(-1.3, -3.0, -4.0), intents=other_plan),
        case(5, 0.9, OTHER),
    )
    assert shown(retrieve(BUSY, cases, now_s=NOW_S, k=3)) == [3, 4, 5]
    assert len(retrieve(BUSY, cases, now_s=NOW_S, k=5)) == 5


def test_one_place_is_for_the_fallbacks_own_result() -> None:
    """The most similar neutral plan stands before the bad one, unless one is there already or places are few."""
    warm = (Warm(model="m1", node="n1", at_s=5.0),)
    gains = tuple(case(n, 0.3, BUSY, low=0.05, warm=(Warm(model=f"m{n}", node="n2", at_s=5.0),)) for n in range(1, 5))
    own = (case(5, 0.5, OTHER), case(6, 0.5, situation(-1.5, -3.0, -4.0)))
    bad = case(7, 0.9, BUSY, low=-0.2, warm=warm)
    assert shown(retrieve(BUSY, (*gains, *own, bad), now_s=NOW_S, k=4))[2:] == [6, 7]
    assert shown(retrieve(BUSY, (*gains, *own, bad), now_s=NOW_S, k=2))[1:] == [7]
    assert len(shown(retrieve(BUSY, (*gains, bad), now_s=NOW_S, k=4))) == 4


def test_what_nobody_has_judged_counts_at_most_as_the_fallback_does() -> None:
    """A splendid F without a label is no proof; a small proven gain is."""
    warm = (Warm(model="m1", node="n1", at_s=5.0),)
    cases = (case(1, 0.05, BUSY, warm=warm), case(2, 0.5, BUSY, low=0.001, warm=warm), case(3, 0.9, OTHER))
    assert shown(retrieve(BUSY, cases, now_s=NOW_S, k=2))[0] == 2


@given(memories(most=12), situations())
def test_only_what_can_be_alike_is_compared_and_nothing_else_changes(
    cases: tuple[Case, ...], now: CaseFeatures
) -> None:
    """A crowd of cases of quite other rates leaves the choice as it is, but for what is bad."""
    far = situation(60.0, 60.0, 60.0)
    crowd = tuple(case(100 + n, 0.3, far) for n in range(SHORTLIST))
    usable = [c for c in cases if not c.quarantined]
    alone, among = (retrieve(now, some, now_s=NOW_S, k=1) for some in (cases, (*cases, *crowd)))
    if usable and alone[0][1] > 0.0:
        assert alone == among


def test_without_a_difference_there_is_no_bad_case() -> None:
    """Nor in one place: that is the best one's."""
    cases = (case(1, 0.3, BUSY), case(2, 0.3, OTHER))
    assert shown(retrieve(BUSY, cases, now_s=NOW_S, k=2)) == [1, 2]
    assert shown(retrieve(BUSY, (case(1, 0.3, BUSY), case(2, 0.9, BUSY)), now_s=NOW_S, k=1)) == [1]


def test_a_situation_like_none_is_answered_all_the_same() -> None:
    """With similarity 0, by id: nothing is more alike than anything else."""
    far = situation(9.0, 9.0, 9.0, failures=1000)
    cases = (case(1, 0.3), case(2, 0.2))
    assert [s for _, s in retrieve(far, cases, now_s=NOW_S)] == [0.0, 0.0]


def test_cases_of_another_cluster_are_passed_over() -> None:
    """An imported case may claim any digest; what is compared has the same nodes and models."""
    stranger = situation().model_copy(update={"nodes": situation().nodes[:1]})
    strangers = tuple(case(n, 0.3, stranger) for n in (3, 4))
    assert shown(retrieve(BUSY, (case(1, 0.3, BUSY), *strangers), now_s=NOW_S)) == [1]
    assert full((case(1, 0.3, BUSY), *strangers)).ids == ["c-003-1", "c-004-1"]
    assert select(BUSY, full(strangers), now_s=NOW_S) == ()
    assert retrieve(BUSY, (), now_s=NOW_S) == ()


def test_more_than_a_shortlist_can_be_asked_for() -> None:
    """The limit on comparing is none on showing."""
    cases = tuple(case(n, 0.3 + 0.001 * n, BUSY) for n in range(SHORTLIST + 10))
    assert len(retrieve(BUSY, cases, now_s=NOW_S, k=SHORTLIST + 5)) == SHORTLIST + 5


@given(memories().filter(len), st.integers(0, 24))
def test_so_many_are_forgotten_that_the_capacity_is_left(cases: tuple[Case, ...], capacity: int) -> None:
    """Each once, in an order that hangs on the cases alone."""
    gone = forgettable(full(cases), capacity)
    assert len(gone) == len(set(gone)) == max(0, len(cases) - capacity)
    assert gone == forgettable(full(cases[::-1]), capacity)


def test_the_oldest_of_the_commonest_regime_goes_first() -> None:
    """A rare regime outlives a common one, however old it is."""
    cases = tuple(case(n, 0.3, OTHER if n in (0, 9) else BUSY) for n in range(10))
    assert forgettable(full(cases), 7) == ("c-002-1", "c-003-1", "c-004-1")
    assert forgettable(full(cases), 10) == ()


def test_the_best_and_the_worst_of_a_regime_stay_while_it_has_others() -> None:
    """They are what shall be imitated and avoided."""
    values = (0.1, 0.9, 0.3, 0.2, 0.4)
    cases = tuple(case(n, value, BUSY) for n, value in enumerate(values))
    assert forgettable(full(cases), 2) == ("c-002-1", "c-003-1", "c-004-1")
    assert forgettable(full(cases), 0) == ("c-002-1", "c-003-1", "c-004-1", "c-000-1", "c-001-1")


def test_rates_alone_make_a_regime() -> None:
    """Whatever else is different."""
    calm = encoded(situation())
    others = stacked([encoded(situation(failures=5, day=0.1)), encoded(OTHER)])
    alike = same_demand(calm, others)
    assert alike[0] == 1.0
    assert alike[1] < 0.1
    assert all(a <= 1.0 for a in itertools.chain(alike))
