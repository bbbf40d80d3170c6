"""Words of operators: the time that they name, what the rule reads in them, and how a prompt shows them."""

from datetime import datetime

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fairlead.contracts.decisions import EpochInput
from fairlead.contracts.notes import Note
from fairlead.contracts.plans import PlanDraft, Rate
from fairlead.contracts.replies import PlannerReply
from fairlead.policy.figures import tokens_most
from fairlead.policy.note_reading import FACTOR_MOST, RATE_MOST_PER_S, Told, expected, told, told_rates, unknown_sites
from fairlead.policy.note_span import Span, span_in, without_span
from fairlead.policy.note_words import NOTES_MOST, note_lines, quoted, rates_told, touching
from fairlead.policy.parsing import Fault
from fairlead.policy.planner_gate import drafted, meant
from fairlead.policy.questions import PLANNER_TOKENS, TEMPLATE_TOKENS, Question, planner_question
from fairlead.policy.registry import decide_slot
from fairlead.twin.clusters import cluster
from tests.policy.prompt_scenes import PLANNER_SAMPLING, epoch, scene, texts

CITY = cluster("city7", lambda _: 1)
CATALOGUE = cluster("catalogue", lambda _: 1)
NOW = datetime(2026, 11, 22, 19, 0)


def at(day: int, hour: int, minute: int = 0) -> datetime:
    """Return an instant of that November."""
    return datetime(2026, 11, day, hour, minute)


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("stadium event 20:00–22:00, vision triples", Span(at(22, 20), at(22, 22))),
        ("20.00 to 22h30 today", Span(at(22, 20), at(22, 22, 30))),
        ("market 9:00-12:00", Span(at(23, 9), at(23, 12))),
        ("under way 18:30 - 19:30", Span(at(22, 18, 30), at(22, 19, 30))),
        ("night shift 22:00-06:00", Span(at(22, 22), at(23, 6))),
        ("Tomorrow 20:00 until 24:00", Span(at(23, 20), at(24, 0))),
        ("until 21:15 image stops", Span(NOW, at(22, 21, 15))),
        ("till 07:00", Span(NOW, at(23, 7))),
        ("image doubles for 45 minutes", Span(NOW, at(22, 19, 45))),
        ("for 2 h", Span(NOW, at(22, 21))),
        ("tonight", Span(NOW, at(23, 6))),
        ("today", Span(NOW, at(23, 0))),
        ("tomorrow", Span(at(23, 0), at(24, 0))),
        ("on Wednesday 20:00-22:00", Span(at(25, 20), at(25, 22))),
        ("Sunday 20:00-22:00", Span(at(22, 20), at(22, 22))),
        ("sunday 9:00-12:00", Span(at(29, 9), at(29, 12))),
        ("on saturday vision doubles", Span(at(28, 0), at(29, 0))),
        ("2026-11-24 20:00-22:00", Span(at(24, 20), at(24, 22))),
        ("until 18:30 tomorrow", Span(NOW, at(23, 18, 30))),
        ("until 18:30 today", None),
        ("2026-11-21 20:00-22:00", None),
        ("2026-11-42 20:00-22:00", None),
        ("20:00-22:00 yesterday", None),
        ("for 45 minutes tomorrow", None),
        ("this morning 9:00-12:00 today", None),
        ("for 0 min", None),
        ("vision triples", None),
        ("25:00-26:00", None),
    ],
)
def test_a_time_is_read_from_the_words(text: str, span: Span | None) -> None:
    """The day that is named, else today, or tomorrow where that is over; nothing is guessed."""
    assert span_in(text, NOW) == span


def test_tonight_begins_in_the_evening_and_lasts_beyond_midnight() -> None:
    """Said in the afternoon it is still to come, said at two it is under way."""
    assert span_in("tonight", at(22, 14)) == Span(at(22, 18), at(23, 6))
    assert span_in("tonight", at(22, 2)) == Span(at(22, 2), at(22, 6))


