"""What the chart's rules allow: each verb is used by its process, and the API server knows of no other."""

import asyncio
import contextlib
import itertools
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from fairlead.adapters.clock import ScaledClock
from fairlead.adapters.kubernetes_access import Access, access_of
from fairlead.adapters.kubernetes_api import BUDGETS, PODS, Kind, KubernetesApi
from fairlead.adapters.kubernetes_lease import KubernetesLease
from fairlead.adapters.memory_store import MemoryStore
from fairlead.contracts.containers import Container
from fairlead.contracts.errors import KubernetesRefused, NotFound
from fairlead.contracts.ports import PodOrder
from fairlead.contracts.settings import KubernetesSettings
from kube_sync.kinds import MODELS, OURS, ROUTES, SERVICES, TABLES
from kube_sync.metrics import SyncMetrics
from kube_sync.objects import name_of
from kube_sync.sync import Sync
from tests.adapters import store_examples as some
from tests.kubernetes.definitions import CHART
from tests.kubernetes.lab import Playground, runtime_of
from tests.kubernetes.proxy import Proxy, proxied
from tests.kubernetes.test_sync import Scene, answer, pod, table
from tests.node_agent.pods import contained
from tests.waiting import until

RULES: dict[str, dict[str, list[dict[str, list[str]]]]] = yaml.safe_load((CHART / "rules.yaml").read_text("utf-8"))

Right = tuple[str, str, str, str]
"""Verb, group, resource with its part, and the one name for which it holds, or empty."""

ROLES = "rbac.authorization.k8s.io/v1"
ACCOUNTS = Kind("v1", "serviceaccounts", "ServiceAccount")
REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"
LEASE_S = 0.5


def granted(who: str) -> set[Right]:
    """Return what a process is allowed."""
    return {right for rules in RULES[who].values() for rule in rules for right in spread(rule)}


def spread(rule: dict[str, list[str]]) -> set[Right]:
    """Return the single rights of a rule."""
    names = rule.get("resourceNames") or [""]
    return set(itertools.product(rule["verbs"], rule["apiGroups"], rule["resources"], names))


def used(proxy: Proxy, who: str) -> set[Right]:
    """Return which rights the calls have taken; none was refused."""
    assert not [one for one in proxy.answered if one[2] in (401, 403)]
    named = {right[1:3]: right[3] for right in granted(who) if right[3]}
    found: set[Right] = set()
    for method, path, status in proxy.answered:
        parts = path.split("/")[2:]
        group = "" if path.startswith("/api/") else parts.pop(0)
        parts = parts[1:]  # without the version
        parts = parts[2:] if parts[0] == "namespaces" else parts
        kind, name = parts[0] + "".join(f"/{one}" for one in parts[2:]), parts[1] if len(parts) > 1 else ""
        verbs = {"GET": "get" if name else "list", "WATCH": "watch", "POST": "create", "DELETE": "delete"}
        verb = verbs.get(method, "patch")
        only = name if name and named.get((group, kind)) == name else ""
        found.add((verb, group, kind, only))
        if method == "PATCH" and status == 201:
            found.add(("create", group, kind, ""))
    return found


@contextlib.asynccontextmanager
async def allowed(ground: Playground, who: str, node: str = "node-1") -> AsyncIterator[tuple[KubernetesApi, Proxy]]:
    """Give a client with the rights of a process in a pod on a node, by way of a proxy that notes its calls."""
    api, space, account = ground.api, ground.namespace, f"fairlead-{who}"
    meta = {"name": account}
    await api.create(ACCOUNTS.path(space), {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta})
    subject = {"kind": "ServiceAccount", "name": account, "namespace": space}
    cluster_wide = f"{space}-{who}"
    made: list[tuple[str, str, str | None, str, list[dict[str, list[str]]]]] = [
        ("roles", "Role", space, who, RULES[who]["role"])
    ]
    made += [("clusterroles", "ClusterRole", None, cluster_wide, RULES[who].get("clusterRole", []))]
    for plural, kind, where, name, rules in made:
        head = {"apiVersion": ROLES, "metadata": {"name": name}}
        binding, plural_binding = f"{kind}Binding", f"{kind.lower()}bindings"
        await api.create(Kind(ROLES, plural, kind).path(where), {**head, "kind": kind, "rules": rules})
        reference = {"apiGroup": ROLES.split("/")[0], "kind": kind, "name": name}
        body = {**head, "kind": binding, "roleRef": reference, "subjects": [subject]}
        await api.create(Kind(ROLES, plural_binding, binding).path(where), body)
    token = await token_of(ground, account, node)
    try:
        async with proxied(_trusting(ground.settings, token)) as proxy:
            client = KubernetesApi(Access(proxy.url, None, token=token), timeout_s=5.0)
            try:
                yield client, proxy
            finally:
                await client.close()
    finally:
        await api.delete(Kind(ROLES, "clusterroles", "").path(None, cluster_wide))
        await api.delete(Kind(ROLES, "clusterrolebindings", "").path(None, cluster_wide))


