"""Demand of one's own as a table: any service's log can be brought into this form.

Columns by name, in any order: `at_s` (seconds, from wherever), and where they are there `model`, `site`, `work_s`,
`prompt_tokens`, `output_tokens`. With `model` the table is a whole demand, taken as it is; without, it is a trace that
can be thinned and mixed like the others.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fairlead.contracts.cluster import Cluster
from fairlead.contracts.episodes import RequestLine
from fairlead.contracts.errors import TraceError
from fairlead.studies.episodes.text import Line, table
from fairlead.studies.episodes.traces import Row
from fairlead.twin.streams import stream

COLUMNS = ("at_s", "model", "site", "work_s", "prompt_tokens", "output_tokens")

TOKENS_MOST = 10_000_000
"""Longer than any context window: a larger count is a corrupt one."""


@dataclass(frozen=True, slots=True)
class _Cells:
    """A row below its heads."""

    line: Line
    at: dict[str, int]
    """Field by column."""
    at_s: float
    """From the first row on."""

    def text(self, column: str) -> str:
        """Return what stands in a column; empty where it is not there."""
        return self.line.fields[self.at[column]] if column in self.at else ""

    def tokens(self, column: str) -> int | None:
        """Return a count of tokens; None where nothing stands there."""
        return self.line.whole(self.at[column], TOKENS_MOST) if self.text(column) else None

    def work_s(self) -> float | None:
        """Return the work that is given; None where nothing stands there."""
        if not self.text("work_s"):
            return None
        value = self.line.number_from(self.at["work_s"], 0.0)
        if value == 0.0:
            raise self.line.wrong(self.at["work_s"], "work is above 0 seconds")
        return value


def rows(path: Path) -> Iterator[Row]:
    """Yield the rows of a table in order; raises `TraceError` with line and column at the first bad one."""
    for cells in _cells(path):
        yield Row(cells.at_s, cells.tokens("prompt_tokens"), cells.tokens("output_tokens"), cells.work_s())


def names_models(path: Path) -> bool:
    """Return whether a table says which model each request asks for."""
    return "model" in _heads(path, next(table(path), None))


def requests(path: Path, cluster: Cluster, seed: int) -> Iterator[RequestLine]:
    """Yield the requests of a table that names models, as they are.

    Sites that are not given are drawn, evenly, from a stream of `seed`; work that is not given is the model's mean.
    """
    work = {model.id: model.work_s for model in cluster.models}
    sites = tuple(site.id for site in cluster.sites)
    place = stream(seed, "csv-site", path.name)
    for cells in _cells(path):
        model, site = cells.text("model"), cells.text("site") or sites[int(place.integers(len(sites)))]
        if model not in work:
            raise cells.line.wrong(cells.at["model"], f"the models are {', '.join(work)}")
        if site not in sites:
            raise cells.line.wrong(cells.at["site"], f"the sites are {', '.join(sites)}")
        yield RequestLine(
            at_s=cells.at_s,
            site=site,
            model=model,
            work_s=cells.work_s() or work[model],
            prompt_tokens=cells.tokens("prompt_tokens"),
            output_tokens=cells.tokens("output_tokens"),
        )


def _cells(path: Path) -> Iterator[_Cells]:
    lines = table(path)
    at = _heads(path, next(lines, None))
    first_s: float | None = None
    before_s = 0.0
    for line in lines:
        value = line.number_from(at["at_s"], 0.0)
        first_s = value if first_s is None else first_s
        if value - first_s < before_s:
            raise line.wrong(at["at_s"], "at_s is before that of the line above: rows go by time")
        before_s = value - first_s
        yield _Cells(line, at, before_s)


def _heads(path: Path, first: Line | None) -> dict[str, int]:
    """Return the field of each column that the header names."""
    if first is None:
        raise TraceError(f"{path.name} line 1 column 1: the file is empty: it must begin with the names of its columns")
    for field, name in enumerate(first.fields):
        if name not in COLUMNS or name in first.fields[:field]:
            raise first.wrong(field, f"a header names columns once each, of {', '.join(COLUMNS)}")
    if "at_s" not in first.fields:
        raise first.wrong(0, "the header must name a column at_s")
    return {name: field for field, name in enumerate(first.fields)}
