"""What is expected to arrive, and the counts that say so (CONTROL §3)."""

from typing import Annotated, Literal

from pydantic import Field

from fairlead.contracts.base import Count, Id, Instant, Many, Message, Name, Seconds
from fairlead.contracts.plans import Rate

ForecastMethod = Literal["plain", "trend", "daily", "steady", "regime", "timetable", "told"]
"""`plain`: the learned rate goes on; `trend`: it goes on changing; `daily`: as at this time of other days; `steady`: as
on average since the newest change; `regime`: as in a remembered one that is recognised; `timetable`: as changes have
come before; `told`: a person has said so."""


class SlotArrivals(Message):
    """Requests of a model that came to a site within a slot; what is not named was none."""

    slot: Count
    site: Id
    model: Id
    arrived: Annotated[int, Field(ge=1)]


class RateForecast(Message):
    """What is expected of a model at a site for a stretch of time."""

    site: Id
    model: Id
    from_s: Instant
    until_s: Instant
    per_s: Seconds
    """Mean arrivals a second."""
    low_per_s: Seconds
    high_per_s: Seconds
    """80 % interval of the rate, without the chance of arrivals at that rate."""


class Regime(Message):
    """Rates at which demand has stood for a while, and to which it may come back."""

    id: Name
    rates: Many[Rate]
    """Arrivals a second over all sites, mean; what is not named was none."""
    seen_s: Seconds
    """For so long it was seen in all."""


class Change(Message):
    """A change of regime that was noticed."""

    at_s: Instant
    """As well as it is known: the begin of a slot."""
    before: Name
    after: Name
    began_at_s: Instant | None = None
    """Since when `before` had been; None where its begin was not seen."""


class Coming(Message):
    """A change that the timetable expects."""

    at_s: Instant
    low_at_s: Instant
    high_at_s: Instant
    """So early and so late such a change has come."""
    regime: Name
    """The one that begins."""
    seen: Count
    """So often it has come so."""
    missed: Count
    """So often it was something else that came, or another time."""


class Knowledge(Message):
    """What was learned of recurring demand: it may be kept, and handed to another run."""

    regimes: Many[Regime] = ()
    changes: Many[Change] = ()
    """Oldest first; times of another run say nothing but how long a regime lasts and which one follows."""


class Forecast(Message):
    """What is expected until an instant."""

    made_at_s: Instant
    until_s: Instant
    method: ForecastMethod
    """The one of least measured error, `plain` where no other is better."""
    rates: Many[RateForecast]
    """In order of site, model, time; what is not named is expected at no rate."""
    error: Seconds | None = None
    """Of this method so far: mean absolute error of a model's arrivals over their mean; None while not measured."""
    plain_error: Seconds | None = None
    """Of the plain rate, over the same time."""
    regime: Annotated[str, Field(max_length=64)] = ""
    """Id of the remembered regime that it rests on, if any."""
    since_s: Instant | None = None
    """Begin of the stretch of steady demand that is now: of the newest change that was noticed; None where there has
    been none."""
    coming: Coming | None = None
    """The next change, where the timetable has one within a day, also where `rates` do not rest on it."""
    regimes: Many[Regime] = ()
    """Those that `regime` and `coming` name."""
