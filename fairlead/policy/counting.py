"""Arrivals of a slot by site and model, from what gateways have counted since they began."""

from collections.abc import Iterable, Mapping

from fairlead.contracts.forecasts import SlotArrivals
from fairlead.contracts.readings import GatewayReport
from fairlead.policy.forecasting import RECENT_SLOTS, Foresight
from fairlead.policy.regimes import Alarm

Place = tuple[str, str, str, str]
"""Site, model, gateway and its instance."""


def counted(reports: Iterable[GatewayReport]) -> dict[Place, int]:
    """Return all that ever arrived at each ingress, as it has reported."""
    return {
        (one.site, count.model, one.gateway, one.instance): count.arrived
        for one in reports
        if one.site is not None
        for count in one.models
    }


def since(before: Mapping[Place, int], now: Mapping[Place, int]) -> dict[tuple[str, str], int]:
    """Return what has arrived by site and model between two counts; a gateway that is new began at none."""
    found: dict[tuple[str, str], int] = {}
    for place, total in now.items():
        if (more := total - before.get(place, 0)) > 0:
            found[place[:2]] = found.get(place[:2], 0) + more
    return found


class Turnstile:
    """Tells a `Foresight` what has arrived, slot by slot and in between."""

    def __init__(self, foresight: Foresight) -> None:
        """Begin with nothing counted: the first counts are where it is counted from."""
        self.foresight = foresight
        self._before: Mapping[Place, int] | None = None

    def slot_begins(self, slot: int, reports: Iterable[GatewayReport]) -> Alarm | None:
        """Tell what has arrived up to the begin of `slot`; return the change that is noticed by it.

        Where slots were missed, what came in them is shared out evenly; of too many nothing is told.
        """
        now, before, first = counted(reports), self._before, self.foresight.next_slot
        if before is not None and slot <= first:
            return None  # it was told before
        missed = slot - first
        self._before = {**before, **now} if before is not None else now
        self.foresight.next_slot = slot
        if before is None or missed > RECENT_SLOTS:
            return None
        arrived, found = since(before, now), None
        for k in range(missed):
            parts = {place: (k + 1) * n // missed - k * n // missed for place, n in sorted(arrived.items())}
            told = tuple(
                SlotArrivals(slot=first + k, site=site, model=model, arrived=n)
                for (site, model), n in parts.items()
                if n > 0
            )
            found = self.foresight.ended(first + k, told) or found
        return found

    def look(self, now_s: float, reports: Iterable[GatewayReport]) -> Alarm | None:
        """Tell what has arrived in the slot that is now; return the change that is noticed by it."""
        if self._before is None:
            return None
        arrived: dict[str, float] = {}
        for (_, model), more in since(self._before, counted(reports)).items():
            arrived[model] = arrived.get(model, 0.0) + more
        return self.foresight.look(now_s, arrived)
