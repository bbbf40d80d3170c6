"""The custom resources on a cluster of the tests, and those of Gateway API where the lab brings them."""

import asyncio
from pathlib import Path

import pytest
import yaml

from fairlead.adapters.kubernetes_access import access_of
from fairlead.adapters.kubernetes_api import Kind, KubernetesApi
from fairlead.contracts.settings import KubernetesSettings
from tests.waiting import until

CHART = Path(__file__).parents[2] / "deploy" / "chart" / "fairlead"

DEFINITIONS = Kind("apiextensions.k8s.io/v1", "customresourcedefinitions", "CustomResourceDefinition")

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The fast one where there is one: a definition of Gateway API has 300 KB."""


@pytest.fixture(scope="session")
def defined(kubeconfig: str) -> str:
    """Give a kubeconfig of a cluster that has the definitions."""

    async def main() -> None:
        api = KubernetesApi(access_of(KubernetesSettings(kubeconfig=kubeconfig)))
        await define(api, kubeconfig)
        await api.close()

    asyncio.run(main())
    return kubeconfig


async def define(api: KubernetesApi, kubeconfig: str) -> None:
    """Install the definitions and wait until they are served."""
    files = [*(CHART / "definitions").glob("edge*.yaml")]
    files += (Path(kubeconfig).parent / "share" / "gateway-api" / "standard").glob("*httproutes.yaml")
    names = []
    for file in files:
        one = yaml.load(file.read_text("utf-8"), Loader=LOADER)
        names.append(one["metadata"]["name"])
        await api.apply(DEFINITIONS.path(None, names[-1]), one, force=True)

    async def served() -> bool:
        found = [await api.get(DEFINITIONS.path(None, name)) for name in names]
        told = [{c["type"]: c["status"] for c in one.get("status", {}).get("conditions", ())} for one in found]
        return all(one.get("Established") == "True" for one in told)

    await until(served, "the definitions are served")
