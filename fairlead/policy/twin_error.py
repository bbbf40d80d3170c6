"""How far the twin's predictions are from what came: a twin that is wrong is not believed (CONTROL §3)."""

from collections import deque
from dataclasses import dataclass

from fairlead.contracts.tuning import WatchdogSettings

REMEMBERED = 24
"""Predictions that the error is a mean over: with one a slot, the last twelve minutes."""

OPEN_MOST = 64
"""Predictions that wait to be measured; older ones are dropped. One a slot over five minutes are ten."""

LEAST_S = 1.0
"""Errors are relative to what was predicted, or to this where that is less: half the shortest work of `city7`."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the twin expects of the requests that arrive in a window, as it was decided then."""

    at_s: float
    until_s: float
    latency_s: float
    """Mean."""


class TwinError:
    """Keeps predictions until their window is over, and the mean error of the newest that were measured."""

    def __init__(self, settings: WatchdogSettings) -> None:
        self._settings = settings
        self._open: deque[Prediction] = deque(maxlen=OPEN_MOST)
        self._errors: deque[float] = deque(maxlen=REMEMBERED)

    def predicted(self, one: Prediction) -> None:
        """Keep a prediction."""
        self._open.append(one)

    def due(self, now_s: float) -> tuple[Prediction, ...]:
        """Return, once, the predictions whose window is over."""
        over = tuple(one for one in self._open if one.until_s <= now_s)
        for one in over:
            self._open.remove(one)
        return over

    def measured(self, one: Prediction, requests: int, latency_sum_s: float) -> None:
        """Take note of what came: requests of the window whose latency is known, and their latencies together.

        Too few requests say nothing.
        """
        if requests < self._settings.least_requests:
            return
        self._errors.append(abs(latency_sum_s / requests - one.latency_s) / max(one.latency_s, LEAST_S))

    @property
    def error(self) -> float | None:
        """Mean error, relative to what was predicted; None while too few are known."""
        if len(self._errors) < self._settings.least_predictions:
            return None
        return sum(self._errors) / len(self._errors)

    def wrong(self) -> str:
        """Return why the twin is not believed; empty where it is."""
        error = self.error
        if error is None or error <= self._settings.error_ratio:
            return ""
        return f"predictions were off by {error:.2f} of what they said, at most {self._settings.error_ratio:.2f} is let"
