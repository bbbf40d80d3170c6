"""Of several equal processes one acts: work that goes on while a lease is held.

The client of the Kubernetes API is imported only where a lease is asked for.
"""

import asyncio
import contextlib
import secrets
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import structlog

from fairlead.contracts.containers import MANAGED_BY
from fairlead.contracts.ports import Lease
from fairlead.contracts.settings import KubernetesSettings

RELEASE_S = 2.0
"""Wall seconds that giving the lease back may take at the end; it would expire by itself."""


@contextlib.asynccontextmanager
async def leased(settings: KubernetesSettings, what: str) -> AsyncIterator[Lease | None]:
    """Give the lease of a kind of process, such as `planner`; None where the settings ask for none.

    Raises `ConfigError` where the Kubernetes API is nowhere set.
    """
    if not settings.lease:
        yield None
        return
    from fairlead.adapters.kubernetes_access import access_of
    from fairlead.adapters.kubernetes_api import KubernetesApi
    from fairlead.adapters.kubernetes_lease import KubernetesLease

    api = KubernetesApi(access_of(settings), timeout_s=settings.timeout_s)
    holder = f"{socket.gethostname()}_{secrets.token_hex(4)}"
    try:
        yield KubernetesLease(api, settings.namespace, f"{MANAGED_BY}-{what}", holder)
    finally:
        await api.close()


async def while_leading(lease: Lease | None, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Work whenever the lease is held, until cancelled; without a lease, always.

    Two may believe for a moment that they hold it: generations keep that harmless. What `work` raises passes.
    """
    if lease is None:
        await work()
        return
    log = structlog.get_logger("lease")
    while True:
        await lease.acquire()
        log.info("this process acts")
        try:
            await _either(work(), lease.keep())
        finally:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(RELEASE_S):
                    await lease.release()
        log.warning("the lease is lost: another process may act")


async def _either(work: Coroutine[Any, Any, None], lost: Coroutine[Any, Any, None]) -> None:
    """Return when one of both has ended and the other is cancelled; what either raised is raised."""
    tasks = [asyncio.ensure_future(work), asyncio.ensure_future(lost)]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()
