"""What an agent's proposals are worth, as the twin judged them, and whether that says to let the agent act.

Each dialogue counts: with the gain that the gate saw where its proposal passed, with 0 where the fallback acts anyway.
In `shadow` and `assist` this is what the agent would have gained. Where the best of several candidates was chosen, its
gain is a little too high on average; that is why a suggestion needs the whole interval.
"""

import math
from collections.abc import Sequence
from typing import Literal, assert_never

from fairlead.contracts.agent_memory import Gains
from fairlead.contracts.dialogue import Exchange, Judgement, ModeName, Trial, Worth

LEAST = 30
"""Dialogues without which there is no interval: the normal distribution stands for Student's, 4 % off by then."""

Z95 = 1.959963984540054
"""97.5 % quantile of the standard normal distribution."""

CORRELATION_MOST = 0.95
"""Of dialogues that follow one another, at most believed: a constant series would have no interval at all."""

MOST = 2880
"""Dialogues at which every sum is halved, so that what is long ago counts ever less: a day of slots, ten of epochs."""


def gain_of(judgement: Judgement) -> float:
    """Return what a proposal gains in F where it may act, on demand as the forecast has it; 0 where it may not."""
    chosen = chosen_trial(judgement)
    return 0.0 if chosen is None or judgement.code != "no-worse" else chosen.gain


def chosen_trial(judgement: Judgement) -> Trial | None:
    """Return what the twin says of what was chosen, on demand as the forecast has it; None if it played nothing."""
    return next((t for t in judgement.trials if t.name == judgement.chosen and not t.believed), None)


def added(sums: Gains, judgements: Sequence[Judgement], exchanges: Sequence[Exchange]) -> Gains:
    """Return the sums with one dialogue more."""
    gain = gain_of(judgements[-1]) if judgements else 0.0
    answers = [exchange.answer for exchange in exchanges]
    before = sums if sums.dialogues < MOST else _halved(sums)
    return Gains(
        dialogues=before.dialogues + 1,
        gain=before.gain + gain,
        squares=before.squares + gain * gain,
        products=before.products + (gain * before.last if before.dialogues else 0.0),
        last=gain,
        tokens=before.tokens + sum(a.prompt_tokens + a.reply_tokens for a in answers),
        money=before.money + sum(a.money for a in answers),
    )


def _halved(sums: Gains) -> Gains:
    """Return sums with the same means over half as many dialogues."""
    return Gains(
        dialogues=sums.dialogues // 2,
        gain=sums.gain / 2.0,
        squares=sums.squares / 2.0,
        products=sums.products / 2.0,
        last=sums.last,
        tokens=sums.tokens // 2,
        money=sums.money / 2.0,
    )


def worth(sums: Gains, mode: ModeName) -> Worth:
    """Return what the dialogues so far are worth, and what that suggests in this mode."""
    count = max(1, sums.dialogues)
    mean = sums.gain / count
    half = _half_width(sums, mean) if sums.dialogues >= LEAST else None
    advice = _advice(mean, half, mode)
    return Worth(
        dialogues=sums.dialogues,
        gain=mean,
        low=None if half is None else mean - half,
        high=None if half is None else mean + half,
        tokens=sums.tokens / count,
        money=sums.money / count,
        advice=advice,
        text=_words(sums.dialogues, mean, half, advice),
    )


def _half_width(sums: Gains, mean: float) -> float:
    """Return half the interval of the mean; each gain is as like the one before as a process of order 1 has it.

    Such a mean knows as much as n·(1 − ρ)/(1 + ρ) independent ones (Bayley, Hammersley, "The effective number of
    independent observations in an autocorrelated time series", 1946).
    """
    count = sums.dialogues
    variance = max(0.0, sums.squares / count - mean * mean)
    if variance == 0.0:
        return 0.0
    together = sums.products / (count - 1) - mean * mean
    correlation = min(CORRELATION_MOST, max(0.0, together / variance))
    return Z95 * math.sqrt(variance / count * (1.0 + correlation) / (1.0 - correlation))


def _advice(mean: float, half: float | None, mode: ModeName) -> Literal["none", "promote", "demote"]:
    if half is None:
        return "none"
    if mean - half > 0.0 and mode in ("shadow", "assist"):
        return "promote"
    return "demote" if mean + half < 0.0 and mode in ("auto", "assist") else "none"


def _words(dialogues: int, mean: float, half: float | None, advice: Literal["none", "promote", "demote"]) -> str:
    if half is None:
        return f"{dialogues} of {LEAST} dialogues that an interval takes"
    match advice:
        case "promote":
            return "it surely gains, and does not act by itself: mode auto would let it"
        case "demote":
            return "it surely loses: mode shadow would not let it act"
        case "none":
            return "it neither surely gains nor surely loses" if abs(mean) <= half else "nothing is to be changed"
        case _:
            assert_never(advice)
