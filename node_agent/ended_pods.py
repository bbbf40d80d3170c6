"""The objects of pods that have ended: removed, as often as that has to be tried."""

import structlog

from fairlead.adapters.kubernetes_api import PODS, KubernetesApi, Object
from fairlead.contracts.errors import Conflict, KubernetesRefused, KubernetesUnavailable, NotFound, foreign
from node_agent.orders import Orders
from node_agent.pod_objects import Place


class EndedPods:
    """Those of one place."""

    def __init__(self, place: Place, api: KubernetesApi, orders: Orders) -> None:
        self._place = place
        self._api = api
        self._orders = orders
        self._swept: set[str] = set()
        """Uids of ended pods whose objects are being removed: what is told of those is our own doing."""
        self._log = structlog.get_logger().bind(node=place.node.id)

    def sweep(self, pod: Object) -> None:
        """Have the object of an ended pod deleted; its containers are gone already."""
        if not self.is_swept(pod):
            self._swept.add(pod["metadata"]["uid"])
            self._orders.begin(self._delete(pod["metadata"]))

    def is_swept(self, pod: Object) -> bool:
        """Tell whether an ended pod's object is being removed, or was and that has not been heard yet."""
        return pod["metadata"]["uid"] in self._swept

    def vanished(self, pod: Object) -> None:
        """Take that a pod's object is no more."""
        self._swept.discard(pod["metadata"]["uid"])

    async def _delete(self, metadata: Object) -> None:
        path, tries = PODS.path(self._place.namespace, metadata["name"]), 0
        while True:
            try:
                await self._api.delete(path, uid=metadata["uid"])
                return
            except (NotFound, Conflict):
                return  # the one that was asked before, or somebody else's
            except KubernetesRefused as error:
                self._swept.discard(metadata["uid"])
                self._log.warning("an ended pod could not be removed", pod=metadata["name"], error=foreign(error))
                return
            except KubernetesUnavailable:
                await self._orders.pause(tries)
                tries += 1
