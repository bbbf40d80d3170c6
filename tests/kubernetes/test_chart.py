"""The chart and the plain manifests: taken by a real API server, settings that load, pods without rights, upgrades."""

import asyncio
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import typer.main
import yaml

from fairlead.contracts.cluster import Cluster
from fairlead.contracts.ports import PodOrder
from fairlead_cli.main import app
from fairlead_cli.settings import load
from tests.kubernetes.definitions import CHART, LOADER
from tests.kubernetes.helm import Tools
from tests.kubernetes.lab import Playground, runtime_of
from tests.node_agent.pods import contained
from tests.waiting import until

PLAIN = CHART.parents[1] / "kustomize"
FULL = Path(__file__).with_name("chart_values.yaml")

BEFORE = Path(__file__).with_name("fairlead-0.1.0.tgz")
"""The chart before this one, as `helm package` made it of the tree in which that was the newest."""


@pytest.fixture
def namespace(tools: Tools) -> Iterator[str]:
    """Give a namespace that is gone afterwards."""
    name = f"chart-{secrets.token_hex(4)}"
    tools.run("kubectl", "create", "namespace", name)
    yield name
    tools.run("kubectl", "delete", "namespace", name, "--wait=false")


def of_kind(objects: list[dict[str, Any]], *kinds: str) -> list[dict[str, Any]]:
    """Return the objects of some kinds."""
    return [one for one in objects if one["kind"] in kinds]


