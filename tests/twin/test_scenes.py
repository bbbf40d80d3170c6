"""Demand that may come: its mean is the forecast's, its bursts are those of the recent past, its chance is a seed's."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairlead.contracts.cluster import SiteSpec
from fairlead.contracts.decisions import EpochInput
from fairlead.contracts.forecasts import Forecast, RateForecast, SlotArrivals
from fairlead.contracts.plans import ModelPriority, PlanDraft, Rate
from fairlead.policy.epoch import neutral
from fairlead.twin.intervals import interval, quantile, within
from fairlead.twin.scenes import RECENT_MOST, Outlook, believed, outlook, scene
from tests.policy.dialogues import RATES, epoch_asked
from tests.policy.dialogues import SHAPE as NODES_AND_MODELS

SHAPE = NODES_AND_MODELS.model_copy(
    update={"sites": tuple(SiteSpec(id=name, node=None, url=f"http://{name}:9") for name in ("east", "west"))}
)
NOW_S = epoch_asked().now_s
UNTIL_S = NOW_S + 300.0
SITES = tuple(site.id for site in SHAPE.sites)
MODELS = tuple(model.id for model in SHAPE.models)
MANY = 400
"""Scenes of a mean: its own deviation is then a twentieth of one scene's."""


def asked(recent: tuple[SlotArrivals, ...] = (), rates: tuple[RateForecast, ...] = ()) -> EpochInput:
    """Return what is known, with a forecast where rates are given."""
    forecast = Forecast(made_at_s=NOW_S, until_s=UNTIL_S, method="plain", rates=rates) if rates else None
    return epoch_asked(cluster=SHAPE, recent=recent, forecast=forecast)


def slots(counts: dict[str, list[int]], first: int = 300) -> tuple[SlotArrivals, ...]:
    """Return counts of slots at the first site, oldest first."""
    return tuple(
        SlotArrivals(slot=first + k, site=SITES[0], model=model, arrived=count)
        for model, one in counts.items()
        for k, count in enumerate(one)
        if count
    )


def rate(model: str, per_s: float, width: float = 0.0, from_s: float = NOW_S, until_s: float = UNTIL_S) -> RateForecast:
    """Return a forecast for the first site that may be off by a factor."""
    return RateForecast(
        site=SITES[0],
        model=model,
        from_s=from_s,
        until_s=until_s,
        per_s=per_s,
        low_per_s=per_s * (1.0 - width),
        high_per_s=per_s * (1.0 + width),
    )


def totals(found: Outlook, model: str) -> np.ndarray:
    """Return how many requests for a model each of many scenes has."""
    return np.array([sum(one.model == model for one in scene(found, 1, 2, k)) for k in range(MANY)])


def test_without_a_forecast_the_learned_rates_go_on_where_requests_have_come() -> None:
    """Of late most came to one site; a model without a rate has none."""
    found = outlook(asked(slots({"small-text": [9] * 8})), UNTIL_S)
    share = found.expected.sum(axis=0)
    small = [float(share[p]) for p, pair in enumerate(found.pairs) if pair[1] == "small-text"]
    assert sum(small) == pytest.approx(300.0 * RATES["small-text"])
    assert max(small) > 0.9 * sum(small)
    assert found.expected.sum() == pytest.approx(300.0 * sum(RATES.values()))


@pytest.mark.parametrize("per_s", [0.05, 0.2, 0.5, 3.0])
@pytest.mark.parametrize("past", [[], [6] * 12, [0, 30] * 6], ids=["unseen", "even", "bursty"])
def test_the_mean_is_what_is_forecast_whatever_the_past_was(per_s: float, past: list[int]) -> None:
    """Thinned, laid over one another, or Poisson where the past has too little."""
    found = outlook(asked(slots({"vision": past}), (rate("vision", per_s),)), UNTIL_S)
    seen = totals(found, "vision")
    assert seen.mean() == pytest.approx(300.0 * per_s, abs=5.0 * seen.std() / np.sqrt(MANY))


def test_demand_is_as_bursty_as_it_was() -> None:
    """Counts that were 0 or 30 vary more, counts that were always 6 less than Poisson ones of that rate."""
    even, bursty = (
        totals(outlook(asked(slots({"vision": past}), (rate("vision", 0.4),)), UNTIL_S), "vision").var()
        for past in ([6] * 12, [0, 30] * 6)
    )
    assert even < 0.8 * 120.0 < 3.0 * 120.0 < bursty


def test_what_the_forecast_does_not_know_differs_from_scene_to_scene() -> None:
    """Its 80 % interval is drawn from, the mean stays."""
    sure, unsure = (
        totals(outlook(asked((), (rate("vision", 0.4, width),)), UNTIL_S), "vision") for width in (0.0, 0.5)
    )
    assert unsure.var() > 4.0 * sure.var()
    assert unsure.mean() == pytest.approx(120.0, rel=0.1)


