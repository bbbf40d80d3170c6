"""The budget of language models in MongoDB: one document for all processes, each change a compare-and-set on it.

Time is the database's, so that processes of several machines agree. Whoever is killed between asking and settling
leaves what it set aside, which then counts as spent.
"""

import asyncio
import contextlib
import random
from collections.abc import Callable

from pymongo.errors import DuplicateKeyError

from fairlead.adapters.budget_rules import Amount, Booking, Ledger, Reservation, amount
from fairlead.adapters.mongo_driver import Document, Driver
from fairlead.contracts.dialogue import BudgetLimits, BudgetSpent, Refusal
from fairlead.contracts.errors import StoreUnavailable

NAME = "llm"
"""Id of the document: a budget is over all agents."""

TRIES = 50
"""Times that a change is tried when other processes were faster; with eight that write without a pause each try
fails seven times of eight, all of them one time in a thousand."""

PAUSE_S = 0.02
"""Wall seconds at most between tries, drawn evenly: a change takes 2 ms, 9 where a whole day is booked (2026-11-21)."""


class Budget:
    """What was spent and what is set aside."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._rows = driver.collection("budget")
        self._turn = asyncio.Lock()

    async def reserve(self, ask: str, tokens: int, money: float, limits: BudgetLimits) -> Refusal | None:
        """Set tokens and money aside for a question; refuse what would exceed a limit."""
        wanted = amount(tokens, money)
        return await self._change(
            f"reserve {tokens} tokens", lambda ledger, now_s: ledger.reserve(ask, wanted, limits, now_s)
        )

    async def settle(self, ask: str, tokens: int, money: float) -> None:
        """Replace what was set aside for a question by what it took."""
        took = amount(tokens, money)
        await self._change(f"settle {tokens} tokens", lambda ledger, now_s: ledger.settle(ask, took, now_s))

    async def spent(self) -> BudgetSpent:
        """Return what was spent or is set aside."""
        async with self._driver.asking("read the budget"):
            _, ledger, now_s = await self._read()
        return ledger.totals(now_s)

    async def _change(self, what: str, change: Callable[[Ledger, float], Ledger | Refusal]) -> Refusal | None:
        """Write what `change` makes of the ledger, unless it refuses; again where another process was faster."""
        async with self._driver.asking(what), self._turn:
            for _ in range(TRIES):
                revision, before, now_s = await self._read()
                after = change(before, now_s)
                if isinstance(after, Refusal):
                    return after
                written = await self._rows.update_one(
                    {"_id": NAME, "revision": revision}, {"$set": _document(after), "$inc": {"revision": 1}}
                )
                if written.matched_count == 1:
                    return None
                await asyncio.sleep(random.uniform(0.0, PAUSE_S))
        raise StoreUnavailable(f"could not {what}: other processes were faster {TRIES} times, ask again")

    async def _read(self) -> tuple[int, Ledger, float]:
        """Return revision, ledger and the database's time, Unix seconds."""
        while True:
            row = await self._rows.find_one({"_id": NAME}, {"revision": 1, "spent": 1, "open": 1, "now": "$$NOW"})
            if row is not None:
                return row["revision"], _ledger(row), row["now"].timestamp()
            with contextlib.suppress(DuplicateKeyError):
                await self._rows.insert_one({"_id": NAME, "revision": 0, **_document(Ledger())})


def _document(ledger: Ledger) -> Document:
    return {
        "spent": [[one.minute, one.amount.tokens, one.amount.nanos] for one in ledger.spent],
        "open": [[one.ask, one.minute, one.amount.tokens, one.amount.nanos] for one in ledger.open],
    }


def _ledger(row: Document) -> Ledger:
    return Ledger(
        spent=tuple(Booking(minute, Amount(tokens, nanos)) for minute, tokens, nanos in row["spent"]),
        open=tuple(Reservation(ask, minute, Amount(tokens, nanos)) for ask, minute, tokens, nanos in row["open"]),
    )
