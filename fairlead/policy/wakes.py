"""What gateways miss, from when they say so until a report says what has become of it."""

from collections.abc import Sequence

from fairlead.contracts.events import Event, Wake
from fairlead.contracts.readings import GatewayReport
from fairlead.contracts.tuning import PolicySettings
from fairlead.policy.snapshot import outdated


class Wakes:
    """The wakes that no report has answered yet, the newest of each model and reason."""

    def __init__(self, settings: PolicySettings) -> None:
        self._settings = settings
        self._pending: dict[tuple[str, str], Wake] = {}
        self._rang_at_s: dict[tuple[str, str], float] = {}

    def add(self, wake: Wake, now_s: float) -> bool:
        """Keep a wake; True if it is news, False if the same was said within the last refresh.

        A repeated one needs no decision of its own: pending wakes are looked at again with each refresh.
        """
        key = (wake.model, wake.reason)
        self._pending[key] = wake
        if now_s - self._rang_at_s.get(key, -self._settings.refresh_s) < self._settings.refresh_s:
            return False
        self._rang_at_s[key] = now_s
        return True

    @property
    def silent(self) -> bool:
        """Return whether no wake is kept."""
        return not self._pending

    def pending(self, now_s: float, gateway_reports: Sequence[GatewayReport]) -> tuple[Wake, ...]:
        """Return the wakes that still say something, sorted; forget the others."""
        for key, wake in tuple(self._pending.items()):
            if outdated(wake, now_s, gateway_reports, self._settings):
                del self._pending[key]
        return tuple(self._pending[key] for key in sorted(self._pending))


def wake_of(event: Event) -> Wake:
    """Return what an event of kind `wake` says: the store's events carry model, reason and time, not who asked."""
    match event.text:
        case "missing" | "wait" | "node-lost" as reason:
            return Wake(model=event.id, reason=reason, site=None, wait_s=0.0, at_s=event.at_s)
        case _:
            return Wake(model=event.id, reason="missing", site=None, wait_s=0.0, at_s=event.at_s)
