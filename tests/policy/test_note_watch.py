"""Notes as regimes that may come: looked out for at their time, recognised where they come true, else forgotten."""

from fairlead.contracts.forecasts import SlotArrivals
from fairlead.contracts.notes import Note
from fairlead.contracts.plans import Rate
from fairlead.contracts.tuning import PolicySettings
from fairlead.policy.forecasting import Foresight
from fairlead.policy.note_watch import TOLD_S, NoteWatch
from fairlead.twin.clusters import cluster

CITY = cluster("city7", lambda _: 1)
RATES = (Rate(model="image", per_s=0.1), Rate(model="small-text", per_s=0.4))


def note(text: str, from_s: float = 900.0, name: str = "note-1") -> Note:
    """Return what Ann says of twenty minutes."""
    return Note(id=name, text=text, from_s=from_s, until_s=from_s + 1200.0, by="ann", created_at_s=100.0)


def test_a_note_is_looked_out_for_from_a_slot_before_its_time_to_its_end() -> None:
    """Its rates are those from before its time, however they change in it; where nothing is read there is nothing."""
    watch = NoteWatch(CITY, 30.0)
    said = (note("image triples; small text stops"), note("the mayor comes", name="note-2"))
    assert watch.active(said, RATES, 50.0) == ()
    assert watch.active(said, RATES, 869.0) == ()
    (regime,) = watch.active(said, RATES, 870.0)
    assert (regime.id, regime.seen_s) == ("note-1", TOLD_S)
    assert [(r.model, round(r.per_s, 6)) for r in regime.rates] == [("image", 0.3)]
    assert watch.active(said, (Rate(model="image", per_s=9.0),), 2000.0) == (regime,)
    assert watch.active(said, RATES, 2100.0) == ()


def foresight(image: int, slots: int = 34) -> Foresight:
    """Return what has seen steady small text and, from slot 30 on, so many images a slot; a note says there are 9."""
    found, watch = Foresight(CITY, PolicySettings()), NoteWatch(CITY, 30.0)
    for slot in range(slots):
        found.expect(watch.active((note("image 18 a minute; small text stops"),), RATES, 30.0 * slot))
        counts = {"image": image, "small-text": 0} if slot >= 30 and image else {"small-text": 12}
        found.ended(
            slot, tuple(SlotArrivals(slot=slot, site="site-1", model=m, arrived=n) for m, n in counts.items() if n)
        )
    return found


def test_what_was_said_is_recognised_as_it_comes_true() -> None:
    """Within the first slot; where it does not come true nothing is recognised."""
    true, false = foresight(9, slots=31), foresight(0, slots=31)
    assert true.regime is not None
    assert true.regime.id == "note-1"
    assert true.changed_at_s == 900.0
    assert false.regime is None
    assert false.changed_at_s is None


def test_what_was_said_and_never_seen_is_not_learned() -> None:
    """A note that came true is a regime like any other; one that did not is forgotten with its time."""
    false = foresight(0)
    assert [r.id for r in false.knowledge().regimes] == []
    true = foresight(9, slots=44)
    for slot in range(44, 60):
        true.expect(())
        true.ended(slot, (SlotArrivals(slot=slot, site="site-1", model="small-text", arrived=12),))
    assert "note-1" in [r.id for r in true.knowledge().regimes]
    true.expect(())
    assert "note-1" in [r.id for r in true.knowledge().regimes]
    false.expect(())
    assert [r.id for r in false.knowledge().regimes] == []
