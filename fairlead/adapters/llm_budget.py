"""What a question may cost and has cost: set aside in the store before it is asked, settled afterwards."""

import asyncio
from collections.abc import Coroutine
from typing import Any, Protocol, TypeVar

import structlog

from fairlead.contracts.dialogue import Ask, BudgetLimits, Refusal
from fairlead.contracts.errors import foreign
from fairlead.contracts.settings import LlmEndpoint

TEMPLATE_TOKENS = 256
"""What a chat template may add around two messages: some ten with most models, the most with those whose template
brings a system message of its own along (gpt-oss: about 500 characters); twice that."""

SETTLE_S = 2.0
"""Wall seconds that an answer waits until it is settled; then that goes on beside it."""

Got = TypeVar("Got")


class Budget(Protocol):
    """The part of the store that keeps account."""

    async def reserve(self, ask: str, tokens: int, money: float, limits: BudgetLimits) -> Refusal | None:
        """Set tokens and money aside; refuse what would exceed a limit."""

    async def settle(self, ask: str, tokens: int, money: float) -> None:
        """Replace what was set aside by what it took."""


def prompt_bound(ask: Ask, *, with_schema: bool) -> int:
    """Return more tokens than a prompt can have: a token of a byte-level vocabulary is at least one byte."""
    sent = len(ask.system.encode()) + len(ask.user.encode()) + TEMPLATE_TOKENS
    return sent + len(ask.reply_schema.encode()) if with_schema else sent


def price(endpoint: LlmEndpoint, prompt_tokens: int, reply_tokens: int) -> float:
    """Return what so many tokens cost at an endpoint."""
    return (prompt_tokens * endpoint.prompt_price + reply_tokens * endpoint.reply_price) / 1e6


class Account:
    """Reserves and settles; the store's operations run to their end also where nobody waits for them any more.

    Cancelled in the midst of it a database's driver may leave a connection open, and nobody would know what was kept.
    """

    def __init__(self, budget: Budget, limits: BudgetLimits) -> None:
        self._budget = budget
        self._limits = limits
        self._under_way: set[asyncio.Task[Any]] = set()
        self._log: structlog.typing.FilteringBoundLogger = structlog.get_logger()

    async def reserve(self, attempt: str, tokens: int, money: float) -> Refusal | None:
        """Set aside what an attempt may cost; a store that does not answer refuses it too."""
        task = self._begin(self._budget.reserve(attempt, tokens, money, self._limits))
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            self._begin(self._undo(task, attempt))
            raise
        try:
            return task.result()
        except Exception as error:
            return Refusal(code="budget-tokens", text=foreign(f"nothing could be reserved: {error}"))

    async def _undo(self, reserving: asyncio.Task[Refusal | None], attempt: str) -> None:
        """Give back what was set aside for an attempt that was called off before it was sent."""
        await asyncio.wait({reserving})
        if reserving.exception() is None and reserving.result() is None:
            await self._budget.settle(attempt, 0, 0.0)

    async def settle(self, attempt: str, tokens: int, money: float) -> None:
        """Say what an attempt has cost; what cannot be settled stays spent as it was reserved."""
        task = self._begin(self._budget.settle(attempt, tokens, money))
        await asyncio.wait({task}, timeout=SETTLE_S)

    async def close(self) -> None:
        """Wait until all is settled; the store bounds that."""
        while self._under_way:
            await asyncio.wait(self._under_way)

    def _begin(self, work: Coroutine[Any, Any, Got]) -> asyncio.Task[Got]:
        task = asyncio.ensure_future(work)
        self._under_way.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._under_way.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._log.warning("budget: the account was not kept, what was reserved stays spent", error=foreign(error))
