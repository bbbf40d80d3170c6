"""A decision in hindsight: what it cost, what was expected of it, and what came."""

from collections.abc import Sequence

from fairlead.contracts.cases import Case, ModelTally
from fairlead.contracts.decisions import DecisionRecord, EpochDecision, EpochInput
from fairlead.contracts.dialogue import Judgement, Trial
from fairlead.contracts.hindsight import DecisionWorth, Measured

NO_JUDGEMENT = Judgement(code="not-judged", text="")
"""Where a dialogue came to none, or where there was no dialogue."""


def window_s(record: DecisionRecord) -> tuple[float, float]:
    """Return from when to when requests say what came of a decision: as long as the twin played, else its period."""
    given, judgement = record.input, _judgement(record)
    settings = given.settings
    begin_s = record.made_at_s
    if isinstance(given, EpochInput):
        begin_s = max(begin_s, given.begins_at_s or 0.0)
    if record.dialogue is not None and judgement.horizon_s:
        return begin_s, max(begin_s, record.dialogue.asked.now_s + judgement.horizon_s)
    slots = 1 if record.agent == "slot-agent" else settings.epoch_slots
    return begin_s, begin_s + slots * settings.slot_s


def case_of(record: DecisionRecord, digest: str) -> str | None:
    """Return the id of the case that an epoch's plan becomes; None for a decision without a plan."""
    plan = record.output.plan if isinstance(record.output, EpochDecision) else None
    return f"{digest}-{plan.epoch}-{plan.generation}" if plan is not None else None


def turned_out(record: DecisionRecord, tallies: Sequence[ModelTally], now_s: float, case: Case | None) -> DecisionWorth:
    """Return a decision in hindsight; `tallies` are of its window up to `now_s`."""
    begin_s, end_s = window_s(record)
    judgement = _judgement(record)
    answers = [exchange.answer for exchange in record.dialogue.exchanges] if record.dialogue is not None else []
    chosen, runner_up = _first(judgement)
    counted = sum(tally.counted for tally in tallies)
    predicted_s = None
    if chosen is not None:
        predicted_s = chosen.latency_s if record.source == "llm" else chosen.fallback_latency_s
    return DecisionWorth(
        id=record.id,
        source=record.source,
        questions=len(answers),
        prompt_tokens=sum(one.prompt_tokens for one in answers),
        reply_tokens=sum(one.reply_tokens for one in answers),
        money=sum(one.money for one in answers),
        seconds=sum(one.took_s for one in answers),
        judging_s=judgement.took_s,
        chosen=chosen,
        runner_up=runner_up,
        predicted_s=predicted_s,
        measured=Measured(
            from_s=begin_s,
            until_s=max(begin_s, min(end_s, now_s)),
            over=end_s <= now_s,
            requests=counted,
            latency_s=sum(tally.latency_sum_s for tally in tallies) / counted if counted else None,
            judged=sum(tally.judged for tally in tallies),
            timely=sum(tally.timely for tally in tallies),
        ),
        case=case.id if case is not None else None,
        realised=case.realised if case is not None else None,
        advantage=case.advantage if case is not None else None,
    )


def _judgement(record: DecisionRecord) -> Judgement:
    dialogue = record.dialogue
    return dialogue.judgements[-1] if dialogue is not None and dialogue.judgements else NO_JUDGEMENT


def _first(judgement: Judgement) -> tuple[Trial | None, Trial | None]:
    """Return the best candidate and the next one, each on demand as the forecast has it."""
    plain = [trial for trial in judgement.trials if not trial.believed]
    chosen = next((trial for trial in plain if trial.name == judgement.chosen), None)
    return chosen, next((trial for trial in plain if chosen is not None and trial.name != chosen.name), None)
