"""What a gateway does beside requests: it follows keepers and tables, reports, sweeps, and outlives every failure."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Never

import structlog

from fairlead.adapters.keeper_http import HttpKeeper
from fairlead.adapters.spool import Outbox
from fairlead.contracts.errors import FairleadError
from fairlead.contracts.ports import Clock, Control
from fairlead.contracts.readings import GatewayReport
from gateway.ingress import Ingress
from gateway.keeper import Keeper
from gateway.ledger import Ledger
from gateway.moving import Mover
from gateway.view import View

RETRY_FIRST_S = 0.05
RETRY_MOST_S = 0.5
"""Wall seconds between attempts to reach a keeper: a restarted one is back in the view within half a second."""

TABLE_WAIT_S = 20.0
"""Wall seconds of one long poll: below the 30 to 60 s after which proxies cut idle connections."""

TABLE_RETRY_MOST_S = 2.0
"""Wall seconds between attempts to reach the control API, which has its own restart within seconds."""

ASK_LEAST_S = 0.5
"""Wall seconds at the least between questions for states that no stream tells: half of the shortest heartbeat."""

SWEEP_S = 1.0
"""Domain seconds between looks at deadlines: a sixtieth of the shortest default deadline."""

SWEEP_LEAST_S = 0.05
"""The same in wall seconds at the least, whatever the speed."""


class Loops:
    """The loops of one gateway; each runs until cancelled."""

    def __init__(self, clock: Clock) -> None:
        self.faults: dict[str, int] = {}
        """Failures that a loop outlived, per loop."""
        self._clock = clock
        self._log = structlog.get_logger()

    async def follow(self, node: str, keeper: HttpKeeper, view: View, silence_s: float) -> Never:
        """Keep the view of a remote node fresh; reconnect quickly."""

        async def listen() -> None:
            try:
                async for state in keeper.states(silence_s):
                    view.heard(state)
            finally:
                view.lost(node)

        await self._steadily(f"state of {node}", listen, RETRY_FIRST_S, RETRY_MOST_S)

    async def ask_around(
        self, control: Control, view: View, followed: Callable[[], Iterable[str]], every_s: float
    ) -> Never:
        """Each period, ask the control API for what it was told of the nodes that no stream tells of."""
        every_s = max(every_s, ASK_LEAST_S * self._clock.speed)

        async def once() -> None:
            await self._clock.sleep_for(every_s)
            if nodes := view.unheard(followed()):
                for state in await control.keepers(nodes):
                    view.reported(state)

        await self._steadily("keepers", once, RETRY_FIRST_S, TABLE_RETRY_MOST_S)

    async def steer(self, control: Control, view: View) -> Never:
        """Take each new table."""

        async def poll() -> None:
            table = await control.table(newer_than=view.table_generation, wait_s=TABLE_WAIT_S)
            if table is not None:
                view.steer_by(table)

        await self._steadily("table", poll, RETRY_FIRST_S, TABLE_RETRY_MOST_S)

    async def report(self, reporter: "Reporter", outbox: Outbox, every_s: float) -> Never:
        """Hand a report to the outbox each period."""

        async def once() -> None:
            await self._clock.sleep_for(every_s)
            outbox.put(reporter.report().to_json())

        await self._steadily("report", once, RETRY_FIRST_S, RETRY_MOST_S)

    async def sweep(self, keeper: Keeper | None, ingress: Ingress | None, refresh_s: float) -> Never:
        """Look at deadlines, and each refresh remind the control side of who is held."""
        every_s = max(SWEEP_S, SWEEP_LEAST_S * self._clock.speed)
        reminded_at_s = self._clock.now_s()

        async def once() -> None:
            nonlocal reminded_at_s
            await self._clock.sleep_for(every_s)
            if keeper is not None:
                keeper.sweep()
            if ingress is None:
                return
            if self._clock.now_s() - reminded_at_s >= refresh_s:
                reminded_at_s = self._clock.now_s()
                ingress.remind()
            else:
                ingress.look_again()

        await self._steadily("sweep", once, RETRY_FIRST_S, RETRY_MOST_S)

    async def move(self, mover: Mover, rest_s: Callable[[float], float], least_s: float) -> Never:
        """Move waiting tickets that save more than `least_s`, each time that `rest_s` of an instant has passed."""

        async def once() -> None:
            await self._clock.sleep_for(rest_s(self._clock.now_s()))
            await mover.look(least_s)

        await self._steadily("moves", once, RETRY_FIRST_S, RETRY_MOST_S)

    async def _steadily(self, what: str, step: Callable[[], Awaitable[None]], first_s: float, most_s: float) -> Never:
        """Repeat `step`; a failure is counted and logged, and repeated ones wait longer, in wall seconds."""
        wait_s = first_s
        while True:
            try:
                await step()
                wait_s = first_s
                continue
            except FairleadError as error:
                words = str(error)
                self._log.debug("loop goes on", loop=what, error=words)
            except Exception as error:
                self._log.exception("loop goes on", loop=what, error=str(error))
            self.faults[what] = self.faults.get(what, 0) + 1
            await asyncio.sleep(wait_s)
            wait_s = min(most_s, 2 * wait_s)


class Reporter:
    """Makes the reports of one gateway."""

    def __init__(
        self,
        gateway: str,
        instance: str,
        clock: Clock,
        ledger: Ledger,
        keeper: Keeper | None,
        ingress: "Ingress | None",
    ) -> None:
        self._gateway = gateway
        self._instance = instance
        self._clock = clock
        self._ledger = ledger
        self._keeper = keeper
        self._ingress = ingress
        self._sequence = 0
        self.table_generation: Callable[[], int] = lambda: 0

    def report(self) -> GatewayReport:
        """Return the next report; samples and outcomes are in exactly one."""
        self._sequence += 1
        now_s = self._clock.now_s()
        samples, outcomes = self._ledger.take()
        return GatewayReport(
            gateway=self._gateway,
            instance=self._instance,
            sequence=self._sequence,
            observed_at_s=now_s,
            site=None if self._ingress is None else self._ingress.limits.site,
            models=self._ledger.models(now_s),
            choices=self._ledger.choices(),
            samples=samples,
            outcomes=outcomes,
            keeper=None if self._keeper is None else self._keeper.state(),
            table_generation=self.table_generation(),
        )
