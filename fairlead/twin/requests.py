"""A request from its client's call to its end, and the books that know where each one is."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from fairlead.contracts.cluster import Cluster

Place = Literal["transfer", "held", "queued", "running"]
"""Where an open request is: the middle terms of DESIGN §8, invariant 1; on the way in, on and back is `transfer`."""

Fate = Literal["finished", "failed", "refused"]
"""`failed`: lost with its pod twice; `refused`: no pod had it within the time that it may wait."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request as the demand has it."""

    at_s: float
    """When its client sends it, domain seconds from the beginning."""
    site: str
    model: str
    work_s: float
    """Seconds of a node of speed 1; policies know the mean alone."""


@dataclass(slots=True, eq=False)
class Request:
    """One request and what has become of it."""

    number: int
    """Order of arrival in the demand, from 0."""
    arrival: Arrival
    place: Place = "transfer"
    node: str = ""
    """Where its ticket is or was sent last; empty before."""
    attempts: int = 0
    """Tickets that were sent for it."""
    refusals: int = 0
    """In a row."""
    sent_again: bool = False
    """It had been started and was lost: that is put right once."""
    entered_at_s: float = 0.0
    """When it came to its ingress."""
    expires_at_s: float = float("inf")
    """From then on it waits no longer."""
    held_at_s: float | None = None
    ended_at_s: float | None = None
    fate: Fate | None = None
    """None while it is open."""


class Books:
    """Where every request is."""

    def __init__(self) -> None:
        self.open: dict[int, Request] = {}
        self.arrived = 0
        self.places: Counter[Place] = Counter()
        self.fates: Counter[Fate] = Counter()
        self.present_s = 0.0
        """∫ N dt: what Little's law equals with the sum of all stays."""
        self._at_s = 0.0

    def pass_to(self, now_s: float) -> None:
        """Count the time up to now."""
        self.present_s += len(self.open) * (now_s - self._at_s)
        self._at_s = now_s

    def arrive(self, request: Request) -> None:
        """Take a request in."""
        self.open[request.number] = request
        self.arrived += 1
        self.places[request.place] += 1

    def move(self, request: Request, place: Place) -> None:
        """Note where a request is now."""
        self.places[request.place] -= 1
        self.places[place] += 1
        request.place = place

    def end(self, request: Request, fate: Fate, now_s: float) -> None:
        """Close a request."""
        del self.open[request.number]
        self.places[request.place] -= 1
        self.fates[fate] += 1
        request.fate, request.ended_at_s = fate, now_s

    def check(self, queued: int, running: int, held: int) -> None:
        """Raise `AssertionError` unless each request is in one place, which knows of it (DESIGN §8, invariant 1)."""
        if self.arrived != sum(self.fates.values()) + len(self.open):
            raise AssertionError(f"{self.arrived} arrived, {dict(self.fates)}, {len(self.open)} open")
        places = Counter(one.place for one in self.open.values())
        if places != +self.places:
            raise AssertionError(f"open requests are {dict(places)}, the books say {dict(self.places)}")
        if (places["queued"], places["running"], places["held"]) != (queued, running, held):
            raise AssertionError(f"{dict(places)}, but nodes and sites have {queued}, {running}, {held}")


@dataclass(frozen=True, slots=True)
class Network:
    """How long bytes are under way, seconds."""

    between_s: Mapping[str, Mapping[str, float]]
    """Site, node: one way."""
    up_s: Mapping[str, float]
    """Model: from the client to its site, with the prompt."""
    down_s: Mapping[str, float]
    """Model: from the site to the client, with the answer."""


def at_once(cluster: Cluster) -> Network:
    """Return a network without delay."""
    nothing = {m.id: 0.0 for m in cluster.models}
    return Network({s.id: {n.id: 0.0 for n in cluster.nodes} for s in cluster.sites}, nothing, nothing)
