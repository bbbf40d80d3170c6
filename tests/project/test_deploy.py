"""What is shipped to run in containers says what the code says: metrics that exist, versions, targets and settings."""

import json
import re
import tomllib
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import yaml

from docs.metrics import metrics
from fairlead.contracts.cluster import Cluster
from fairlead_cli.settings import load

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "docker-compose.yml"
SETTINGS = ROOT / "deploy" / "compose" / "fairlead.yaml"

DASHBOARD = ROOT / "deploy" / "grafana" / "dashboards" / "fairlead.json"
ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yml"
SCRAPES = ROOT / "deploy" / "prometheus" / "prometheus.yml"


def services() -> dict[str, Any]:
    """Return the services of the compose file."""
    document: dict[str, Any] = yaml.safe_load(COMPOSE.read_text("utf-8"))
    return dict(document["services"])


def expressions() -> tuple[str, ...]:
    """Return every query of the dashboard and of the alerts."""
    panels = json.loads(DASHBOARD.read_text("utf-8"))["panels"]
    shown = [target["expr"] for panel in panels for target in panel["targets"]]
    rules = chain.from_iterable(group["rules"] for group in yaml.safe_load(ALERTS.read_text("utf-8"))["groups"])
    return (*shown, *(rule["expr"] for rule in rules))


@cache
def labels_of() -> dict[str, set[str]]:
    """Return the labels of every series that processes expose, by its name."""
    declared = metrics()
    buckets = {f"{one.name}_bucket": {*one.labels, "le"} for one in declared if one.kind == "histogram"}
    return {one.name: set(one.labels) for one in declared} | buckets


@pytest.mark.parametrize("query", expressions())
def test_queries_name_metrics_and_labels_that_exist(query: str) -> None:
    """Each name is exposed by some process, each label in braces or after `by` is one of its metrics'."""
    known = labels_of()
    names = re.findall(r"\bfairlead_[a-z_]+", query)
    assert names or query.startswith("up ")
    assert [name for name in names if name not in known] == []
    labels = set(chain.from_iterable(re.split(r",\s*", one) for one in re.findall(r"by \(([^)]*)\)", query)))
    labels |= set(re.findall(r"[{,]\s*([a-z_]+)!?=", query))
    assert labels <= set().union(*(known[name] for name in names))


def test_what_is_scraped_is_what_the_settings_open() -> None:
    """Control API, planner, slot agent and every site, at the ports of the settings file."""
    settings = load(SETTINGS, {})
    assert isinstance(settings.cluster, Cluster)
    jobs = yaml.safe_load(SCRAPES.read_text("utf-8"))["scrape_configs"]
    targets = {target for job in jobs for one in job["static_configs"] for target in one["targets"]}
    sites = {site.url.removeprefix("http://") for site in settings.cluster.sites}
    own = {f"planner:{settings.planner.metrics_port}", f"slot-agent:{settings.slot_agent.metrics_port}"}
    assert targets == {settings.control.url.removeprefix("http://"), *own, *sites}


def test_every_node_and_site_has_a_container() -> None:
    """An edge is run for each, under the host name of its addresses."""
    settings = load(SETTINGS, {})
    assert isinstance(settings.cluster, Cluster)
    edges = {name: one["command"] for name, one in services().items() if name.startswith("edge-")}
    nodes = {n.keeper_url.split("/")[2].split(":")[0]: n.id for n in settings.cluster.nodes}
    sites = {s.url.split("/")[2].split(":")[0]: s.id for s in settings.cluster.sites}
    assert {name: words[words.index("--node") + 1] for name, words in edges.items()} == nodes
    assert {name: words[words.index("--site") + 1] for name, words in edges.items()} == sites


def test_every_service_is_confined() -> None:
    """No rights, a read-only root, bounds on memory and processor, a policy and a check; loopback ports alone."""
    for name, one in services().items():
        assert one["read_only"] is True, name
        assert one["cap_drop"] == ["ALL"], name
        assert one["security_opt"] == ["no-new-privileges:true"], name
        assert {"mem_limit", "cpus", "restart", "logging"} <= set(one), name
        assert one["restart"] == ("no" if name == "setup" else "unless-stopped"), name
        assert name in ("setup", "clients") or "healthcheck" in one, name
        assert all(str(port).startswith("127.0.0.1:") for port in one.get("ports", ())), name


def test_images_bear_the_projects_version() -> None:
    """The tags of the compose file, and the targets that they are built from, are those of this project."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    ours = {one["image"]: one["build"]["target"] for one in services().values() if "build" in one}
    assert ours == {f"fairlead-{kind}:${{FAIRLEAD_TAG:-{version}}}": kind for kind in ("core", "edge")}
    targets = set(re.findall(r"^FROM \S+ AS (\S+)", (ROOT / "Dockerfile").read_text("utf-8"), re.M))
    assert {"core", "edge"} <= targets


def test_images_are_built_from_every_package() -> None:
    """What the project installs is let into the build, and nothing else of the tree but what that reads."""
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]
    packages = {one.removesuffix("*") for one in tools["setuptools"]["packages"]["find"]["include"]}
    lines = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    assert lines[1] == "*"
    let_in = {line[1:] for line in lines if line.startswith("!")}
    assert let_in == packages | {"deploy/image", "requirements/*.txt", "pyproject.toml", "README.md", "LICENSE"}


def test_named_volumes_are_used() -> None:
    """Each is declared, and each that is declared is mounted."""
    mounts = chain.from_iterable(one.get("volumes", ()) for one in services().values())
    named = {mount.partition(":")[0] for mount in mounts if mount[0] not in "./$"}
    assert named == set(yaml.safe_load(COMPOSE.read_text("utf-8"))["volumes"])
