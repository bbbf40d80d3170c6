"""Named clusters, as CONTROL §5 defines them or gives their sizes, on the ports that a caller gives."""

from collections.abc import Callable, Mapping

from fairlead.contracts.cluster import Cluster, Launch, ModelSpec, NodeSpec, SiteSpec
from fairlead.contracts.errors import ConfigError
from fairlead.twin.large_clusters import ModelFigures, NodeFigures, large_models, large_nodes, spread_sites

GB = 1_000_000_000
"""The unit of CONTROL §5's memory figures, bytes."""

NAMES = ("catalogue", "catalogue-sleeping", "city7", "city7-pausing", "home3", "metro100", "nation1000")

Ports = Callable[[str], int] | Mapping[str, int]
"""Port of a keeper by its node's id, and of an ingress by its site's id."""

FIRST_KEEPER_PORT = 8711
FIRST_INGRESS_PORT = 8781
"""Where `default_ports` begins: next to the control API's 8700, in a range that IANA gives to nobody well known."""

EDGE_NODES = ((6.0, 0.6), (6.0, 0.6), (8.0, 1.0), (8.0, 1.0), (10.0, 1.4), (6.0, 0.8), (8.0, 1.0))
"""Memory in GB and speed of the seven nodes (CONTROL §5)."""

EDGE_SITES = (1, 3, 5)
"""The nodes that an ingress stands beside (CONTROL §5)."""

CITY7_MODELS: tuple[ModelFigures, ...] = (
    ("small-text", "text", 1.0, 2.0, 12.0),
    ("large-text", "text", 3.5, 8.0, 25.0),
    ("vision-language", "vision-language", 2.2, 4.0, 20.0),
    ("image", "image", 5.0, 24.0, 50.0),
)
"""Id, kind, memory in GB, seconds of work, seconds to start (CONTROL §5)."""

CATALOGUE_KINDS: tuple[ModelFigures, ...] = (
    ("text-1", "text", 1.0, 2.0, 12.0),
    ("text-2", "text", 2.2, 3.0, 15.0),
    ("text-3", "text", 3.5, 5.0, 22.0),
    ("text-4", "text", 5.0, 8.0, 25.0),
    ("text-5", "text", 6.0, 10.0, 30.0),
    ("vision-1", "vision-language", 2.5, 4.0, 20.0),
    ("vision-2", "vision-language", 4.0, 6.0, 25.0),
    ("vision-3", "vision-language", 5.0, 8.0, 30.0),
    ("vision-4", "vision-language", 6.0, 12.0, 35.0),
    ("image-1", "image", 4.5, 12.0, 35.0),
    ("image-2", "image", 5.0, 18.0, 45.0),
    ("image-3", "image", 6.0, 24.0, 50.0),
)
"""As above; each stands twice in the catalogue, as `…a` and `…b` (CONTROL §5)."""

HOST_FACTOR = 4
"""`sleeping`: host memory in a node's memory (CONTROL §6: f = 4)."""

LARGE = {"metro100": (100, 20, 10), "nation1000": (1000, 100, 20)}
"""Nodes and models (CONTROL §5), and sites (own choice)."""

HOME3_MEMORY_GB = 0.3
"""Of a pod of SmolLM2-135M under llama.cpp: 206 MB resident after a dozen prompts (xllamacpp 2026.10, one thread,
context of 1024 tokens, Debian 12 VM, measured 2026-11-21), and headroom for its prompt cache."""

HOME3_WORK_S = 0.5
"""CPU of one answer there: 0.44 s for 24 tokens of prompt and 24 out, 0.96 s for 64 and 48 (same measurement); this is
the mean over the lengths of `fairlead.twin.demand.REAL_SMALL`."""

HOME3_START_S = 2.0
"""0.47 s of CPU to load the weights there, 0.9 s on the busy core of DESIGN §4, and the interpreter's own start."""

HOME3_SPEED = 0.5
"""Of each of its three nodes, which share one machine: declared for two cores that also carry everything else."""


def cluster(name: str, ports: Ports) -> Cluster:
    """Return the named cluster with its keepers and ingresses on `ports`.

    Raises `ConfigError` where there is no cluster of that name.
    """
    match name:
        case "city7":
            return _edge(EDGE_NODES, CITY7_MODELS, EDGE_SITES, ports)
        case "city7-pausing":
            return _pausing(cluster("city7", ports))
        case "catalogue":
            twice = tuple((f"{kind[0]}{copy}", *kind[1:]) for kind in CATALOGUE_KINDS for copy in "ab")
            return _edge(EDGE_NODES, twice, EDGE_SITES, ports)
        case "catalogue-sleeping":
            return _hosting(cluster("catalogue", ports))
        case "home3":
            return _home3(ports)
        case "metro100" | "nation1000":
            return _large(*LARGE[name], ports)
        case _:
            raise ConfigError(f"no cluster is named {name!r}: there are {', '.join(NAMES)}, or define nodes and models")


