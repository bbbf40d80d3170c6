"""kube-sync on a real API server: declared models, mirrors put right, routes and what a gateway says of them."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from fairlead.adapters.clock import ScaledClock
from fairlead.adapters.kubernetes_access import Access, access_of
from fairlead.adapters.kubernetes_api import PODS, Kind, KubernetesApi, Object
from fairlead.adapters.kubernetes_lease import LEASES
from fairlead.adapters.memory_store import MemoryStore
from fairlead.adapters.mongo import connect
from fairlead.contracts.cluster import ModelSpec
from fairlead.contracts.containers import MANAGED_BY, MANAGED_BY_LABEL, MODEL_LABEL, NODE_LABEL, Container
from fairlead.contracts.errors import ConfigError, KubernetesRefused, NotFound
from fairlead.contracts.plans import RoutingTable, Row, Share
from fairlead.contracts.settings import KubernetesSettings, MongoSettings, Settings
from kube_sync.kinds import MODELS, PLANS, ROUTES, SERVICES, TABLES
from kube_sync.metrics import SyncMetrics
from kube_sync.objects import CURRENT, name_of, service_object
from kube_sync.routing import generation_in
from kube_sync.service import serve
from kube_sync.sync import Sync
from tests.adapters import store_examples as some
from tests.adapters.mongo_fixture import mongo_settings, mongo_uri
from tests.kubernetes.definitions import DEFINITIONS
from tests.kubernetes.proxy import Mood, proxied
from tests.waiting import until

__all__ = ["mongo_settings", "mongo_uri"]

NAMESPACES = Kind("v1", "namespaces", "Namespace")
QUOTAS = Kind("v1", "resourcequotas", "ResourceQuota")

CONTAINED = {"container": Container(image="registry.example.com/text:1").to_document()}


@dataclass(frozen=True, slots=True)
class Scene:
    """A kube-sync at work in a namespace of its own."""

    api: KubernetesApi
    """Ours as a person with kubectl, not kube-sync's."""
    store: MemoryStore
    namespace: str
    metrics: SyncMetrics

    async def found(self, kind: Kind, name: str) -> Object | None:
        """Return an object, None where it is not."""
        try:
            return await self.api.get(kind.path(self.namespace, name))
        except NotFound:
            return None

    async def declare(self, name: str, **spec: object) -> None:
        """Declare a model as kubectl would."""
        whole = {**some.model(name).to_document(), **CONTAINED, **spec}
        del whole["id"], whole["revision"], whole["launch"]
        head = {"apiVersion": MODELS.version, "kind": MODELS.name, "metadata": {"name": name}}
        body = {**head, "spec": {field: value for field, value in whole.items() if value is not None}}
        await self.api.apply(MODELS.path(self.namespace, name), body, force=True)

    async def accepted(self, name: str) -> tuple[str, str, int]:
        """Return status and message of a declaration's condition, and the generation that it speaks of."""
        status = (await self.api.get(MODELS.path(self.namespace, name))).get("status", {})
        for one in status.get("conditions", ()):
            return one["status"], one["message"], status["observedGeneration"]
        return "", "", 0

    async def model(self, name: str) -> ModelSpec | None:
        """Return a model of the store."""
        return next((one for one in (await self.store.cluster()).models if one.id == name), None)


