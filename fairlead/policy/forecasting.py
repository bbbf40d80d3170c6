"""What is expected to arrive: a state machine fed with arrivals, slot by slot, that says it with intervals.

It notices changes of demand, recognises regimes it has seen, learns a timetable of them, and carries rates into the
future in several ways, of which that with the least measured error is used. No clock: instants are given.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

from fairlead.contracts.cluster import Cluster
from fairlead.contracts.forecasts import Coming, Forecast, ForecastMethod, Knowledge, RateForecast, Regime, SlotArrivals
from fairlead.contracts.tuning import PolicySettings
from fairlead.policy.arrays import Floats
from fairlead.policy.expecting import Z80, Rates, Records, aged, edges
from fairlead.policy.recurrence import Recurrence
from fairlead.policy.regimes import FADE_S, Alarm, Detector
from fairlead.policy.timetable import coming

RECENT_SLOTS = 20
"""Slots whose arrivals are kept as they are: ten minutes."""

RECENT_MOST = 2000
"""Of a large cluster so many counts: 0.1 MB in the journal."""

SITE_HALF_LIFE_SLOTS = 120.0
"""Of the shares of the sites in a model's arrivals: an hour, for they say where clients live."""

SITE_START = 1.0
"""Arrivals that each site is taken to have had of each model before anything was seen."""

PRIOR_SLOTS = 1.0
"""The plain rate counts as so many slots of the stretch since a change. Own choice."""

DIGITS = 6
"""Of a rate behind the point: a request in eleven days more or less; a fifth fewer bytes of the journal."""

METHODS: tuple[ForecastMethod, ...] = ("plain", "trend", "daily", "steady", "regime", "timetable")
"""Ways of which the best is used; of equally good ones the last. What is `told` is not measured."""

Piece = tuple[float, float, Floats]
"""From when until when, and the rates of all models there, arrivals a slot."""


