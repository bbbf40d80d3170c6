"""helm and kubectl for tests, and the chart's guard of node agents put in force by them."""

import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.kubernetes.definitions import CHART, LOADER
from tests.kubernetes.lab import Playground
from tests.waiting import until

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
        place = ("--namespace", "edge", "--set", "keys.secret=fairlead-keys")
        text = self.run("helm", "template", "fairlead", str(CHART), *place, *options)
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
async def guarded(tools: Tools, playground: Playground) -> AsyncIterator[None]:
    """Have the chart's guard of node agents be in force in the playground, for a release named fairlead.

    Weights may lie in /srv/models of the machines.
    """
    space = ("--namespace", playground.namespace)
    paths = ("--set", "agentGuard.hostPaths[0]=/srv/models")
    guard = yaml.safe_dump_all(tools.rendered(*space, *paths, "--show-only", "templates/agentguard.yaml"))
    tools.run("kubectl", "apply", "--server-side", "-f", "-", given=guard)
    agent = f"system:serviceaccount:{playground.namespace}:fairlead-node-agent"
    words = ("kubectl", "create", "--dry-run=server", "--as", agent, "--as-group", "system:masters", *space, "-f", "-")

    def is_refused() -> bool:
        text = yaml.safe_dump({**TRIED, "metadata": {"name": "any"}})
        done = subprocess.run(words, input=text, env=tools.environment, capture_output=True, text=True, check=False)
        return "node agent" in done.stderr

    try:
        await until(is_refused, "the guard refuses a pod")
        yield
    finally:
        tools.run("kubectl", "delete", "--wait=false", "-f", "-", given=guard)


TRIED = {"apiVersion": "v1", "kind": "Pod", "spec": {"containers": [{"name": "a", "image": "a:1"}]}}
"""What no node agent may make."""
