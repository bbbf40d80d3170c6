"""What the scripted server says of a goal in words: a plain rule on the words of the prompt, no language model's doing.

Models that the words name matter most, terms that they name more than before. Every behaviour that is neither the good
one nor one of the connection is a reply that was cut off.
"""

import json
import re

from testbed.scripted_behaviours import GOOD, WIRE, Said

TERMS = {"latency": "latency", "fair": "fairness", "energy": "churn", "churn": "churn", "loss": "service"}
"""Beginnings of words, and the term of F that each names."""

NEUTRAL, NAMED_TERM, NAMED_MODEL = 2, 3, 4
"""Levels: as configured; of a term that is named; of a model."""

_GOAL = re.compile(r"^The operator's words: \"(.*)\"$", re.MULTILINE)


def goal_in(user: str) -> str | None:
    """Return the words that a prompt asks to be read; None where it asks something else."""
    found = _GOAL.search(user)
    return None if found is None else found[1]


def goal_said(behaviour: str, words: str) -> Said:
    """Return what is said of a goal, and what the gates should say of that."""
    aims = dict.fromkeys(("latency", "fairness", "churn", "service"), NEUTRAL)
    aims |= {TERMS[start]: NAMED_TERM for start in TERMS if re.search(rf"\b{start}", words)}
    models = [{"model": one, "priority": NAMED_MODEL} for one in dict.fromkeys(re.findall(r"\bm\d{2,4}\b", words))]
    text = json.dumps({**aims, "models": models, "why": "what is named matters more"})
    if behaviour in WIRE:
        return Said(text, (WIRE[behaviour],))
    return Said(text, ("passed",)) if behaviour == GOOD else Said(text[:-1], ("parse:not-json",))