@pytest.fixture
async def scene(defined: str) -> AsyncIterator[Scene]:
    """Run a kube-sync on a store with two nodes and no model, for a gateway named infra/edge."""
    namespace = f"sync-{secrets.token_hex(4)}"
    settings = KubernetesSettings(
        kubeconfig=defined, namespace=namespace, gateway="edge", gateway_namespace="infra", route_answer_s=1.0
    )
    ours, its = KubernetesApi(access_of(settings)), KubernetesApi(access_of(settings))
    await ours.create(NAMESPACES.path(None), {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    store, metrics = MemoryStore(), SyncMetrics()
    await store.replace_cluster(some.cluster().model_copy(update={"models": ()}))
    running = asyncio.create_task(Sync(store, its, ScaledClock(), settings, metrics, look_every_s=1.0).run())
    try:
        yield Scene(ours, store, namespace, metrics)
        assert not running.done()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        for found in (await ours.items(MODELS.path(namespace)))[0]:
            await ours.merge(MODELS.path(namespace, found["metadata"]["name"]), {"metadata": {"finalizers": None}})
        await ours.delete(NAMESPACES.path(None, namespace))
        await its.close()
        await ours.close()


async def test_a_declared_model_is_in_the_store_as_long_as_it_is_declared(scene: Scene) -> None:
    """Made, changed and taken out with the object; a change by somebody else is put right."""
    await scene.declare("text")

    async def is_(work_s: float) -> bool:
        found = await scene.model("text")
        return found is not None and found.work_s == work_s and await scene.accepted("text") == ("True", SAID, told)

    told = 1
    await until(lambda: is_(2.0), "the model is in the store")
    told = 2
    await scene.declare("text", work_s=3.5)
    await until(lambda: is_(3.5), "the model is changed")
    found = await scene.model("text")
    assert found is not None
    await scene.store.put_model(found.model_copy(update={"work_s": 9.0}), if_revision=found.revision)
    await until(lambda: is_(3.5), "the declaration holds again")
    await scene.api.delete(MODELS.path(scene.namespace, "text"))

    async def gone() -> bool:
        return await scene.model("text") is None and await scene.found(MODELS, "text") is None

    await until(gone, "the model is out of the store and the declaration has ended")


SAID = "the store has the model as it is declared"


async def test_a_declaration_that_cannot_be_taken_says_why(scene: Scene) -> None:
    """What the schema refuses is never stored; what only the cluster can refuse is told in the status."""
    with pytest.raises(KubernetesRefused, match="should be greater than 0"):
        await scene.declare("text", work_s=0)
    with pytest.raises(KubernetesRefused, match=r"spec\.container: Required"):
        await scene.declare("text", container=None)
    await scene.declare("giant", memory_bytes=10**12)

    async def refused() -> bool:
        status, message, _ = await scene.accepted("giant")
        return status == "False" and "give a node more memory" in message

    await until(refused, "the refusal is told")
    assert await scene.model("giant") is None
    await scene.declare("giant", memory_bytes=10**9)

    async def taken() -> bool:
        return (await scene.accepted("giant"))[0] == "True"

    await until(taken, "it is taken")


async def test_what_is_decided_is_mirrored_and_put_right(scene: Scene) -> None:
    """The plan and each model's rows are there; edits and deletions of them are healed and counted."""
    plan = some.plan(1)
    await scene.store.publish_plan(plan)

    async def same() -> bool:
        found = await scene.found(PLANS, CURRENT)
        return found is not None and found["spec"]["why"] == plan.why and "status" in found

    await until(same, "the plan is mirrored")
    body = {"apiVersion": PLANS.version, "kind": PLANS.name, "metadata": {"name": CURRENT}, "spec": {"why": "mine"}}
    await scene.api.merge(PLANS.path(scene.namespace, CURRENT), body)
    await until(same, "the edit is healed")
    await scene.api.delete(PLANS.path(scene.namespace, CURRENT))
    await until(same, "the deletion is healed")
    assert scene.metrics.healed.labels("EdgePlan")._value.get() == 2
    await scene.store.publish_slot(some.placement(1), some.table(1), some.slot_record(1))

    async def rows() -> bool:
        found = await scene.found(TABLES, "text")
        return found is not None and found["spec"]["rows"][0]["shares"] == [{"node": "node-1", "probability": 1}]

    await until(rows, "the rows are mirrored")


async def test_what_the_api_server_refuses_keeps_nothing_else_back(scene: Scene) -> None:
    """A quota lets no plan in: rows are mirrored and models taken all the same, the refusal is counted."""
    hard = {"count/edgeplans.fairlead.dev": "0"}
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}, "spec": {"hard": hard}}
    await scene.api.create(QUOTAS.path(scene.namespace), quota)

    async def counted() -> bool:
        found = await scene.api.get(QUOTAS.path(scene.namespace, "none"))
        return bool(found.get("status", {}).get("hard") == hard)

    await until(counted, "the quota is in force")
    await scene.store.publish_plan(some.plan(1))
    await scene.store.publish_slot(some.placement(1), some.table(1), some.slot_record(1))
    await scene.declare("text")

    async def rest() -> bool:
        return await scene.model("text") is not None and await scene.found(TABLES, "text") is not None

    await until(rest, "all else is written")
    await until(lambda: scene.metrics.refused._value.get() == 1, "the refusal is counted")
    assert await scene.found(PLANS, CURRENT) is None
    await scene.api.delete(QUOTAS.path(scene.namespace, "none"))

    async def taken() -> bool:
        await scene.store.publish_plan(some.plan((await scene.store.generations()).plan + 1))
        return await scene.found(PLANS, CURRENT) is not None

    await until(taken, "a plan that is another is tried at once")


