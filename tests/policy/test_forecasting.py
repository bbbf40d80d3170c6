"""What is expected to arrive: changes noticed, regimes recognised, a timetable learned, the best way used."""

import itertools

import numpy as np
import pytest

from fairlead.contracts.forecasts import Forecast, Knowledge, Regime, SlotArrivals
from fairlead.contracts.plans import Rate
from fairlead.contracts.tuning import PolicySettings
from fairlead.policy.expecting import Rates, Records, edges
from fairlead.policy.forecasting import RECENT_MOST, RECENT_SLOTS, Foresight
from fairlead.policy.recurrence import REGIMES_MOST, Recurrence
from fairlead.policy.regimes import NEW_LEAST, SWITCH_P, Detector, chi_square, known, novelty, recognised
from tests.policy.demand_scenes import BUSY, OTHER, QUIET, SLOT_S, lived, town

SETTINGS = PolicySettings()
EPOCH_S = SETTINGS.epoch_slots * SLOT_S
MODELS = ("m1", "m2", "m3")


def foresight(knowledge: Knowledge | None = None, origin_s: float = 0.0) -> Foresight:
    """Return a forecast of the town's demand."""
    return Foresight(town(), SETTINGS, origin_s, knowledge)


def per_s(forecast: Forecast, at_s: float) -> dict[str, float]:
    """Return the rate of each model over all sites at an instant."""
    found: dict[str, float] = {}
    for one in forecast.rates:
        if one.from_s <= at_s < one.until_s:
            found[one.model] = found.get(one.model, 0.0) + one.per_s
    return found


@pytest.mark.parametrize(
    ("degrees", "p", "expected"), [(4, 1e-3, 18.47), (24, 1e-3, 51.18), (4, 0.05, 9.488), (24, 1e-5, 65.58)]
)
def test_the_threshold_is_the_quantile_of_chi_square(degrees: int, p: float, expected: float) -> None:
    """As in tables (Abramowitz and Stegun 26.8), to two in a hundred."""
    assert chi_square(degrees, p) == pytest.approx(expected, rel=0.02)


def test_steady_demand_raises_no_alarm() -> None:
    """Of four models, twelve hours of the same Poisson demand: not one change is noticed."""
    assert lived(foresight(), [(BUSY, 1440)], seed=1) == []


def test_a_change_is_noticed_within_a_minute_and_dated_at_its_slot() -> None:
    """The rates of two models change; the stretch that is now begins where they did."""
    one = foresight(origin_s=600.0)
    alarms = lived(one, [(BUSY, 40), (QUIET, 10)], seed=2)
    assert [slots for slots, _ in alarms] in ([41], [42])
    assert one.changed_at_s == 600.0 + 40 * SLOT_S
    assert alarms[0][1].statistic > alarms[0][1].threshold


def test_no_change_is_looked_for_before_the_rates_are_known() -> None:
    """Of the first slots nothing is said: what came before them is not known."""
    detector = Detector(2)
    for counts in ([20.0, 0.0], [0.0, 20.0], [20.0, 0.0], [0.0, 20.0], [20.0, 0.0]):
        assert detector.seen(np.array(counts)) is None
    assert detector.look(np.array([0.0, 40.0]), 0.0) is None


def test_inside_a_slot_a_change_to_a_remembered_regime_is_noticed_at_once() -> None:
    """Ten seconds of the other regime's requests are enough where it is remembered; its rates are expected then."""
    one = foresight()
    lived(one, [*((BUSY, 40), (QUIET, 40)) * 3, (BUSY, 40)], seed=3)
    assert one.regime is not None
    before = one.regime.id
    now_s = one.next_slot * SLOT_S + 10.0
    assert one.look(now_s, {"m1": 1.0, "m3": 5.0}) is not None
    assert one.regime is not None
    assert one.regime.id != before
    forecast = one.forecast(now_s, now_s + EPOCH_S)
    assert forecast.regime == one.regime.id
    assert per_s(forecast, now_s)["m3"] == pytest.approx(QUIET["m3"], rel=0.2)
    assert forecast.method == "regime"


def test_two_requests_of_a_model_that_was_silent_show_the_regime_that_asks_for_it() -> None:
    """They are no proof that demand has changed, but proof enough of a regime that is remembered."""
    one = foresight()
    lived(one, [(BUSY, 40), (QUIET, 40), (BUSY, 40)], seed=3)
    alarm = one.look(one.next_slot * SLOT_S + 10.0, {"m1": 1.0, "m3": 2.0})
    assert alarm is not None
    assert alarm.threshold == pytest.approx(-np.log(SWITCH_P))
    stranger = foresight()
    lived(stranger, [(BUSY, 40)], seed=3)
    assert stranger.look(stranger.next_slot * SLOT_S + 10.0, {"m1": 1.0, "m3": 2.0}) is None


