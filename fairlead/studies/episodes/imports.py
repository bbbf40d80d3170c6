"""Real traces become episodes: which trace feeds which model, and the file that comes of it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from fairlead.contracts.cluster import Cluster, ModelSpec
from fairlead.contracts.episodes import Distance, EpisodeHeader, Payload, RequestLine, Thinned
from fairlead.contracts.errors import InputError, TraceError
from fairlead.studies.episodes import azure, gentd26, mooncake, own
from fairlead.studies.episodes.files import Episode, checked, writing
from fairlead.studies.episodes.mixing import Feed, Mixing, mixed
from fairlead.studies.episodes.servegen import servegen
from fairlead.studies.episodes.traces import Row, Trace, found, surveyed
from fairlead.twin.demand import LARGE_TEXT_WORK_S
from fairlead.twin.network import network_of
from fairlead.twin.requests import Network

TraceKind = Literal["azure", "servegen", "gentd26", "mooncake", "csv"]

KINDS: tuple[TraceKind, ...] = get_args(TraceKind)

ROWS: dict[TraceKind, Callable[[Path], Iterator[Row]]] = {
    "azure": azure.rows,
    "gentd26": gentd26.rows,
    "mooncake": mooncake.rows,
    "csv": own.rows,
}

SERVICES = ("language-m-small", "language-m-large", "multimodal-mm-image")
"""Archives of ServeGen that stand for small text, large text and vision-language models (README of the data set)."""


@dataclass(frozen=True, slots=True)
class Source:
    """A trace as somebody names it."""

    kind: TraceKind
    path: Path
    models: tuple[str, ...] = ()
    """That it feeds; empty takes those of the cluster that it suits and nothing else feeds."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What episode is to come of traces."""

    name: str
    cluster: Cluster
    sources: tuple[Source, ...]
    load: float
    warm_up_s: float
    run_s: float
    """Length, the warm-up in it."""
    from_s: float
    seed: int
    sized: bool
    clients: int | None
    """How many clients of a service of ServeGen are taken; None takes all."""


def import_episode(wish: Wish, out: Path) -> Episode:
    """Write the episode that comes of traces; nothing where any of them is wrong (`TraceError`, `InputError`)."""
    feeds = _feeds(wish)
    demand = mixed(feeds, Mixing(wish.cluster, wish.load, wish.run_s, wish.seed, wish.sized))
    return _written(out, _header(wish, demand.shares, wish.run_s), demand.requests)


def import_whole(wish: Wish, out: Path) -> Episode:
    """Write a table that names models as an episode, every request as it is; it ends with its last request."""
    path = wish.sources[0].path
    last_s = max((row.at_s for row in own.rows(path)), default=None)
    if last_s is None:
        raise TraceError(f"{path.name} has no rows below its header")
    end_s = max(last_s, wish.warm_up_s) + 1.0
    return _written(out, _header(wish, (), end_s), own.requests(path, wish.cluster, wish.seed))


def network_lines(cluster: Cluster, network: Network) -> tuple[tuple[Distance, ...], tuple[Payload, ...]]:
    """Return a network as an episode's header says it."""
    distances = tuple(
        Distance(site=site.id, node=node.id, one_way_s=network.between_s[site.id][node.id])
        for site in cluster.sites
        for node in cluster.nodes
    )
    up_s, down_s = network.up_s, network.down_s
    return distances, tuple(Payload(model=m.id, up_s=up_s[m.id], down_s=down_s[m.id]) for m in cluster.models)


def _written(out: Path, header: EpisodeHeader, requests: Iterator[RequestLine]) -> Episode:
    with writing(out, header) as write:
        for one in requests:
            write(one)
    return checked(out)


def _header(wish: Wish, shares: tuple[Thinned, ...], end_s: float) -> EpisodeHeader:
    if not 0 <= wish.warm_up_s < end_s:
        raise InputError(f"a warm-up of {wish.warm_up_s:g} s leaves nothing of {end_s:g} s to be measured")
    distances, payloads = network_lines(wish.cluster, network_of(wish.cluster))
    return EpisodeHeader(
        name=wish.name,
        begins_at_s=0.0,
        window_start_s=wish.warm_up_s,
        window_end_s=end_s,
        cluster=wish.cluster,
        distances=distances,
        payloads=payloads,
        seed=wish.seed,
        sources=shares,
    )


def _feeds(wish: Wish) -> list[Feed]:
    """Return the traces with the models that each feeds, those that were named first."""
    known = {model.id for model in wish.cluster.models}
    taken = {model for source in wish.sources for model in source.models}
    if unknown := sorted(taken - known):
        raise InputError(f"the cluster has no model {unknown[0]!r}: its models are {', '.join(sorted(known))}")
    feeds = []
    for source in wish.sources:
        for path, suits in _parts(source, wish.cluster):
            models = tuple(m for m in source.models or suits if source.models or m not in taken)
            if models:
                taken.update(models)
                feeds.append(Feed(_trace(source.kind, path, wish), models, wish.from_s))
    if not feeds:
        raise InputError("no model of the cluster is fed by these traces: name models with --model")
    return feeds


def _trace(kind: TraceKind, path: Path, wish: Wish) -> Trace:
    if kind == "servegen":
        return servegen(path, wish.seed, wish.from_s, wish.run_s, wish.clients)
    return surveyed(kind, path, ROWS[kind])


def _parts(source: Source, cluster: Cluster) -> list[tuple[Path, tuple[str, ...]]]:
    """Return the files of a source, each with the models that it suits."""
    text = sorted((m for m in cluster.models if m.kind == "text"), key=lambda m: (m.work_s, m.id))
    match source.kind:
        case "azure":
            files = found(source.path, azure.FILES)
            size = -(-len(text) // len(files))
            return [(file, _ids(text[at * size : (at + 1) * size])) for at, file in enumerate(files)]
        case "servegen":
            return _services(source.path, cluster, text)
        case "gentd26":
            return [(found(source.path, gentd26.FILES)[0], _of_kind(cluster, "image"))]
        case "mooncake" | "csv":
            return [(source.path, _ids(text))]


def _services(path: Path, cluster: Cluster, text: Sequence[ModelSpec]) -> list[tuple[Path, tuple[str, ...]]]:
    """Return the archives of ServeGen at a path; text models count as large as in `fairlead.twin.demand`."""
    suits = (
        _ids([m for m in text if m.work_s < LARGE_TEXT_WORK_S]),
        _ids([m for m in text if m.work_s >= LARGE_TEXT_WORK_S]),
        _of_kind(cluster, "vision-language"),
    )
    if path.is_dir() and not any(path.glob("chunk-*")):
        names = [f"{name}.tar.gz" for name in SERVICES]
        there = {file.name: file for file in found(path, names)}
        return [(there[name], models) for name, models in zip(names, suits, strict=True) if name in there]
    for name, models in zip(SERVICES, suits, strict=True):
        if path.name.startswith(name) or path.name == name.partition("-")[2]:
            return [(path, models)]
    return [(path, ())]


def _of_kind(cluster: Cluster, kind: str) -> tuple[str, ...]:
    return _ids([model for model in cluster.models if model.kind == kind])


def _ids(models: Sequence[ModelSpec]) -> tuple[str, ...]:
    return tuple(model.id for model in models)