def table(generation: int, first: float) -> RoutingTable:
    """Return a table whose one row has `first` for node-1, the rest for node-2."""
    shares = (Share(node="node-1", probability=first), Share(node="node-2", probability=1.0 - first))
    row = Row(zone="*", model="text", rule="marginal", prior_weight_s=0.0, explore=0.0, shares=shares)
    return some.table(generation).model_copy(update={"rows": (row,)})


async def test_routes_follow_table_and_pods_and_the_gateways_word_comes_back(scene: Scene) -> None:
    """Weights as the row's, nothing for a pod that has gone; rejected and stale are told; a user's edit is healed."""
    if await _none_of(scene.api):
        pytest.skip("Gateway API is not installed on this cluster")
    container = Container(image="registry.example.com/text:1", port=8080)
    await scene.declare("text", container=container.to_document())
    for node in ("node-1", "node-2"):
        await scene.api.create(PODS.path(scene.namespace), pod(node))
    former = service_object("text", "node-2", 8080, scene.namespace)
    former["spec"]["clusterIP"] = ""  # the server gives it an address, as services of former versions have
    await scene.api.create(SERVICES.path(scene.namespace), former)
    await scene.store.publish_slot(some.placement(1), table(1, 0.25), some.slot_record(1))
    name = name_of("text", "*")

    async def weights() -> list[int]:
        found = await scene.found(ROUTES, name)
        return [] if found is None else [one["weight"] for one in found["spec"]["rules"][0]["backendRefs"]]

    async def stage() -> tuple[str, str]:
        items = (await scene.store.routes()).items
        return (items[0].stage, items[0].reason) if items else ("", "")

    async def weigh(*wanted: int) -> None:
        async def so() -> bool:
            return await weights() == list(wanted)

        await until(so, f"the route has the weights {wanted}")

    async def tells(wanted: str) -> None:
        async def so() -> bool:
            return (await stage())[0] == wanted

        await until(so, f"the route is {wanted}")

    await weigh(2500, 7500)
    service = await scene.found(SERVICES, name_of("text", "node-2"))
    assert service is not None
    assert service["spec"]["ports"][0]["targetPort"] == 8080
    assert service["spec"]["clusterIP"] == "None"
    await tells("waiting")
    await answer(scene, name, "True")
    await tells("accepted")
    route = await scene.found(ROUTES, name)
    assert route is not None
    route["spec"]["rules"][0]["backendRefs"][0]["weight"] = 9999
    await scene.api.merge(ROUTES.path(scene.namespace, name), {"spec": {"rules": route["spec"]["rules"]}})
    await weigh(2500, 7500)
    await tells("stale")  # the gateway speaks of a generation before the edit
    await answer(scene, name, "False")
    await tells("rejected")
    assert await stage() == ("rejected", "NotAllowedByListeners: no listener takes it")
    await scene.api.delete(PODS.path(scene.namespace, "text-node-1"))
    await weigh(0, 10_000)
    await scene.store.publish_slot(some.placement(2), table(2, 0.252), some.slot_record(2))
    await scene.store.publish_slot(
        some.placement(3), some.table(3).model_copy(update={"rows": ()}), some.slot_record(3)
    )

    async def gone() -> bool:
        return (
            await scene.found(ROUTES, name) is None and not (await scene.api.items(SERVICES.path(scene.namespace)))[0]
        )

    await until(gone, "a model without a row has neither route nor services")
    assert generation_in(route) == 1


