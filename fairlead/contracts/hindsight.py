"""What a decision cost, what the twin expected of it, and what it turned out to be worth."""

from fairlead.contracts.base import Count, Generation, Instant, Many, Message, Name, Seconds
from fairlead.contracts.cases import Advantage, Realised
from fairlead.contracts.decisions import DecisionSummary
from fairlead.contracts.dialogue import Trial
from fairlead.contracts.plans import Source


class Measured(Message):
    """What became of the requests that arrived in a window."""

    from_s: Instant
    until_s: Instant
    """Now, where the window is not over yet."""
    over: bool
    """Whether it is."""
    requests: Count
    """Whose latency is known."""
    latency_s: Seconds | None
    """Mean (CONTROL §1); None without any."""
    judged: Count
    timely: Count


class PlanWorth(Message):
    """What came of a plan's epoch and what the twin said of it afterwards, kept also where its case is forgotten.

    Of a plan that passed the gates and did not act: what came without it, and what it would have been worth.
    """

    decision: Name
    case: Name
    realised: Realised
    advantage: Advantage


class DecisionWorth(Message):
    """A decision in hindsight."""

    id: Name
    source: Source
    questions: Count
    """To a language model."""
    prompt_tokens: Count
    reply_tokens: Count
    money: Seconds
    seconds: Seconds
    """Wall seconds waited for its answers."""
    judging_s: Seconds
    """Wall seconds waited for the twin."""
    acted: Name = "fallback"
    """The candidate that acted, where the twin has played it; else whose decision it was."""
    chosen: Trial | None = None
    """What the twin said of its best candidate; None where it played nothing, so too the next two."""
    runner_up: Trial | None = None
    """The best of what did not act; None where that was the fallback."""
    predicted_s: Seconds | None = None
    """Mean latency that it expected of what acted."""
    measured: Measured | None = None
    """What came, over as long as the twin had played, or a slot or epoch."""
    case: Name | None = None
    """The remembered epoch of a plan, kept or forgotten."""
    realised: Realised | None = None
    """What came of that epoch."""
    advantage: Advantage | None = None
    """Of the plan over the fallback on the same demand, by the twin, afterwards; so too of one that did not act."""


class SlotAccount(Message):
    """All that was decided in a slot."""

    slot: Count
    begins_at_s: Instant
    ends_at_s: Instant
    plan: Generation
    """That was in force at its first decision; 0 without one, so too the next two."""
    plan_source: Source | None = None
    plan_decision: Name | None = None
    """What made that plan; None where a person did."""
    decisions: Many[DecisionSummary]
    """Oldest first: the slot's own, those on events, and those after a dialogue about it, a late one too."""
    dialogues: Many[DecisionWorth] = ()
    """Those of them that a language model was asked for, in hindsight."""
    prompt_tokens: Count = 0
    """Of all of them, so too the next three."""
    reply_tokens: Count = 0
    money: Seconds = 0.0
    seconds: Seconds = 0.0
    """Wall seconds waited for answers and for the twin."""
    measured: Measured
    """What became of the requests that arrived in the slot."""
