"""A stand-in for the kubelets of a cluster without machines: each pod of ours is a process on a loopback address.

It acts out what KWOK does not: the container's command, its probes, `preStop`, the grace period, its exit status. A
pod's address is one of 127.0.0.0/8, so that its port is its own; the process finds it in `POD_IP`. Pods of images that
begin with `missing` cannot be pulled.
"""

import asyncio
import contextlib
import itertools
import os
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from fairlead.adapters.kubernetes_api import NODES, PODS, Kind, KubernetesApi, Object, Put, Vanished
from fairlead.adapters.kubernetes_mirror import Mirror, Wanted
from fairlead.contracts.containers import MANAGED_BY, MANAGED_BY_LABEL
from fairlead.contracts.errors import FairleadError

PROBE_S = 0.05
"""Wall seconds between two probes; a real kubelet's least is 1 s."""

PROBE_LIMIT_S = 2.0
"""Wall seconds for an answer to a probe."""

RETRY_S = 0.1
"""Wall seconds between two tries to tell the API server something."""

STAGES = Kind("kwok.x-k8s.io/v1alpha1", "stages", "Stage")

UNKNOWN = "missing"
"""First letters of images that cannot be pulled."""


@dataclass(frozen=True, slots=True)
class Spawned:
    """A process that stands for a container; it leads its own group."""

    pid: int
    ended: "asyncio.Future[int | None]"
    """Its exit status, None where that is somebody else's to know."""


Spawn = Callable[[Object, str], Awaitable[Spawned]]
"""Runs a pod's container on an address."""


async def run_command(pod: Object, address: str) -> Spawned:
    """Run the command of a pod's container."""
    container = pod["spec"]["containers"][0]
    variables = {one["name"]: one.get("value", "") for one in container.get("env") or ()}
    process = await asyncio.create_subprocess_exec(
        *container.get("command", ()),
        *container.get("args", ()),
        env={**os.environ, **variables, "POD_IP": address},
        start_new_session=True,
    )
    return Spawned(process.pid, asyncio.ensure_future(process.wait()))


async def is_played(api: KubernetesApi) -> bool:
    """Whether KWOK plays every node of a cluster: where one is a machine, it is not for playing."""
    played, every = [(await api.items(NODES.path(None), labels=labels))[0] for labels in ("type=kwok", "")]
    return 0 < len(played) == len(every)


async def keep_kwok_off(api: KubernetesApi) -> None:
    """Have KWOK leave the pods of namespaces `played-…` to us."""
    stage = yaml.safe_load((Path(__file__).parent / "played_pods.yaml").read_text("utf-8"))
    await api.apply(STAGES.path(None, stage["metadata"]["name"]), stage, force=True)


@dataclass(slots=True)
class Backed:
    """A pod and the process that stands for its container."""

    object: Object
    address: str
    deleted: asyncio.Event = field(default_factory=asyncio.Event)
    process: Spawned | None = None
    task: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        """Return the pod's name."""
        return str(self.object["metadata"]["name"])


