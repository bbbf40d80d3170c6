"""Rungs of the ladder of DESIGN §4 that stand below a dialogue: why there was none, and that the fallback acts."""

from fairlead.contracts.decisions import Step

FALLBACK = Step(name="fallback", ok=True, code="ok", text="")

_WHY_ABSENT = {
    "asked": "a model is asked beside this decision, which does not wait for it",
    "busy": "an earlier question is still being answered",
    "off": "the mode of this agent is off",
    "baseline": "models are asked with the policy marginal-dpp only",
    "no-time": "an answer would come too late to be of use",
    "answered": "a model has answered before",
}


def barred(held_back: str) -> Step:
    """Return that the watchdog lets nothing act, and why."""
    return Step(name="watchdog", ok=False, code="out-of-bounds", text=held_back)


def absent(code: str, unconfigured: str) -> Step:
    """Return why no reply is in a decision, by its code; `unconfigured` says it where there is no model."""
    text = unconfigured if code == "no-llm" else _WHY_ABSENT.get(code, "")
    return Step(name="absent", ok=False, code=code, text=text)