class Foresight:
    """Knows what has arrived, and says what will. Feed `ended` each slot once, and `look` as often as wanted."""

    def __init__(
        self, cluster: Cluster, settings: PolicySettings, origin_s: float = 0.0, knowledge: Knowledge | None = None
    ) -> None:
        """Begin with nothing seen, and with what was learned elsewhere; slots count from `origin_s`."""
        self.models = tuple(m.id for m in cluster.models)
        self._sites = tuple(s.id for s in cluster.sites)
        self._places = {m: k for k, m in enumerate(self.models)}
        self._slot_s, self._origin_s = settings.slot_s, origin_s
        self._horizon = settings.epoch_slots
        start = settings.rate_start_per_s * settings.slot_s
        self._rates = Rates(len(self.models), start, settings.rate_half_life_slots)
        self.records = Records(self._horizon)
        """How each way of forecasting has done."""
        self._detector = Detector(len(self.models))
        self._memory = Recurrence(self.models, settings.slot_s, origin_s, knowledge or Knowledge())
        self._recent: deque[tuple[int, tuple[SlotArrivals, ...]]] = deque(maxlen=RECENT_SLOTS)
        self._by_site: Floats = np.full((len(self._sites), len(self.models)), SITE_START)
        self._partial: tuple[Floats, float] = (np.zeros(len(self.models)), 0.0)
        self.next_slot = 0
        """The one whose arrivals are to be told next."""

    def knowledge(self) -> Knowledge:
        """Return what was learned, for another run or after a restart."""
        return self._memory.knowledge()

    def expect(self, regimes: Sequence[Regime]) -> None:
        """Look out for regimes that somebody has said may come, in place of those said before."""
        self._memory.expect(regimes)

    @property
    def recent(self) -> tuple[SlotArrivals, ...]:
        """Return the arrivals of the newest slots, oldest first, as many whole slots as there is room for."""
        kept: list[tuple[SlotArrivals, ...]] = []
        total = 0
        for _, arrived in reversed(self._recent):
            total += len(arrived)
            if total > RECENT_MOST:
                break
            kept.append(arrived)
        return tuple(one for arrived in reversed(kept) for one in arrived)

    @property
    def changed_at_s(self) -> float | None:
        """Return the begin of the stretch that is now, where a change began it."""
        return self._memory.since_s

    def ended(self, slot: int, arrived: Sequence[SlotArrivals]) -> Alarm | None:
        """Take all that arrived in a slot; return the change that is noticed by it.

        Slots that were not told are not taken for silent ones: they are left out.
        """
        counts: Floats = np.zeros(len(self.models))
        fade = 1.0 - aged(SITE_HALF_LIFE_SLOTS)
        self._by_site = SITE_START + fade * (self._by_site - SITE_START)
        for one in arrived:
            if one.model in self._places:
                counts[self._places[one.model]] += one.arrived
                if one.site in self._sites:
                    self._by_site[self._sites.index(one.site), self._places[one.model]] += one.arrived
        self._recent.append((slot, tuple(arrived)))
        self.records.seen(counts)
        self._rates.seen(counts, self._at_s(slot))
        self._memory.seen(slot, counts)
        self.next_slot = slot + 1
        self._partial = (np.zeros(len(self.models)), 0.0)
        alarm = self._noticed(self._detector.seen(counts))
        self.records.expect(self._expected())
        return alarm

    def look(self, now_s: float, arrived: Mapping[str, float]) -> Alarm | None:
        """Take what has arrived since the begin of the slot that is now; return the change that is noticed by it."""
        counts: Floats = np.array([float(arrived.get(m, 0)) for m in self.models])
        share = min(1.0, max(0.0, (now_s - self._at_s(self.next_slot)) / self._slot_s))
        if share == 0.0:
            return None
        self._partial = (counts, share)
        return self._noticed(self._detector.look(counts, share))

    def _noticed(self, alarm: Alarm | None) -> Alarm | None:
        """Begin a new stretch where demand has changed; recognise the one that is now."""
        alarm = alarm or self._memory.switched(*self._partial)
        if alarm is not None:
            self._detector.restart(self._memory.changed(int(alarm.slots)))
        self._memory.look(*self._partial)
        return alarm

    @property
    def regime(self) -> Regime | None:
        """Return the remembered regime that is recognised; None where none is for sure."""
        return self._memory.regime

    def coming(self, now_s: float) -> Coming | None:
        """Return the next change that the timetable expects."""
        regime = self._memory.regime
        if regime is None:
            return None
        found = coming(self._memory.changes, regime.id, self._memory.since_s, now_s)
        return found if found is not None and self._memory.named(found.regime) is not None else None

    def forecast(self, now_s: float, until_s: float) -> Forecast:
        """Return what is expected to arrive from now until then, by the way of least measured error."""
        method = self.records.best()
        record, plain = self.records.of.get(method), self.records.of.get("plain")
        regime, next_one = self._memory.regime, self.coming(now_s)
        named = {one.id for one in (regime,) if one is not None} | {
            one.regime for one in (next_one,) if one is not None
        }
        return Forecast(
            made_at_s=now_s,
            until_s=until_s,
            method=_named(method, regime, next_one, until_s),
            rates=self._spread(self._pieces(method, now_s, until_s), record.spread if record is not None else 0.0),
            error=record.error if record is not None else None,
            plain_error=plain.error if plain is not None else None,
            regime=regime.id if regime is not None else "",
            since_s=self._memory.since_s,
            coming=next_one,
            regimes=tuple(one for one in self._memory.regimes if one.id in named),
        )

    def _spread(self, pieces: Sequence[Piece], spread: float) -> tuple[RateForecast, ...]:
        """Return rates by site, with the interval that measured errors of the rate and what was seen of it allow."""
        shares = self._by_site / self._by_site.sum(axis=0)
        found = []
        for s, site in enumerate(self._sites):
            for m, model in enumerate(self.models):
                for from_s, until_s, rates in pieces:
                    per_s = float(rates[m] * shares[s, m]) / self._slot_s
                    seen_s = self._slot_s * (PRIOR_SLOTS + self._memory.slots)
                    off = Z80 * float(np.hypot(spread * per_s, np.sqrt(per_s / seen_s)))
                    found.append(
                        RateForecast(
                            site=site,
                            model=model,
                            from_s=from_s,
                            until_s=until_s,
                            per_s=round(per_s, DIGITS),
                            low_per_s=round(max(0.0, per_s - off), DIGITS),
                            high_per_s=round(per_s + off, DIGITS),
                        )
                    )
        return tuple(found)

    def _expected(self) -> dict[ForecastMethod, Floats]:
        """Return what each way expects to arrive in the slots of the next epoch."""
        now_s = self._at_s(self.next_slot)
        until_s = now_s + self._horizon * self._slot_s
        return {
            method: sum(
                (
                    (end_s - begin_s) / self._slot_s * rates
                    for begin_s, end_s, rates in self._pieces(method, now_s, until_s)
                ),
                np.zeros(len(self.models)),
            )
            for method in METHODS
        }

    def _pieces(self, method: ForecastMethod, now_s: float, until_s: float) -> tuple[Piece, ...]:
        """Return the rates that a way expects from now until then."""
        match method:
            case "trend":
                return ((now_s, until_s, self._rates.trend((until_s - now_s) / self._slot_s)),)
            case "daily":
                return tuple((a, b, self._rates.daily(a)) for a, b in pairwise(edges(now_s, until_s)))
            case "steady":
                return ((now_s, until_s, self._steady()),)
            case "regime":
                return ((now_s, until_s, self._recognised()),)
            case "timetable":
                next_one = self.coming(now_s)
                if next_one is None or next_one.at_s >= until_s:
                    return ((now_s, until_s, self._recognised()),)
                then = (next_one.at_s, until_s, self._of(self._memory.named(next_one.regime)))
                return (then,) if next_one.at_s <= now_s else ((now_s, next_one.at_s, self._recognised()), then)
            case _:
                return ((now_s, until_s, self._rates.level),)

    def _steady(self) -> Floats:
        """Return the mean since the newest change."""
        counts, share = self._partial
        seen = self._memory.counts + counts + PRIOR_SLOTS * self._rates.level
        return seen / (self._memory.slots + share + PRIOR_SLOTS)

    def _recognised(self) -> Floats:
        """Return the rates of the regime that is recognised; where none is, as `steady`."""
        regime = self._memory.regime
        if regime is None:
            return self._steady()
        known, (counts, share) = min(regime.seen_s, FADE_S) / self._slot_s, self._partial
        seen = self._memory.counts + counts + known * self._of(regime)
        return seen / (self._memory.slots + share + known)

    def _of(self, regime: Regime | None) -> Floats:
        """Return the rates of a regime, arrivals a slot."""
        rates = {r.model: r.per_s for r in regime.rates} if regime is not None else {}
        return np.array([rates.get(m, 0.0) * self._slot_s for m in self.models])

    def _at_s(self, slot: int) -> float:
        return self._origin_s + slot * self._slot_s


def _named(method: ForecastMethod, regime: Regime | None, next_one: Coming | None, until_s: float) -> ForecastMethod:
    """Return what a forecast rests on: a timetable without a change that is due is a regime's, or `steady`."""
    if method == "timetable" and (next_one is None or next_one.at_s >= until_s):
        method = "regime"
    return "steady" if method == "regime" and regime is None else method
