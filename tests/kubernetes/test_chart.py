"""The chart and the plain manifests: taken by a real API server, settings that load, pods without rights, upgrades."""

import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

from fairlead.contracts.cluster import Cluster
from fairlead_cli.main import app
from fairlead_cli.settings import load
from tests.kubernetes.definitions import CHART, LOADER
from tests.waiting import until

PLAIN = CHART.parents[1] / "kustomize"
FULL = Path(__file__).with_name("chart_values.yaml")
LIMIT_S = 120.0
"""Wall seconds for one command of helm or kubectl: two are usual, an upgrade that waits for pods takes ten."""


@dataclass(frozen=True, slots=True)
class Tools:
    """helm and kubectl, on a cluster."""

    environment: dict[str, str]

    def run(self, *words: str, given: str = "") -> str:
        """Return what a command says; fails with its errors."""
        done = subprocess.run(
            words, env=self.environment, input=given, capture_output=True, text=True, timeout=LIMIT_S, check=False
        )
        assert done.returncode == 0, f"{' '.join(words)}: {done.stderr[-3000:]}"
        return done.stdout

    def rendered(self, *options: str) -> list[dict[str, Any]]:
        """Return the objects of the chart."""
        text = self.run("helm", "template", "fairlead", str(CHART), "--namespace", "edge", *options)
        return [one for one in yaml.load_all(text, Loader=LOADER) if one]

    def tried(self, objects: list[dict[str, Any]], namespace: str) -> int:
        """Return how many objects the API server would take; none is stored."""
        words = ("kubectl", "apply", "--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict")
        said = self.run(*words, "--namespace", namespace, "-f", "-", given=yaml.safe_dump_all(objects))
        return len(said.splitlines())

    def json(self, *words: str) -> Any:
        """Return what kubectl gets."""
        return yaml.load(self.run("kubectl", "get", *words, "--output", "json"), Loader=LOADER)


@pytest.fixture(scope="module")
def tools(defined: str) -> Tools:
    """Give helm and kubectl of the lab, or those of this machine; the cluster has the definitions already."""
    found = f"{Path(defined).parent / 'bin'}{os.pathsep}{os.environ['PATH']}"
    missing = [name for name in ("helm", "kubectl") if shutil.which(name, path=found) is None]
    if missing:
        pytest.skip(f"{' and '.join(missing)} cannot be found: neither in PATH nor beside {defined}")
    return Tools({**os.environ, "KUBECONFIG": defined, "PATH": found})


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


@pytest.mark.parametrize("options", [(), ("--values", str(FULL))], ids=["as-it-is", "all-set"])
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
    assert settings.controller.slot_s == 20.0
    commands: Any = typer.main.get_command(app)
    assert {one["args"][0] for one in ours} <= set(commands.commands)
    assert len(ours) == 4 + 2 + 2


def test_values_that_make_no_sense_are_refused(tools: Tools) -> None:
    """By the schema of the values, before anything is rendered; so is a chart without a database."""
    for option, said in (
        ("nodes[0].id=A", "does not match pattern"),
        ("control.replica=3", "additional properties"),
        ("mongodb.trial.enabled=false", "no database"),
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


async def test_an_upgrade_keeps_running_pods_keys_and_declarations(
    tools: Tools, namespace: str, tmp_path: Path
) -> None:
    """From the version before, with other settings: what serves is not touched; people cannot write the mirrors."""
    before = tmp_path / "fairlead"
    shutil.copytree(CHART, before)
    text = (before / "Chart.yaml").read_text("utf-8").replace("version: 0.1.0", "version: 0.0.9", 1)
    (before / "Chart.yaml").write_text(text, "utf-8")
    place = ("--namespace", namespace, "--set", "mongodb.uri=mongodb://db:27017")
    tools.run("helm", "install", "fairlead", str(before), *place)
    labels = {"app.kubernetes.io/managed-by": "fairlead", "fairlead.dev/model": "text", "fairlead.dev/node": "node-1"}
    spec = {"nodeName": "node-1", "containers": [{"name": "model", "image": "registry.example.com/text:1"}]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "text", "labels": labels}, "spec": spec}
    model = {"kind": "text", "memory_bytes": 1, "work_s": 1.0, "start_delay_s": 1.0, "container": {"image": "a"}}
    declared = {"apiVersion": "fairlead.dev/v1alpha1", "kind": "EdgeModel", "metadata": {"name": "text"}, "spec": model}
    tools.run("kubectl", "apply", "-n", namespace, "-f", "-", given=yaml.safe_dump_all([pod, declared]))
    watched = ("pod/text", "edgemodel/text", "secret/fairlead-keys")

    def seen() -> list[tuple[str, Any]]:
        found = [tools.json("--namespace", namespace, one) for one in watched]
        return [(one["metadata"]["uid"], one.get("data") or one["spec"]) for one in found]

    first = seen()
    tools.run("helm", "upgrade", "fairlead", str(CHART), *place, "--set", "settings.controller.slot_s=20")
    assert seen() == first
    plan = {"apiVersion": "fairlead.dev/v1alpha1", "kind": "EdgePlan", "metadata": {"name": "mine"}, "spec": PLAN}
    words = ("kubectl", "create", "--dry-run=server", "-n", namespace, "-f", "-")

    def is_guarded() -> bool:
        done = subprocess.run(
            words, input=yaml.safe_dump(plan), env=tools.environment, capture_output=True, text=True, check=False
        )
        return "a mirror of what Fairlead has decided" in done.stderr

    await until(is_guarded, "a person cannot write a mirror")
    tools.run("helm", "uninstall", "fairlead", "--namespace", namespace)
    assert seen() == first


PLAN = {
    **{"generation": 1, "parent": 0, "epoch": 0, "created_at_s": 0.0, "expires_at_s": 1.0, "source": "operator"},
    **{"intents": [], "priorities": [], "warm": [], "why": "mine"},
}
"""A plan as it would have to look like."""