async def token_of(ground: Playground, account: str, node: str) -> str:
    """Return a token as the kubelet mounts it: bound to a pod, and by it to the pod's node."""
    spec = {"serviceAccountName": account, "nodeName": node, "containers": [{"name": "it", "image": "it:1"}]}
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"generateName": "it-"}, "spec": spec}
    meta = (await ground.api.create(PODS.path(ground.namespace), body))["metadata"]
    bound = {"apiVersion": "v1", "kind": "Pod", "name": meta["name"], "uid": meta["uid"]}
    asked = {"spec": {"expirationSeconds": 600, "boundObjectRef": bound}}
    head = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest"}
    made = await ground.api.create(ACCOUNTS.path(ground.namespace, account, "token"), {**head, **asked})
    return str(made["status"]["token"])


def _trusting(settings: KubernetesSettings, token: str) -> Access:
    """Return the access of the tests' kubeconfig but for who asks: whoever has the token."""
    assert settings.kubeconfig is not None
    config = yaml.safe_load(Path(settings.kubeconfig).read_text("utf-8"))
    for user in config["users"]:
        user["user"] = {"token": token}
    file = Path(settings.kubeconfig).with_name(f"token-{secrets.token_hex(4)}")
    file.write_text(yaml.safe_dump(config), "utf-8")
    try:
        return access_of(settings.model_copy(update={"kubeconfig": str(file)}))
    finally:
        file.unlink()


async def known_to_the_server(client: KubernetesApi, namespace: str) -> set[Right]:
    """Return every right on objects in a namespace that the API server knows, but those that everybody has."""
    body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview", "spec": {"namespace": namespace}}
    found = (await client.create(REVIEWS, body))["status"]
    assert not found["incomplete"]
    rules: list[dict[str, Any]] = found["resourceRules"]
    own = ("authorization.k8s.io", "authentication.k8s.io")
    return {right for rule in rules for right in spread(rule) if right[1] not in own}


@pytest.mark.parametrize("who", sorted(RULES))
async def test_a_process_may_do_nothing_beyond_its_rules(playground: Playground, who: str) -> None:
    """By the API server's own word, and by trying: secrets, other namespaces, others' pods."""
    async with allowed(playground, who) as (client, _):

        async def so() -> bool:
            return await known_to_the_server(client, playground.namespace) == granted(who)

        await until(so, "the API server knows exactly the rules")
        elsewhere = {one for one in granted(who) if one[2] == "nodes"}
        assert await known_to_the_server(client, "default") == elsewhere
        for path in ("/api/v1/secrets", PODS.path("kube-system"), f"/api/v1/namespaces/{playground.namespace}/secrets"):
            with pytest.raises(KubernetesRefused, match="403"):
                await client.items(path)


@pytest.mark.parametrize("who", ["planner", "slot-agent"])
async def test_each_right_on_a_lease_is_used(playground: Playground, who: str) -> None:
    """To make it, to look at it, to renew it."""
    async with allowed(playground, who) as (client, proxy):
        await hold_a_lease(client, playground.namespace, who)
        assert used(proxy, who) == granted(who)


async def hold_a_lease(client: KubernetesApi, namespace: str, who: str) -> None:
    """Take a process's lease and give it back."""
    lease = KubernetesLease(client, namespace, f"fairlead-{who}", "a", LEASE_S)
    async with asyncio.timeout(30.0):
        await lease.acquire()
        await lease.acquire()
        await lease.release()


