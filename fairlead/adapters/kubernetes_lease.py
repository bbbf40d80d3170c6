"""The lease port on `Lease` objects of Kubernetes, by the rules of client-go's leader election.

Whether another's lease has run out is judged by how long it has not changed here, so that clocks need not agree.
"""

import asyncio
import secrets
import socket
import time
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog

from fairlead.adapters.kubernetes_access import access_of
from fairlead.adapters.kubernetes_api import Kind, KubernetesApi, Object
from fairlead.contracts.containers import MANAGED_BY
from fairlead.contracts.errors import Conflict, FairleadError, NotFound, foreign
from fairlead.contracts.settings import KubernetesSettings

LEASES = Kind("coordination.k8s.io/v1", "leases", "Lease")

LASTS_S = 15.0
RENEW_WITHIN_S = 10.0
EVERY_S = 2.0
"""Wall seconds that a lease lasts, within which its holder renews it or stops, and between attempts: client-go's own
(`leaderelection.LeaderElectionConfig`, the values that kube-scheduler uses)."""


def lease_of(settings: KubernetesSettings, what: str, api: KubernetesApi | None = None) -> "KubernetesLease | None":
    """Return the lease of a kind of process, such as `planner`; None where the settings ask for none.

    Without `api` it has a client of its own. Raises `ConfigError` where the API is nowhere set.
    """
    if not settings.lease:
        return None
    made = KubernetesApi(access_of(settings), timeout_s=settings.timeout_s) if api is None else api
    holder = f"{socket.gethostname()}_{secrets.token_hex(4)}"
    return KubernetesLease(made, settings.namespace, f"{MANAGED_BY}-{what}", holder)


@dataclass(frozen=True, slots=True)
class Seen:
    """Another's lease as it was seen last."""

    version: str
    at_s: float
    """When this version was seen first, monotonic."""


class KubernetesLease:
    """One `Lease` object, as one process sees it."""

    def __init__(self, api: KubernetesApi, namespace: str, name: str, holder: str) -> None:
        self._api = api
        self._namespace = namespace
        self._name = name
        self._holder = holder
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
            await asyncio.sleep(EVERY_S)

    async def keep(self) -> None:
        """Renew it; return once it is another's, or could not be renewed for `RENEW_WITHIN_S`."""
        renewed_s = time.monotonic()
        while time.monotonic() - renewed_s < RENEW_WITHIN_S:
            await asyncio.sleep(EVERY_S)
            try:
                async with asyncio.timeout(max(0.1, RENEW_WITHIN_S - (time.monotonic() - renewed_s))):
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
        changes: Object = {"holderIdentity": self._holder, "leaseDurationSeconds": round(LASTS_S), "renewTime": _now()}
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
        return now_s - self._seen.at_s > LASTS_S

    async def _created(self) -> bool:
        spec = {
            "holderIdentity": self._holder,
            "leaseDurationSeconds": round(LASTS_S),
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
