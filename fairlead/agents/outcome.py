"""What a dialogue came to, in one word and in a sentence."""

from typing import Literal

from fairlead.agents.advice import Settled
from fairlead.contracts.decisions import Step
from fairlead.contracts.dialogue import BudgetLimits, BudgetSpent
from fairlead.contracts.errors import foreign
from fairlead.contracts.plans import Source

Outcome = Literal[
    "accepted",
    "outdated",
    "unasked",
    "unanswered",
    "rejected",
    "shadow",
    "off",
    "declined",
    "expired",
    "late",
    "held-back",
    "operator",
    "fallback",
]
"""`accepted`: the proposal acts. `outdated`: it might, but fits nothing any more. `unasked`: there was nothing to ask
about. `unanswered`: the model gave no reply. `rejected`: its reply did not pass a gate. `shadow`, `off`: by mode.
`declined`, `expired`: by a person, or by nobody. `late`: its slot or epoch was over. `held-back`: by the watchdog.
`operator`: a person's plan was in force. `fallback`: for any other reason."""

_BY_STEP: dict[str, Outcome] = {
    "absent": "unasked",
    "call": "unanswered",
    "parse": "rejected",
    "schema": "rejected",
    "feasibility": "rejected",
    "trust": "rejected",
    "twin": "rejected",
    "repair": "rejected",
    "operator": "operator",
    "watchdog": "held-back",
}
_BY_CODE: dict[tuple[str, str], Outcome] = {
    ("approval", "declined"): "declined",
    ("approval", "expired"): "expired",
    ("mode", "shadow"): "shadow",
    ("mode", "off"): "off",
    ("mode", "slot-over"): "late",
    ("mode", "epoch-over"): "late",
}


def outcome_of(ended: Settled, source: Source) -> Outcome:
    """Return what a dialogue came to; `source` is whose decision followed it."""
    if ended.proposal is not None:
        return "accepted" if source == "llm" else "outdated"
    step = decisive(ended.steps)
    if step is None:
        return "fallback"
    return _BY_CODE.get((step.name, step.code)) or _BY_STEP.get(step.name, "fallback")


def decisive(steps: tuple[Step, ...]) -> Step | None:
    """Return the last rung that did not hold; None if all did."""
    return next((s for s in reversed(steps) if not s.ok), None)


def why_of(steps: tuple[Step, ...]) -> str:
    """Return why the fallback acts after a dialogue with this ladder."""
    step = decisive(steps)
    if step is None:
        return "the proposal fits nothing that is there now"
    return foreign(f"{step.name} {step.code}: {step.text}" if step.text else f"{step.name} {step.code}")


def budget_words(spent: BudgetSpent, limits: BudgetLimits) -> str:
    """Return what is spent of each limit that there is; empty without limits."""
    parts = []
    if limits.tokens_per_hour is not None:
        parts.append(f"{spent.tokens_hour} of {limits.tokens_per_hour} tokens an hour")
    if limits.tokens_per_day is not None:
        parts.append(f"{spent.tokens_day} of {limits.tokens_per_day} tokens a day")
    if limits.money_per_hour is not None:
        parts.append(f"{spent.money_hour:.4g} of {limits.money_per_hour:.4g} an hour")
    if limits.money_per_day is not None:
        parts.append(f"{spent.money_day:.4g} of {limits.money_per_day:.4g} a day")
    return ", ".join(parts)
