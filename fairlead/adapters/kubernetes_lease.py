"""The lease port on `Lease` objects of Kubernetes, by the rules of client-go's leader election.

Whether another's lease has run out is judged by how long it has not changed here, so that clocks need not agree.
"""

import asyncio
import time
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog

from fairlead.adapters.kubernetes_api import Kind, KubernetesApi, Object
from fairlead.contracts.errors import Conflict, FairleadError, NotFound, foreign

LEASES = Kind("coordination.k8s.io/v1", "leases", "Lease")

LASTS_S = 15.0
"""Wall seconds after which a lease that is not renewed may be taken."""

RENEW_WITHIN = 2 / 3
EVERY = 2 / 15
"""Parts of that within which its holder renews it or stops, and between attempts. All three are client-go's own
(`leaderelection.LeaderElectionConfig`: 15, 10 and 2 s, the values that kube-scheduler uses)."""


@dataclass(frozen=True, slots=True)
class Seen:
    """Another's lease as it was seen last."""

    version: str
    at_s: float
    """When this version was seen first, monotonic."""


class KubernetesLease:
    """One `Lease` object, as one process sees it."""

    def __init__(self, api: KubernetesApi, namespace: str, name: str, holder: str, lasts_s: float = LASTS_S) -> None:
        self._api = api
        self._namespace = namespace
        self._name = name
        self._holder = holder
        self._lasts_s = lasts_s
        self._seen: Seen | None = None
        self._log = structlog.get_logger("lease").bind(lease=name)

    async def acquire(self) -> None:
        """Return once it is ours."""
        failing = False
        while True:
            try:
                if await self._taken():
                    return
                failing = False
            except FairleadError as error:
                if not failing:
                    self._log.warning("the lease cannot be had for now", error=foreign(error))
                failing = True
            await asyncio.sleep(EVERY * self._lasts_s)

    async def keep(self) -> None:
        """Renew it; return once it is another's, or could not be renewed in time."""
        renewed_s, within_s = time.monotonic(), RENEW_WITHIN * self._lasts_s
        while time.monotonic() - renewed_s < within_s:
            await asyncio.sleep(EVERY * self._lasts_s)
            try:
                async with asyncio.timeout(max(0.1, within_s - (time.monotonic() - renewed_s))):
                    if not await self._taken():
                        return
                renewed_s = time.monotonic()
            except (FairleadError, TimeoutError) as error:
                self._log.warning("the lease is not renewed for now", error=foreign(repr(error)))

    async def release(self) -> None:
        """Let another have it at once."""
        try:
            found = await self._api.get(self._path())
            if (found.get("spec") or {}).get("holderIdentity") == self._holder:
                await self._change(found, {"holderIdentity": None, "leaseDurationSeconds": 1})
        except FairleadError as error:
            self._log.info("the lease is not given back, it runs out", error=foreign(error))

    async def _taken(self) -> bool:
        """Return whether it is ours after one attempt to take or renew it."""
        try:
            found = await self._api.get(self._path())
        except NotFound:
            return await self._created()
        spec = found.get("spec") or {}
        holder, version = spec.get("holderIdentity"), str(found["metadata"]["resourceVersion"])
        changes: Object = {
            "holderIdentity": self._holder,
            "leaseDurationSeconds": max(1, round(self._lasts_s)),
            "renewTime": _now(),
        }
        if holder != self._holder:
            if holder and not self._run_out(version):
                return False
            changes |= {"acquireTime": _now(), "leaseTransitions": int(spec.get("leaseTransitions") or 0) + 1}
        try:
            await self._change(found, changes)
        except Conflict:
            return False
        return True

    def _run_out(self, version: str) -> bool:
        now_s = time.monotonic()
        if self._seen is None or self._seen.version != version:
            self._seen = Seen(version, now_s)
        return now_s - self._seen.at_s > self._lasts_s

    async def _created(self) -> bool:
        spec = {
            "holderIdentity": self._holder,
            "leaseDurationSeconds": max(1, round(self._lasts_s)),
            "acquireTime": _now(),
            "renewTime": _now(),
        }
        body = {"apiVersion": LEASES.version, "kind": LEASES.name, "metadata": {"name": self._name}, "spec": spec}
        try:
            await self._api.create(LEASES.path(self._namespace), body)
        except Conflict:
            return False
        return True

    async def _change(self, found: Object, spec: Object) -> None:
        """Change it if nobody else has since; raises `Conflict`."""
        version = {"resourceVersion": found["metadata"]["resourceVersion"]}
        await self._api.merge(self._path(), {"metadata": version, "spec": spec})

    def _path(self) -> str:
        return LEASES.path(self._namespace, self._name)


def _now() -> str:
    """Return the instant now as a MicroTime."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