def default_ports(name: str) -> dict[str, int]:
    """Return fixed ports for the named cluster, for processes that are started one by one."""
    shape = cluster(name, lambda _: 1)
    keepers = {node.id: FIRST_KEEPER_PORT + at for at, node in enumerate(shape.nodes)}
    first = max(FIRST_INGRESS_PORT, FIRST_KEEPER_PORT + len(keepers))
    return keepers | {site.id: first + at for at, site in enumerate(shape.sites)}


def listeners(shape: Cluster) -> tuple[str, ...]:
    """Return the ids that need a port: each node's for its keeper, each site's for its ingress."""
    return (*(node.id for node in shape.nodes), *(site.id for site in shape.sites))


def total_speed(shape: Cluster) -> float:
    """Return Σ v over the nodes: seconds of work that the cluster does in a second."""
    return sum(node.speed for node in shape.nodes)


def _url(ports: Ports, who: str) -> str:
    port = ports(who) if callable(ports) else ports[who]
    return f"http://127.0.0.1:{port}"


def _emulated() -> Launch:
    command = ("{python}", "-m", "testbed.model_server", "--model", "{model}", "--node", "{node}", "--port", "{port}")
    return Launch(launcher="warm-parent", command=command)


def _edge(
    figures: tuple[NodeFigures, ...], models: tuple[ModelFigures, ...], beside: tuple[int, ...], ports: Ports
) -> Cluster:
    """Return a cluster of emulated models; numbers in ids have leading zeros, so that they sort."""
    wide = len(str(len(figures)))
    nodes = tuple(
        NodeSpec(id=name, memory_bytes=round(gb * GB), speed=speed, keeper_url=_url(ports, name))
        for name, (gb, speed) in ((f"node-{at:0{wide}}", one) for at, one in enumerate(figures, start=1))
    )
    specs = tuple(
        ModelSpec(
            id=name, kind=kind, memory_bytes=round(gb * GB), work_s=work_s, start_delay_s=start_s, launch=_emulated()
        )
        for name, kind, gb, work_s, start_s in sorted(models)
    )
    return Cluster(nodes=nodes, models=specs, sites=_sites(beside, wide, ports))


def _large(nodes: int, models: int, sites: int, ports: Ports) -> Cluster:
    figures = large_nodes(nodes, EDGE_NODES)
    return _edge(figures, large_models(models, CATALOGUE_KINDS), spread_sites(nodes, sites), ports)


def _pausing(shape: Cluster) -> Cluster:
    nodes = tuple(node.model_copy(update={"pausing": True}) for node in shape.nodes)
    return shape.model_copy(update={"nodes": nodes})


def _hosting(shape: Cluster) -> Cluster:
    """Return a cluster whose pods can sleep."""
    hosts = ((node, HOST_FACTOR * node.memory_bytes) for node in shape.nodes)
    nodes = tuple(node.model_copy(update={"host_memory_bytes": host}) for node, host in hosts)
    return shape.model_copy(update={"nodes": nodes})


def _home3(ports: Ports) -> Cluster:
    nodes = tuple(
        NodeSpec(id=f"node-{at}", memory_bytes=GB, speed=HOME3_SPEED, keeper_url=_url(ports, f"node-{at}"))
        for at in (1, 2, 3)
    )
    model = ModelSpec(
        id="smollm2-135m",
        kind="text",
        memory_bytes=round(HOME3_MEMORY_GB * GB),
        work_s=HOME3_WORK_S,
        start_delay_s=HOME3_START_S,
        launch=Launch(launcher="exec", command=("{python}", "-m", "testbed.real_text_server", "--port", "{port}")),
    )
    return Cluster(nodes=nodes, models=(model,), sites=_sites((1, 2, 3), 1, ports))


def _sites(beside: tuple[int, ...], wide: int, ports: Ports) -> tuple[SiteSpec, ...]:
    return tuple(
        SiteSpec(id=f"site-{at:0{wide}}", node=f"node-{at:0{wide}}", url=_url(ports, f"site-{at:0{wide}}"))
        for at in beside
    )
