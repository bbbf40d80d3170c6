"""What a case is judged by: the requests of its epoch, and which cases are owed a judgement."""

from fairlead.contracts.cases import Advantage
from fairlead.contracts.plans import Warm
from fairlead.contracts.readings import Outcome, Status
from fairlead.policy.cases import SlotSeen
from fairlead.policy.cases_evidence import calls_of, owed, says_something
from tests.policy.remembering import case

SLOT_S, END_S = 30.0, 90.0


def outcome(model: str, arrived_at_s: float, status: Status = "finished", site: str = "s1") -> Outcome:
    """Return what became of a request."""
    return Outcome(
        request=f"{model}-{arrived_at_s}",
        attempts=1,
        model=model,
        site=site,
        node="n1",
        status=status,
        reason="" if status == "finished" else "a-test",
        arrived_at_s=arrived_at_s,
        ended_at_s=arrived_at_s + 4.0,
        wait_s=0.0,
        service_s=4.0,
        response_bytes=1,
        table_generation=1,
        propensity=1.0,
    )


def slot(taken_at_s: float, spans: int = 1, **arrived: int) -> SlotSeen:
    """Return what was counted since the slot before."""
    return SlotSeen(int(taken_at_s / SLOT_S), taken_at_s, spans, arrived, frozenset(), frozenset())


def told(
    *outcomes: Outcome, slots: tuple[SlotSeen, ...] = (), sites: tuple[str, ...] = ("s1", "s2")
) -> list[tuple[float, str, str]]:
    """Return the calls, short."""
    return [(c.at_s, c.site, c.model) for c in calls_of(outcomes, slots, sites, SLOT_S, END_S)]


def test_calls_are_what_has_ended_in_order_of_time() -> None:
    """Failed ones too; cancelled ones and what came later not."""
    found = told(
        outcome("m1", 50.0), outcome("m2", 5.0, "failed", "s2"), outcome("m1", 6.0, "cancelled"), outcome("m1", END_S)
    )
    assert found == [(5.0, "s2", "m2"), (50.0, "s1", "m1")]


def test_what_was_counted_and_has_not_ended_is_spread_over_its_slot() -> None:
    """In turn over the sites; what has ended, cancelled or not, is not counted twice."""
    ended = (outcome("m1", 40.0), outcome("m1", 41.0, "cancelled"))
    found = told(*ended, slots=(slot(60.0, m1=4, m2=1),))
    assert found == [(37.5, "s1", "m1"), (40.0, "s1", "m1"), (45.0, "s1", "m2"), (52.5, "s2", "m1")]


def test_a_slot_that_counted_two_has_its_requests_over_both() -> None:
    """And one that had counted nothing before says nothing, nor does a cluster without sites."""
    assert told(slots=(slot(60.0, spans=2, m1=2),)) == [(15.0, "s1", "m1"), (45.0, "s2", "m1")]
    assert told(slots=(slot(60.0, spans=0, m1=2),)) == []
    assert told(slots=(slot(60.0, m1=2),), sites=()) == []
    assert told(slots=(slot(120.0, m1=2),)) == [], "after the epoch's end"


def test_a_case_is_owed_a_judgement_unless_its_version_has_given_one() -> None:
    """Or its plan says nothing, or it comes from elsewhere."""
    saying = case(1, warm=(Warm(model="m1", node="n1", at_s=5.0),))
    assert says_something(saying)
    assert not says_something(case(2))
    assert owed(saying, "1.0")
    assert not owed(case(2), "1.0")
    gain = Advantage(value=0.1, low=0.0, high=0.2, twin="compiled 1.0")
    judged = saying.model_copy(update={"advantage": gain})
    assert not owed(judged, "1.0")
    assert owed(judged, "1.1")
    assert owed(judged, "0")
    imported = saying.provenance.model_copy(update={"imported": True})
    assert not owed(saying.model_copy(update={"provenance": imported}), "1.0")