class Kubelet:
    """Plays the kubelets of all nodes for the pods of one namespace."""

    def __init__(self, api: KubernetesApi, namespace: str, subnet: int = 77, spawn: Spawn = run_command) -> None:
        """Give pods addresses of 127.`subnet`.0.0/16."""
        self._spawn = spawn
        self.pods: dict[str, Backed] = {}
        """By uid."""
        self._api = api
        self._namespace = namespace
        self._addresses = (f"127.{subnet}.{n // 250}.{n % 250 + 1}" for n in itertools.count())
        self._session: aiohttp.ClientSession | None = None

    async def run(self) -> None:
        """Play until cancelled; then every process is killed, and every pod removed: nobody else would."""
        wanted = Wanted(PODS, self._namespace, f"{MANAGED_BY_LABEL}={MANAGED_BY}")
        try:
            async with (
                aiohttp.ClientSession() as self._session,
                aclosing(Mirror(self._api, wanted).follow()) as changes,
            ):
                async for change in changes:
                    if isinstance(change, Put):
                        self._put(change.object)
                    elif isinstance(change, Vanished):
                        self._vanished(change.object)
        finally:
            await self._end()

    def of_model(self, model: str) -> Backed:
        """Return the one pod of a model that has a process."""
        (found,) = [b for b in self.pods.values() if b.object["metadata"]["labels"].get("fairlead.dev/model") == model]
        return found

    def kill(self, model: str) -> None:
        """Kill the process of a model's one pod, as if it had crashed."""
        process = self.of_model(model).process
        assert process is not None
        os.killpg(process.pid, signal.SIGKILL)

    def _put(self, pod: Object) -> None:
        uid = pod["metadata"]["uid"]
        backed = self.pods.get(uid)
        if backed is None:
            if not pod["spec"].get("nodeName") and not pod["metadata"].get("deletionTimestamp"):
                return
            backed = self.pods[uid] = Backed(pod, next(self._addresses))
            backed.task = asyncio.get_running_loop().create_task(self._live(backed))
        backed.object = pod
        if pod["metadata"].get("deletionTimestamp"):
            backed.deleted.set()

    def _vanished(self, pod: Object) -> None:
        """End a pod whose object was removed by force; labels that were taken away end nothing."""
        backed = self.pods.get(pod["metadata"]["uid"])
        if backed is not None and pod["metadata"].get("deletionTimestamp"):
            backed.deleted.set()

    async def _live(self, backed: Backed) -> None:
        """Play one pod from its binding to its end."""
        container = backed.object["spec"]["containers"][0]
        try:
            if container["image"].startswith(UNKNOWN):
                await self._no_image(backed, container)
            elif not backed.deleted.is_set():
                await self._run(backed, container)
            await backed.deleted.wait()
        finally:
            await self._kill(backed)
        await self._forget(backed)
        self.pods.pop(backed.object["metadata"]["uid"], None)

    async def _no_image(self, backed: Backed, container: Object) -> None:
        for reason in ("ErrImagePull", "ImagePullBackOff"):
            waiting = {"waiting": {"reason": reason, "message": f"there is no image {container['image']}"}}
            await self._say(backed, "Pending", waiting, ready=False)

    async def _run(self, backed: Backed, container: Object) -> None:
        """Run the container until it ends or the pod is deleted, and its grace is over."""
        try:
            backed.process = process = await self._spawn(backed.object, backed.address)
        except FairleadError as error:
            terminated = {"exitCode": 128, "reason": "StartError", "message": str(error), "finishedAt": _now()}
            await self._say(backed, "Failed", {"terminated": terminated}, ready=False)
            return
        running = {"running": {"startedAt": _now()}}
        await self._say(backed, "Running", running, ready=False)
        deleted = asyncio.create_task(backed.deleted.wait())
        probing = asyncio.create_task(self._probe(backed, container, running))
        try:
            await asyncio.wait((process.ended, deleted), return_when=asyncio.FIRST_COMPLETED)
            if backed.deleted.is_set():
                await self._stop(backed, container, process)
            else:
                probing.cancel()
                status = process.ended.result()
                terminated = {"exitCode": 1 if status is None else status, "reason": "Error", "finishedAt": _now()}
                await self._say(backed, "Failed", {"terminated": terminated}, ready=False)
        finally:
            for task in (deleted, probing):
                task.cancel()

    async def _probe(self, backed: Backed, container: Object, running: Object) -> None:
        probe = container.get("readinessProbe", {}).get("httpGet")
        while (
            probe is not None and await self._answer(f"http://{backed.address}:{probe['port']}{probe['path']}") != 200
        ):
            await asyncio.sleep(PROBE_S)
        await self._say(backed, "Running", running, ready=True)

    async def _stop(self, backed: Backed, container: Object, process: Spawned) -> None:
        """Ask the hook, then the process, each within the grace."""
        grace_s = backed.object["metadata"].get("deletionGracePeriodSeconds", 30)
        end_s = time.monotonic() + grace_s
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                await self._run_hook((container.get("lifecycle") or {}).get("preStop") or {})
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGTERM)
        await asyncio.wait((process.ended,), timeout=max(0.0, end_s - time.monotonic()))

    async def _run_hook(self, hook: Object) -> None:
        """Ask or sleep, as a hook says, for as long as that takes."""
        if "sleep" in hook:
            await asyncio.sleep(hook["sleep"]["seconds"])
        elif "httpGet" in hook:
            asked = hook["httpGet"]
            await self._answer(f"{asked['scheme'].lower()}://{asked['host']}:{asked['port']}{asked['path']}", None)

    async def _answer(self, url: str, limit_s: float | None = PROBE_LIMIT_S) -> int | None:
        assert self._session is not None
        try:
            async with self._session.get(url, timeout=aiohttp.ClientTimeout(total=limit_s)) as answer:
                return answer.status
        except (aiohttp.ClientError, OSError, TimeoutError):
            return None

    async def _say(self, backed: Backed, phase: str, state: Object, *, ready: bool) -> None:
        """Have the pod's status be this, however often it takes."""
        container = backed.object["spec"]["containers"][0]
        word = "True" if ready else "False"
        now = _now()
        status: dict[str, Any] = {
            "phase": phase,
            "podIP": backed.address,
            "podIPs": [{"ip": backed.address}],
            "startTime": now,
            "conditions": [
                {"type": kind, "status": word, "lastTransitionTime": now} for kind in ("Ready", "ContainersReady")
            ],
            "containerStatuses": [
                {
                    "name": container["name"],
                    "image": container["image"],
                    "imageID": "",
                    "ready": ready,
                    "started": ready,
                    "restartCount": 0,
                    "state": state,
                }
            ],
        }
        scheduled = [c for c in backed.object["status"].get("conditions") or () if c["type"] == "PodScheduled"]
        status["conditions"] += scheduled
        path = PODS.path(self._namespace, backed.name, "status")
        body = {"metadata": {"uid": backed.object["metadata"]["uid"]}, "status": status}
        await self._until_told(lambda: self._api.merge(path, body))

    async def _forget(self, backed: Backed) -> None:
        path, uid = PODS.path(self._namespace, backed.name), backed.object["metadata"]["uid"]
        await self._until_told(lambda: self._api.delete(path, uid=uid, grace_s=0))

    @staticmethod
    async def _until_told(tell: Any) -> None:
        """Repeat what the API server may be away for; what it refuses is no more to be told."""
        while True:
            try:
                await tell()
                return
            except FairleadError as error:
                if error.status != 503:
                    return
            await asyncio.sleep(RETRY_S)

    @staticmethod
    async def _kill(backed: Backed) -> None:
        if backed.process is not None and not backed.process.ended.done():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(backed.process.pid, signal.SIGKILL)
            await backed.process.ended

    async def _end(self) -> None:
        tasks = [b.task for b in self.pods.values() if b.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        with contextlib.suppress(FairleadError):
            await self._api.delete(PODS.path(self._namespace), grace_s=0)


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
