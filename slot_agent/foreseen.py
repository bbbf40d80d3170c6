"""What the slot agent foresees of demand, for its own decisions, for the planner's, and to wake that one early."""

from collections.abc import Sequence

from fairlead.contracts.cluster import Cluster
from fairlead.contracts.decisions import DecisionRecord, SlotInput, Snapshot
from fairlead.contracts.events import Wake
from fairlead.contracts.forecasts import Forecast, Knowledge, SlotArrivals
from fairlead.contracts.notes import Note
from fairlead.contracts.plans import Rate
from fairlead.contracts.readings import GatewayReport
from fairlead.contracts.settings import Settings
from fairlead.policy.foreseeing import Foreseeing
from fairlead.policy.note_watch import NoteWatch
from slot_agent.metrics import SlotMetrics
from slot_agent.occasion import Occasion, Trigger


class Foreseen:
    """Keeps the forecast in step with what is read for decisions; another cluster is another forecast."""

    def __init__(self, settings: Settings, metrics: SlotMetrics) -> None:
        self._settings = settings
        self._metrics = metrics
        self._of: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
        """Models and sites that are forecast."""
        self._foreseeing: Foreseeing | None = None
        self._watch: NoteWatch | None = None
        self._kept = Knowledge()
        """What the store has of it."""

    def seen(
        self, occasion: Occasion, cluster: Cluster, snapshot: Snapshot, gateways: Sequence[GatewayReport]
    ) -> Wake | None:
        """Count what gateways have reported; return what wakes the planner, if something has changed."""
        foreseeing = self._about(cluster)
        now_s = snapshot.taken_at_s
        if occasion.trigger == "slot":
            foreseeing.slot_begins(occasion.slot, gateways)
        elif occasion.trigger == "event" and not occasion.forced:
            foreseeing.look(now_s, gateways)
        foreseeing.seen(snapshot)
        cause = foreseeing.cause(now_s)
        if cause is None or not cluster.models:
            return None
        self._metrics.changes.labels(reason=cause).inc()
        return Wake(model=cluster.models[0].id, reason="changed", site=None, wait_s=0.0, at_s=now_s)

    def look_out(self, cluster: Cluster, notes: Sequence[Note], rates: Sequence[Rate], now_s: float) -> None:
        """Have the forecast recognise what operators have said once it comes true; `rates` are those learned."""
        foreseeing = self._about(cluster)
        if self._watch is not None:
            foreseeing.foresight.expect(self._watch.active(notes, rates, now_s))

    def given(self, trigger: Trigger, now_s: float) -> tuple[tuple[SlotArrivals, ...], Forecast | None]:
        """Return the newest arrivals and the forecast, to a slot; to others the forecast, if they decide by it."""
        if self._foreseeing is None:
            return (), None
        if trigger != "slot":
            return (), self._foreseeing.forecast(now_s) if self._settings.controller.forecast else None
        forecast = self._foreseeing.forecast(now_s)
        if forecast.error is not None and forecast.plain_error is not None:
            self._metrics.forecast_error.labels(method="used").set(forecast.error)
            self._metrics.forecast_error.labels(method="plain").set(forecast.plain_error)
        return self._foreseeing.recent, forecast

    def news(self) -> Knowledge | None:
        """Return what was learned of recurring demand, if it is more than before."""
        known = Knowledge() if self._foreseeing is None else self._foreseeing.foresight.knowledge()
        if known == self._kept:
            return None
        self._kept = known
        return known

    def resume(self, record: DecisionRecord | None, cluster: Cluster, knowledge: Knowledge) -> None:
        """Go on from what was learned and what the newest line of the journal knew, where nothing was counted yet."""
        given = None if record is None else record.input
        if self._foreseeing is None:
            self._kept = knowledge
        foresight = self._about(cluster).foresight
        if not isinstance(given, SlotInput) or not given.recent or foresight.next_slot > 0:
            return
        for slot in range(given.recent[0].slot, given.slot):
            foresight.ended(slot, tuple(one for one in given.recent if one.slot == slot))

    def _about(self, cluster: Cluster) -> Foreseeing:
        """Return what forecasts this cluster; what was learned of the models is kept where others come or go."""
        mine = tuple(m.id for m in cluster.models), tuple(s.id for s in cluster.sites)
        if self._foreseeing is None or mine != self._of:
            knowledge = self._kept if self._foreseeing is None else self._foreseeing.foresight.knowledge()
            settings = self._settings
            self._of = mine
            self._watch = NoteWatch(cluster, settings.controller.slot_s)
            self._foreseeing = Foreseeing(cluster, settings.controller, settings.clock_origin_s, knowledge)
        return self._foreseeing
