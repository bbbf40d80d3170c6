"""The watchdog: after a proposal was accepted, whether what came of it is as it was expected (CONTROL §3).

It looks once a slot. While a proposal acts, and as long as the twin had played it ahead, the work that waits, the share
of timely requests and the mean latency must stay within bounds; else the fallback acts for some slots, and the cases
that the proposal cites are to be quarantined. That it was the proposal is not known, only that it is better to do
without one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from fairlead.contracts.cases import ModelTally
from fairlead.contracts.cluster import Cluster
from fairlead.contracts.decisions import Snapshot
from fairlead.contracts.tuning import WatchdogSettings

CALM_SLOTS = 6
"""What was before is measured over so many slots: requests are judged a deadline after they arrived, which is two slots
(CONTROL §1), so that four count."""


TripCode = Literal["backlog", "timely", "latency"]


@dataclass(frozen=True, slots=True)
class Vitals:
    """How the cluster does."""

    at_s: float
    backlog_s: float | None
    """Work that waits or runs, over the speed that is up; None while no node is."""
    judged: int
    """Requests that arrived early enough to be judged."""
    timely: int
    counted: int
    """Requests whose latency is known."""
    latency_sum_s: float

    @property
    def latency_s(self) -> float:
        """Mean latency; 0 without any request."""
        return self.latency_sum_s / self.counted if self.counted else 0.0


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


@dataclass(frozen=True, slots=True)
class Accepted:
    """A proposal that acts."""

    at_s: float
    until_s: float
    """So far the twin has played it ahead."""
    latency_s: float | None
    """Mean latency that the twin predicted; None where it did not say."""
    cited: tuple[str, ...]
    """Cases that it rests on."""


@dataclass(frozen=True, slots=True)
class Trip:
    """What is out of bounds, and what follows from it."""

    code: TripCode
    text: str
    cited: tuple[str, ...]
    """Cases to be quarantined."""
    until_s: float
    """Until then the fallback acts."""


class Watchdog:
    """Watches what was accepted, one stretch after another; a stretch goes on as long as proposals follow closely."""

    def __init__(self, settings: WatchdogSettings, slot_s: float) -> None:
        self.trips = 0
        self.last: Trip | None = None
        self._settings = settings
        self._slot_s = slot_s
        self._calm: Vitals | None = None
        """As it was before the stretch."""
        self._accepted: Accepted | None = None
        """The newest of the stretch."""
        self._since_s = 0.0
        """When the stretch began."""
        self._cited: tuple[str, ...] = ()
        """Of the whole stretch."""

    def accepted(self, one: Accepted) -> None:
        """Watch a proposal that acts from now on."""
        if self._accepted is None:
            self._since_s, self._cited = one.at_s, ()
        self._accepted = one
        self._cited = tuple(dict.fromkeys((*self._cited, *one.cited)))

    def window_s(self, now_s: float) -> tuple[float, float]:
        """Return of which arrivals the next look has to know what became: from when, until when."""
        since_s = now_s - CALM_SLOTS * self._slot_s
        return (max(self._since_s, since_s), now_s) if self._accepted is not None else (since_s, now_s)

    def looked(self, now: Vitals) -> Trip | None:
        """Return what is out of bounds now, if something acts and anything is."""
        watched = self._accepted
        if watched is not None and now.at_s >= watched.until_s:
            watched = self._accepted = None
        if watched is None:
            self._calm = now
            return None
        found = self._out_of_bounds(watched, now)
        if found is None:
            return None
        code, text = found
        self.trips += 1
        self.last = Trip(code, text, self._cited, now.at_s + self._settings.slots * self._slot_s)
        self._accepted = None
        return self.last

    def holds(self, now_s: float) -> str:
        """Return why nothing may act at `now_s`; empty where it may."""
        return f"{self.last.code}: {self.last.text}" if self.last is not None and now_s < self.last.until_s else ""

    def _out_of_bounds(self, watched: Accepted, now: Vitals) -> tuple[TripCode, str] | None:
        limits, calm = self._settings, self._calm
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
