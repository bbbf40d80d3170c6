"""What is expected to arrive, and the counts that say so (CONTROL §3)."""

from typing import Annotated, Literal

from pydantic import Field

from fairlead.contracts.base import Count, Id, Instant, Many, Message, Seconds

ForecastMethod = Literal["plain", "trend", "daily", "regime", "timetable", "told"]
"""`plain`: the learned rate goes on; `trend`: it goes on changing; `daily`: as at this time of other days; `regime`: as
in a remembered one that is recognised; `timetable`: as changes have come before; `told`: a person has said so."""


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
