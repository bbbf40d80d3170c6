"""Scenarios offer the work that their load says, on the timetable of CONTROL §5."""

import itertools
import math
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead.contracts.cluster import Cluster
from fairlead.contracts.errors import ConfigError
from fairlead.twin.calendar import NodeBack, NodeLost, SpeedTurned
from fairlead.twin.clusters import cluster, default_ports, total_speed
from fairlead.twin.courses import Span, changes
from fairlead.twin.scenarios import REDRAW_LOADS, SCENARIOS, Scenario, mean_rates, scenario
from fairlead.twin.subjects import subject_of

CITY7 = cluster("city7", default_ports("city7"))
loads = st.floats(0.05, 2.0)
seeds = st.integers(0, 2**32)
SURGING = ("city7-burst", "city7-redraw", "city7-event", "catalogue-roomy-rush")
"""Where offered work is more than the load for a while."""
STEADY = [one.name for one in SCENARIOS if one.name not in SURGING]


@cache
def shape_of(chosen: Scenario) -> Cluster:
    """Return the scenario's cluster on its default ports."""
    return cluster(chosen.cluster, default_ports(chosen.cluster))


def first_spans(name: str, load: float, seed: int, count: int = 8) -> tuple[Cluster, list[Span]]:
    """Return the cluster and the first spans of a scenario."""
    chosen = scenario(name)
    shape = shape_of(chosen)
    return shape, list(itertools.islice(chosen.spans(shape, load, seed), count))


def offered_load(shape: Cluster, span: Span) -> float:
    """Return Σ rate · work / Σ speed."""
    work = {model.id: model.work_s for model in shape.models}
    return sum(rate * work[model] for model, rate in span.rates) / total_speed(shape)


@pytest.mark.parametrize("name", STEADY)
@given(load=loads, seed=seeds)
def test_the_rates_of_every_span_integrate_to_the_load(name: str, load: float, seed: int) -> None:
    """Whatever the mix is, offered work stays at the load."""
    shape, spans = first_spans(name, load, seed)
    for span in spans:
        assert offered_load(shape, span) == pytest.approx(load)
        assert [model for model, _ in span.rates] == [model.id for model in shape.models]


@pytest.mark.parametrize("name", [one.name for one in SCENARIOS])
@given(load=loads, seed=seeds)
def test_spans_cover_time_without_gap_or_overlap(name: str, load: float, seed: int) -> None:
    """Each begins where the one before ended; no rate is negative."""
    _, spans = first_spans(name, load, seed)
    assert spans[0].start_s == 0
    for before, after in itertools.pairwise(spans):
        assert before.start_s < before.end_s == after.start_s
    for span in spans:
        assert all(rate >= 0 and math.isfinite(rate) for _, rate in span.rates)


@given(seed=seeds)
def test_rotating_surges_another_model_each_ten_minutes(seed: int) -> None:
    """Against the plain mix one model at a time stands out by 2.2, and after four turns each had its turn."""
    shape, plain = first_spans("city7-stationary", 0.8, seed)
    _, spans = first_spans("city7-rotating", 0.8, seed, 4)
    surged = []
    for span in spans:
        ratios = {m: rate / base for (m, rate), (_, base) in zip(span.rates, plain[0].rates, strict=True)}
        least = min(ratios.values())
        high = [m for m, ratio in ratios.items() if ratio > least * 1.01]
        assert len(high) == 1
        assert ratios[high[0]] / least == pytest.approx(2.2)
        assert span.end_s - span.start_s == 600
        surged += high
    assert sorted(surged) == [model.id for model in shape.models]


def test_seeds_of_rotating_start_in_different_phases() -> None:
    """Four seeds in a row begin with four different models."""
    starts = {first_spans("city7-rotating", 0.8, seed, 1)[1][0].rates for seed in range(4)}
    assert len(starts) == 4


def test_burst_triples_for_two_minutes_ten_minutes_after_warm_up() -> None:
    """The rest stays at the load, and it comes back an hour later."""
    shape, spans = first_spans("city7-burst", 0.8, 1, 4)
    assert [(s.start_s, s.end_s) for s in spans] == [(0, 1800), (1800, 1920), (1920, 5400), (5400, 5520)]
    assert [round(offered_load(shape, s), 6) for s in spans] == [0.8, 2.4, 0.8, 2.4]


