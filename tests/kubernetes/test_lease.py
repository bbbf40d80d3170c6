"""The lease on a real API server: one holder, handed over at once or after it ran out, given up when cut off."""

import asyncio
import secrets
from collections.abc import AsyncIterator

import pytest

from fairlead.adapters.kubernetes_access import Access, access_of
from fairlead.adapters.kubernetes_api import KubernetesApi
from fairlead.adapters.kubernetes_lease import LEASES, KubernetesLease
from fairlead.contracts.settings import KubernetesSettings

LASTS_S = 1.5
"""Wall seconds that a lease of these tests lasts."""


@pytest.fixture
async def api(kubeconfig: str) -> AsyncIterator[KubernetesApi]:
    """Give a client."""
    one = KubernetesApi(access_of(KubernetesSettings(kubeconfig=kubeconfig)))
    yield one
    await one.close()


@pytest.fixture
async def name(api: KubernetesApi) -> AsyncIterator[str]:
    """Give the name of a lease that is there no more afterwards."""
    one = f"test-{secrets.token_hex(4)}"
    yield one
    await api.delete(LEASES.path("default", one))


async def test_one_holds_it_and_another_has_it_at_once_when_it_is_given_back(api: KubernetesApi, name: str) -> None:
    """The other waits while it is renewed, however often it runs out meanwhile."""
    first, second = (KubernetesLease(api, "default", name, holder, LASTS_S) for holder in ("a", "b"))
    await first.acquire()
    keeping, waiting = asyncio.create_task(first.keep()), asyncio.create_task(second.acquire())
    done, _ = await asyncio.wait((keeping, waiting), timeout=2 * LASTS_S)
    assert not done
    keeping.cancel()
    await first.release()
    await waiting
    found = await api.get(LEASES.path("default", name))
    assert (found["spec"]["holderIdentity"], found["spec"]["leaseTransitions"]) == ("b", 1)


async def test_one_that_is_not_renewed_runs_out_and_its_holder_knows(api: KubernetesApi, name: str) -> None:
    """Cut off from the API the holder stops before another may begin."""
    nowhere = KubernetesApi(Access("http://127.0.0.1:9", None), timeout_s=0.2)
    try:
        await KubernetesLease(api, "default", name, "a", LASTS_S).acquire()
        second = asyncio.create_task(KubernetesLease(api, "default", name, "b", LASTS_S).acquire())
        await asyncio.sleep(0)
        await KubernetesLease(nowhere, "default", name, "a", LASTS_S).keep()
        assert not second.done()
        await second
        await KubernetesLease(api, "default", name, "a", LASTS_S).keep()
    finally:
        await nowhere.close()
