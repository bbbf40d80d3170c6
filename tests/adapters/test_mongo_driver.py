"""A task that is asked to end ends, whatever the driver makes of it; the server is not there and not needed."""

import asyncio

import pytest
from pymongo.errors import AutoReconnect

from fairlead.adapters.mongo_driver import Driver
from fairlead.contracts.errors import Conflict
from fairlead.contracts.settings import MongoSettings


@pytest.mark.parametrize("meanwhile", [None, Conflict("another was first"), AutoReconnect("lost"), TimeoutError()])
async def test_a_cancellation_that_is_swallowed_ends_the_task_however_the_question_ended(
    meanwhile: Exception | None,
) -> None:
    """Also where another process was first: whoever takes that for a reason to try again would do so for ever."""
    driver, began = Driver(MongoSettings(uri="mongodb://127.0.0.1:9/")), asyncio.Event()

    async def tries_again() -> None:
        for _ in range(2):
            try:
                async with driver.asking("answer"):
                    try:
                        began.set()
                        await asyncio.sleep(60.0)
                    except asyncio.CancelledError:
                        if meanwhile is not None:
                            raise meanwhile from None
            except Conflict:
                pass

    task = asyncio.create_task(tries_again())
    await began.wait()
    task.cancel()
    await asyncio.wait([task], timeout=5.0)
    assert task.cancelled()
    await driver.close()
