"""What a decision cost, what the twin expected of it, and what it turned out to be worth."""

from fairlead.contracts.base import Count, Instant, Message, Name, Seconds
from fairlead.contracts.cases import Advantage, Realised
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
    chosen: Trial | None = None
    """What the twin said of its best candidate; None where it played nothing, so too the next two."""
    runner_up: Trial | None = None
    """The next best; None where there was only the fallback beside it."""
    predicted_s: Seconds | None = None
    """Mean latency that it expected of what acted."""
    measured: Measured | None = None
    """What came, over as long as the twin had played, or a slot or epoch."""
    case: Name | None = None
    """The remembered epoch of a plan."""
    realised: Realised | None = None
    """What came of that epoch."""
    advantage: Advantage | None = None
    """Over the fallback on the same demand, by the twin, afterwards."""
