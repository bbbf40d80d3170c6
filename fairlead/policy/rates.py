"""λ: how often each model is asked for, learned from arrivals per slot (CONTROL §2)."""

from fairlead.contracts.decisions import SlotInput, SlotState
from fairlead.contracts.plans import Rate


def learned(i: SlotInput) -> SlotState:
    """Return the state after this decision: a slot's arrivals enter the EWMA once; events and advice change nothing.

    λ ← λ + (1 − 2^(−k/h))·(arrived/(kT) − λ), with k slots since the last one counted and half-life h in slots. In the
    slot in which the rates of a plan begin to hold, λ becomes what they say: what was learned is of another time. Where
    they are wrong, half of the error is forgotten in h slots.
    """
    if i.trigger != "slot" or (i.state.rates and i.slot <= i.state.slot):
        return i.state
    rates = by_model(i, i.state)
    slots = i.slot - i.state.slot if i.state.rates else 1
    gain = 1.0 - 2.0 ** (-slots / i.settings.rate_half_life_slots)
    for view in i.snapshot.models:
        if view.model in rates:
            seen = view.arrived / (slots * i.settings.slot_s)
            rates[view.model] += gain * (seen - rates[view.model])
    rates |= {model: per_s for model, per_s in _told(i).items() if model in rates}
    return SlotState(
        slot=i.slot,
        rates=tuple(Rate(model=m, per_s=max(0.0, r)) for m, r in rates.items()),
        rotation=i.state.rotation + 1,
    )


def _told(i: SlotInput) -> dict[str, float]:
    """Return what the plan says of rates that have begun to hold since the last slot began."""
    plan = i.plan
    if plan is None or plan.rates_at_s is None or plan.expires_at_s <= i.now_s:
        return {}
    news = plan.rates_at_s <= i.now_s < plan.rates_at_s + i.settings.slot_s
    return {r.model: r.per_s for r in plan.rates} if news else {}


def in_force(i: SlotInput, state: SlotState) -> dict[str, float]:
    """Return the rates to decide by: λ, or the mean forecast over rule 2's horizon where that is wanted and better."""
    rates = by_model(i, state)
    if not i.settings.forecast or i.forecast is None or i.forecast.method == "plain":
        return rates
    until_s = i.now_s + i.settings.slot_horizon_s
    expected = dict.fromkeys(rates, 0.0)
    for one in i.forecast.rates:
        for_s = min(one.until_s, until_s) - max(one.from_s, i.now_s)
        if for_s > 0 and one.model in expected:
            expected[one.model] += one.per_s * for_s / i.settings.slot_horizon_s
    return expected


def by_model(i: SlotInput, state: SlotState) -> dict[str, float]:
    """Return λ of each model of the cluster; one that was never counted has the start value."""
    known = {r.model: r.per_s for r in state.rates}
    return {m.id: known.get(m.id, i.settings.rate_start_per_s) for m in i.cluster.models}
