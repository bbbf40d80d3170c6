"""What proposals are worth: gains of what may act, zero of the rest, an interval that knows that they hang together."""

import math

import pytest

from fairlead.contracts.agent_memory import Gains
from fairlead.contracts.dialogue import Exchange, Judgement, ModeName, Trial
from fairlead.policy.dialogue import Conversation, advise
from fairlead.policy.worth import MOST, added, gain_of, worth
from tests.policy.dialogues import answer, briefing, slot_asked


def judged(gain: float, code: str = "no-worse", chosen: str = "proposal") -> Judgement:
    """Return a judgement of a proposal and of another candidate that gains one more, and of what it believes."""
    trials = [
        Trial(name=name, believed=believed, scenarios=8, objective=0.4, fallback=0.4 + more, gain=more, low=0, high=1)
        for name, believed, more in (
            ("proposal", True, 9.0),
            ("proposal", False, gain),
            ("other-1", False, gain + 1.0),
        )
    ]
    return Judgement.model_validate({"code": code, "text": "", "chosen": chosen, "trials": tuple(trials)})


def exchanges() -> tuple[Exchange, ...]:
    """Return two questions of a dialogue, each of 100 tokens in, 20 out."""
    conversation = Conversation("d", advise(briefing(slot_asked())), 18.0)
    assert conversation.ask is not None
    one = answer("no").model_copy(update={"prompt_tokens": 100, "reply_tokens": 20, "money": 0.5})
    return tuple(Exchange(id=f"d.{k}", ask=conversation.ask, answer=one) for k in (1, 2))


def test_what_may_act_counts_with_its_gain_on_what_the_forecast_expects() -> None:
    """What may not, with nothing; so too what changes nothing."""
    assert gain_of(judged(0.25)) == 0.25
    assert gain_of(judged(0.25, chosen="other-1")) == 1.25
    assert gain_of(judged(0.25, code="worse")) == 0.0
    assert gain_of(Judgement(code="no-worse", text="it changes nothing")) == 0.0


def test_tokens_and_money_stand_beside_the_gain() -> None:
    """A mean over all dialogues, those without a judgement too; no interval of so few."""
    sums = added(added(Gains(), [judged(0.1)], exchanges()), [], exchanges()[:1])
    found = worth(sums, "shadow")
    assert (found.dialogues, found.gain, found.low, found.high) == (2, 0.05, None, None)
    assert (found.tokens, found.money) == (180.0, 0.75)
    assert (found.advice, found.text) == ("none", "2 of 30 dialogues that an interval takes")
    assert worth(Gains(), "auto").gain == 0.0


@pytest.mark.parametrize(
    ("gain", "mode", "advice", "text"),
    [
        (0.02, "shadow", "promote", "it surely gains, and does not act by itself"),
        (0.02, "assist", "promote", "it surely gains, and does not act by itself"),
        (0.02, "auto", "none", "nothing is to be changed"),
        (-0.02, "auto", "demote", "it surely loses"),
        (-0.02, "assist", "demote", "it surely loses"),
        (-0.02, "shadow", "none", "nothing is to be changed"),
        (0.0, "auto", "none", "it neither surely gains nor surely loses"),
    ],
)
def test_a_suggestion_needs_the_whole_interval_and_a_mode_that_could_change(
    gain: float, mode: ModeName, advice: str, text: str
) -> None:
    """Thirty dialogues of about one gain."""
    sums = Gains()
    for k in range(30):
        sums = added(sums, [judged(gain + (0.001 if k % 2 else -0.001))], ())
    found = worth(sums, mode)
    assert found.advice == advice
    assert found.low is not None
    assert found.high is not None
    assert found.low < gain < found.high
    assert found.text.startswith(text)


def test_dialogues_that_go_alike_in_stretches_say_less_than_as_many_that_do_not() -> None:
    """Ten of one gain, ten of another: a wider interval than of the same gains in turn; of equal ones there is none."""
    stretches, turns, equal = Gains(), Gains(), Gains()
    for k in range(60):
        stretches = added(stretches, [judged(0.02 if k // 10 % 2 else 0.0)], ())
        turns = added(turns, [judged(0.02 if k % 2 else 0.0)], ())
        equal = added(equal, [judged(0.0)], ())
    long, short, none = (worth(s, "shadow") for s in (stretches, turns, equal))
    assert long.gain == pytest.approx(short.gain)
    assert long.high is not None
    assert short.high is not None
    assert long.high - long.gain > 3.0 * (short.high - short.gain)
    assert short.high - short.gain == pytest.approx(1.96 * 0.01 / math.sqrt(60), rel=1e-3)
    assert (none.low, none.high) == (0.0, 0.0)


def test_what_is_long_ago_counts_ever_less() -> None:
    """A day of dialogues without gain, then half a day with one: more than a third of the estimate is the newest."""
    sums, nothing, something, asked = Gains(), [judged(0.0)], [judged(0.03)], exchanges()[:1]
    for k in range(MOST + MOST // 2):
        sums = added(sums, something if k >= MOST else nothing, asked)
    found = worth(sums, "shadow")
    assert found.dialogues == MOST
    assert found.gain == pytest.approx(0.015)
    assert (found.tokens, found.money) == (120.0, 0.5)
