"""Whether the gate's twin is believed in a run: as live, predictions are held against what came.

The gate knows what nodes say of themselves. Where that is not so, what it foretells does not come, and nothing that it
lets pass may act (CONTROL §3).
"""

from collections.abc import Callable

from fairlead.contracts.agent_memory import Prediction, Predictions
from fairlead.contracts.decisions import EpochInput, SlotInput
from fairlead.contracts.dialogue import Judge, Judgement
from fairlead.contracts.tuning import WatchdogSettings
from fairlead.policy.twin_error import TwinError
from fairlead.policy.worth import chosen_trial
from fairlead.twin.talking import Arbiter

Met = Callable[[float, float], tuple[int, float]]
"""Of the requests that were sent from an instant to another: how many have ended, and their latencies together."""


class Doubt:
    """An arbiter that is believed as long as it is right."""

    def __init__(self, judge: Arbiter, met: Met) -> None:
        """Have `judge` judge; `met` tells what came."""
        self._judge = judge
        self._met = met
        self._slot, self._epoch = (TwinError(WatchdogSettings(), Predictions()) for _ in range(2))

    def __call__(self, asked: SlotInput | EpochInput, proposal: Judge, fresh: bool) -> Judgement:
        """Return a judgement; `wrong` where predictions were off by more than they said."""
        error = self._slot if isinstance(asked, SlotInput) else self._epoch
        for one in error.due(asked.now_s - asked.settings.slot_s):
            error.measured(one, *self._met(one.at_s, one.until_s))
        found = error.doubted(self._judge(asked, proposal, fresh))
        said = chosen_trial(found)
        latency_s = None if said is None else said.latency_s if found.code == "no-worse" else said.fallback_latency_s
        if latency_s is not None:
            until_s = asked.now_s + found.horizon_s
            error.predicted(Prediction(at_s=asked.now_s, until_s=until_s, latency_s=latency_s))
        return found