def test_at_the_begin_of_a_slot_there_is_nothing_to_look_at() -> None:
    """What has not begun says nothing."""
    one = foresight()
    lived(one, [(BUSY, 10)], seed=3)
    assert one.look(one.next_slot * SLOT_S, {"m3": 50.0}) is None


def test_a_regime_that_comes_back_is_the_same_one() -> None:
    """Three regimes in turn, twice: three are remembered, and each change names the one that follows."""
    one = foresight()
    lived(one, [(BUSY, 30), (QUIET, 30), (OTHER, 30), (BUSY, 30), (QUIET, 30), (OTHER, 30), (BUSY, 30)], seed=4)
    knowledge = one.knowledge()
    assert [r.id for r in knowledge.regimes] == ["r1", "r2", "r3"]
    assert [(c.before, c.after) for c in knowledge.changes] == list(
        itertools.islice(itertools.pairwise(itertools.cycle(["r1", "r2", "r3"])), 6)
    )
    assert [c.began_at_s is None for c in knowledge.changes] == [True, *[False] * 5]
    rates = {r.model: r.per_s for r in knowledge.regimes[1].rates}
    assert rates["m3"] == pytest.approx(QUIET["m3"], rel=0.2)
    assert "m2" not in rates


def test_with_a_timetable_the_rates_change_before_demand_does() -> None:
    """What was learned in one run is told to another: it expects the next regime at its time."""
    taught = foresight()
    lived(taught, [(one, 40) for one in (BUSY, QUIET, OTHER) * 4], seed=5)
    one = foresight(taught.knowledge())
    lived(one, [(QUIET, 25), (OTHER, 40), (BUSY, 25)], seed=6)
    now_s = one.next_slot * SLOT_S
    forecast = one.forecast(now_s, now_s + 2 * EPOCH_S)
    assert forecast.method == "timetable"
    assert forecast.coming is not None
    assert forecast.coming.at_s == pytest.approx(now_s + 15 * SLOT_S, abs=SLOT_S)
    assert {r.id for r in forecast.regimes} == {forecast.regime, forecast.coming.regime}
    assert per_s(forecast, now_s)["m1"] == pytest.approx(BUSY["m1"], rel=0.2)
    assert per_s(forecast, forecast.coming.at_s + 1.0)["m3"] == pytest.approx(QUIET["m3"], rel=0.2)
    assert forecast.error is not None
    assert forecast.plain_error is not None
    assert forecast.error < 0.9 * forecast.plain_error


def test_a_change_that_is_overdue_is_expected_at_once() -> None:
    """The regime that comes is expected from now on, and nothing of the old one any more."""
    taught = foresight()
    lived(taught, [(one, 40) for one in (BUSY, QUIET, OTHER) * 4], seed=5)
    one = foresight(taught.knowledge())
    lived(one, [(QUIET, 25), (OTHER, 40), (BUSY, 40), (QUIET, 40), (OTHER, 41)], seed=6)
    now_s = one.next_slot * SLOT_S
    forecast = one.forecast(now_s, now_s + EPOCH_S)
    assert forecast.method == "timetable"
    assert forecast.coming is not None
    assert forecast.coming.at_s == now_s
    assert len({r.from_s for r in forecast.rates}) == 1
    assert per_s(forecast, now_s)["m1"] == pytest.approx(BUSY["m1"], rel=0.2)


def test_of_steady_demand_the_mean_since_the_change_is_used_with_a_narrow_interval() -> None:
    """It errs less than the plain rate, which forgets; four fifths of the true rates are inside."""
    one = foresight()
    lived(one, [(BUSY, 200)], seed=7)
    now_s = one.next_slot * SLOT_S
    forecast = one.forecast(now_s, now_s + EPOCH_S)
    assert forecast.method == "steady"
    assert (forecast.regime, forecast.since_s, forecast.coming) == ("", None, None)
    for r in forecast.rates:
        true = BUSY.get(r.model, 0.0) / 2
        assert r.low_per_s <= r.per_s <= r.high_per_s
        assert r.per_s == pytest.approx(true, rel=0.15, abs=0.001)
        assert r.high_per_s - r.low_per_s < 0.3 * r.per_s + 0.01