@given(seed=seeds)
def test_redraw_offers_half_once_or_one_and_a_half_times_the_load(seed: int) -> None:
    """Each ten minutes another mix and one of three factors."""
    shape, spans = first_spans("city7-redraw", 0.8, seed)
    for span in spans:
        assert any(offered_load(shape, span) == pytest.approx(0.8 * factor) for factor in REDRAW_LOADS)
    assert len({span.rates for span in spans}) == len(spans)


@pytest.mark.parametrize(("name", "active"), [("catalogue-roomy", 8), ("catalogue-crowded", 18)])
@given(seed=seeds)
def test_a_regime_asks_for_so_many_models_with_shares_by_rank(name: str, active: int, seed: int) -> None:
    """Shares are proportional to 1/rank; the others are silent."""
    for variant in ("", "-cycle", "-recur"):
        _, spans = first_spans(name + variant, 0.6, seed, 4)
        for span in spans:
            rates = sorted((rate for _, rate in span.rates if rate > 0), reverse=True)
            assert len(rates) == active
            assert [rates[0] / rate for rate in rates] == pytest.approx(range(1, active + 1))


def test_cycle_and_recur_know_the_same_four_orders() -> None:
    """The timetable is one for all seeds, which begin at different places of it."""
    cycles = [first_spans("catalogue-roomy-cycle", 0.6, seed, 8)[1] for seed in range(4)]
    orders = {span.rates for span in cycles[0]}
    assert len(orders) == 4
    assert [span.rates for span in cycles[0]][:4] == [span.rates for span in cycles[0]][4:]
    for seed in range(4):
        recur = first_spans("catalogue-roomy-recur", 0.6, seed, 12)[1]
        assert {span.rates for span in recur} <= orders
        assert all(600 <= span.end_s - span.start_s <= 1800 for span in recur)
        assert all(before.rates != after.rates for before, after in itertools.pairwise(recur))


@given(load=loads, seed=seeds)
def test_mean_rates_of_a_whole_round_offer_the_load(load: float, seed: int) -> None:
    """What a static policy is told adds up as well."""
    chosen = scenario("city7-rotating")
    shape = shape_of(chosen)
    means = mean_rates(chosen.spans(shape, load, seed), 2400.0)
    work = {model.id: model.work_s for model in shape.models}
    assert sum(rate * work[model] for model, rate in means.items()) / total_speed(shape) == pytest.approx(load)


@pytest.mark.parametrize(
    ("name", "changes_at_s"),
    [
        ("catalogue-roomy-cycle", (1200.0, 2400.0, 3600.0, 4800.0)),
        ("city7-burst", (1800.0, 1920.0, 5400.0, 5520.0)),
        ("city7-stationary", ()),
    ],
)
def test_a_subject_says_when_its_rates_change(name: str, changes_at_s: tuple[float, ...]) -> None:
    """Up to the end of its window; equal rates one after the other are no change."""
    assert subject_of(scenario(name), 0.6, 1).changes_at_s == changes_at_s
    calm = (("a", 1.0),)
    spans = (Span(0.0, 5.0, calm), Span(5.0, 9.0, calm), Span(9.0, math.inf, (("a", 2.0),)))
    assert changes(iter(spans), 20.0) == (9.0,)
    assert changes(iter(spans), 9.0) == ()


@pytest.mark.parametrize("load", [0.0, -1.0, math.nan, math.inf])
def test_a_load_that_cannot_be_offered_is_refused(load: float) -> None:
    """Nothing is drawn from it."""
    chosen = scenario("city7-stationary")
    with pytest.raises(ConfigError, match="load"):
        chosen.spans(shape_of(chosen), load, 1)


