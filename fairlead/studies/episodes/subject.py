"""An episode as something that can be played in the twin: its demand, on its cluster, with what befell the nodes."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fairlead.contracts.episodes import EpisodeHeader, MishapLine, RequestLine
from fairlead.contracts.errors import InputError
from fairlead.policy.measuring import Window
from fairlead.studies.episodes.files import Episode, checked, lines
from fairlead.twin.calendar import Mishap, NodeBack, NodeLost, SpeedTurned
from fairlead.twin.clusters import total_speed
from fairlead.twin.requests import Arrival, Network
from fairlead.twin.streams import stream
from fairlead.twin.subjects import Subject

LOAD_TOLERANCE = 1e-9
"""By how much a load that is asked for may exceed the episode's own, relative: it was printed and typed in again."""


@dataclass(frozen=True, slots=True)
class ModelDemand:
    """What is asked of a model between two instants."""

    model: str
    requests: int
    work_s: float


def subject_of_episode(
    path: Path, load: float | None = None, seed: int = 0, warm_up_s: float | None = None, run_s: float | None = None
) -> Subject:
    """Return an episode as a subject; without options as it is.

    `load` below the episode's own leaves requests out, each with the same probability, by a stream of `seed`; more
    cannot be had. `warm_up_s` and `run_s` stand for the beginning and the end of its window. Raises `TraceError`
    where the file is wrong anywhere, `InputError` for a load or a window that the episode does not have.
    """
    episode = checked(path)
    header = episode.header
    window = window_of(header, warm_up_s, run_s)
    kept_ratio = 1.0 if load is None else _kept_ratio(episode, load)

    def demand() -> Iterator[Arrival]:
        keep = stream(seed, "episode", header.name)
        for line in lines(path, frozenset({"request"})):
            assert isinstance(line, RequestLine)
            if line.at_s >= window.end_at_s:
                return
            if kept_ratio == 1.0 or keep.random() < kept_ratio:
                yield Arrival(line.at_s, line.site, line.model, line.work_s)

    return Subject(header.name, header.cluster, network_of_episode(header), demand, window, _mishaps(path))


def window_of(header: EpisodeHeader, warm_up_s: float | None, run_s: float | None) -> Window:
    """Return the window that is measured; raises `InputError` where the episode does not have it."""
    start_s = header.window_start_s if warm_up_s is None else warm_up_s
    end_s = header.window_end_s if run_s is None else run_s
    if not 0 <= start_s < end_s <= header.window_end_s:
        raise InputError(
            f"episode {header.name} lasts {header.window_end_s:g} s: a window from {start_s:g} to {end_s:g} s is not "
            "inside it"
        )
    return Window(start_s, end_s)


def network_of_episode(header: EpisodeHeader) -> Network:
    """Return the network that an episode says."""
    between_s: dict[str, dict[str, float]] = {site.id: {} for site in header.cluster.sites}
    for one in header.distances:
        between_s[one.site][one.node] = one.one_way_s
    return Network(
        between_s=between_s,
        up_s={one.model: one.up_s for one in header.payloads},
        down_s={one.model: one.down_s for one in header.payloads},
    )


def demanded(path: Path, window: Window) -> tuple[ModelDemand, ...]:
    """Return what is asked of each model of the cluster inside a window, in order of id."""
    counts: dict[str, int] = {}
    work_s: dict[str, float] = {}
    for line in lines(path, frozenset({"request"})):
        if isinstance(line, RequestLine) and window.start_at_s <= line.at_s < window.end_at_s:
            counts[line.model] = counts.get(line.model, 0) + 1
            work_s[line.model] = work_s.get(line.model, 0.0) + line.work_s
    return tuple(ModelDemand(model, counts[model], work_s[model]) for model in sorted(counts))


def offered_load(episode: Episode) -> float:
    """Return the work that is asked for inside the window over the speed of all nodes (CONTROL §5)."""
    header = episode.header
    window = Window(header.window_start_s, header.window_end_s)
    work_s = sum(one.work_s for one in demanded(episode.path, window))
    return work_s / (window.end_at_s - window.start_at_s) / total_speed(header.cluster)


def _kept_ratio(episode: Episode, load: float) -> float:
    """Return the probability of a request that makes the wanted load of the episode's own."""
    offered = offered_load(episode)
    if not 0 < load <= offered * (1 + LOAD_TOLERANCE):
        raise InputError(
            f"episode {episode.header.name} offers load {offered:.3f} and requests are not made up: --load {load:g} "
            f"must be above 0 and not above that, or leave it out; or import its trace at a higher load"
        )
    return min(1.0, load / offered)


def _mishaps(path: Path) -> tuple[tuple[float, Mishap], ...]:
    found = (line for line in lines(path, frozenset({"mishap"})) if isinstance(line, MishapLine))
    return tuple((line.at_s, _mishap(line)) for line in found)


def _mishap(line: MishapLine) -> Mishap:
    match line.what:
        case "node-lost":
            return NodeLost(line.node)
        case "node-back":
            return NodeBack(line.node)
        case "speed-turned":
            assert line.speed is not None
            return SpeedTurned(line.node, line.speed)
