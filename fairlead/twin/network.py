"""How far sites and nodes are from one another, and how long prompts and answers take (CONTROL §5)."""

from collections.abc import Mapping
from types import MappingProxyType

from fairlead.contracts.cluster import Cluster, Kind
from fairlead.twin.requests import Network
from fairlead.twin.streams import stream

NEAR_S, FAR_S = 0.002, 0.02
"""One way between a site and a node: 2 ms to the node beside it, to others up to 20 ms (CONTROL §5)."""

NETWORK_SEED = 2602
"""Of the stream that distances are drawn from: any number, the same for every run, as cables are."""

UP_S: Mapping[Kind, float] = MappingProxyType({"text": 0.01, "vision-language": 0.08, "image": 0.0})
DOWN_S: Mapping[Kind, float] = MappingProxyType({"text": 0.0, "vision-language": 0.0, "image": 0.15})
"""Payloads: 0.01 to 0.15 s by kind (CONTROL §5). Own choice: an image is what takes long, shown or made."""


def network_of(cluster: Cluster) -> Network:
    """Return the network of a cluster, the same in every run."""
    return Network(
        between_s={
            site.id: {node.id: _far_s(site.id, site.node, node.id) for node in cluster.nodes} for site in cluster.sites
        },
        up_s={model.id: UP_S[model.kind] for model in cluster.models},
        down_s={model.id: DOWN_S[model.kind] for model in cluster.models},
    )


def _far_s(site: str, beside: str | None, node: str) -> float:
    if node == beside:
        return NEAR_S
    return float(stream(NETWORK_SEED, "network", site, node).uniform(NEAR_S, FAR_S))