def test_before_anything_is_measured_the_plain_rate_is_used() -> None:
    """No forecast is better than a bad one."""
    one = foresight()
    lived(one, [(BUSY, 5)], seed=8)
    forecast = one.forecast(5 * SLOT_S, 5 * SLOT_S + EPOCH_S)
    assert (forecast.method, forecast.error, forecast.plain_error) == ("plain", None, None)


def test_the_interval_of_a_rate_covers_what_comes() -> None:
    """Over many runs, four fifths of true rates lie in it, give or take a tenth."""
    inside = []
    for seed in range(40):
        one = foresight()
        lived(one, [(BUSY, 60)], seed=100 + seed)
        forecast = one.forecast(60 * SLOT_S, 60 * SLOT_S + EPOCH_S)
        inside += [r.low_per_s <= BUSY[r.model] / 2 <= r.high_per_s for r in forecast.rates if r.model in BUSY]
    assert 0.7 <= sum(inside) / len(inside) <= 0.97


def test_a_forecast_is_the_same_again() -> None:
    """Equal arrivals give equal bytes."""
    texts = []
    for _ in range(2):
        one = foresight()
        lived(one, [(BUSY, 30), (QUIET, 30), (BUSY, 30)], seed=9)
        texts.append(one.forecast(2700.0, 3300.0).to_json() + one.knowledge().to_json())
    assert texts[0] == texts[1]


def test_recent_arrivals_are_whole_slots_and_not_too_many() -> None:
    """The newest twenty slots; of a large cluster fewer. What the cluster does not have is kept but not expected."""
    one = foresight()
    lived(one, [(BUSY, 30)], seed=10)
    assert {a.slot for a in one.recent} == set(range(30 - RECENT_SLOTS, 30))
    many = tuple(SlotArrivals(slot=30, site=f"x{k}", model="strange", arrived=1) for k in range(RECENT_MOST - 5))
    one.ended(30, (*many, SlotArrivals(slot=30, site="x0", model="m1", arrived=1)))
    assert {a.slot for a in one.recent} == {30, 29}
    assert {r.model for r in one.forecast(930.0, 1230.0).rates} == set(MODELS)


def test_by_time_of_day_rates_are_those_of_other_days() -> None:
    """Three days, busy in the morning alone: half an hour later is as on other days; a new half hour is plain."""
    rates = Rates(1, 0.03, 4.0)
    assert rates.daily(0.0)[0] == pytest.approx(0.03)
    for slot in range(3 * 2880):
        at_s = slot * SLOT_S
        rates.seen(np.array([10.0 if at_s % 86_400.0 < 43_200.0 else 2.0]), at_s)
    assert rates.daily(3 * 86_400.0 + 43_200.0 - 1.0)[0] == pytest.approx(10.0)
    assert rates.daily(3 * 86_400.0 + 43_200.0)[0] == pytest.approx(2.0)


def test_a_trend_goes_on_less_and_less_and_never_below_none() -> None:
    """Rising counts are expected to rise further; falling ones to end at none. Nothing ahead is the level."""
    rising, falling = Rates(1, 0.0, 4.0), Rates(1, 100.0, 4.0)
    for slot in range(30):
        rising.seen(np.array([float(slot)]), slot * SLOT_S)
        falling.seen(np.array([max(0.0, 60.0 - 4.0 * slot)]), slot * SLOT_S)
    assert rising.trend(10.0)[0] > rising.level[0]
    assert falling.trend(10.0)[0] == 0.0
    assert rising.trend(0.0)[0] == rising.level[0]


def test_means_by_time_of_day_hold_for_half_hours() -> None:
    """A forecast across the half hour has two stretches; one that begins there has one."""
    assert edges(1700.0, 2000.0) == [1700.0, 1800.0, 2000.0]
    assert edges(1800.0, 2000.0) == [1800.0, 2000.0]


def test_the_way_of_least_error_is_used_and_of_equal_ones_the_last() -> None:
    """A way is used where it is clearly better than the plain one."""
    records = Records(1)
    for _ in range(12):
        records.seen(np.array([10.0]))
        low, near = np.array([5.0]), np.array([9.0])
        records.expect({"plain": low, "trend": low, "steady": near, "regime": near})
    assert records.best() == "regime"
    assert records.of["plain"].error == pytest.approx(0.5)
    assert records.of["plain"].spread == pytest.approx(np.sqrt(15.0 / 25.0))
    assert Records(1).best() == "plain"


