"""What the Kubernetes runtime concludes from what its API server tells, on a server in this process."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from fairlead.adapters.kubernetes_api import KubernetesApi
from fairlead.contracts.ports import PodOrder, PodStatus
from fairlead.policy.reconcile import Limits
from node_agent.books import Books
from node_agent.kubernetes_runtime import KubernetesRuntime
from node_agent.pod_objects import pod_name
from tests.node_agent.api_stub import PODS_PATH, ApiStub, stub_runtime, stubbed
from tests.node_agent.pods import contained, node
from tests.waiting import until

POD = f"{PODS_PATH}/{pod_name('a', 'n1')}"
LIMITS = Limits(600.0, 5.0, 300.0)


@dataclass
class Scene:
    """A runtime on a stub, and what it has said."""

    stub: ApiStub
    api: KubernetesApi
    runtime: KubernetesRuntime
    said: list[PodStatus] = field(default_factory=list)

    async def start(self, instance: str = "a-1") -> None:
        """Order a start of model a and wait until its pod is there."""
        await self.runtime.start(PodOrder("n1", contained("a"), instance))
        await until(lambda: POD in self.stub.objects, "the pod is there")

    async def reached(self, state: str) -> PodStatus:
        """Wait until the last status has a state."""
        await until(lambda: bool(self.said) and self.said[-1].state == state, f"a is {state}")
        return self.said[-1]

    async def ready(self) -> None:
        """Start model a and have its pod be ready."""
        await self.start()
        self.stub.ready(POD)
        await self.reached("ready")

    def states(self) -> list[str]:
        """Return the states that were said, each once in a row."""
        return [state for state, _ in itertools.groupby(s.state for s in self.said)]

    @property
    def labels(self) -> dict[str, str]:
        """Return the labels of the pod of model a."""
        labels: dict[str, str] = self.stub.objects[POD]["metadata"]["labels"]
        return labels


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    """Give a runtime that has adopted nothing."""
    async with stubbed() as (stub, api):
        one = Scene(stub, api, stub_runtime(api))
        assert await one.runtime.adopt() == ()

        async def note() -> None:
            async for status in one.runtime.watch():
                one.said.append(status)

        noting = asyncio.create_task(note())
        yield one
        noting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await noting
        await one.runtime.close()


def hopeless(stub: ApiStub) -> None:
    """Have the pod of model a be one whose image cannot be pulled."""
    waiting = {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}
    stub.become(POD, phase="Pending", containerStatuses=[{"name": "model", "state": waiting}])


# --- starts that are given up


async def test_a_start_that_is_given_up_is_a_crash_and_backs_off(scene: Scene) -> None:
    """What follows is our own doing: nobody is said to stop it, and the books do not start it again at once."""
    await scene.start()
    hopeless(scene.stub)
    gone = await scene.reached("gone")
    assert gone.reason == "ImagePullBackOff: no such image"
    assert scene.states() == ["starting", "gone"]
    books = Books(node(), {"a": contained("a")}, "n1-first", LIMITS)
    books.begin(contained("a"), "a-1", 0.0)
    for status in scene.said:
        books.seen(status, 10.0)
    pod = books.pods["a"]
    assert (pod.phase, pod.crashes, pod.backoff_until_s) == ("off", 1, 15.0)


async def test_a_start_that_is_given_up_is_never_ready(scene: Scene) -> None:
    """Though its container makes it after all before the API server hears of its end."""
    await scene.start()
    scene.stub.troubled[POD] = 500
    hopeless(scene.stub)
    await until(lambda: ("DELETE", POD) in scene.stub.asked, "it is to be deleted")
    scene.stub.ready(POD)
    tries = scene.stub.asked.count(("DELETE", POD))
    await until(lambda: scene.stub.asked.count(("DELETE", POD)) > tries + 1, "it is tried again")
    scene.stub.troubled.clear()
    await scene.reached("gone")
    assert "ready" not in scene.states()
