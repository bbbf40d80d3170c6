"""Images that are pulled beforehand, on an API server in this process."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from fairlead.adapters.kubernetes_api import PODS, KubernetesApi
from fairlead.contracts.containers import Toleration
from node_agent.image_pulls import PULL_LABEL, ImagePuller
from node_agent.pod_objects import Place, tolerations_of
from tests.node_agent.api_stub import NAMESPACE, PODS_PATH, ApiStub, stubbed
from tests.node_agent.pods import contained, node
from tests.waiting import until

STUCK_S = 0.3
EDGE = Toleration(key="edge", operator="Exists")


@dataclass
class Scene:
    """A puller that has been asked for the image of model a."""

    stub: ApiStub
    api: KubernetesApi
    puller: ImagePuller
    asking: asyncio.Task[None]

    @property
    def pods(self) -> list[str]:
        """Return the paths of pods that are there."""
        return [path for path in self.stub.objects if path.startswith(PODS_PATH)]

    async def path(self) -> str:
        """Return where the pod that pulls lies, once it is followed."""
        await until(lambda: any(method == "WATCH" for method, _ in self.stub.asked), "it is followed")
        return self.pods[0]

    def waits(self, path: str, reason: str) -> None:
        """Have the pod's container wait."""
        state = {"waiting": {"reason": reason, "message": ""}}
        self.stub.become(path, phase="Pending", containerStatuses=[{"name": "pull", "state": state}])


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    """Give a puller at work."""
    async with stubbed() as (stub, api):
        puller = ImagePuller(Place(NAMESPACE, node(), "puller", (EDGE,)), api, STUCK_S)
        one = Scene(stub, api, puller, asyncio.create_task(puller.expect((contained("a"),))))
        yield one
        one.asking.cancel()
        await asyncio.gather(one.asking, return_exceptions=True)


async def test_a_pull_has_the_account_that_pods_of_models_have(scene: Scene) -> None:
    """What names the credentials of the registry; it has no token."""
    spec = scene.stub.objects[await scene.path()]["spec"]
    assert (spec["serviceAccountName"], spec["automountServiceAccountToken"]) == ("puller", False)


async def test_a_pull_goes_where_pods_of_models_go(scene: Scene) -> None:
    """On a node with taints, too."""
    spec = scene.stub.objects[await scene.path()]["spec"]
    assert spec["tolerations"] == tolerations_of(Place(NAMESPACE, node(), "puller", (EDGE,)))
    assert spec["tolerations"][-1]["key"] == "edge"


async def test_a_pull_belongs_to_its_node(scene: Scene) -> None:
    """It goes with it, and a drain of the node need not be forced."""
    (owner,) = scene.stub.objects[await scene.path()]["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["uid"], owner["controller"]) == ("Node", "node-1", "node-uid", True)


async def test_an_agent_that_ends_while_the_api_is_away_ends(scene: Scene) -> None:
    """Its pull is left to its successor, which finishes what it needs itself and removes the rest."""
    path = await scene.path()
    scene.stub.troubled["/"] = 500
    scene.asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await scene.asking
    scene.stub.troubled.clear()
    state = {"running": {"startedAt": "now"}}
    scene.stub.become(path, phase="Running", containerStatuses=[{"name": "pull", "state": state}])
    stranger = PODS.path(NAMESPACE, "of-another-node")
    for other, node_id in ((f"{path}-old", "n1"), (stranger, "n2")):
        labels = {**scene.stub.objects[path]["metadata"]["labels"], PULL_LABEL: node_id}
        scene.stub.put(other, {"metadata": {"name": other.rpartition("/")[2], "labels": labels}})
    successor = ImagePuller(Place(NAMESPACE, node(), "puller"), scene.api, STUCK_S)
    await successor.expect((contained("a"),))
    assert successor.pulled == {"small:1"}
    assert scene.pods == [stranger]


async def test_trouble_that_is_over_leaves_a_pull_all_its_time(scene: Scene) -> None:
    """A registry that was away for a moment, then forty gigabytes."""
    path = await scene.path()
    scene.waits(path, "ErrImagePull")
    scene.waits(path, "ContainerCreating")
    await asyncio.sleep(3 * STUCK_S)  # the time that trouble would have had
    assert not scene.asking.done()
    scene.stub.become(
        path, phase="Running", containerStatuses=[{"name": "pull", "state": {"running": {"startedAt": "now"}}}]
    )
    await scene.asking
    assert scene.puller.pulled == {"small:1"}


async def test_trouble_that_lasts_ends_a_pull(scene: Scene) -> None:
    """Nothing is left of it."""
    scene.waits(await scene.path(), "ErrImagePull")
    await scene.asking
    assert scene.puller.pulled == set()
    assert scene.pods == []


async def test_a_pull_whose_pod_somebody_removes_is_not_waited_for(scene: Scene) -> None:
    """Nor is it done."""
    scene.stub.put(await scene.path(), None)
    async with asyncio.timeout(20.0):
        await scene.asking
    assert scene.puller.pulled == set()


async def test_a_pull_that_the_api_refuses_is_told_and_left() -> None:
    """A quota, or a policy."""
    async with stubbed() as (stub, api):
        stub.troubled[PODS_PATH] = 403
        puller = ImagePuller(Place(NAMESPACE, node(), None), api, STUCK_S)
        await puller.expect((contained("a"),))
        assert puller.pulled == set()
