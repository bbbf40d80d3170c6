"""Of several equal processes one acts, another as soon as it may; what fails is not hidden."""

import asyncio
from functools import partial

import pytest

from fairlead.adapters.memory_lease import LeaseBoard, MemoryLease
from fairlead.agents.leading import leased, while_leading
from fairlead.contracts.errors import ConfigError
from fairlead.contracts.settings import KubernetesSettings
from tests.waiting import until


async def test_one_acts_and_another_takes_over_when_it_ends_or_loses_the_lease() -> None:
    """The one that lost stops its work and waits for its turn again."""
    board, acting = LeaseBoard(), list[str]()

    async def work(name: str) -> None:
        acting.append(name)
        try:
            await asyncio.Event().wait()
        finally:
            acting.remove(name)

    tasks = {
        name: asyncio.create_task(while_leading(MemoryLease(board, name), partial(work, name))) for name in ("a", "b")
    }
    await until(lambda: acting == ["a"], "the first acts")
    board.hand("b")
    await until(lambda: acting == ["b"], "the other acts")
    tasks["b"].cancel()
    await until(lambda: acting == ["a"], "the first acts again")
    tasks["a"].cancel()
    await asyncio.gather(*tasks.values(), return_exceptions=True)
    assert (acting, board.holder) == ([], None)


async def test_what_the_work_raises_ends_the_process_and_frees_the_lease() -> None:
    """So too without a lease, where there is only one."""
    board = LeaseBoard()

    async def broken() -> None:
        raise ConfigError("broken")

    for lease in (MemoryLease(board, "a"), None):
        with pytest.raises(ConfigError, match="broken"):
            await while_leading(lease, broken)
    assert board.holder is None


async def test_a_lease_is_asked_for_by_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it there is none; with it, and without a cluster, the settings are at fault."""
    async with leased(KubernetesSettings(), "planner") as lease:
        assert lease is None
    monkeypatch.delenv("KUBECONFIG", raising=False)
    with pytest.raises(ConfigError, match="nowhere set"):
        async with leased(KubernetesSettings(lease=True), "planner"):
            pass
