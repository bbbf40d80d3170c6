"""How far the twin's predictions are from what came: a twin that is wrong is not believed (CONTROL §3)."""

from fairlead.contracts.agent_memory import Prediction, Predictions
from fairlead.contracts.dialogue import Judgement
from fairlead.contracts.tuning import WatchdogSettings

REMEMBERED = 24
"""Predictions that the error is a mean over: with one a slot, the last twelve minutes."""

OPEN_MOST = 64
"""Predictions that wait to be measured; older ones are dropped. One a slot over five minutes are ten."""

LEAST_S = 1.0
"""Errors are relative to what was predicted, or to this where that is less: half the shortest work of `city7`."""


class TwinError:
    """Keeps predictions until their window is over, and the mean error of the newest that were measured."""

    def __init__(self, settings: WatchdogSettings, kept: Predictions) -> None:
        """`kept` is the `state` that another one has left."""
        self.state = kept
        self._settings = settings

    def predicted(self, one: Prediction) -> None:
        """Keep a prediction."""
        self.state = self.state.model_copy(update={"open": (*self.state.open, one)[-OPEN_MOST:]})

    def due(self, now_s: float) -> tuple[Prediction, ...]:
        """Return the predictions whose window is over and that were not measured yet."""
        return tuple(one for one in self.state.open if one.until_s <= now_s)

    def measured(self, one: Prediction, requests: int, latency_sum_s: float) -> None:
        """Take note of what came: requests of the window whose latency is known, and their latencies together.

        Too few requests say nothing.
        """
        rest = tuple(other for other in self.state.open if other != one)
        self.state = self.state.model_copy(update={"open": rest})
        if requests < self._settings.least_requests:
            return
        error = abs(latency_sum_s / requests - one.latency_s) / max(one.latency_s, LEAST_S)
        self.state = self.state.model_copy(update={"errors": (*self.state.errors, error)[-REMEMBERED:]})

    @property
    def error(self) -> float | None:
        """Mean error, relative to what was predicted; None while too few are known."""
        errors = self.state.errors
        if len(errors) < self._settings.least_predictions:
            return None
        return sum(errors) / len(errors)

    def wrong(self) -> str:
        """Return why the twin is not believed; empty where it is."""
        error = self.error
        if error is None or error <= self._settings.error_ratio:
            return ""
        return f"predictions were off by {error:.2f} of what they said, at most {self._settings.error_ratio:.2f} is let"

    def doubted(self, said: Judgement) -> Judgement:
        """Return a judgement as it counts: `wrong` where the twin played something and is not believed."""
        why = self.wrong()
        return said.model_copy(update={"code": "wrong", "text": why}) if why and said.trials else said
