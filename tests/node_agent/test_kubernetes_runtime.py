"""What the Kubernetes runtime concludes from what its API server tells, on a server in this process."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from fairlead.adapters.clock import ScaledClock
from fairlead.adapters.kubernetes_api import KubernetesApi
from fairlead.contracts.cluster import Cluster
from fairlead.contracts.containers import INSTANCE_LABEL, MANAGED_BY_LABEL, MODEL_LABEL, NODE_LABEL
from fairlead.contracts.ports import PodOrder, PodStatus
from fairlead.policy.reconcile import Limits
from node_agent.books import Books
from node_agent.kubernetes_runtime import KubernetesRuntime
from node_agent.pod_objects import Place, labels_of, pod_name
from tests.node_agent.api_stub import NAMESPACE, PODS_PATH, ApiStub, stub_feed, stub_runtime, stubbed
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
    books = Books(node(), {"a": contained("a")}, "n1-first", LIMITS, told_for_s=60.0)
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


async def test_a_pod_that_has_ended_is_gone_once(scene: Scene) -> None:
    """The removal of its object is our own doing, not somebody else's stop, by which its back-off would be lost."""
    await scene.ready()
    other = {
        **scene.stub.objects[POD],
        "metadata": {"name": pod_name("b", "n1"), "labels": labels_of("b", "n1", "b-1")},
    }
    scene.stub.become(POD, phase="Failed", containerStatuses=[{"name": "model", "state": {"terminated": {}}}])
    await until(lambda: POD not in scene.stub.objects, "its object is removed")
    scene.stub.put(f"{PODS_PATH}/{pod_name('b', 'n1')}", other)
    await until(lambda: scene.said[-1].model == "b", "all that came before has been told")
    assert [one.state for one in scene.said if one.model == "a"][-2:] == ["ready", "gone"]


async def test_an_ended_pod_is_removed_once_the_api_can_be_told(scene: Scene) -> None:
    """Though no start of its model ever needs the name again."""
    await scene.ready()
    scene.stub.troubled[POD] = 500
    scene.stub.become(POD, phase="Failed")
    await until(lambda: ("DELETE", POD) in scene.stub.asked, "it is to be removed")
    scene.stub.troubled.clear()
    await until(lambda: POD not in scene.stub.objects, "it is removed")
    assert scene.states() == ["starting", "ready", "gone"]


async def test_a_runtime_that_is_closed_asks_for_nothing_more(scene: Scene) -> None:
    """Neither the last order of a pod nor those that it waits for."""
    second = stub_runtime(scene.api)
    await second.adopt()
    scene.stub.troubled["/api/v1/nodes"] = 500
    await second.start(PodOrder("n1", contained("a"), "a-1"))
    await until(lambda: ("GET", "/api/v1/nodes/node-1") in scene.stub.asked, "it is tried")
    await second.stop("a", grace_s=1.0)
    await second.close()
    assert [task for task in asyncio.all_tasks() if "KubernetesRuntime" in repr(task.get_coro())] == []


async def test_a_container_that_is_never_made_is_given_up(scene: Scene) -> None:
    """A volume that cannot be mounted has no word in the pod."""
    place = Place(NAMESPACE, node(), None)
    runtime = KubernetesRuntime(place, scene.api, stub_feed(scene.api), ScaledClock(), stuck_s=60.0, made_s=0.3)
    await runtime.adopt()
    statuses = runtime.watch()
    await runtime.start(PodOrder("n1", contained("a"), "a-1"))
    await until(lambda: POD in scene.stub.objects, "the pod is there")
    creating = {"name": "model", "state": {"waiting": {"reason": "ContainerCreating"}}}
    scene.stub.become(POD, phase="Pending", containerStatuses=[creating])
    said = [await anext(statuses)]
    while said[-1].state != "gone":
        said.append(await anext(statuses))
    assert said[-1].reason.startswith("its container was not made within 0.3 s")
    assert {one.reason for one in said[:-1]} == {""}
    await runtime.close()


# --- how long a stop may take


@pytest.mark.parametrize(("routed", "grace_s"), [(False, 2), (True, 30)])
async def test_a_pod_to_which_routes_lead_has_its_models_own_grace(scene: Scene, routed: bool, grace_s: int) -> None:
    """For requests that no keeper has counted; one that was found as well as one that was started."""
    for adopted in (False, True):
        runtime = stub_runtime(scene.api, routed=routed)
        await runtime.adopt()
        await runtime.start(PodOrder("n1", contained("a"), "a-1"))
        await until(lambda: POD in scene.stub.objects, "the pod is there")
        if adopted:
            await runtime.close()
            runtime = stub_runtime(scene.api, routed=routed)
            await runtime.adopt()
        await runtime.stop("a", grace_s=1.5)
        await until(lambda: POD not in scene.stub.objects, "the pod is gone")
        await runtime.close()
    assert scene.stub.graces == [grace_s, grace_s]


# --- pods that vanish, or whose labels somebody changes


async def test_a_pod_that_vanishes_without_a_mark_is_gone(scene: Scene) -> None:
    """Removed by force: nobody has seen its end coming."""
    await scene.ready()
    scene.stub.put(POD, None)
    assert (await scene.reached("gone")).reason == "deleted"