async def test_each_right_of_a_node_agent_is_used(playground: Playground, guarded: None) -> None:
    """A pod is started, found in the way of another, labelled again and stopped: all that the guard lets through."""
    async with allowed(playground, "node-agent") as (client, proxy):
        runtime, other = runtime_of(playground, client), runtime_of(playground, client)
        await runtime.adopt()
        await other.adopt()
        await asyncio.gather(
            *(one.start(PodOrder("n1", contained("a"), i)) for one, i in ((runtime, "a"), (other, "b")))
        )

        async def pods() -> tuple[dict[str, Any], ...]:
            return (await playground.api.items(PODS.path(playground.namespace), labels=OURS))[0]

        async def labelled() -> bool:
            return [one["metadata"]["labels"].get("fairlead.dev/node") for one in await pods()] == ["n1"]

        for one in (runtime, other):  # to both of them, whoever has made it
            await anext(status async for status in one.watch() if status.state == "ready")
        name = (await pods())[0]["metadata"]["name"]
        await playground.api.merge(
            PODS.path(playground.namespace, name), {"metadata": {"labels": {"fairlead.dev/node": None}}}
        )
        await until(labelled, "the label is back")
        await runtime.stop("a", grace_s=1.0)
        await until(lambda: "DELETE" in {method for method, _, _ in proxy.answered}, "the pod is deleted")
        await runtime.close()
        await other.close()
        assert used(proxy, "node-agent") == granted("node-agent")


async def test_each_right_of_kube_sync_is_used(playground: Playground, defined: str) -> None:
    """A model is declared, mirrored, routed to, unrouted and taken back."""
    settings = playground.settings.model_copy(update={"gateway": "edge", "gateway_namespace": "infra"})
    store, metrics = MemoryStore(), SyncMetrics()
    await store.replace_cluster(some.cluster().model_copy(update={"models": ()}))
    async with allowed(playground, "kube-sync") as (client, proxy):
        await hold_a_lease(client, playground.namespace, "kube-sync")
        running = asyncio.create_task(Sync(store, client, ScaledClock(), settings, metrics, look_every_s=1.0).run())
        scene = Scene(playground.api, store, playground.namespace, metrics)
        try:
            await declared_and_taken_back(scene)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        assert used(proxy, "kube-sync") == granted("kube-sync")


async def declared_and_taken_back(scene: Scene) -> None:
    """Let everything happen once that kube-sync writes."""
    try:
        await scene.api.items(ROUTES.path(scene.namespace))
    except NotFound:
        pytest.skip("Gateway API is not installed on this cluster")
    await scene.declare("text", container=Container(image="registry.example.com/text:1").to_document())
    await scene.api.create(PODS.path(scene.namespace), pod("node-1"))
    await scene.store.publish_plan(some.plan(1))
    first = table(1, 0.25).model_copy(update={"plan_generation": 1})
    await scene.store.publish_slot(some.placement(1), first, some.slot_record(1))

    async def routed() -> bool:
        return bool((await scene.api.items(ROUTES.path(scene.namespace)))[0])

    await until(routed, "the model is routed to")
    name = (await scene.api.items(ROUTES.path(scene.namespace)))[0][0]["metadata"]["name"]
    await answer(scene, name, "True")

    async def said() -> bool:
        found = await scene.found(TABLES, "text")
        return found is not None and "conditions" in found.get("status", {})

    await until(said, "the gateway's word is shown")
    await scene.store.publish_slot(
        some.placement(2), some.table(2).model_copy(update={"rows": ()}), some.slot_record(2)
    )

    async def unrouted() -> bool:
        left = [(await scene.api.items(kind.path(scene.namespace)))[0] for kind in (ROUTES, SERVICES, TABLES)]
        return not any(left)

    await until(unrouted, "nothing of the route is left")
    await scene.api.delete(MODELS.path(scene.namespace, "text"))

    async def gone() -> bool:
        return await scene.found(MODELS, "text") is None

    await until(gone, "the declaration has ended")
    await scene.api.delete(PODS.path(scene.namespace, "text-node-1"), grace_s=0)

    async def unkept() -> bool:
        return await scene.found(BUDGETS, name_of("text")) is None

    await until(unkept, "the model's budget has gone with its last pod")