@pytest.mark.parametrize("mood", ["away", "forgetful"])
async def test_an_api_server_that_is_away_or_forgets_takes_nothing_out(defined: str, mood: Mood) -> None:
    """Nothing is concluded from silence, or from a list read anew; what happened meanwhile is made up for."""
    place = KubernetesSettings(kubeconfig=defined, namespace=f"sync-{secrets.token_hex(4)}")
    store, metrics = MemoryStore(), SyncMetrics()
    await store.replace_cluster(some.cluster().model_copy(update={"models": ()}))
    api = KubernetesApi(access_of(place))
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": place.namespace}}
    await api.create(NAMESPACES.path(None), space)
    scene = Scene(api, store, place.namespace, metrics)

    async def models() -> list[str]:
        return [model.id for model in (await store.cluster()).models]

    async def become(*wanted: str) -> None:
        async def so() -> bool:
            return await models() == list(wanted)

        await until(so, f"the store has {wanted}")

    async with proxied(access_of(place)) as proxy:
        its = KubernetesApi(Access(proxy.url, None), timeout_s=2.0)
        running = asyncio.create_task(Sync(store, its, ScaledClock(), place, metrics, look_every_s=0.5).run())
        await scene.declare("text")
        await scene.declare("voice")
        await become("text", "voice")
        calls = proxy.calls
        proxy.become(mood)
        await until(lambda: proxy.calls >= calls + 6, "the watches are tried again")
        assert await models() == ["text", "voice"]
        await scene.declare("zebra")
        await scene.api.delete(MODELS.path(place.namespace, "text"))
        proxy.become("well")
        await become("voice", "zebra")
        assert not running.done()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await its.close()
    for name in ("voice", "zebra"):
        await api.merge(MODELS.path(place.namespace, name), {"metadata": {"finalizers": None}})
    await api.delete(NAMESPACES.path(None, place.namespace))
    await api.close()


async def test_the_process_takes_a_declaration_into_the_database_while_it_has_the_lease(
    defined: str, mongo_settings: MongoSettings
) -> None:
    """On a real MongoDB; without a database it says so; at its end another may have the lease at once."""
    place = KubernetesSettings(kubeconfig=defined, namespace=f"sync-{secrets.token_hex(4)}", lease=True)
    with pytest.raises(ConfigError, match="needs a database"):
        await serve(Settings(kubernetes=place))
    api = KubernetesApi(access_of(place))
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": place.namespace}}
    await api.create(NAMESPACES.path(None), space)
    store = await connect(mongo_settings)
    await store.replace_cluster(some.cluster().model_copy(update={"models": ()}))
    running = asyncio.create_task(serve(Settings(mongodb=mongo_settings, kubernetes=place)))
    scene = Scene(api, MemoryStore(), place.namespace, SyncMetrics())
    await scene.declare("text")

    async def told() -> bool:
        found = await scene.found(MODELS, "text")
        return found is not None and "revision" in found.get("status", {})

    await until(told, "the declaration says that it is taken")
    assert [model.id for model in (await store.cluster()).models] == ["text"]
    held = LEASES.path(place.namespace, "fairlead-kube-sync")
    assert (await api.get(held))["spec"]["holderIdentity"]
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert "holderIdentity" not in (await api.get(held))["spec"]
    await api.merge(MODELS.path(place.namespace, "text"), {"metadata": {"finalizers": None}})
    await api.delete(NAMESPACES.path(None, place.namespace))
    await store.close()
    await api.close()


async def _none_of(api: KubernetesApi) -> bool:
    try:
        await api.get(DEFINITIONS.path(None, "httproutes.gateway.networking.k8s.io"))
    except NotFound:
        return True
    return False


def pod(node: str) -> Object:
    """Return a pod of model text on a node, as the runtime makes them."""
    labels = {MANAGED_BY_LABEL: MANAGED_BY, MODEL_LABEL: "text", NODE_LABEL: node}
    spec = {
        "nodeName": node,
        "automountServiceAccountToken": False,
        "containers": [{"name": "model", "image": "registry.example.com/text:1"}],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": f"text-{node}", "labels": labels}, "spec": spec}


async def answer(scene: Scene, name: str, status: str) -> None:
    """Say of a route what a gateway's controller would say; nobody else does here."""
    found = await scene.api.get(ROUTES.path(scene.namespace, name))
    reason, message = ("Accepted", "") if status == "True" else ("NotAllowedByListeners", "no listener takes it")
    told = {
        "status": status,
        "reason": reason,
        "message": message,
        "observedGeneration": found["metadata"]["generation"],
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    conditions = [{**told, "type": "Accepted"}, {**told, "type": "ResolvedRefs", "status": "True"}]
    parent = {"parentRef": {"namespace": "infra", "name": "edge"}, "controllerName": "example.com/tests"}
    body = {"status": {"parents": [{**parent, "conditions": conditions}]}}
    await scene.api.merge(ROUTES.path(scene.namespace, name, "status"), body)
