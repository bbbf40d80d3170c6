"""`fairlead up` on the runtime `kubernetes`: the kubelets of a cluster that is played, in a namespace of the run.

    python -m testbed.played_cluster --config FILE

Emulated pods come from the run's warm parent. The API server must be one whose nodes KWOK plays: on machines that are
real, real kubelets would run what is meant for this one.
"""

import argparse
import asyncio
import json
import os
import signal
from contextlib import suppress
from pathlib import Path

import yaml

from fairlead.adapters import process_table
from fairlead.adapters.kubernetes_access import access_of
from fairlead.adapters.kubernetes_api import Kind, KubernetesApi, Object
from fairlead.contracts.cluster import Cluster
from fairlead.contracts.containers import NODE_LABEL, Container
from fairlead.contracts.errors import ConfigError, Conflict, FairleadError
from fairlead.contracts.ports import PodOrder
from fairlead.contracts.settings import Settings
from node_agent.launchers import WarmParentClient
from node_agent.pod_objects import ORDERED_AT
from node_agent.pod_reading import annotated, instance_of, model_of
from testbed.kubelet import Kubelet, Spawned, is_played, keep_kwok_off, run_command

EMULATED = "fairlead.dev/emulated:1"
"""Image of emulated pods, which is nowhere to be pulled from."""

PORT = 8000
"""Of every emulated pod, each on an address of its own."""

NAMESPACES = Kind("v1", "namespaces", "Namespace")


def contained(shape: Cluster) -> Cluster:
    """Return the cluster with a container for each model that a warm parent forks."""
    container = Container(image=EMULATED, command=("emulated", "{model}"), port=PORT)
    models = (
        m.model_copy(update={"container": container})
        if m.container is None and m.launch is not None and m.launch.launcher == "warm-parent"
        else m
        for m in shape.models
    )
    return shape.model_copy(update={"models": tuple(models)})


class WarmKubelet:
    """Runs the containers of emulated pods by forks of a warm parent, all others as commands."""

    def __init__(self, cluster: Cluster, parent: WarmParentClient) -> None:
        self._nodes = {node.id: node for node in cluster.nodes}
        self._models = {model.id: model for model in cluster.models}
        self._parent = parent

    async def spawn(self, pod: Object, address: str) -> Spawned:
        """Run a pod's container on an address."""
        if pod["spec"]["containers"][0]["image"] != EMULATED:
            return await run_command(pod, address)
        node = self._nodes[pod["metadata"]["labels"][NODE_LABEL]]
        order = PodOrder(node.id, self._models[model_of(pod) or ""], instance_of(pod))
        forked = await self._parent.fork(order, node, annotated(pod, ORDERED_AT, 0.0), (address, PORT))
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[int | None] = loop.create_future()
        pidfd = process_table.open_pidfd(forked.pid, forked.start_ticks)
        if pidfd is None:
            ended.set_result(None)
        else:
            loop.add_reader(pidfd, _note, loop, pidfd, ended)
        return Spawned(forked.pid, ended)


def _note(loop: asyncio.AbstractEventLoop, pidfd: int, ended: "asyncio.Future[int | None]") -> None:
    loop.remove_reader(pidfd)
    os.close(pidfd)
    if not ended.done():
        ended.set_result(None)


async def play(settings: Settings) -> None:
    """Play kubelets until SIGTERM. Raises `ConfigError` where the nodes are real machines."""
    cluster = settings.cluster
    if not isinstance(cluster, Cluster):
        raise ConfigError("the settings name a cluster: give its nodes and models in full")
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    api = KubernetesApi(access_of(settings.kubernetes), timeout_s=settings.kubernetes.timeout_s)
    namespace = settings.kubernetes.namespace
    if not await is_played(api):
        raise ConfigError(
            "not all nodes of this Kubernetes cluster are played by KWOK: `fairlead up` would act on real ones"
        )
    await keep_kwok_off(api)
    with suppress(Conflict):
        await api.create(NAMESPACES.path(None), {"kind": "Namespace", "metadata": {"name": namespace}})
    warm = WarmKubelet(cluster, WarmParentClient(settings.node_agent.warm_parent))
    kubelet = Kubelet(api, namespace, spawn=warm.spawn)
    playing = asyncio.create_task(kubelet.run())
    stopped = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait((playing, stopped), return_when=asyncio.FIRST_COMPLETED)
    finally:
        playing.cancel()
        await asyncio.gather(playing, return_exceptions=True)
        with suppress(FairleadError):
            await api.delete(NAMESPACES.path(None, namespace))
        await api.close()


def main() -> None:
    """Play what the settings say."""
    words = argparse.ArgumentParser(prog="python -m testbed.played_cluster", description="Play a cluster's kubelets.")
    words.add_argument("--config", required=True, type=Path, help="fairlead.yaml, with the cluster in full")
    given = words.parse_args()
    asyncio.run(play(Settings.from_json(json.dumps(yaml.safe_load(given.config.read_text())))))


if __name__ == "__main__":
    main()
