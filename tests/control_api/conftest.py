"""A control API in this process on a store in memory, and a client for each role."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import get_args

import httpx
import pytest

from control_api.access import new_token
from control_api.app import context, create_app, hastened
from control_api.context import Context
from fairlead.adapters.clock import ScaledClock
from fairlead.adapters.memory_store import MemoryStore
from fairlead.contracts.events import Role
from fairlead.contracts.settings import ControlSettings, Settings
from tests.adapters import store_examples as some
from tests.adapters.mongo_fixture import mongo_settings, mongo_uri
from tests.waiting import until

__all__ = ["mongo_settings", "mongo_uri"]

ROLES: tuple[Role, ...] = get_args(Role)
DEADLINE_S = 20.0
BODY_LIMIT = 100_000


@dataclass(frozen=True, slots=True)
class Api:
    """What a test talks to."""

    parts: Context
    store: MemoryStore
    by_role: dict[Role, httpx.AsyncClient]

    @property
    def admin(self) -> httpx.AsyncClient:
        """A client that may do everything."""
        return self.by_role["admin"]


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    """Run a control API whose store has two nodes, two models and a site."""
    settings = Settings(control=ControlSettings(body_limit_bytes=BODY_LIMIT, page_limit=2))
    store = MemoryStore()
    await store.replace_cluster(some.cluster())
    parts = context(settings, store, ScaledClock())
    transport = httpx.ASGITransport(hastened(create_app(parts, "0")))
    clients: dict[Role, httpx.AsyncClient] = {}
    for role in ROLES:
        secret, record = new_token(role, "", 0.0)
        await store.add_token(record)
        headers = {"authorization": f"Bearer {secret}"}
        clients[role] = httpx.AsyncClient(transport=transport, base_url="http://control", headers=headers)
    watching = asyncio.create_task(parts.watch.run())
    await until(lambda: parts.watch.store_up)
    yield Api(parts, store, clients)
    parts.watch.close()
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    for client in clients.values():
        await client.aclose()
