"""What feeds a forecast, and what wakes the planner: counts of gateways, changes of demand, the health of nodes."""

from collections.abc import Mapping, Sequence

import pytest

from fairlead.contracts.decisions import SlotInput, Snapshot
from fairlead.contracts.forecasts import Forecast, RateForecast
from fairlead.contracts.readings import GatewayReport, ModelCount
from fairlead.contracts.tuning import PolicySettings
from fairlead.policy.alarms import Alarms
from fairlead.policy.counting import Turnstile, counted, since
from fairlead.policy.forecasting import RECENT_SLOTS, Foresight
from fairlead.policy.foreseeing import Foreseeing
from fairlead.policy.rates import in_force
from tests.policy.demand_scenes import SLOT_S, town
from tests.policy.situations import NOW_S, cluster, model, node, slot_input, view

COOL_DOWN_S = 120.0


def report(gateway: str, counts: Mapping[str, int], *, site: str | None = "s1", instance: str = "a") -> GatewayReport:
    """Return what a gateway has counted since it began."""
    return GatewayReport(
        gateway=gateway,
        instance=instance,
        sequence=1,
        observed_at_s=0.0,
        site=site,
        models=tuple(
            ModelCount(model=name, arrived=n, held=0, oldest_held_s=0.0, asked_at_s=None) for name, n in counts.items()
        ),
        choices=(),
        samples=(),
        outcomes=(),
        keeper=None,
        table_generation=0,
    )


def health(*, up: Sequence[str] = ("n1", "n2"), speed: float = 1.0) -> Snapshot:
    """Return a snapshot of two nodes."""
    nodes = tuple(view(name, up=name in up, speed=speed if name == "n2" else 1.0) for name in ("n1", "n2"))
    return Snapshot(taken_at_s=NOW_S, nodes=nodes, models=(), stale=())


def test_arrivals_are_counted_per_site_and_model() -> None:
    """Two gateways of a site add up; one that is no ingress counts nothing; one that began anew began at none."""
    before = counted([report("g1", {"m1": 5}), report("g2", {"m1": 7, "m2": 1}), report("n1", {"m1": 99}, site=None)])
    now = counted([report("g1", {"m1": 8}), report("g2", {"m1": 2}, instance="b"), report("g3", {"m2": 4}, site="s2")])
    assert since(before, now) == {("s1", "m1"): 3 + 2, ("s2", "m2"): 4}


def test_a_slot_is_told_what_came_in_it() -> None:
    """The first counts are where it is counted from; a slot that is decided again is counted once."""
    turnstile = Turnstile(Foresight(town(), PolicySettings()))
    assert turnstile.look(905.0, [report("g1", {"m1": 50})]) is None
    turnstile.slot_begins(30, [report("g1", {"m1": 50})])
    turnstile.slot_begins(31, [report("g1", {"m1": 56, "m2": 2})])
    turnstile.slot_begins(31, [report("g1", {"m1": 57, "m2": 2})])
    turnstile.slot_begins(32, [report("g1", {"m1": 58, "m2": 2})])
    told = [(one.slot, one.site, one.model, one.arrived) for one in turnstile.foresight.recent]
    assert told == [(30, "s1", "m1", 6), (30, "s1", "m2", 2), (31, "s1", "m1", 2)]


def test_what_came_in_missed_slots_is_shared_out_and_of_too_many_nothing_is_told() -> None:
    """Three slots without a decision: seven requests are two, two and three of them; after hours nobody knows when."""
    turnstile = Turnstile(Foresight(town(), PolicySettings()))
    turnstile.slot_begins(10, [report("g1", {"m1": 0})])
    turnstile.slot_begins(13, [report("g1", {"m1": 7})])
    assert [(one.slot, one.arrived) for one in turnstile.foresight.recent] == [(10, 2), (11, 2), (12, 3)]
    turnstile.slot_begins(14 + RECENT_SLOTS, [report("g1", {"m1": 700})])
    assert sum(one.arrived for one in turnstile.foresight.recent) == 7
    turnstile.slot_begins(15 + RECENT_SLOTS, [report("g1", {"m1": 701})])
    assert sum(one.arrived for one in turnstile.foresight.recent) == 8


