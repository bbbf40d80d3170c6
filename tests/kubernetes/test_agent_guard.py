"""What the chart's guard lets a node agent do: pods of models on its own node, and nothing else that its Role would."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from fairlead.adapters.kubernetes_api import NODES, PODS, KubernetesApi
from fairlead.contracts.errors import KubernetesRefused
from fairlead.contracts.ports import PodOrder
from node_agent.image_pulls import ImagePuller
from node_agent.pod_objects import Place, pod_of
from tests.kubernetes.lab import Playground
from tests.kubernetes.test_permissions import ACCOUNTS, allowed
from tests.node_agent.pods import contained, node

Pod = dict[str, Any]


def spec(**fields: Any) -> Callable[[Pod], None]:
    """Return a change of a pod's spec."""
    return lambda pod: pod["spec"].update(fields)


def container(**fields: Any) -> Callable[[Pod], None]:
    """Return a change of a pod's container."""
    return lambda pod: pod["spec"]["containers"][0].update(fields)


def volume(**source: Any) -> Callable[[Pod], None]:
    """Return a change that mounts a volume."""
    return spec(volumes=[{"name": "weights", **source}])


def labelled(**labels: str) -> Callable[[Pod], None]:
    """Return a change of a pod's recommended labels."""
    return lambda pod: pod["metadata"]["labels"].update({f"app.kubernetes.io/{k}": v for k, v in labels.items()})


SECRET = {"valueFrom": {"secretKeyRef": {"name": "fairlead-keys", "key": "admin.token"}}}

REFUSED: tuple[tuple[str, Callable[[Pod], None], str], ...] = (
    ("elsewhere", spec(nodeName="node-2"), "its own node"),
    ("anywhere", spec(affinity={}), "its own node"),
    ("in-place-of-control", labelled(name="fairlead", component="control"), "labels for models"),
    ("nobodys", lambda pod: pod["metadata"].update(labels={}), "labels for models"),
    ("as-planner", spec(serviceAccountName="fairlead-planner"), "without a token, as default"),
    ("with-token", spec(automountServiceAccountToken=True), "without a token"),
    ("host-network", spec(hostNetwork=True), "no share in the machine"),
    ("host-pid", spec(hostPID=True), "no share in the machine"),
    ("init", spec(initContainers=[{"name": "first", "image": "a:1"}]), "no share in the machine"),
    ("privileged", container(securityContext={"privileged": True}), "no share in the machine"),
    ("host-port", container(ports=[{"containerPort": 1, "hostPort": 8711}]), "no share in the machine"),
    ("secret-in-env", container(env=[{"name": "A", **SECRET}]), "lets pods read no"),
    ("secrets-in-env", container(envFrom=[{"secretRef": {"name": "fairlead-keys"}}]), "lets pods read no"),
    ("secret-as-file", volume(secret={"secretName": "fairlead-keys"}), "mounts claims"),
    ("root-of-machine", volume(hostPath={"path": "/"}), "mounts claims"),
    ("beside-weights", volume(hostPath={"path": "/srv/models-of-others"}), "mounts claims"),
    ("above-weights", volume(hostPath={"path": "/srv/models/../../etc"}), "mounts claims|must not contain"),
    ("writes-claim", volume(persistentVolumeClaim={"claimName": "weights"}), "mounts claims"),
    (
        "database",
        volume(persistentVolumeClaim={"claimName": "data-fairlead-mongodb-0", "readOnly": True}),
        "not the database's",
    ),
)
"""What a pod is, how it differs from one that an agent makes, and what is said of it."""


def pod_on(kubernetes_node: str, uid: str, model: str = "a") -> Pod:
    """Return a pod as the agent of a node makes them."""
    place = Place("", node().model_copy(update={"kubernetes_node": kubernetes_node}), None)
    made = pod_of(PodOrder("n1", contained(model), "i"), place, uid, 0.0)
    del made["metadata"]["namespace"]
    made["metadata"]["name"] += f"-{kubernetes_node}"
    return made


async def uid_of(api: KubernetesApi, name: str) -> str:
    """Return the uid of a Kubernetes node."""
    return str((await api.get(NODES.path(None, name)))["metadata"]["uid"])


async def test_a_node_agent_makes_pods_of_models_on_its_own_node_alone(playground: Playground, guarded: None) -> None:
    """With its own token, on the real API server; each other pod is refused with its reason."""
    path = PODS.path(playground.namespace)
    own, other = [pod_on(name, await uid_of(playground.api, name)) for name in ("node-1", "node-2")]
    meta = {"name": "fairlead-planner"}
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta}
    await playground.api.create(ACCOUNTS.path(playground.namespace), account)
    weighty = copy.deepcopy(own)
    weighty["metadata"]["name"] = "weighty"
    volume(hostPath={"path": "/srv/models/a"})(weighty)
    container(volumeMounts=[{"name": "weights", "mountPath": "/weights", "readOnly": True}])(weighty)
    async with allowed(playground, "node-agent") as (client, _):
        with pytest.raises(KubernetesRefused, match="its own node"):
            await client.create(path, other)
        for name, change, said in REFUSED:
            bad = copy.deepcopy(own)
            bad["metadata"]["name"] = name
            change(bad)
            with pytest.raises(KubernetesRefused, match=said):
                await client.create(path, bad)
        puller = ImagePuller(Place(playground.namespace, node(), None), client, stuck_s=5.0)
        await puller.expect([contained("a")])
        assert puller.pulled == {"small:1"}
        await client.create(path, weighty)
        good = await client.create(path, own)
        labels = {"metadata": {"labels": {"fairlead.dev/instance": "other"}}}
        await client.merge(f"{path}/{good['metadata']['name']}", labels)
        await client.delete(f"{path}/{good['metadata']['name']}", uid=good["metadata"]["uid"])


async def test_a_node_agent_touches_no_pod_but_models_of_its_own_node(playground: Playground, guarded: None) -> None:
    """Neither the core's on the same machine, nor models' on another; a pod of its own takes no foreign label."""
    path, api = PODS.path(playground.namespace), playground.api
    own, other = [pod_on(name, await uid_of(api, name)) for name in ("node-1", "node-2")]
    daemon = copy.deepcopy(own)
    daemon["metadata"] = {"name": "daemon"}
    core = {"metadata": {"name": "core"}, "spec": {"nodeName": "node-1", "containers": [{"name": "a", "image": "a:1"}]}}
    for pod in (own, other, daemon, core):
        await api.create(path, pod)
    async with allowed(playground, "node-agent") as (client, _):
        for name in (other["metadata"]["name"], "daemon", "core"):
            with pytest.raises(KubernetesRefused, match=r"its own node|its Node owns"):
                await client.delete(f"{path}/{name}")
            with pytest.raises(KubernetesRefused, match=r"its own node|its Node owns"):
                await client.merge(
                    f"{path}/{name}", {"metadata": {"labels": {"app.kubernetes.io/managed-by": "fairlead"}}}
                )
        mine = f"{path}/{own['metadata']['name']}"
        await api.merge(mine, {"metadata": {"labels": {"team": "blue", "fairlead.dev/node": None}}})
        with pytest.raises(KubernetesRefused, match="labels for models"):
            await client.merge(mine, {"metadata": {"labels": {"app.kubernetes.io/component": "control"}}})
        found = await client.merge(mine, {"metadata": {"labels": {"fairlead.dev/node": "n1"}}})
        assert found["metadata"]["labels"]["team"] == "blue"
        await client.delete(mine)
