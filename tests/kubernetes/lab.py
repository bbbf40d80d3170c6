"""A real Kubernetes API server for a whole test run, and a namespace of its own for each test.

Where there is none and none can be raised, tests that need it are skipped by name.
"""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import pytest

from fairlead.adapters.clock import ScaledClock
from fairlead.adapters.kubernetes_access import access_of
from fairlead.adapters.kubernetes_api import Kind, KubernetesApi, Object
from fairlead.contracts.errors import FairleadError
from fairlead.contracts.settings import KubernetesSettings
from node_agent.kubernetes_runtime import KubernetesRuntime
from node_agent.pod_feed import feed_of
from node_agent.pod_objects import Place
from testbed.kubelet import Kubelet, keep_kwok_off
from tests.kubernetes.raising import Missing, raised
from tests.node_agent.pods import node

READY_S = 30.0
"""Wall seconds that a namespace takes at most to be usable."""

NAMESPACES = Kind("v1", "namespaces", "Namespace")
ACCOUNTS = Kind("v1", "serviceaccounts", "ServiceAccount")


@pytest.fixture(scope="session")
def kubeconfig() -> Iterator[str]:
    """Give a kubeconfig of a cluster that tests may do with as they like."""
    try:
        with raised() as lab:
            yield lab.kubeconfig
    except Missing as missing:
        pytest.skip(str(missing))


@dataclass(frozen=True, slots=True)
class Playground:
    """A namespace of the cluster, whose pods have processes behind them."""

    settings: KubernetesSettings
    api: KubernetesApi
    kubelet: Kubelet

    @property
    def namespace(self) -> str:
        """Return its name."""
        return self.settings.namespace


@pytest.fixture
async def playground(kubeconfig: str) -> AsyncIterator[Playground]:
    """Give a namespace with a kubelet."""
    async with played(kubeconfig) as one:
        yield one


@contextlib.asynccontextmanager
async def played(kubeconfig: str) -> AsyncIterator[Playground]:
    """Give a namespace with a kubelet; at the end it is deleted and none of its processes is left."""
    settings = KubernetesSettings(
        kubeconfig=kubeconfig, namespace=f"played-{secrets.token_hex(4)}", stuck_s=2.0, timeout_s=10.0
    )
    api = KubernetesApi(access_of(settings))
    await keep_kwok_off(api)
    await api.create(NAMESPACES.path(None), _named("Namespace", settings.namespace))
    async with asyncio.timeout(READY_S):
        while not await _is_there(api, ACCOUNTS.path(settings.namespace, "default")):
            await asyncio.sleep(0.05)
    kubelet = Kubelet(api, settings.namespace, subnet=64 + secrets.randbelow(128))
    playing = asyncio.create_task(kubelet.run())
    try:
        yield Playground(settings, api, kubelet)
    finally:
        playing.cancel()
        await asyncio.gather(playing, return_exceptions=True)
        await api.delete(NAMESPACES.path(None, settings.namespace))
        await api.close()


async def _is_there(api: KubernetesApi, path: str) -> bool:
    try:
        await api.get(path)
    except FairleadError:
        return False
    return True


def runtime_of(
    playground: Playground, api: KubernetesApi | None = None, kubernetes_node: str = "node-1"
) -> KubernetesRuntime:
    """Return the runtime of the tests' node, over the playground's client unless another is given."""
    used, settings = api or playground.api, playground.settings
    place = Place(settings.namespace, node().model_copy(update={"kubernetes_node": kubernetes_node}), None)
    feed = feed_of(used, settings, place.node.id, "tests")
    return KubernetesRuntime(place, used, feed, ScaledClock(), settings.stuck_s)


def _named(kind: str, name: str) -> Object:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}}
