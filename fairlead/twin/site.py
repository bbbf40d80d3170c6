"""An ingress in virtual time: who is held there, what it counts, and what it says to the slot agent."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from fairlead.contracts.events import Wake
from fairlead.twin.requests import Request
from fairlead.twin.views import View


@dataclass(frozen=True, slots=True)
class Counted:
    """What an ingress reports of one model."""

    arrived: int
    held: int
    oldest_at_s: float
    """Since when the oldest of them is held; the report's own instant if none is."""
    asked_at_s: float


@dataclass(frozen=True, slots=True)
class SiteReading:
    """What an ingress reports."""

    site: str
    at_s: float
    models: Mapping[str, Counted]
    """Of models that were ever asked for."""


class Site:
    """One ingress."""

    def __init__(self, name: str, view: View, refresh_s: float, tell: Callable[[Wake], None]) -> None:
        """Tell the slot agent what is missed, the same at most every `refresh_s`."""
        self.name = name
        self.view = view
        self.held: dict[str, dict[int, Request]] = {}
        """By model; of each the oldest first."""
        self._refresh_s = refresh_s
        self._tell = tell
        self._arrived: dict[str, int] = {}
        self._asked_at_s: dict[str, float] = {}
        self._said_at_s: dict[tuple[str, str], float] = {}

    def resume(self, model: str, arrived: int, asked_at_s: float) -> None:
        """Begin with what was counted before."""
        self._arrived[model] = arrived
        self._asked_at_s[model] = asked_at_s

    def arrive(self, model: str, now_s: float) -> None:
        """Count an arrival."""
        self._arrived[model] = self._arrived.get(model, 0) + 1
        self._asked_at_s[model] = now_s

    def hold(self, request: Request, now_s: float) -> None:
        """Keep a request that nobody can serve now; those who were sent before it come before it."""
        request.held_at_s = now_s
        kept = self.held.setdefault(request.arrival.model, {})
        kept[request.number] = request
        if next(reversed(kept)) != max(kept):
            self.held[request.arrival.model] = dict(sorted(kept.items()))

    def release(self, request: Request) -> None:
        """Hold a request no longer."""
        kept = self.held[request.arrival.model]
        del kept[request.number]
        if not kept:
            del self.held[request.arrival.model]
        request.held_at_s = None

    def waiting(self) -> list[str]:
        """Return the models that requests are held for, the one with the oldest request first."""
        return sorted(self.held, key=lambda model: next(iter(self.held[model])))

    def remind(self, now_s: float) -> None:
        """Say again which models are missed."""
        for model in self.waiting():
            self.say(model, "missing", now_s)

    def say(self, model: str, reason: Literal["missing", "wait"], now_s: float) -> None:
        """Say that a model is missed or waited for, unless that was just said."""
        said_at_s = self._said_at_s.get((model, reason))
        if said_at_s is None or now_s >= said_at_s + self._refresh_s:
            self._said_at_s[model, reason] = now_s
            # as the store's events carry it: without who said it and how long it waits
            self._tell(Wake(model=model, reason=reason, site=None, wait_s=0.0, at_s=now_s))

    def reading(self, now_s: float) -> SiteReading:
        """Return what is reported of it."""
        return SiteReading(
            self.name,
            now_s,
            {model: self._counted(model, now_s) for model in sorted(self._arrived)},
        )

    def _counted(self, model: str, now_s: float) -> Counted:
        kept = self.held.get(model, {})
        oldest_at_s = min((r.held_at_s for r in kept.values() if r.held_at_s is not None), default=now_s)
        return Counted(self._arrived[model], len(kept), oldest_at_s, self._asked_at_s[model])
