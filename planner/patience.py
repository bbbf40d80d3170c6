"""How long the planner's reads may take."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fairlead.contracts.errors import StoreUnavailable


@asynccontextmanager
async def within(timeout_s: float, what: str) -> AsyncIterator[None]:
    """Raise `StoreUnavailable` where `what` is done in the store takes longer than `timeout_s` wall seconds."""
    try:
        async with asyncio.timeout(timeout_s):
            yield
    except TimeoutError as error:
        raise StoreUnavailable(f"{what}: the store did not answer the planner within {timeout_s} s") from error
