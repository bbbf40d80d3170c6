"""What an episode has, told in figures, and drawn in characters."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fairlead.contracts.episodes import RequestLine
from fairlead.contracts.errors import TraceError
from fairlead.policy.measuring import Window
from fairlead.studies.episodes.files import Episode, checked, header_of, lines
from fairlead.studies.episodes.subject import ModelDemand, demanded, offered_load

SUFFIXES = (".jsonl", ".jsonl.gz")
"""How the names of episodes end."""

MARKERS = "o+x*#@%&"
"""One for each model in a plot, in turn: told apart without colours too."""


@dataclass(frozen=True, slots=True)
class Look:
    """An episode in figures."""

    episode: Episode
    load: float
    """Offered inside the window."""
    demand: tuple[ModelDemand, ...]
    """Inside the window."""


@dataclass(frozen=True, slots=True)
class Found:
    """A file of a listing."""

    path: Path
    episode: Episode | None
    wrong: str
    """Why it is not sound; empty where it is."""


def look(path: Path) -> Look:
    """Read an episode through; raises `TraceError` where it is wrong."""
    episode = checked(path)
    header = episode.header
    window = Window(header.window_start_s, header.window_end_s)
    return Look(episode, offered_load(episode), demanded(path, window))


def listed(place: Path) -> Iterator[Found]:
    """Yield the episodes at a place, by name: a file, or those in a directory, where other files are passed over."""
    if not place.is_dir():
        yield Found(place, checked(place), "")
        return
    for path in sorted(place.iterdir()):
        if path.is_file() and path.name.endswith(SUFFIXES) and _begins_well(path):
            try:
                yield Found(path, checked(path), "")
            except TraceError as error:
                yield Found(path, None, str(error))


def rates(path: Path, bins: int) -> tuple[tuple[float, ...], dict[str, tuple[float, ...]]]:
    """Return the middles of `bins` equal stretches of an episode, minutes, and each model's requests a minute there."""
    end_s = header_of(path).window_end_s
    width_s = end_s / bins
    counts: dict[str, list[int]] = {}
    for line in lines(path, frozenset({"request"})):
        if isinstance(line, RequestLine):
            counts.setdefault(line.model, [0] * bins)[min(bins - 1, int(line.at_s / width_s))] += 1
    middles = tuple((at + 0.5) * width_s / 60.0 for at in range(bins))
    return middles, {model: tuple(n * 60.0 / width_s for n in row) for model, row in sorted(counts.items())}


def drawn(path: Path, width: int, height: int) -> str:
    """Return a plot of the demand: requests a minute of each model over the episode's minutes."""
    import plotext

    middles, series = rates(path, max(2, width // 4))
    figure = plotext.figure.clear()
    figure.plot_size(width, height)
    legend = ["requests a minute, over minutes:"]
    for at, (model, row) in enumerate(series.items()):
        marker = MARKERS[at % len(MARKERS)]
        figure.draw(figure.signal(list(middles), list(row), marker=marker))
        legend.append(f"{marker} {model}")
    plot = plotext.uncolorize(str(figure.build())).splitlines()
    return "\n".join((" ".join(legend), *(line.rstrip() for line in plot)))


def _begins_well(path: Path) -> bool:
    try:
        header_of(path)
    except TraceError:
        return False
    return True