def test_counts_go_with_the_regime_that_explains_them_or_with_none() -> None:
    """Of two remembered regimes the right one is told by a dozen requests; strange ones are neither's."""
    regimes = [
        Regime(id=name, seen_s=1200.0, rates=tuple(Rate(model=m, per_s=r) for m, r in rates.items()))
        for name, rates in (("r1", BUSY), ("r2", QUIET))
    ]
    shelf, back = {one.id: known(one, MODELS) for one in regimes}, dict.fromkeys(("r1", "r2"), NEW_LEAST)
    found = recognised(np.array([3.0, 0.0, 9.0]), 30.0, shelf, back)
    assert found.regime == "r2"
    assert found.probability > 0.95
    strange = recognised(np.array([0.0, 60.0, 0.0]), 30.0, shelf, back)
    assert strange.regime == ""
    assert strange.probability > 0.95
    wary = recognised(np.array([3.0, 0.0, 9.0]), 30.0, shelf, dict.fromkeys(("r1", "r2"), 1e6))
    assert wary.regime == "" or wary.probability < found.probability


def test_where_nothing_came_back_so_far_a_new_regime_is_likelier() -> None:
    """Twelve seen once: hundreds of times as likely as each; four seen thrice: a sixth; none: as the least."""
    assert novelty([1] * 12) == pytest.approx(12 * 12.5 / 0.5)
    assert novelty([0, 1]) == pytest.approx(2 * 2.5 / 0.5)
    assert novelty([3] * 4) == pytest.approx(4 * 0.5 / 12.5)
    assert novelty([9] * 4) == NEW_LEAST
    assert novelty([]) == NEW_LEAST


def test_a_false_alarm_is_no_change_once_the_regime_is_the_same() -> None:
    """A stretch that is cut in two by mistake goes on as one regime, and the timetable does not hear of it."""
    one = Recurrence(MODELS, SLOT_S, 0.0, Knowledge())
    counts = np.array([12.0, 3.0, 0.0])
    for slot in range(20):
        one.seen(slot, counts)
    one.changed(0)
    assert one.since_s == 600.0
    for slot in range(20, 30):
        one.seen(slot, counts)
        one.look(np.zeros(3), 0.0)
    assert one.changes == ()
    assert one.since_s is None
    assert one.regime is not None
    assert one.regime.id == "r1"


def test_a_stretch_is_recognised_when_it_ends_at_the_latest() -> None:
    """What goes with a remembered regime is taken into it and is no new one; before anything was seen none is known."""
    known_one = Regime(id="r4", seen_s=1200.0, rates=(Rate(model="m1", per_s=0.4), Rate(model="m2", per_s=0.1)))
    one = Recurrence(MODELS, SLOT_S, 0.0, Knowledge(regimes=(known_one,)))
    one.look(np.zeros(3), 0.0)
    assert one.regime is None
    for slot in range(10):
        one.seen(slot, np.array([12.0, 3.0, 0.0]))
    one.changed(0)
    assert [(r.id, r.seen_s) for r in one.regimes] == [("r4", 1500.0)]


def test_what_was_short_is_no_regime() -> None:
    """A stretch of two minutes between two regimes is not remembered, nor are changes from it."""
    one = Recurrence(MODELS, SLOT_S, 0.0, Knowledge())
    for slot in range(4):
        one.seen(slot, np.array([12.0, 3.0, 0.0]))
    one.changed(0)
    for slot in range(4, 14):
        one.seen(slot, np.array([0.0, 9.0, 9.0]))
    one.changed(0)
    assert [r.id for r in one.regimes] == ["r1"]
    assert one.changes == ()


def test_of_many_regimes_those_seen_least_are_forgotten() -> None:
    """A new one takes the place of the one that was there for the shortest time."""
    regimes = tuple(Regime(id=f"r{k}", rates=(), seen_s=1000.0 + k) for k in range(REGIMES_MOST))
    one = Recurrence(MODELS, SLOT_S, 0.0, Knowledge(regimes=(*regimes[1:], Regime(id="x", rates=(), seen_s=10.0))))
    for slot in range(20):
        one.seen(slot, np.array([12.0, 3.0, 9.0]))
    one.changed(0)
    assert len(one.regimes) == REGIMES_MOST
    assert one.named("x") is None
    assert one.named(f"r{REGIMES_MOST}") is not None


def test_a_cluster_without_models_or_sites_is_forecast_to_be_silent() -> None:
    """There is nothing to expect."""
    empty = Foresight(town().model_copy(update={"models": ()}), SETTINGS)
    for slot in range(20):
        assert empty.ended(slot, ()) is None
    assert empty.forecast(600.0, 900.0).rates == ()
    nowhere = Foresight(town().model_copy(update={"sites": ()}), SETTINGS)
    nowhere.ended(0, (SlotArrivals(slot=0, site="s1", model="m1", arrived=3),))
    assert nowhere.forecast(30.0, 330.0).rates == ()
