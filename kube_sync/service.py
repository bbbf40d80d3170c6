"""kube-sync as a process: its store, its client of the Kubernetes API, its lease, its metrics."""

from fairlead.adapters.clock import ScaledClock
from fairlead.adapters.kubernetes_access import access_of
from fairlead.adapters.kubernetes_api import KubernetesApi
from fairlead.adapters.mongo import connect
from fairlead.adapters.outage import Outage, persist
from fairlead.adapters.prometheus import exposed
from fairlead.agents.leading import leased, while_leading
from fairlead.contracts.errors import ConfigError
from fairlead.contracts.settings import Settings
from kube_sync.metrics import SyncMetrics
from kube_sync.sync import Sync


async def serve(settings: Settings) -> None:
    """Sync until cancelled. Raises `ConfigError` if there is no database, or no Kubernetes API is set."""
    if settings.mongodb.uri is None:
        raise ConfigError("kube-sync needs a database: set mongodb.uri or FAIRLEAD_MONGODB_URI")
    clock = ScaledClock(settings.speed, settings.clock_origin_s)
    metrics = SyncMetrics()
    api = KubernetesApi(access_of(settings.kubernetes), timeout_s=settings.kubernetes.timeout_s)

    async def work() -> None:
        outage = Outage("reaching the store", clock, metrics.failures)
        store = await persist(outage, lambda: connect(settings.mongodb, clock))
        try:
            await Sync(store, api, clock, settings.kubernetes, metrics).run()
        finally:
            await store.close()

    try:
        with exposed(metrics.registry, settings.kube_sync.metrics_port, settings.kube_sync.metrics_host):
            async with leased(settings.kubernetes, "kube-sync") as lease:
                await while_leading(lease, work)
    finally:
        await api.close()