def templates(objects: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the pod template of each workload."""
    return {
        one["metadata"]["name"]: one["spec"]["template"]
        for one in of_kind(objects, "Deployment", "DaemonSet", "StatefulSet")
    }


@pytest.mark.parametrize(
    "options",
    [("--dry-run=server", "--set", "keys.secret="), ("--values", str(FULL))],
    ids=["as-it-is", "all-set"],
)
def test_the_api_server_takes_every_object_of_the_chart(tools: Tools, namespace: str, options: tuple[str, ...]) -> None:
    """By its own schemas, strictly; a ServiceMonitor, whose definition is not Kubernetes', is looked at by eye."""
    objects = tools.rendered(*options)
    known = [one for one in objects if one["kind"] != "ServiceMonitor"]
    assert tools.tried(known, namespace) == len(known)
    for monitor in of_kind(objects, "ServiceMonitor"):
        assert monitor["metadata"]["labels"]["release"] == "prometheus"
        names = {port["name"] for one in of_kind(objects, "Service") for port in one["spec"]["ports"]}
        assert {one["port"] for one in monitor["spec"]["endpoints"]} <= names


def test_settings_of_the_chart_are_settings(tools: Tools, tmp_path: Path) -> None:
    """The file loads, with the cluster that was given; every command is one, every variable is known."""
    objects = tools.rendered("--values", str(FULL))
    file = tmp_path / "fairlead.yaml"
    file.write_text(of_kind(objects, "ConfigMap")[0]["data"]["fairlead.yaml"], "utf-8")
    containers = [one for made in templates(objects).values() for one in made["spec"]["containers"]]
    ours = [one for one in containers if one["image"].startswith("fairlead-")]
    values = {variable["name"]: variable.get("value") for one in ours for variable in one["env"]}
    settings = load(file, {name: value or "mongodb://db" for name, value in values.items() if "KUBERNETES" not in name})
    assert isinstance(settings.cluster, Cluster)
    assert [node.kubernetes_node for node in settings.cluster.nodes] == [None, "node-2.example.com"]
    assert settings.cluster.nodes[0].memory_bytes == 80_000_000_000
    assert [site.id for site in settings.cluster.sites] == ["back-door", "front-door"]
    assert (settings.kubernetes.lease, settings.kubernetes.gateway_namespace) == (True, "infra")
    assert [one.key for one in settings.kubernetes.tolerations] == ["edge"]
    assert settings.controller.slot_s == 20.0
    commands: Any = typer.main.get_command(app)
    assert {one["args"][0] for one in ours} <= set(commands.commands)
    assert len(ours) == 4 + 2 + 2


def test_values_that_make_no_sense_are_refused(tools: Tools) -> None:
    """By the schema of the values, before anything is rendered; so is a chart without a database.

    So are keys that would be others at each rendering, where nobody can look for those that are there.
    """
    for option, said in (
        ("nodes[0].id=A", "does not match pattern"),
        ("control.replica=3", "at '/control': additional properties 'replica' not allowed"),
        ("agentGuard.hostPaths[0]=weights", "does not match pattern"),
        ("mongodb.trial.enabled=false", "no database"),
        ("keys.secret=", "set keys.secret=fairlead-keys"),
    ):
        with pytest.raises(AssertionError, match=said):
            tools.rendered("--set", option)


def test_pods_of_ours_have_no_rights_to_speak_of(tools: Tools, namespace: str) -> None:
    """The restricted profile of Pod Security takes them, but for the keeper's port of the node.

    Root file systems are read-only, and only who asks the Kubernetes API has a token.
    """
    made = templates(tools.rendered("--values", str(FULL)))
    tools.run("kubectl", "label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
    pods: list[dict[str, Any]] = []
    for name, template in made.items():
        spec = {**template["spec"], "serviceAccountName": "default"}
        if name == "fairlead-mongodb":  # its claim is made by its StatefulSet
            spec["volumes"] = [*spec["volumes"], {"name": "data", "emptyDir": {}}]
        assert spec["automountServiceAccountToken"] is False
        for container in (*spec["containers"], *spec.get("initContainers", ())):
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            tokens = [one for one in container["volumeMounts"] if one["name"] == "api-token"]
            asks = container["name"] in ("planner", "slot-agent", "kube-sync", "node-agent")
            assert bool(tokens) is asks, container["name"]
        if name != "fairlead-edge":
            pods.append({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec})
    assert tools.tried(pods, namespace) == len(pods) == len(made) - 1


def test_plain_manifests_are_the_charts_and_are_taken(tools: Tools, namespace: str) -> None:
    """`render.sh` would change nothing; kustomize finds the definitions too."""
    printed = tools.run(str(PLAIN / "render.sh"), "--print")
    assert printed == (PLAIN / "install.yaml").read_text("utf-8"), "run deploy/kustomize/render.sh"
    objects = [one for one in yaml.load_all(tools.run("kubectl", "kustomize", str(PLAIN)), Loader=LOADER) if one]
    assert len(of_kind(objects, "CustomResourceDefinition")) == 3
    for one in objects:
        if "namespace" in one["metadata"]:
            one["metadata"]["namespace"] = namespace
    assert tools.tried(objects, namespace) == len(objects)


def test_a_rollout_cuts_no_site_and_no_keeper_is_cut_off(tools: Tools) -> None:
    """A gateway that is replaced ends what it has while the next one serves; keepers know their callers' nodes."""
    objects = tools.rendered("--values", str(FULL), "--set", "gateway.drainSeconds=40")
    gateways = [one["spec"] for one in of_kind(objects, "Deployment") if "-gateway-" in one["metadata"]["name"]]
    for one in gateways:
        assert one["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
        pod = one["template"]["spec"]
        (gateway,) = pod["containers"]
        assert gateway["lifecycle"]["preStop"] == {"sleep": {"seconds": 5}}
        assert {"name": "FAIRLEAD_GATEWAY__DRAIN_S", "value": "40"} in gateway["env"]
        assert pod["terminationGracePeriodSeconds"] == 55
    assert len(gateways) == 2
    (keeper,) = [one for one in of_kind(objects, "NetworkPolicy") if one["metadata"]["name"] == "fairlead-edge"]
    let_in = {peer["ipBlock"]["cidr"] for peer in keeper["spec"]["ingress"][0]["from"] if "ipBlock" in peer}
    assert {"10.0.0.1/32", "10.0.0.2/32", "192.168.0.0/16"} <= let_in


async def test_an_upgrade_keeps_running_pods_keys_and_declarations(tools: Tools, playground: Playground) -> None:
    """From the version before, with other settings: what serves is not touched; people cannot write the mirrors."""
    namespace = playground.namespace
    place = ("--namespace", namespace, "--set", "mongodb.uri=mongodb://db:27017")
    await asyncio.to_thread(tools.run, "helm", "install", "fairlead", str(BEFORE), *place)
    runtime = runtime_of(playground)
    await runtime.adopt()
    await runtime.start(PodOrder("n1", contained("text"), "a"))
    url = await anext(one.url async for one in runtime.watch() if one.state == "ready")
    spec = {"kind": "text", "memory_bytes": 1, "work_s": 1.0, "start_delay_s": 1.0, "container": {"image": "a"}}
    declared = {"apiVersion": "fairlead.dev/v1alpha1", "kind": "EdgeModel", "metadata": {"name": "text"}, "spec": spec}
    tools.run("kubectl", "apply", "-n", namespace, "-f", "-", given=yaml.safe_dump(declared))
    kept = ("edgemodel/text", "secret/fairlead-keys")

    async def serves() -> list[Any]:
        """Return who serves and with which keys; the pod answers."""
        async with aiohttp.ClientSession() as client, client.get(f"{url}/health") as answer:
            assert answer.status == 200
        selected = ("--namespace", namespace, "--selector", "fairlead.dev/model", "pods")
        objects = tools.json(*selected)["items"] + [tools.json("--namespace", namespace, one) for one in kept]
        process = playground.kubelet.of_model("text").process
        assert process is not None
        return [process.pid, *((one["metadata"]["uid"], one.get("data") or one["spec"]) for one in objects)]

    first = await serves()
    changed = ("--set", "settings.controller.slot_s=20")
    await asyncio.to_thread(tools.run, "helm", "upgrade", "fairlead", str(CHART), *place, *changed)
    assert await serves() == first
    plan = {"apiVersion": "fairlead.dev/v1alpha1", "kind": "EdgePlan", "metadata": {"name": "mine"}, "spec": PLAN}
    words = ("kubectl", "create", "--dry-run=server", "-n", namespace, "-f", "-")

    def is_guarded() -> bool:
        done = subprocess.run(
            words, input=yaml.safe_dump(plan), env=tools.environment, capture_output=True, text=True, check=False
        )
        return "a mirror of what Fairlead has decided" in done.stderr

    await until(is_guarded, "a person cannot write a mirror")
    await asyncio.to_thread(tools.run, "helm", "uninstall", "fairlead", "--namespace", namespace)
    assert await serves() == first
    await runtime.close()


PLAN = {
    **{"generation": 1, "parent": 0, "epoch": 0, "created_at_s": 0.0, "expires_at_s": 1.0, "source": "operator"},
    **{"intents": [], "priorities": [], "warm": [], "why": "mine"},
}
"""A plan as it would have to look like."""
