"""A decision in hindsight: what it cost, what was expected of it, and what came."""

from collections.abc import Sequence

from fairlead.contracts.cases import Case, ModelTally
from fairlead.contracts.decisions import DecisionRecord, DecisionSummary, EpochDecision, EpochInput, SlotInput
from fairlead.contracts.dialogue import Judgement, Trial
from fairlead.contracts.hindsight import DecisionWorth, Measured, PlanWorth, SlotAccount

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


def turned_out(
    record: DecisionRecord, tallies: Sequence[ModelTally], now_s: float, found: Case | PlanWorth | None
) -> DecisionWorth:
    """Return a decision in hindsight; `tallies` are of its window up to `now_s`, `found` is what its plan became."""
    judgement = _judgement(record)
    answers = [exchange.answer for exchange in record.dialogue.exchanges] if record.dialogue is not None else []
    plain = [trial for trial in judgement.trials if not trial.believed]
    chosen = next((trial for trial in plain if trial.name == judgement.chosen), plain[0] if plain else None)
    acted = chosen.name if chosen is not None and record.source == "llm" else record.source
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
        acted=acted,
        chosen=chosen,
        runner_up=_next_best(plain, chosen if record.source == "llm" else None),
        predicted_s=predicted_s,
        measured=measured(window_s(record), tallies, now_s),
        case=None if found is None else found.id if isinstance(found, Case) else found.case,
        realised=found.realised if found is not None else None,
        advantage=found.advantage if found is not None else None,
    )


def measured(window: tuple[float, float], tallies: Sequence[ModelTally], now_s: float) -> Measured:
    """Return what became of the requests of a window that begins and ends then; `tallies` are of it up to `now_s`."""
    begin_s, end_s = window
    counted = sum(tally.counted for tally in tallies)
    return Measured(
        from_s=begin_s,
        until_s=max(begin_s, min(end_s, now_s)),
        over=end_s <= now_s,
        requests=counted,
        latency_s=sum(tally.latency_sum_s for tally in tallies) / counted if counted else None,
        judged=sum(tally.judged for tally in tallies),
        timely=sum(tally.timely for tally in tallies),
    )


def account(
    first: DecisionRecord, lines: Sequence[DecisionSummary], dialogues: Sequence[DecisionWorth], came: Measured
) -> SlotAccount:
    """Return a slot with all that was decided in it: its first decision, the lines of all, dialogues in hindsight."""
    given = first.input
    assert isinstance(given, SlotInput)
    plan = given.plan
    made_by = None if plan is None or plan.source == "operator" else f"epoch-{plan.generation}"
    return SlotAccount(
        slot=lines[0].number if lines[0].about is None else lines[0].about,
        begins_at_s=came.from_s,
        ends_at_s=came.from_s + given.settings.slot_s,
        plan=plan.generation if plan is not None else 0,
        plan_source=plan.source if plan is not None else None,
        plan_decision=made_by,
        decisions=tuple(lines),
        dialogues=tuple(dialogues),
        prompt_tokens=sum(one.prompt_tokens for one in dialogues),
        reply_tokens=sum(one.reply_tokens for one in dialogues),
        money=sum(one.money for one in dialogues),
        seconds=sum(one.seconds + one.judging_s for one in dialogues),
        measured=came,
    )


def _judgement(record: DecisionRecord) -> Judgement:
    dialogue = record.dialogue
    return dialogue.judgements[-1] if dialogue is not None and dialogue.judgements else NO_JUDGEMENT


def _next_best(plain: Sequence[Trial], acted: Trial | None) -> Trial | None:
    """Return the best of what did not act; None if that was the fallback, or if there is nothing else."""
    best = next((trial for trial in plain if trial is not acted), None)
    return None if best is None or (acted is not None and best.gain < 0.0) else best
