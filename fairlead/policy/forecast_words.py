"""What is expected to arrive, as a prompt shows it: rates by model, the regime that is now, and the one that comes."""

from collections.abc import Mapping, Sequence

from fairlead.contracts.decisions import EpochInput
from fairlead.contracts.forecasts import Forecast, Regime
from fairlead.contracts.plans import Rate
from fairlead.policy.aliases import Aliases, Named, by_id
from fairlead.policy.figures import MINUTE_S, figure

STRETCHES_MOST = 3
"""So many stretches of different rates are shown of an epoch."""


def remembered_regimes(given: EpochInput) -> dict[str, Regime]:
    """Return the regimes that a prompt shows by their aliases: the one that is now, and the one that comes."""
    forecast = given.forecast
    if forecast is None:
        return {}
    named = [forecast.regime, *((forecast.coming.regime,) if forecast.coming is not None else ())]
    known = {one.id: one for one in forecast.regimes}
    shown = [known[name] for name in dict.fromkeys(named) if name in known]
    return {f"r{at}": one for at, one in enumerate(shown, start=1)}


def regime_aliases(given: EpochInput) -> Named:
    """Return the alias of each regime that a prompt shows; its id is the only one."""
    return tuple((alias, (one.id,)) for alias, one in remembered_regimes(given).items())


def forecast_lines(given: EpochInput, aliases: Aliases) -> str:
    """Return how it was forecast and how well, rates from when to when, and regimes; `none` without a forecast."""
    forecast = given.forecast
    if forecast is None:
        return "none"
    begins_at_s = given.begins_at_s if given.begins_at_s is not None else given.now_s
    ends_at_s = begins_at_s + given.settings.epoch_slots * given.settings.slot_s
    head = f"by {forecast.method}, error {figure(forecast.error)}, plain {figure(forecast.plain_error)}"
    regimes = [
        f"{alias} {_when(forecast, one, begins_at_s)}: rates {_rates(one.rates, aliases)}"
        for alias, one in remembered_regimes(given).items()
    ]
    return "\n".join([head, *_stretches(forecast, begins_at_s, ends_at_s, aliases), *regimes])


def _when(forecast: Forecast, regime: Regime, begins_at_s: float) -> str:
    """Return since when a regime is, or when it is expected, seconds after the epoch's begin."""
    if regime.id == forecast.regime:
        since = forecast.since_s
        return "now" if since is None else f"now since {figure(since - begins_at_s)}"
    one = forecast.coming
    assert one is not None, "a regime that is not now is shown because it comes"
    early, late = figure(one.low_at_s - begins_at_s), figure(one.high_at_s - begins_at_s)
    return f"at {figure(one.at_s - begins_at_s)} ({early} to {late}), kept {one.seen}, missed {one.missed}"


def _stretches(forecast: Forecast, begins_at_s: float, ends_at_s: float, aliases: Aliases) -> list[str]:
    """Return a line for each stretch of the epoch: from when to when, requests a minute over all sites."""
    spans = sorted({(max(r.from_s, begins_at_s), min(r.until_s, ends_at_s)) for r in forecast.rates})
    lines = []
    for from_s, until_s in [one for one in spans if one[0] < one[1]][:STRETCHES_MOST]:
        per_s: dict[str, float] = {}
        for r in forecast.rates:
            if r.from_s <= from_s < r.until_s:
                per_s[r.model] = per_s.get(r.model, 0.0) + r.per_s
        words = _rates([Rate(model=m, per_s=rate) for m, rate in per_s.items()], aliases)
        lines.append(f"{figure(from_s - begins_at_s)} to {figure(until_s - begins_at_s)}: rates {words}")
    return lines


def _rates(rates: Sequence[Rate], aliases: Aliases) -> str:
    """Return requests a minute of each alias that has some."""
    names: Mapping[str, str] = by_id(aliases.models)
    found: dict[str, float] = {}
    for rate in rates:
        if rate.model in names:
            found[names[rate.model]] = found.get(names[rate.model], 0.0) + MINUTE_S * rate.per_s
    return " ".join(f"{alias} {figure(found[alias])}" for alias in sorted(found) if figure(found[alias]) != "0") or "0"
