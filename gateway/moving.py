"""Moving by price: an ingress takes waiting tickets back that are better off elsewhere (CONTROL §2 rule 7).

A withdrawal is a wish: the keeper alone knows whether the pod has the request by now. What became of the ticket is said
on its own stream, as for any other; given back, its request chooses again. So nothing can be lost or served twice.
"""

import asyncio
from collections.abc import Callable, Mapping

from fairlead.contracts.errors import KeeperUnavailable
from fairlead.contracts.ports import Clock, KeeperPort
from fairlead.contracts.tickets import Offer
from fairlead.policy.moving import Waiting
from gateway.ledger import Ledger
from gateway.view import View

LOOK_S = 1.0
"""Domain seconds between looks at the least: as often as deadlines are looked at."""

LOOK_LEAST_S = 0.05
"""The same in wall seconds at the least, whatever the speed."""

APART = 2
"""So many coalescing periods between the looks of two sites: the second sees what the first has moved. Sites that
move together on the same news crowd one another: twin, `city7-rotating` at 0.8 with reports every 5 s, seeds 1 to 8,
2026-11-21: mean latency +1.8 % where all move at once, −3.5 % where they take turns."""


class Mover:
    """Looks at the waiting tickets of one ingress."""

    def __init__(
        self, clock: Clock, view: View, ledger: Ledger, keepers: Mapping[str, KeeperPort], draw: Callable[[], float]
    ) -> None:
        """Look at nothing yet; `draw` gives numbers in [0, 1)."""
        self.offers: dict[str, tuple[str, Offer]] = {}
        """By request: the node that has its ticket, and what was offered there."""
        self._clock = clock
        self._view = view
        self._ledger = ledger
        self._keepers = keepers
        self._draw = draw

    async def look(self, least_s: float) -> None:
        """Take back what saves more than `least_s` elsewhere; returns once the keepers have answered."""
        queued = [r for r, one in self._ledger.open.items() if one.place == "queued" and r in self.offers]
        waiting = [
            Waiting(k, self.offers[request][1].model, self.offers[request][0], self._draw())
            for k, request in enumerate(queued)
        ]
        moves = self._view.moves(waiting, self._clock.now_s(), least_s)
        async with asyncio.TaskGroup() as tasks:
            for move in moves:
                tasks.create_task(self._withdraw(*self.offers[queued[move.ticket]]))

    async def _withdraw(self, node: str, offer: Offer) -> None:
        keeper = self._keepers.get(node)
        if keeper is None:
            return
        try:
            await keeper.withdraw(offer)
        except KeeperUnavailable:
            return  # the ticket's own stream breaks too, if its keeper is gone


def rest_s(now_s: float, place: int, sites: int, coalesce_s: float, speed: float) -> float:
    """Return the domain seconds until the site at `place` of `sites` looks next, at its own phase of one period."""
    period_s = max(LOOK_S, LOOK_LEAST_S * speed, APART * coalesce_s * sites)
    phase_s = period_s * place / sites
    return period_s - (now_s - phase_s) % period_s