VISION = "vision-language"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("stadium event 20:00–22:00, vision at sites 1 and 3 triples", (Told(VISION, ("site-1", "site-3"), 3.0),)),
        ("vision triples at site-1, 3 & 5", (Told(VISION, ("site-1", "site-3", "site-5"), 3.0),)),
        ("vision triples; image stops", (Told("image", (), 0.0), Told(VISION, (), 3.0))),
        ("triples vision and image", (Told("image", (), 3.0), Told(VISION, (), 3.0))),
        ("twice the images, half the vision", (Told("image", (), 2.0), Told(VISION, (), 0.5))),
        ("small text ×2.5 and large-text 4x", (Told("large-text", (), 4.0), Told("small-text", (), 2.5))),
        ("text +50 % for 30 min", (Told("large-text", (), 1.5), Told("small-text", (), 1.5))),
        ("text -100 percent", (Told("large-text", (), 0.0), Told("small-text", (), 0.0))),
        (
            "image 12 a minute, vision 3 requests per hour",
            (Told("image", (), 1.0, 0.2), Told(VISION, (), 1.0, 3 / 3600)),
        ),
        ("image 900/s", (Told("image", (), 1.0, RATE_MOST_PER_S),)),
        ("image 900 times", (Told("image", (), FACTOR_MOST),)),
        ("image doubles, image halves", (Told("image", (), 0.5),)),
        ("vision at site 9 triples", ()),
        ("image-2a doubles", ()),
        ("all is well, nothing happens at sites 1 and 3", ()),
        ("doubles", ()),
        (
            "image doubles, others stop",
            tuple(Told(m.id, (), 2.0 if m.id == "image" else 0.0) for m in CITY.models),
        ),
        ("", ()),
    ],
)
def test_what_a_rule_reads_in_words(text: str, said: tuple[Told, ...]) -> None:
    """Models, sites and changes in any order; what is not understood is left out."""
    assert told(text, CITY) == said


def test_sites_that_there_are_not_are_told() -> None:
    """Each once; numbers that are no sites are none."""
    assert unknown_sites("20:00-22:00, vision at sites 1, 9 and 17 doubles, image at site-09 3x", CITY) == ("9", "17")
    assert unknown_sites("vision at sites 1 and 3 triples for 30 min", CITY) == ()


def test_a_kind_names_all_its_models() -> None:
    """In a catalogue a word is many models, an id is one; parts of a letter or two name nobody."""
    assert len(told("vision doubles", CATALOGUE)) == 8
    assert [one.model for one in told("text-3b and image-1a double", CATALOGUE)] == ["image-1a", "text-3b"]
    assert told("1a doubles", CATALOGUE) == ()
    assert told("anything doubles", CATALOGUE.model_copy(update={"models": ()})) == ()


def test_a_rate_that_is_told_holds_for_the_sites_that_are_named() -> None:
    """Sites are taken as alike; a model without demand has none, unless a rate itself is told."""
    rates = (Rate(model="image", per_s=0.2), Rate(model="small-text", per_s=0.3))
    found = told_rates(told("image at site 1 triples, vision 6 a minute", CITY), rates, CITY)
    assert [(one.model, round(one.per_s, 4)) for one in found] == [
        ("image", 0.3333),
        ("small-text", 0.3),
        (VISION, 0.1),
    ]
    assert told_rates(told("vision doubles", CITY), (), CITY) == (Rate(model=VISION, per_s=0.0),)
    assert Told("image", (), 10.0).rate(9.0, CITY) == RATE_MOST_PER_S


@pytest.mark.parametrize(
    ("now", "then", "word"),
    [
        (0.0, 0.1, "surging"),
        (0.0, 0.0, "same"),
        (0.1, 0.3, "surging"),
        (0.1, 0.15, "rising"),
        (0.1, 0.1, "same"),
        (0.1, 0.05, "falling"),
        (0.1, 0.0, "silent"),
    ],
)
def test_a_change_of_rate_has_a_word(now: float, then: float, word: str) -> None:
    """The planner's closed vocabulary for expected demand."""
    assert expected(now, then) == word


def note(text: str, from_s: float, until_s: float, name: str = "note-1") -> Note:
    """Return what Ann says."""
    return Note(id=name, text=text, from_s=from_s, until_s=until_s, by="ann", created_at_s=0.0)


def asked(*said: Note) -> tuple[EpochInput, Question]:
    """Return an epoch's input with notes, and its question."""
    slot = scene(7, 4)
    given_epoch = epoch(slot, decide_slot(slot)).model_copy(update={"notes": said})
    return given_epoch, planner_question(given_epoch, texts()[0], (), (), PLANNER_SAMPLING)