def test_a_change_of_demand_wakes_the_planner_once() -> None:
    """At the end of a slot, or inside it; then not again."""
    foreseeing, total = Foreseeing(town(), PolicySettings(wake_cool_down_s=COOL_DOWN_S)), 0
    for slot in range(30):
        total += 12
        foreseeing.slot_begins(slot, [report("g1", {"m1": total})])
        foreseeing.look((slot + 0.5) * SLOT_S, [report("g1", {"m1": total + 6})])
    assert foreseeing.cause(30 * SLOT_S) is None
    foreseeing.look(29.9 * SLOT_S, [report("g1", {"m1": total + 12, "m2": 60})])
    assert foreseeing.cause(29.9 * SLOT_S) == "demand"
    assert foreseeing.cause(30.0 * SLOT_S) is None
    for slot in range(30, 60):
        total += 12
        foreseeing.slot_begins(slot, [report("g1", {"m1": total, "m2": 60 * (slot - 28)})])
    foreseeing.slot_begins(60, [report("g1", {"m1": total, "m2": 60 * 31 + 300})])
    assert foreseeing.cause(61 * SLOT_S) == "demand"
    assert foreseeing.recent
    assert foreseeing.forecast(61 * SLOT_S).until_s == 61 * SLOT_S + 600.0


def test_a_node_that_goes_or_slows_down_wakes_the_planner() -> None:
    """What is seen first is usual; a node that is lost, or a third slower, is not; each is told once."""
    alarms = Alarms(COOL_DOWN_S)
    alarms.seen(health())
    alarms.seen(health(speed=0.8))
    assert alarms.due(0.0) is None
    alarms.seen(health(up=("n1",)))
    assert alarms.due(10.0) == "node"
    alarms.seen(health())
    alarms.seen(health(speed=0.6))
    assert alarms.due(20.0) is None  # the cool-down
    assert alarms.due(10.0 + COOL_DOWN_S) == "node"
    alarms.seen(health(speed=0.6))
    assert alarms.due(1000.0) is None
    alarms.seen(health(speed=1.0))
    assert alarms.due(1000.0) == "speed"


def test_who_foresees_looks_at_the_nodes_too() -> None:
    """A lost node is a cause, whatever demand does."""
    foreseeing = Foreseeing(town(), PolicySettings())
    foreseeing.seen(health())
    foreseeing.seen(health(up=("n2",)))
    assert foreseeing.cause(0.0) == "node"


@pytest.mark.parametrize("first", ["demand", "node"])
def test_of_several_causes_the_first_is_told(first: str) -> None:
    """One question answers all of them."""
    alarms = Alarms(COOL_DOWN_S)
    alarms.seen(health())
    if first == "demand":
        alarms.demand()
    alarms.seen(health(up=("n1",), speed=0.5))
    alarms.demand()
    assert alarms.due(0.0) == first
    assert alarms.due(1000.0) is None


def forecast_input(*, wanted: bool, method: str = "regime", made: bool = True) -> SlotInput:
    """Return a slot's input whose forecast says that m1 falls and m2 begins in a minute."""
    rates = tuple(
        RateForecast(site=site, model=name, from_s=a, until_s=b, per_s=per_s, low_per_s=0.0, high_per_s=9.0)
        for site in ("s1", "s2")
        for name, a, b, per_s in (
            ("m1", NOW_S, NOW_S + 600.0, 0.05),
            ("m2", NOW_S + 60.0, NOW_S + 600.0, 0.2),
            ("m2", NOW_S + 600.0, NOW_S + 900.0, 5.0),
            ("gone", NOW_S, NOW_S + 600.0, 1.0),
        )
    )
    forecast = Forecast.model_validate({"made_at_s": NOW_S, "until_s": NOW_S + 900.0, "method": method, "rates": rates})
    shape = cluster([node("n1")], [model("m1"), model("m2"), model("m3")])
    given = slot_input(shape, [], rates={"m1": 0.3, "m2": 0.1, "m3": 0.2}, settings=PolicySettings(forecast=wanted))
    return given.model_copy(update={"forecast": forecast if made else None})


def test_the_fallback_decides_by_the_forecast_where_that_is_wanted() -> None:
    """The mean over rule 2's two minutes in place of λ; what is not named is expected at no rate."""
    given = forecast_input(wanted=True)
    assert in_force(given, given.state) == pytest.approx({"m1": 0.1, "m2": 0.2, "m3": 0.0})


@pytest.mark.parametrize(
    "given",
    [
        forecast_input(wanted=False),
        forecast_input(wanted=True, method="plain"),
        forecast_input(wanted=True, made=False),
    ],
)
def test_else_it_decides_by_what_it_has_learned(given: SlotInput) -> None:
    """λ where the forecast is not wanted, is the plain rate, or there is none."""
    assert in_force(given, given.state) == pytest.approx({"m1": 0.3, "m2": 0.1, "m3": 0.2})
