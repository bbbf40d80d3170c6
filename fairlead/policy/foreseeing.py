"""What a slot agent knows of demand beyond λ: it counts, looks for changes, and says when to wake the planner."""

from collections.abc import Iterable

from fairlead.contracts.cluster import Cluster
from fairlead.contracts.decisions import Snapshot
from fairlead.contracts.forecasts import Forecast, Knowledge, SlotArrivals
from fairlead.contracts.readings import GatewayReport
from fairlead.contracts.tuning import PolicySettings
from fairlead.policy.alarms import Alarms, Cause
from fairlead.policy.counting import Turnstile
from fairlead.policy.forecasting import Foresight

EPOCHS_AHEAD = 2
"""A forecast reaches so many epochs ahead: to the end of the one that comes, whenever it is asked about."""


class Foreseeing:
    """Feeds the forecast and the alarms from what a slot agent reads anyway."""

    def __init__(
        self, cluster: Cluster, settings: PolicySettings, origin_s: float = 0.0, knowledge: Knowledge | None = None
    ) -> None:
        """Begin with nothing seen, and with what was learned elsewhere."""
        self.foresight = Foresight(cluster, settings, origin_s, knowledge)
        self._turnstile = Turnstile(self.foresight)
        self._alarms = Alarms(settings.wake_cool_down_s)
        self._for_s = EPOCHS_AHEAD * settings.epoch_slots * settings.slot_s

    def slot_begins(self, slot: int, reports: Iterable[GatewayReport]) -> None:
        """Count what has come in the slots before."""
        if self._turnstile.slot_begins(slot, reports) is not None:
            self._alarms.demand()

    def look(self, now_s: float, reports: Iterable[GatewayReport]) -> None:
        """Look at what has come in this slot so far."""
        if self._turnstile.look(now_s, reports) is not None:
            self._alarms.demand()

    def seen(self, snapshot: Snapshot) -> None:
        """Look at the health of the nodes."""
        self._alarms.seen(snapshot)

    def cause(self, now_s: float) -> Cause | None:
        """Return why the planner is to be asked early now, if it is."""
        return self._alarms.due(now_s)

    @property
    def recent(self) -> tuple[SlotArrivals, ...]:
        """Return the arrivals of the newest slots."""
        return self.foresight.recent

    def forecast(self, now_s: float) -> Forecast:
        """Return what is expected until the epoch that comes has ended."""
        return self.foresight.forecast(now_s, now_s + self._for_s)