def test_a_note_stands_in_the_prompt_with_aliases_and_what_the_code_reads() -> None:
    """When, in seconds of the epoch; the rate in requests a minute; the words between quotes."""
    slot = scene(7, 4)
    begins_s = slot.now_s + 18.0
    given_epoch, question = asked(note('model-001 "triples" at node-0003', begins_s + 60.0, begins_s + 7260.0))
    rate = next(r.per_s for r in given_epoch.rates if r.model == "model-001")
    line = next(x for x in question.ask.user.splitlines() if x.startswith("o1"))
    assert line.startswith("o1 from 60 to 7260, rates m02 ")
    assert float(line.split()[7].rstrip(":")) == pytest.approx(180.0 * rate, rel=0.05)
    assert line.endswith(': "m02 triples at n04"')
    assert '"rates":{"enum":["o1"]' in question.ask.reply_schema


def test_without_notes_the_prompt_says_none() -> None:
    """And no rates can be named."""
    _, question = asked()
    assert "\nnone\n\nPlan in force" in question.ask.user
    assert '"rates_of":{"type":"null"}' in question.ask.reply_schema


@given(st.text(max_size=280))
@example("LANGUAGE model image")
@settings(max_examples=200, deadline=None)
def test_words_cannot_leave_their_quotes(text: str) -> None:
    """Whatever an operator pastes: one line of ASCII, no quote, no brace, nothing like an alias that is not ours."""
    given_epoch, question = asked(note("x", 0.0, 1e12))
    shown = quoted(f"c1 o1 {text} m99", given_epoch.cluster, question.aliases)
    assert shown.isascii()
    assert shown.isprintable()
    assert not set(shown) & set('"`{}<>|\\')
    assert not {"c1", "o1", "m99"} & set(shown.split())


def test_notes_keep_a_prompt_within_its_limit() -> None:
    """The first four by their begin, however many and long they are."""
    said = tuple(note("event " * 46, 1.0 + k, 1e12, f"note-{k}") for k in range(9))
    _, question = asked(*touching(said, 100.0, 200.0))
    assert len(question.aliases.notes) == NOTES_MOST
    assert TEMPLATE_TOKENS + tokens_most(question.ask.system) + tokens_most(question.ask.user) <= PLANNER_TOKENS


def test_notes_touch_the_epochs_of_their_time() -> None:
    """Those that begin first first; what has ended or is still to come stands aside."""
    said = (note("b", 150.0, 160.0, "b"), note("a", 90.0, 101.0, "a"), note("c", 200.0, 300.0), note("d", 1.0, 100.0))
    assert [one.id for one in touching(said, 100.0, 200.0)] == ["a", "b"]


def reply(rates_of: str | None, **more: object) -> PlannerReply:
    """Return a reply that wants nothing but rates."""
    nodes = [{"node": f"n{k:02d}", "role": "generalist", "prefer": [], "avoid": [], "bias": 0} for k in range(1, 8)]
    document = {"nodes": nodes, "models": [], "warm": [], "rates_of": rates_of, "confidence": 2, "cases_cited": []}
    return PlannerReply.model_validate({**document, "why": "as the note says", **more})


def test_a_reply_may_expect_what_a_note_says() -> None:
    """The rates are the code's, never the model's; a note that the prompt has not is refused."""
    given_epoch, question = asked(note("model-001 triples", 0.0, 1e12))
    draft = drafted(reply("o1"), given_epoch, meant(question.aliases, ()))
    assert isinstance(draft, PlanDraft)
    assert draft.rates == rates_told(given_epoch.notes[0], given_epoch)
    fault = drafted(reply("o2"), given_epoch, meant(question.aliases, ()))
    assert isinstance(fault, Fault)
    assert (fault.code, fault.text) == ("unknown-case", "there is no case o2")


def test_a_note_that_a_rule_cannot_read_tells_no_rates() -> None:
    """It stands there as it is."""
    given_epoch, question = asked(note("the mayor comes", 0.0, 1e12))
    assert 'rates -: "the mayor comes"' in note_lines(given_epoch, question.aliases)
    assert rates_told(given_epoch.notes[0], given_epoch) == ()
    assert note_lines(given_epoch.model_copy(update={"begins_at_s": None}), question.aliases).startswith("o1 from -")


def test_numbers_of_a_time_are_no_change() -> None:
    """`20:00-22:00 x` is not twenty-two times."""
    assert "22" not in without_span("image 20:00-22:00 doubles")
