"""The watchdog after acceptance, and the twin's own error: what is out of bounds, and what says nothing."""

import pytest

from fairlead.contracts.agent_memory import Acting, Prediction, Predictions, Vitals, Watch
from fairlead.contracts.cases import ModelTally
from fairlead.contracts.dialogue import Judgement, Trial
from fairlead.contracts.tuning import WatchdogSettings
from fairlead.policy.twin_error import TwinError
from fairlead.policy.watchdog import Watchdog, vitals
from tests.policy.situations import asked, cluster, model, node, pod, slot_input, view

SETTINGS = WatchdogSettings()
SLOT_S = 30.0


def at(at_s: float, **changes: object) -> Vitals:
    """Return calm vitals, but for the changes."""
    values = {"backlog_s": 10.0, "judged": 40, "timely": 40, "counted": 40, "latency_sum_s": 400.0}
    return Vitals(at_s=at_s, **{**values, **changes})  # type: ignore[arg-type]


def watching(latency_s: float | None = 9.0, cited: tuple[str, ...] = ("case-1",)) -> Watchdog:
    """Return a watchdog that has seen a calm slot and then a proposal accepted at 40 s, played ahead to 160 s."""
    dog = Watchdog(SETTINGS, SLOT_S, Watch())
    assert dog.looked(at(30.0)) is None
    dog.accepted(Acting(at_s=40.0, until_s=160.0, latency_s=latency_s, cited=cited))
    return dog


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"backlog_s": 50.1}, "backlog"),
        ({"timely": 31}, "timely"),
        ({"latency_sum_s": 40 * 23.1}, "latency"),
    ],
)
def test_what_is_out_of_bounds_holds_for_an_epoch_and_names_the_cases(changes: dict[str, object], code: str) -> None:
    """Ten slots from the look on; then it may act again."""
    dog = watching()
    trip = dog.looked(at(60.0, **changes))
    assert trip is not None
    assert (trip.code, trip.cited, trip.until_s) == (code, ("case-1",), 360.0)
    assert dog.holds(359.0).startswith(f"{code}: ")
    assert dog.holds(360.0) == ""
    assert dog.state.trips == 1
    assert dog.looked(at(90.0, **changes)) is None  # nothing acts any more


def test_the_cases_of_a_trip_are_pending_until_they_are_quarantined() -> None:
    """Over further trips; one without any case leaves nothing to be done."""
    dog = watching()
    trips = [dog.looked(at(60.0, backlog_s=1e6))]
    for at_s, cited in ((400.0, ()), (800.0, ("case-2", "case-1"))):
        dog.accepted(Acting(at_s=at_s, until_s=at_s + 60.0, latency_s=9.0, cited=cited))
        trips.append(dog.looked(at(at_s + 20.0, latency_sum_s=40 * 99.0)))
    first, none, last = trips
    assert first is not None
    assert none is not None
    assert last is not None
    assert list(dog.state.pending) == [first, last]
    dog.quarantined(first)
    assert list(dog.state.pending) == [last]


@pytest.mark.parametrize(
    "changes",
    [
        {"backlog_s": 49.9},
        {"backlog_s": None},
        {"timely": 33},
        {"timely": 0, "judged": 19},
        {"latency_sum_s": 40 * 22.9},
        {"latency_sum_s": 19 * 99.0, "counted": 19},
    ],
)
def test_what_is_within_bounds_or_says_too_little_trips_nothing(changes: dict[str, object]) -> None:
    """A few requests and a cluster that is not heard say nothing."""
    dog = watching()
    assert dog.looked(at(60.0, **changes)) is None
    assert dog.holds(61.0) == ""


def test_without_a_prediction_latency_is_not_judged() -> None:
    """The twin has not said what to expect."""
    assert watching(latency_s=None).looked(at(60.0, latency_sum_s=40 * 99.0)) is None


def test_without_a_look_before_only_the_prediction_is_held_against_what_comes() -> None:
    """What was before is not known after a restart."""
    dog = Watchdog(SETTINGS, SLOT_S, Watch())
    dog.accepted(Acting(at_s=40.0, until_s=160.0, latency_s=9.0, cited=()))
    assert dog.looked(at(60.0, backlog_s=1e6, timely=0)) is None
    trip = dog.looked(at(90.0, latency_sum_s=40 * 99.0))
    assert trip is not None
    assert trip.code == "latency"


def test_what_was_seen_before_it_acted_is_not_held_against_a_proposal() -> None:
    """The look was under way when it was accepted; the next one watches it, beside what was before."""
    dog = watching()
    before = dog.state
    for at_s in (39.9, 40.0):
        assert dog.looked(at(at_s, backlog_s=1e6, timely=0, latency_sum_s=40 * 99.0)) is None
    assert dog.state == before
    assert dog.looked(at(40.1, latency_sum_s=40 * 99.0)) is not None


def test_a_stretch_ends_where_the_twin_has_not_looked() -> None:
    """What comes after the horizon of the last proposal is calm again, however it is."""
    dog = watching()
    assert dog.looked(at(160.0, backlog_s=1e6)) is None
    assert dog.window_s(200.0) == (20.0, 200.0)


