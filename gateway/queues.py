"""A pod's queue as its keeper holds it: who waits, who runs, what the node agent last said of the pod."""

import asyncio
from dataclasses import dataclass, field

from fairlead.contracts.ports import PodExchange
from fairlead.contracts.readings import Phase
from fairlead.contracts.tickets import Offer, PodEndpoint, Returned

OVERDUE_RATIO = 0.1
"""A pod past its expected readiness counts as this share of its start delay away, as running work does (CONTROL §2)."""

TicketKey = tuple[str, str, int]
"""Site, request, attempt."""


@dataclass(slots=True, eq=False)
class Entry:
    """One ticket at a keeper."""

    number: int
    """Order of arrival."""
    offer: Offer
    queued_at_s: float
    pod: "Queue"
    verdict: "asyncio.Future[Returned | None] | None" = None
    """Where it waits: None means granted."""
    exchange: PodExchange | None = None
    """Where it runs and the pod has been asked."""
    began_at_s: float | None = None


@dataclass(slots=True, eq=False)
class Queue:
    """One start of a model's pod: first come, first served, at most its concurrency inside."""

    endpoint: PodEndpoint
    waiting: dict[int, Entry] = field(default_factory=dict)
    running: dict[int, Entry] = field(default_factory=dict)
    used_at_s: float | None = None
    suspect: bool = False
    """It did not answer; no offers until the node agent declares it again."""
    gone: bool = False
    """The node agent no longer has it."""

    @property
    def phase(self) -> Phase:
        """Return what the node agent last said."""
        return self.endpoint.phase

    @property
    def is_open(self) -> bool:
        """Return whether it takes offers."""
        return self.endpoint.phase in ("ready", "starting") and not self.suspect and not self.gone

    @property
    def has_place(self) -> bool:
        """Return whether the next ticket would be granted at once."""
        end = self.endpoint
        return end.phase == "ready" and end.url is not None and self.is_open and len(self.running) < end.concurrency

    def ready_in_s(self, now_s: float, start_delay_s: float) -> float:
        """Return the residual start; 0 when ready."""
        if self.endpoint.phase != "starting":
            return 0.0
        if self.endpoint.ready_at_s is None:
            return start_delay_s
        return max(self.endpoint.ready_at_s - now_s, OVERDUE_RATIO * start_delay_s)


@dataclass(slots=True)
class KeeperCounts:
    """What became of all tickets that were offered since the process began."""

    offered: int = 0
    refused: int = 0
    returned: int = 0
    """Given back unstarted."""
    done: int = 0
    failed: int = 0
    dropped: int = 0
    """Given up by the ingress that owned them."""

    @property
    def over(self) -> int:
        """Return how many have left."""
        return self.refused + self.returned + self.done + self.failed + self.dropped
