"""A control API that answers on a loopback port, on a store in memory, for commands that look into a system."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import pytest
import structlog.testing

from control_api.access import new_token
from control_api.app import context, create_app
from control_api.service import listening, server_of
from fairlead.adapters.clock import ScaledClock
from fairlead.adapters.memory_store import MemoryStore
from fairlead.contracts.settings import ControlSettings, LlmSettings, Settings
from tests.adapters import store_examples as some

Result = TypeVar("Result")

DEADLINE_S = 20.0


@dataclass(frozen=True, slots=True)
class System:
    """A control API that runs in a thread of this process."""

    store: MemoryStore
    loop: asyncio.AbstractEventLoop
    now_s: float
    """When it began, domain time, which is the wall's."""
    log: list[Any]
    """What it has logged."""

    def does(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Return what comes of some work on the store, done where the control API runs."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(DEADLINE_S)


@contextlib.asynccontextmanager
async def _serving(settings: Settings, store: MemoryStore) -> AsyncIterator[str]:
    """Serve, and yield the address."""
    parts = context(settings, store, ScaledClock())
    server = server_of(create_app(parts, "0"), settings.control)
    with listening(settings.control) as door:
        door.listen()
        running = asyncio.create_task(server.serve(sockets=[door]))
        try:
            yield f"http://127.0.0.1:{door.getsockname()[1]}"
        finally:
            server.should_exit = True
            await running


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> Iterator[System]:
    """Run a control API with two nodes, two models and a site, and let commands find it as an operator."""
    settings = Settings(control=ControlSettings(port=0), llm=LlmSettings())
    store = MemoryStore()
    secret, record = new_token("operator", "test", 0.0)
    ready, ended = threading.Event(), asyncio.Event()
    found: list[tuple[asyncio.AbstractEventLoop, str]] = []

    async def main() -> None:
        await store.replace_cluster(some.cluster())
        await store.add_token(record)
        async with _serving(settings, store) as url:
            found.append((asyncio.get_running_loop(), url))
            ready.set()
            await ended.wait()

    thread = threading.Thread(target=asyncio.run, args=(main(),))
    thread.start()
    assert ready.wait(DEADLINE_S)
    loop, url = found[0]
    monkeypatch.setenv("FAIRLEAD_CONTROL_URL", url)
    monkeypatch.setenv("FAIRLEAD_TOKEN", secret)
    monkeypatch.setenv("USER", "ann")
    with structlog.testing.capture_logs() as log:
        yield System(store, loop, ScaledClock().now_s(), log)
    loop.call_soon_threadsafe(ended.set)
    thread.join(DEADLINE_S)
    assert not thread.is_alive()