def test_proposals_that_follow_closely_are_one_stretch_with_all_their_cases() -> None:
    """What was before counts from before the first; what arrives, from the first on."""
    dog = watching()
    assert dog.window_s(60.0) == (40.0, 60.0)
    dog.accepted(Acting(at_s=70.0, until_s=190.0, latency_s=9.0, cited=("case-2", "case-1")))
    assert dog.window_s(90.0) == (40.0, 90.0)
    assert dog.window_s(240.0) == (60.0, 240.0)  # not more than six slots back
    trip = dog.looked(at(170.0, backlog_s=51.0))
    assert trip is not None
    assert trip.cited == ("case-1", "case-2")


def test_proposals_further_apart_are_two_stretches() -> None:
    """As after a restart: the first was played ahead to 160 s, and no look came since; its cases are not blamed."""
    dog = watching()
    dog.accepted(Acting(at_s=160.0, until_s=280.0, latency_s=9.0, cited=("case-2",)))
    assert dog.window_s(190.0) == (160.0, 190.0)
    trip = dog.looked(at(190.0, backlog_s=51.0))
    assert trip is not None
    assert trip.cited == ("case-2",)


@pytest.mark.parametrize(("at_s", "trips"), [(210.0, 1), (210.1, 0)])
def test_what_was_long_before_a_stretch_is_not_held_against_it(at_s: float, trips: int) -> None:
    """The calm look was at 30 s; six slots later it says nothing of what there was before."""
    dog = Watchdog(SETTINGS, SLOT_S, Watch())
    assert dog.looked(at(30.0)) is None
    dog.accepted(Acting(at_s=at_s, until_s=400.0, latency_s=9.0, cited=()))
    dog.looked(at(240.0, backlog_s=1e6, timely=0))
    assert dog.state.trips == trips


def test_while_it_rests_nothing_is_watched_and_nothing_is_known_of_before() -> None:
    """What has tripped before stays."""
    dog = watching()
    dog.rests()
    assert dog.state == Watch(since_s=40.0, cited=("case-1",))
    assert dog.looked(at(60.0, backlog_s=1e6)) is None
    assert dog.state.calm == at(60.0, backlog_s=1e6)


def test_vitals_are_what_waits_over_what_is_up_and_what_became_of_a_window() -> None:
    """Work in pods of nodes that are up and held requests, over their speed; without a node up it is not known."""
    shape = cluster([node("n1", 8.0, 2.0), node("n2", 8.0, 1.0)], [model("m1", 1.0, 4.0, 10.0)])
    views = [view("n1", pod("m1", count=2, work_s=6.0), speed=2.0), view("n2", up=False)]
    snapshot = slot_input(shape, views, [asked("m1", held=3)]).snapshot
    tally = ModelTally(model="m1", finished=5, timely=4, judged=6, ended=6, latency_sum_s=60.0, counted=7, cancelled=1)
    found = vitals(snapshot, shape, [tally, tally])
    assert found.backlog_s == (6.0 + 3 * 4.0) / 2.0
    assert (found.judged, found.timely, found.counted, found.latency_s) == (12, 8, 14, 60.0 / 7)
    silent = slot_input(shape, [view("n1", up=False), view("n2", up=False)], [asked("m1")]).snapshot
    nothing = vitals(silent, shape, [])
    assert (nothing.backlog_s, nothing.latency_s) == (None, 0.0)


def test_the_twin_s_error_is_the_mean_of_what_was_measured() -> None:
    """Not known before six; too few requests say nothing; relative to a second at least."""
    error = TwinError(SETTINGS, Predictions())
    for k in range(7):
        error.predicted(Prediction(at_s=30.0 * k, until_s=30.0 * k + 120.0, latency_s=10.0 if k else 0.1))
    assert error.due(119.0) == ()
    due = error.due(300.0)
    assert len(due) == 7
    assert error.due(300.0) == due  # the database may have been away when they were to be measured
    error.measured(due[0], 20, 20 * 1.1)  # off by a second, of a second
    error.measured(due[1], 19, 1e6)
    for one in due[2:6]:
        error.measured(one, 20, 20 * 15.0)  # off by a half
    assert (error.error, error.wrong()) == (None, "")
    assert error.due(300.0) == due[6:]
    error.measured(due[6], 40, 40 * 15.0)
    assert error.due(300.0) == ()
    assert error.error == pytest.approx((1.0 + 5 * 0.5) / 6)
    trial = Trial(
        name="proposal", believed=False, scenarios=8, objective=0.3, fallback=0.4, gain=0.1, low=0.0, high=1.0
    )
    judged = Judgement(code="no-worse", text="gain 0.1", chosen="proposal", trials=(trial,))
    assert error.wrong() == ""
    assert error.doubted(judged) is judged
    for _ in range(24):
        error.measured(due[1], 20, 20 * 31.0)
    assert error.error == pytest.approx(2.1)
    why = "predictions were off by 2.10 of what they said, at most 1.00 is let"
    assert error.wrong() == why
    assert error.doubted(judged) == judged.model_copy(update={"code": "wrong", "text": why})
    idle = Judgement(code="no-worse", text="it changes nothing")
    assert error.doubted(idle) is idle  # nothing was played