@given(seed=seeds)
def test_waves_surge_each_model_once_in_five_turns(seed: int) -> None:
    """From turn to turn a fifth of the models rises by 2.2 against those that stay, and another fifth falls."""
    shape, spans = first_spans("metro100", 0.8, seed, 6)
    risen = []
    for before, after in itertools.pairwise(spans):
        ratios = {m: now / then for (m, then), (_, now) in zip(before.rates, after.rates, strict=True)}
        usual = sorted(ratios.values())[len(ratios) // 2]
        assert {round(ratio / usual, 6) for ratio in ratios.values()} == {1.0, 2.2, round(1 / 2.2, 6)}
        risen += [m for m, ratio in ratios.items() if ratio > 1.5 * usual]
    assert sorted(risen) == [model.id for model in shape.models]


@given(seed=seeds)
def test_a_node_dies_twenty_minutes_after_warm_up_and_comes_back_after_fifteen(seed: int) -> None:
    """A random one, the same for the same seed."""
    chosen = scenario("city7-node-loss")
    trouble = chosen.trouble(shape_of(chosen), seed)
    (lost_s, lost), (back_s, back) = trouble.mishaps
    assert (lost_s, back_s) == (2400.0, 3300.0)
    assert isinstance(lost, NodeLost)
    assert back == NodeBack(lost.node)
    assert trouble == chosen.trouble(shape_of(chosen), seed)
    assert trouble.overrides == ()


def test_any_node_may_be_the_one() -> None:
    """Over seeds each of the seven."""
    for name in ("city7-node-loss", "city7-slow-node"):
        chosen = scenario(name)
        nodes = {chosen.trouble(shape_of(chosen), seed).mishaps[0][1].node for seed in range(60)}
        assert len(nodes) == 7


@given(seed=seeds)
def test_a_slow_node_has_half_its_speed_from_minute_20_to_50(seed: int) -> None:
    """Then its own again."""
    chosen = scenario("city7-slow-node")
    (slow_s, slow), (whole_s, whole) = chosen.trouble(shape_of(chosen), seed).mishaps
    assert (slow_s, whole_s) == (2400.0, 4200.0)
    assert isinstance(slow, SpeedTurned)
    assert isinstance(whole, SpeedTurned)
    assert slow.node == whole.node
    assert whole.speed == 2 * slow.speed == next(n.speed for n in CITY7.nodes if n.id == whole.node)


@given(seed=seeds)
def test_operators_clear_a_node_before_it_leaves(seed: int) -> None:
    """All models banned from two minutes before until it is back; it leaves when `node-loss` loses one."""
    chosen = scenario("city7-maintenance")
    trouble = chosen.trouble(shape_of(chosen), seed)
    assert trouble.mishaps == scenario("city7-node-loss").trouble(shape_of(chosen), seed).mishaps
    node = trouble.mishaps[0][1].node
    assert [(o.node, o.model, o.action) for o in trouble.overrides] == [(node, m.id, "ban") for m in CITY7.models]
    assert {(o.created_at_s, o.expires_at_s) for o in trouble.overrides} == {(2280.0, 3300.0)}


def test_work_varies_in_cv_variants_alone() -> None:
    """Lognormal with cv 0.5; the same arrivals as with the mean work."""
    plain = list(subject_of(scenario("city7-rotating"), 0.8, 3, 0.0, 3000.0).demand())
    varied = list(subject_of(scenario("city7-rotating-cv"), 0.8, 3, 0.0, 3000.0).demand())
    assert [(a.at_s, a.model, a.site) for a in plain] == [(a.at_s, a.model, a.site) for a in varied]
    work = {m.id: m.work_s for m in CITY7.models}
    assert {(a.model, a.work_s) for a in plain} == set(work.items())
    ratios = [a.work_s / work[a.model] for a in varied]
    mean = sum(ratios) / len(ratios)
    assert mean == pytest.approx(1.0, abs=0.05)
    assert math.sqrt(sum((one - mean) ** 2 for one in ratios) / len(ratios)) == pytest.approx(0.5, abs=0.08)


def test_what_processes_on_one_machine_cannot_show_is_for_the_twin() -> None:
    """The message says where it can be played."""
    scenario("city7-rotating").check_live()
    for name in ("city7-node-loss", "nation1000"):
        with pytest.raises(ConfigError, match="fairlead twin run"):
            scenario(name).check_live()


def test_an_unknown_scenario_is_refused_with_the_known_ones() -> None:
    """The message says what there is."""
    with pytest.raises(ConfigError, match=r"city7-rotten.*city7-rotating"):
        scenario("city7-rotten")


def test_a_real_model_refuses_another_speed_than_one() -> None:
    """Words cannot be compressed."""
    scenario("home3").check_speed(1.0)
    scenario("city7-rotating").check_speed(30.0)
    with pytest.raises(ConfigError, match="--speed"):
        scenario("home3").check_speed(30.0)
