"""The watchdog: after a proposal was accepted, whether what came of it is as it was expected (CONTROL §3).

It looks once a slot. While a proposal acts, and as long as the twin had played it ahead, the work that waits, the share
of timely requests and the mean latency must stay within bounds; else the fallback acts for some slots, and the cases
that the proposal cites are to be quarantined. That it was the proposal is not known, only that it is better to do
without one.
"""

from collections.abc import Sequence

from fairlead.contracts.agent_memory import Acting, Trip, TripCode, Vitals, Watch
from fairlead.contracts.cases import ModelTally
from fairlead.contracts.cluster import Cluster
from fairlead.contracts.decisions import Snapshot
from fairlead.contracts.tuning import WatchdogSettings

CALM_SLOTS = 6
"""What was before is measured over so many slots: requests are judged a deadline after they arrived, which is two slots
(CONTROL §1), so that four count."""


def vitals(snapshot: Snapshot, cluster: Cluster, tallies: Sequence[ModelTally]) -> Vitals:
    """Return how the cluster does by a snapshot, and by what became of the requests of a window."""
    work_s = {model.id: model.work_s for model in cluster.models}
    up = [node for node in snapshot.nodes if node.up]
    waiting_s = sum(pod.work_s for node in up for pod in node.pods)
    waiting_s += sum(view.held * work_s.get(view.model, 0.0) for view in snapshot.models)
    speed = sum(node.speed for node in up)
    return Vitals(
        at_s=snapshot.taken_at_s,
        backlog_s=waiting_s / speed if speed else None,
        judged=sum(tally.judged for tally in tallies),
        timely=sum(tally.timely for tally in tallies),
        counted=sum(tally.counted for tally in tallies),
        latency_sum_s=sum(tally.latency_sum_s for tally in tallies),
    )


class Watchdog:
    """Watches what was accepted, one stretch after another; a stretch goes on as long as proposals follow closely."""

    def __init__(self, settings: WatchdogSettings, slot_s: float, kept: Watch) -> None:
        """`kept` is the `state` that another one has left."""
        self.state = kept
        self._settings = settings
        self._slot_s = slot_s

    def accepted(self, one: Acting) -> None:
        """Watch a proposal that acts from now on."""
        before = self.state.accepted
        goes_on = before is not None and one.at_s < before.until_s
        since_s, cited = (self.state.since_s, self.state.cited) if goes_on else (one.at_s, ())
        update = {"accepted": one, "since_s": since_s, "cited": tuple(dict.fromkeys((*cited, *one.cited)))}
        self.state = self.state.model_copy(update=update)

    def window_s(self, now_s: float) -> tuple[float, float]:
        """Return of which arrivals the next look has to know what became: from when, until when."""
        since_s = now_s - CALM_SLOTS * self._slot_s
        return (max(self.state.since_s, since_s), now_s) if self.state.accepted is not None else (since_s, now_s)

    def looked(self, now: Vitals) -> Trip | None:
        """Return what is out of bounds now, if something acts and anything is."""
        watched = self.state.accepted
        if watched is not None and now.at_s <= self.state.since_s:
            return None  # seen before it acted
        if watched is None or now.at_s >= watched.until_s:
            self.state = self.state.model_copy(update={"accepted": None, "calm": now})
            return None
        found = self._out_of_bounds(watched, now)
        if found is None:
            return None
        code, text = found
        until_s = now.at_s + self._settings.slots * self._slot_s
        trip = Trip(code=code, text=text, cited=self.state.cited, until_s=until_s)
        pending = (*self.state.pending, trip) if trip.cited else self.state.pending
        update = {"trips": self.state.trips + 1, "last": trip, "accepted": None, "pending": pending}
        self.state = self.state.model_copy(update=update)
        return trip

    def quarantined(self, trip: Trip) -> None:
        """Note that the cases of a trip are quarantined."""
        rest = tuple(other for other in self.state.pending if other != trip)
        self.state = self.state.model_copy(update={"pending": rest})

    def rests(self) -> None:
        """Watch nothing while nobody may propose: what acted is taken back, and what was before it is long ago."""
        self.state = self.state.model_copy(update={"accepted": None, "calm": None})

    def holds(self, now_s: float) -> str:
        """Return why nothing may act at `now_s`; empty where it may."""
        last = self.state.last
        return f"{last.code}: {last.text}" if last is not None and now_s < last.until_s else ""

    def _out_of_bounds(self, watched: Acting, now: Vitals) -> tuple[TripCode, str] | None:
        limits, calm = self._settings, self.state.calm
        if calm is not None and calm.at_s < self.state.since_s - CALM_SLOTS * self._slot_s:
            calm = None  # too long ago to be what was before
        if calm is not None and calm.backlog_s is not None and now.backlog_s is not None:
            most_s = limits.backlog_ratio * calm.backlog_s + limits.backlog_s
            if now.backlog_s > most_s:
                return "backlog", f"{now.backlog_s:.1f} s of work wait, {calm.backlog_s:.1f} s did before it acted"
        least = limits.least_requests
        if calm is not None and min(calm.judged, now.judged) >= least:
            before, share = calm.timely / calm.judged, now.timely / now.judged
            if share < before - limits.timely_drop:
                return "timely", f"{share:.2f} of {now.judged} requests are timely, {before:.2f} were before it acted"
        if watched.latency_s is None or now.counted < least:
            return None
        if now.latency_s <= limits.latency_ratio * watched.latency_s + limits.latency_s:
            return None
        words = f"{now.counted} requests took {now.latency_s:.1f} s, {watched.latency_s:.1f} s were predicted"
        return "latency", words