def test_a_change_inside_is_where_the_forecast_has_it_and_its_last_rates_go_on() -> None:
    """Sites and models that are not there are passed over, slots that are too old too."""
    rates = (
        rate("vision", 1.0, until_s=NOW_S + 90.0),
        rate("small-text", 1.0, from_s=NOW_S + 90.0, until_s=NOW_S + 120.0),
        rate("gone", 5.0, until_s=NOW_S + 120.0),
    )
    old = slots({"vision": [99], "gone": [3]}, first=1)
    found = outlook(asked((*old, *slots({"vision": [30] * 12}))[::-1], rates), UNTIL_S)
    assert found.recent.shape == (RECENT_MOST, len(found.pairs))
    assert found.recent.max() == 30
    requests = scene(found, 1, 2, 3)
    assert {one.model for one in requests} == {"vision", "small-text"}
    assert max(one.at_s for one in requests if one.model == "vision") < NOW_S + 90.0
    assert max(one.at_s for one in requests if one.model == "small-text") > NOW_S + 200.0


@given(seed=st.integers(0, 2**32), number=st.integers(0, 2**32), k=st.integers(0, 1000))
@settings(max_examples=50, deadline=None)
def test_a_scene_is_in_order_inside_its_time_and_the_same_again(seed: int, number: int, k: int) -> None:
    """Of sites and models that there are, each request with the mean work of its model."""
    found = outlook(asked(slots({"vision": [1, 2, 3, 4, 5]})), UNTIL_S)
    requests = scene(found, seed, number, k)
    assert requests == scene(found, seed, number, k)
    assert all(a.at_s <= b.at_s for a, b in itertools.pairwise(requests))
    work = {model.id: model.work_s for model in SHAPE.models}
    for one in requests:
        assert NOW_S <= one.at_s < UNTIL_S
        assert (one.site in SITES, one.work_s) == (True, work[one.model])


def draft(words: dict[str, str] | None = None, rates: dict[str, float] | None = None) -> PlanDraft:
    """Return a plan that expects something and does nothing."""
    plain = neutral(SHAPE)
    told = [{**p.to_document(), "expected": (words or {}).get(p.model, "same")} for p in plain.priorities]
    return plain.model_copy(
        update={
            "priorities": tuple(ModelPriority.model_validate(one) for one in told),
            "rates": tuple(Rate(model=m, per_s=r) for m, r in (rates or {}).items()),
        }
    )


def test_what_a_draft_expects_is_demand_of_its_own_where_the_forecast_would_be_surprised() -> None:
    """From its time on, at its rates, else by its words; the other models stay as forecast."""
    plain = outlook(asked(), UNTIL_S)
    from_s = NOW_S + 60.0
    found = believed(plain, draft({"small-text": "surging"}, {"vision": 0.5}), SHAPE, from_s)
    assert found is not None
    seen = {model: found.expected[:, found.models == m].sum(axis=1) for m, model in enumerate(MODELS)}
    before = {model: plain.expected[:, plain.models == m].sum(axis=1) for m, model in enumerate(MODELS)}
    assert seen["vision"][2:] == pytest.approx([15.0] * 8)
    assert seen["small-text"][2:] == pytest.approx(3.0 * before["small-text"][2:])
    assert seen["large-text"] == pytest.approx(before["large-text"])
    for model in MODELS:
        assert seen[model][:2] == pytest.approx(before[model][:2])


@pytest.mark.parametrize("expected", [draft(), draft({"vision": "rising"}), draft(None, {"small-text": 0.31})])
def test_what_the_forecast_would_not_be_surprised_by_is_no_belief(expected: PlanDraft) -> None:
    """Nothing is said, or nothing that chance would not bring too."""
    assert believed(outlook(asked(), UNTIL_S), expected, SHAPE, NOW_S) is None


def test_quantiles_of_student_are_those_of_the_tables() -> None:
    """One, two, seven and thirty degrees of freedom, as every table has them."""
    for degrees, known in ((1, 12.7062), (2, 4.3027), (7, 2.3646), (30, 2.0423)):
        assert quantile(0.975, degrees) == pytest.approx(known, abs=1e-4)
        assert within(quantile(0.999, degrees), degrees) == pytest.approx(0.998)
    assert quantile(0.5, 5) == pytest.approx(0.0, abs=1e-9)


def test_an_interval_of_equal_values_is_a_point_and_misses_as_often_as_it_may() -> None:
    """Of many samples of a known mean, one in ten is outside of a 90 % interval."""
    one = interval([0.25, 0.25, 0.25], 0.05)
    assert (one.mean, one.low, one.high) == (0.25, 0.25, 0.25)
    draws = np.random.default_rng(1).standard_normal((2000, 6))
    outside = sum(not found.low <= 0.0 <= found.high for found in (interval(row.tolist(), 0.1) for row in draws))
    assert 160 <= outside <= 240