LABELS = (MANAGED_BY_LABEL, NODE_LABEL, MODEL_LABEL, INSTANCE_LABEL)


@pytest.mark.parametrize("word", [None, "other"], ids=["removed", "changed"])
@pytest.mark.parametrize("label", LABELS)
async def test_a_pod_is_known_whatever_its_labels_say(scene: Scene, label: str, word: str | None) -> None:
    """They come back, which is told; the pod is one and the same all the while, and its end is seen."""
    await scene.ready()
    scene.stub.change(POD, labels={label: word})
    await until(lambda: scene.labels == labels_of("a", "n1", "a-1"), "the labels are back")
    await until(lambda: scene.said[-1].reason == "" != scene.said[-2].reason, "all is well again")
    assert scene.said[-2].reason == "somebody changed our labels on it: it gets them back"
    assert {s.instance for s in scene.said} == {"a-1"}
    await scene.runtime.stop("a", grace_s=1.0)
    await scene.reached("gone")
    assert scene.states() == ["starting", "ready", "stopping", "gone"]
    assert POD not in scene.stub.objects


@pytest.mark.parametrize("word", [None, "other"], ids=["removed", "changed"])
@pytest.mark.parametrize("label", LABELS)
async def test_a_pod_that_ends_with_strange_labels_is_gone(scene: Scene, label: str, word: str | None) -> None:
    """Though they cannot be put back meanwhile."""
    await scene.ready()
    scene.stub.troubled[POD] = 500
    scene.stub.change(POD, labels={label: word})
    await until(lambda: ("GET", POD) in scene.stub.asked, "it is looked for")
    scene.stub.put(POD, None)
    scene.stub.troubled.clear()
    assert (await scene.reached("gone")).model == "a"


async def test_the_agents_of_a_process_do_not_take_each_others_pods() -> None:
    """One watch for all: the pod is its first node's, whatever its label says now."""
    async with stubbed() as (stub, api):
        feed = stub_feed(api, None)
        mine, other = stub_runtime(api, feed), stub_runtime(api, feed, "n2")
        await mine.adopt()
        await other.adopt()
        await mine.start(PodOrder("n1", contained("a"), "a-1"))
        await until(lambda: POD in stub.objects, "the pod is there")
        stub.change(POD, labels={NODE_LABEL: "n2"})
        await until(lambda: stub.objects[POD]["metadata"]["labels"][NODE_LABEL] == "n1", "the label is back")
        stub.ready(POD)
        statuses = mine.watch()
        while (await anext(statuses)).state != "ready":
            pass
        await mine.close()
        assert await other.adopt() == ()
        await other.close()


async def test_a_pod_of_another_name_is_not_adopted(scene: Scene) -> None:
    """A changed label on a pod that nobody remembers makes it no other model's; a start of its own model finds it."""
    await scene.ready()
    await scene.runtime.close()
    scene.stub.change(POD, labels={MODEL_LABEL: "b"})
    second = stub_runtime(scene.api)
    assert await second.adopt() == ()
    await second.start(PodOrder("n1", contained("a"), "a-2"))
    await until(lambda: scene.labels == labels_of("a", "n1", "a-1"), "it is the same pod, kept")
    assert [(one.instance, one.state) for one in await second.adopt()] == [("a-1", "ready")]
    await second.close()


# --- why an order takes so long


async def test_an_error_that_is_over_is_no_reason_any_more(scene: Scene) -> None:
    """Neither of a start that was made after all nor of a pod that was looked for."""
    node_path = "/api/v1/nodes/node-1"
    scene.stub.troubled[node_path] = 500
    await scene.runtime.start(PodOrder("n1", contained("a"), "a-1"))
    await until(lambda: bool(scene.said) and "was answered 500" in scene.said[-1].reason, "it says why")
    scene.stub.troubled.clear()
    await until(lambda: scene.said[-1].reason == "", "the start has been made")
    assert scene.said[-1].state == "starting"
    scene.stub.ready(POD)
    await scene.reached("ready")
    scene.stub.troubled[POD] = 500
    scene.stub.change(POD, labels={NODE_LABEL: None})
    await until(lambda: "was answered 500" in scene.said[-1].reason, "it says why")
    scene.stub.troubled.clear()
    await until(lambda: scene.said[-1].reason == "", "the labels are back")
    assert scene.states() == ["starting", "ready"]


async def test_a_pod_that_does_not_say_what_it_claims_claims_what_its_model_does(scene: Scene) -> None:
    """Known at once or learnt afterwards: its memory is never given away twice."""
    await scene.ready()
    await scene.runtime.close()
    scene.stub.change(POD, annotations={})
    second = stub_runtime(scene.api)
    (status,) = await second.adopt()
    await second.close()
    known = Books(node(), {"a": contained("a")}, "n1-first", LIMITS, told_for_s=60.0)
    known.seen(status, 0.0)
    assert known.pods["a"].memory_bytes == 1_000_000_000
    ignorant = Books(node(), {}, "n1-first", LIMITS, told_for_s=60.0)
    ignorant.seen(status, 0.0)
    ignorant.learn(Cluster(nodes=(node(),), models=(contained("a"),), sites=()))
    assert ignorant.pods["a"].memory_bytes == 1_000_000_000
