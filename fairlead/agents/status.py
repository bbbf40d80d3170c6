"""What an agent says of itself in the store: sums over its dialogues, its mode, why the fallback acts."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from fairlead.adapters.outage import Outage
from fairlead.agents.metrics import DialogueMetrics
from fairlead.agents.outcome import budget_words
from fairlead.contracts.dialogue import (
    AgentName,
    AgentStatus,
    BudgetLimits,
    EndpointStatus,
    Exchange,
    GateStatus,
    ModeName,
    WatchdogStatus,
    Worth,
)
from fairlead.contracts.errors import foreign
from fairlead.contracts.plans import Source
from fairlead.contracts.ports import Clock, Llm, Store


@dataclass(slots=True)
class Tally:
    """Sums since the process began."""

    why: str = ""
    """Why the fallback acts; empty while it does not."""
    asks: int = 0
    dialogues: int = 0
    accepted: int = 0
    fallbacks: int = 0
    prompt_tokens: int = 0
    reply_tokens: int = 0
    money: float = 0.0
    seconds: float = 0.0
    acting: Source = "fallback"

    def answered(self, exchange: Exchange) -> None:
        """Add a question and its answer."""
        self.asks += 1
        self.prompt_tokens += exchange.answer.prompt_tokens
        self.reply_tokens += exchange.answer.reply_tokens
        self.money += exchange.answer.money
        self.seconds += exchange.answer.took_s


@dataclass(slots=True)
class StatusKeeper:
    """Writes an agent's status when there is news of it, apart from its loop."""

    agent: AgentName
    store: Store
    clock: Clock
    metrics: DialogueMetrics
    timeout_s: float
    """Wall seconds for one operation of the store."""
    tally: Tally = field(default_factory=Tally)
    configured: str = "none"
    """What language model, without credentials."""
    llm: Llm | None = None
    limits: BudgetLimits = field(default_factory=BudgetLimits)
    gate: Callable[[], GateStatus] | None = None
    worth: Callable[[ModeName], Worth] | None = None
    watchdog: Callable[[], WatchdogStatus] | None = None
    news: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Write now and at each news until cancelled."""
        outage = Outage(f"writing the status of the {self.agent}", self.clock, self.metrics.failures("status"))
        while True:
            self.news.clear()
            try:
                async with asyncio.timeout(self.timeout_s):
                    await self._write()
            except Exception as error:  # the top of this loop
                await outage.failed(error)
                continue
            outage.over()
            await self.news.wait()

    async def _write(self) -> None:
        mode = (await self.store.mode(self.agent)).mode
        words = ""
        if self.limits != BudgetLimits():
            spent = await self.store.spent()
            self.metrics.budgeted(spent, self.limits)
            words = budget_words(spent, self.limits)
        await self.store.put_agent_status(self._status(mode, words))

    def _status(self, mode: ModeName, budget: str) -> AgentStatus:
        tally = self.tally
        watchdog = self.watchdog() if self.watchdog is not None else None
        held = watchdog is not None and watchdog.holds and mode in ("auto", "assist")
        acts = tally.acting == "llm" and mode in ("auto", "assist") and not held
        switched = f"mode {mode}" if tally.acting == "llm" or mode == "off" else tally.why
        if held and watchdog is not None:
            switched = f"watchdog {watchdog.text}"
        why = "" if acts else f"{switched}; spent: {budget}" if budget else switched
        return AgentStatus(
            agent=self.agent,
            mode=mode,
            at_s=self.clock.now_s(),
            llm=foreign(self.configured),
            endpoints=self._endpoints(),
            asks=tally.asks,
            dialogues=tally.dialogues,
            accepted=tally.accepted,
            fallbacks=tally.fallbacks,
            prompt_tokens=tally.prompt_tokens,
            reply_tokens=tally.reply_tokens,
            money=tally.money,
            seconds=tally.seconds,
            acting="llm" if acts else "fallback",
            why=foreign(why),
            gate=self.gate() if self.gate is not None else None,
            worth=self.worth(mode) if self.worth is not None else None,
            watchdog=watchdog,
        )

    def _endpoints(self) -> tuple[EndpointStatus, ...]:
        return self.llm.statuses() if self.llm is not None else ()
