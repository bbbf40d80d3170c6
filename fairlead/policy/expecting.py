"""Rates carried into the future in several ways, and how far each way has been off so far.

Arrivals are counted per model and slot. The ways are of the plainest kind: an exponential mean, Holt's damped trend
(Gardner and McKenzie, "Forecasting trends in time series", Management Science 31, 1985), and means by time of day.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from fairlead.contracts.forecasts import ForecastMethod
from fairlead.policy.arrays import Floats

DAMPING = 0.9
"""Of the trend, for each slot ahead: the value that Gardner and McKenzie found to do well over 1001 series."""

TREND_SLOTS = 20.0
"""Half-life of the slope: five times that of the level, so that the noise of a few slots is no trend. Own choice."""

BIN_S = 1800.0
"""Means by time of day are taken over half hours."""

DAY_BINS = 48

DAY_GAIN = 0.3
"""Weight of the newest day in a mean by time of day: a week is remembered."""

ERROR_SLOTS = 240.0
"""Half-life of measured errors: two hours."""

LEAST_CHECKED = 10.0
"""So many forecasts must have been checked before one of their kind is used: those of an epoch."""

BETTER = 0.98
"""A way is used where its error is at most this share of the plain rate's: less could be chance."""

Z80 = 1.2816
"""An 80 % interval of a normal variable reaches so many standard deviations to either side."""


def aged(half_life_slots: float, slots: float = 1.0) -> float:
    """Return the share of an exponential mean that new values take after `slots`."""
    return float(1.0 - 2.0 ** (-slots / half_life_slots))


class Rates:
    """The plain rate, its trend and its means by time of day, of [m] models; arrivals a slot."""

    def __init__(self, models: int, start: float, half_life_slots: float) -> None:
        """Begin with `start` arrivals a slot."""
        self.level: Floats = np.full(models, start)
        self._slope: Floats = np.zeros(models)
        self._gain = aged(half_life_slots)
        self._bins: Floats = np.full((DAY_BINS, models), np.nan)
        self._now = (-1, 0.0, np.zeros(models))
        """The bin that is being counted: its number since the origin, slots and arrivals so far."""

    def seen(self, counts: Floats, at_s: float) -> None:
        """Take the arrivals of a slot that began at `at_s`."""
        step = self._gain * (counts - self.level)
        self.level = self.level + step
        self._slope = self._slope + aged(TREND_SLOTS) * (step - self._slope)
        number = int(at_s // BIN_S)
        if number != self._now[0]:
            self._close()
            self._now = (number, 0.0, np.zeros_like(counts))
        self._now = (number, self._now[1] + 1.0, self._now[2] + counts)

    def _close(self) -> None:
        number, slots, counts = self._now
        if slots > 0:
            before, mean = self._bins[number % DAY_BINS], counts / slots
            self._bins[number % DAY_BINS] = np.where(np.isnan(before), mean, before + DAY_GAIN * (mean - before))

    def trend(self, slots: float) -> Floats:
        """Return the mean rate over the next `slots` if the trend goes on, less and less."""
        ahead = np.arange(1, int(slots) + 1)
        reach = np.mean(np.cumsum(DAMPING**ahead)) if len(ahead) else 0.0
        return np.maximum(0.0, self.level + reach * self._slope)

    def daily(self, at_s: float) -> Floats:
        """Return the rate as at this time of other days; where there was none, the plain one."""
        mean = self._bins[int(at_s // BIN_S) % DAY_BINS]
        return np.where(np.isnan(mean), self.level, mean)


def edges(now_s: float, until_s: float) -> list[float]:
    """Return the instants between which means by time of day stay the same."""
    found = [now_s]
    while (edge_s := BIN_S * (found[-1] // BIN_S + 1)) < until_s:
        found.append(edge_s)
    return [*found, until_s]


@dataclass(slots=True)
class Record:
    """How one way of forecasting has done."""

    checked: float = 0.0
    off: float = 0.0
    """Σ |arrived − expected|, faded."""
    arrived: float = 0.0
    excess: float = 0.0
    """Σ (arrived − expected)² − arrived: what is left of the squared error beside the chance of arrivals."""
    square: float = 0.0
    """Σ expected²."""

    @property
    def error(self) -> float | None:
        """Return the mean absolute error over the mean; None before anything was checked."""
        return self.off / self.arrived if self.arrived > 0 else None

    @property
    def spread(self) -> float:
        """Return the standard deviation of the rate over the expected one, as measured."""
        return float(np.sqrt(max(0.0, self.excess / self.square))) if self.square > 0 else 0.0


class Records:
    """Checks what was expected of the next slots against what came."""

    def __init__(self, horizon: int) -> None:
        """Begin with nothing expected; each forecast is of the `horizon` slots that follow."""
        self._horizon = horizon
        self._open: deque[tuple[Mapping[ForecastMethod, Floats], Floats]] = deque()
        self.of: dict[ForecastMethod, Record] = {}

    def seen(self, counts: Floats) -> None:
        """Take the arrivals of a slot; check what was expected of the slots that it ends."""
        for _, arrived in self._open:
            arrived += counts
        if len(self._open) == self._horizon:
            expected, arrived = self._open.popleft()
            for method, what in expected.items():
                self._check(self.of.setdefault(method, Record()), what, arrived)

    def expect(self, expected: Mapping[ForecastMethod, Floats]) -> None:
        """Keep what each way expects to arrive over the next slots."""
        models = len(next(iter(expected.values())))
        self._open.append((expected, np.zeros(models)))

    def _check(self, record: Record, expected: Floats, arrived: Floats) -> None:
        keep = 1.0 - aged(ERROR_SLOTS)
        record.checked = keep * record.checked + 1.0
        record.off = keep * record.off + float(np.abs(arrived - expected).sum())
        record.arrived = keep * record.arrived + float(arrived.sum())
        record.excess = keep * record.excess + float(((arrived - expected) ** 2 - arrived).sum())
        record.square = keep * record.square + float((expected**2).sum())

    def best(self) -> ForecastMethod:
        """Return the way of least error, the plain one where no other is clearly better; of equal ones the last."""
        plain = self.of.get("plain", Record())
        if plain.checked < LEAST_CHECKED or plain.error is None:
            return "plain"
        most = BETTER * plain.off
        found: ForecastMethod = "plain"
        for method, record in self.of.items():
            if method != "plain" and record.off <= most:
                found, most = method, record.off
        return found
