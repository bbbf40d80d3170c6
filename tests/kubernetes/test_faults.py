"""The Kubernetes runtime where the API server, or somebody who uses it, does what nobody ordered."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import aiohttp
import pytest

from fairlead.adapters.clock import ScaledClock
from fairlead.adapters.kubernetes_access import Access, access_of
from fairlead.adapters.kubernetes_api import NODES, PODS, KubernetesApi, Object
from fairlead.contracts.ports import PodOrder, PodStatus
from node_agent.image_pulls import ImagePuller
from node_agent.kubernetes_runtime import KubernetesRuntime
from node_agent.pod_feed import feed_of
from node_agent.pod_objects import Place, pod_name
from tests.kubernetes.lab import Playground, runtime_of
from tests.kubernetes.proxy import BUSY_S, Proxy, proxied
from tests.node_agent.pods import contained, node
from tests.waiting import until


@dataclass
class Scene:
    """A runtime behind a proxy, beside a client that has none."""

    ground: Playground
    proxy: Proxy
    runtime: KubernetesRuntime
    said: list[PodStatus] = field(default_factory=list)

    async def start(self, instance: str = "a-1", **more: object) -> None:
        """Order a start of model a."""
        await self.runtime.start(PodOrder("n1", contained("a", **more), instance))  # type: ignore[arg-type]

    async def reached(self, state: str) -> PodStatus:
        """Wait until the last status of model a has a state."""
        await until(lambda: bool(self.said) and self.said[-1].state == state, f"a is {state}")
        return self.said[-1]

    @property
    def path(self) -> str:
        """Return where the pod of model a lies."""
        return PODS.path(self.ground.namespace, pod_name("a", "n1"))

    @property
    def reason(self) -> str:
        """Return why model a is as it is."""
        return self.said[-1].reason if self.said else ""

    def states(self) -> list[str]:
        """Return the states of model a, each once in a row."""
        return [state for state, _ in itertools.groupby(s.state for s in self.said)]

    async def pods(self) -> tuple[Object, ...]:
        """Return every pod that is there, whoever may know of it."""
        return (await self.ground.api.items(PODS.path(self.ground.namespace)))[0]

    async def failed(self) -> bool:
        """Whether the pod of model a has failed, as the API server has it."""
        return bool((await self.ground.api.get(self.path))["status"]["phase"] == "Failed")

    async def gone(self) -> None:
        """Wait until no pod is there."""
        async with asyncio.timeout(20.0):
            while await self.pods():
                await asyncio.sleep(0.05)


@pytest.fixture
async def scene(playground: Playground) -> AsyncIterator[Scene]:
    """Give a runtime whose every word passes the proxy; what it says is noted."""
    async with proxied(access_of(playground.settings)) as proxy:
        api = KubernetesApi(Access(proxy.url, None), timeout_s=3.0)
        runtime = runtime_of(playground, api)
        one = Scene(playground, proxy, runtime)
        await runtime.adopt()

        async def note() -> None:
            async for status in runtime.watch():
                one.said.append(status)

        noting = asyncio.create_task(note())
        yield one
        proxy.become("well")
        noting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await noting
        await runtime.close()
        await api.close()


# --- the API server


@pytest.mark.parametrize("mood", ["away", "silent"])
async def test_a_pod_serves_on_while_the_api_is_not_there(scene: Scene, mood: str) -> None:
    """Nothing is concluded from silence, neither at once nor later; what happened meanwhile is told afterwards."""
    await scene.start()
    ready = await scene.reached("ready")
    scene.proxy.become(mood)  # type: ignore[arg-type]
    calls = scene.proxy.calls
    await until(lambda: scene.proxy.calls >= calls + 2, "the watch is tried again and again")
    process = scene.ground.kubelet.of_model("a").process
    assert process is not None
    assert not process.ended.done()
    scene.ground.kubelet.kill("a")
    await until(scene.failed, "the API server knows of its end")
    assert scene.said[-1] == ready
    scene.proxy.become("well")
    assert "ended by itself" in (await scene.reached("gone")).reason
    assert scene.states() == ["starting", "ready", "gone"]


async def test_a_start_while_the_api_is_away_comes_true_once(scene: Scene) -> None:
    """It says what it waits for, and there is one pod in the end."""
    scene.proxy.become("away")
    await scene.start()
    await until(lambda: "got no answer" in scene.reason, "it says why")
    assert scene.said[-1].state == "starting"
    scene.proxy.become("well")
    assert (await scene.reached("ready")).instance == "a-1"
    assert len(await scene.pods()) == 1


async def test_a_start_that_is_taken_back_while_the_api_is_away_leaves_nothing(scene: Scene) -> None:
    """Neither before nor after the API is back: it has been tried, and is not tried any more."""
    scene.proxy.become("away")
    await scene.start()
    await until(lambda: "got no answer" in scene.reason, "it has been tried")
    await scene.runtime.stop("a", grace_s=1.0)
    await scene.reached("stopping")
    calls = scene.proxy.calls
    await until(lambda: scene.proxy.calls > calls + 1, "the stop has been tried")
    scene.proxy.become("well")
    assert (await scene.reached("gone")).reason == ""
    assert [method for method, _, _ in scene.proxy.answered if method == "POST"] == []
    assert await scene.pods() == ()


async def test_a_start_whose_answer_is_lost_can_be_taken_back(scene: Scene) -> None:
    """The pod is found by its name, and goes by its uid."""
    scene.proxy.become("lossy")
    await scene.start()
    await until(lambda: any(method == "POST" for method, _, _ in scene.proxy.answered), "the pod has been made")
    await scene.runtime.stop("a", grace_s=1.0)
    assert (await scene.reached("gone")).reason == ""
    await scene.gone()


async def test_a_stop_whose_answer_is_lost_is_a_stop(scene: Scene) -> None:
    """The next try finds the pod going, or gone; nobody else is said to stop it, and its model can start again."""
    await scene.start()
    await scene.reached("ready")
    scene.proxy.become("lossy")
    await scene.runtime.stop("a", grace_s=1.0)
    assert (await scene.reached("gone")).reason == ""
    assert ("DELETE", scene.path, 200) in scene.proxy.answered
    scene.proxy.become("well")
    await scene.start("a-2")
    assert (await scene.reached("ready")).instance == "a-2"
    assert len(await scene.pods()) == 1
    assert scene.states() == ["starting", "ready", "stopping", "gone", "starting", "ready"]


async def test_an_answer_that_is_lost_makes_no_second_pod(scene: Scene) -> None:
    """The pod was made; the next try finds the name taken, and by whom."""
    scene.proxy.become("lossy")
    await scene.start()
    ready = await scene.reached("ready")
    scene.proxy.become("well")
    assert ready.instance == "a-1"
    assert len(await scene.pods()) == 1
    await scene.runtime.stop("a", grace_s=1.0)
    await scene.reached("gone")
    assert scene.states() == ["starting", "ready", "stopping", "gone"]


async def test_a_stop_while_the_api_is_away_is_made_up_for(scene: Scene) -> None:
    """The pod stays until it can be told."""
    await scene.start()
    await scene.reached("ready")
    scene.proxy.become("away")
    await scene.runtime.stop("a", grace_s=1.0)
    await until(lambda: "got no answer" in scene.reason, "it says why")
    assert len(await scene.pods()) == 1
    scene.proxy.become("well")
    await scene.reached("gone")
    await scene.gone()


async def test_a_slow_api_delays_and_breaks_nothing(scene: Scene) -> None:
    """Two seconds a call."""
    scene.proxy.become("slow")
    await scene.start()
    await scene.reached("ready")
    await scene.runtime.stop("a", grace_s=1.0)
    await scene.reached("gone")
    assert scene.states() == ["starting", "ready", "stopping", "gone"]


async def test_a_busy_api_is_spared_as_it_asks(scene: Scene) -> None:
    """One call, then silence for as long as it says; then the order is carried out."""
    scene.proxy.become("busy")
    calls = scene.proxy.calls
    await scene.start()
    await until(lambda: scene.proxy.calls > calls, "it has asked")
    await asyncio.sleep(BUSY_S / 2)  # within the second that it asked for
    assert scene.proxy.calls == calls + 1
    scene.proxy.become("well")
    await scene.reached("ready")


async def test_a_watch_that_is_too_old_begins_anew(scene: Scene) -> None:
    """What vanished meanwhile is told as vanished, what is there is not told as new."""
    await scene.start()
    await scene.reached("ready")
    scene.proxy.become("forgetful")
    await scene.ground.api.delete(scene.path, grace_s=1)
    await scene.gone()
    await scene.reached("gone")
    assert scene.states()[:2] == ["starting", "ready"]


# --- people, and others who use the API


async def test_a_pod_that_somebody_deletes_is_told_and_can_start_again(scene: Scene) -> None:
    """As a stop that nobody here ordered, with who did it."""
    await scene.start()
    await scene.reached("ready")
    await scene.ground.api.delete(scene.path, grace_s=1)
    assert (await scene.reached("stopping")).reason == "deleted by somebody else"
    await scene.reached("gone")
    await scene.start("a-2")
    assert (await scene.reached("ready")).instance == "a-2"


async def test_labels_that_somebody_takes_away_come_back(scene: Scene) -> None:
    """The pod is still there, and is ours."""
    await scene.start()
    await scene.reached("ready")
    await scene.ground.api.merge(scene.path, {"metadata": {"labels": {"fairlead.dev/node": None}}})
    async with asyncio.timeout(20.0):
        while (await scene.ground.api.get(scene.path))["metadata"]["labels"].get("fairlead.dev/node") != "n1":
            await asyncio.sleep(0.05)
    assert scene.states() == ["starting", "ready"]
    await scene.runtime.stop("a", grace_s=1.0)
    await scene.reached("gone")


async def test_two_agents_of_a_node_have_one_pod(scene: Scene) -> None:
    """The server refuses the second by its name; who comes late keeps what is there."""
    other = runtime_of(scene.ground)
    await other.adopt()
    order = PodOrder("n1", contained("a"), "b-1")
    await asyncio.gather(scene.start(), other.start(order))
    ready = await scene.reached("ready")
    assert [p["metadata"]["labels"]["fairlead.dev/instance"] for p in await scene.pods()] == [ready.instance]
    await other.close()


async def test_a_pod_to_which_routes_lead_answers_while_its_endpoint_is_withdrawn(playground: Playground) -> None:
    """Who still sends it requests after its deletion has them answered; a keeper that cannot be asked is not needed."""
    spec = contained("a")
    assert spec.container is not None
    spec = spec.model_copy(update={"container": spec.container.model_copy(update={"stop_grace_s": 6.0})})
    place = Place(playground.namespace, node(keeper_url="http://keeper.fairlead.svc:8711"), None, routed=True)
    feed = feed_of(playground.api, playground.settings, "n1", "tests")
    runtime = KubernetesRuntime(place, playground.api, feed, ScaledClock(), stuck_s=20.0)
    await runtime.adopt()
    statuses = runtime.watch()
    await runtime.start(PodOrder("n1", spec, "a-1"))
    ready = await anext(statuses)
    while ready.state != "ready":
        ready = await anext(statuses)
    await runtime.stop("a", grace_s=1.0)
    path = PODS.path(playground.namespace, pod_name("a", "n1"))

    async def going() -> bool:
        return "deletionTimestamp" in (await playground.api.get(path))["metadata"]

    await until(going, "the pod is deleted")
    async with aiohttp.ClientSession() as client, client.get(ready.url or "") as answer:
        assert answer.status == 200
    assert (await playground.api.get(path))["metadata"]["deletionGracePeriodSeconds"] == 6
    while (await anext(statuses)).state != "gone":
        pass
    await runtime.close()


# --- starts that cannot succeed


async def test_an_image_that_cannot_be_pulled_is_not_waited_for(scene: Scene) -> None:
    """The reason is told and nothing is left."""
    await scene.start(image="missing:1")
    gone = await scene.reached("gone")
    assert gone.reason == "ImagePullBackOff: there is no image missing:1"
    assert scene.states() == ["starting", "gone"]
    await scene.gone()


async def test_a_node_that_takes_no_pods_is_not_waited_for(scene: Scene) -> None:
    """The scheduler's word is told at once, and the start given up when it lasts."""
    await scene.ground.api.merge(NODES.path(None, "node-1"), {"spec": {"unschedulable": True}})
    try:
        await scene.start()
        await until(lambda: "unschedulable" in scene.reason, "the scheduler's word")
        assert scene.said[-1].state == "starting"
        assert "unschedulable" in (await scene.reached("gone")).reason
        await scene.gone()
    finally:
        await scene.ground.api.merge(NODES.path(None, "node-1"), {"spec": {"unschedulable": None}})


async def test_a_node_that_kubernetes_does_not_know_is_a_reason(playground: Playground) -> None:
    """Nothing is made for it."""
    runtime = runtime_of(playground, kubernetes_node="node-99")
    await runtime.adopt()
    await runtime.start(PodOrder("n1", contained("a"), "a-1"))
    statuses = runtime.watch()
    reason = ""
    async with asyncio.timeout(20.0):
        while not reason:
            reason = (await anext(statuses)).reason
    assert 'nodes "node-99" not found' in reason
    assert (await playground.api.items(PODS.path(playground.namespace)))[0] == ()
    await statuses.aclose()  # type: ignore[attr-defined]
    await runtime.close()


async def test_images_of_a_plan_are_pulled_once_and_beforehand(playground: Playground) -> None:
    """One after the other; the pods that pull do not stay, and one that cannot be pulled holds nothing up."""
    place = Place(playground.namespace, node(), None)
    puller = ImagePuller(place, playground.api, stuck_s=0.5)
    models = (contained("a", image="missing:1"), contained("b", image="small:1"), contained("c", image="small:1"))
    await puller.expect(models)
    assert puller.pulled == {"small:1"}
    async with asyncio.timeout(20.0):
        while (await playground.api.items(PODS.path(playground.namespace)))[0]:
            await asyncio.sleep(0.05)
    calls = playground.api.calls
    await puller.expect(models[1:])
    assert playground.api.calls == calls
