"""Figures of clusters for scale: nodes like those of `city7`, models like those of the catalogue, none like another.

CONTROL §5 gives the sizes alone, 100 × 20 and 1000 × 100; the rest is own choice.
"""

from collections.abc import Sequence

from fairlead.contracts.cluster import Kind
from fairlead.twin.streams import stream

FACTORS = (0.8, 1.25)
"""Each figure is one of the smaller clusters' times a factor between these, drawn evenly."""

LARGE_SEED = 2602
"""Of the stream that factors are drawn from: any number, the same for every run."""

ModelFigures = tuple[str, Kind, float, float, float]
"""Id, kind, memory in GB, seconds of work, seconds to start."""

NodeFigures = tuple[float, float]
"""Memory in GB, speed."""


def large_nodes(count: int, like: Sequence[NodeFigures]) -> tuple[NodeFigures, ...]:
    """Return so many nodes, in turn like each of `like`; memory to 0.1 GB, speed to 0.01."""
    draws = stream(LARGE_SEED, "nodes", str(count))
    found = []
    for at in range(count):
        gb, speed = like[at % len(like)]
        bigger, faster = draws.uniform(*FACTORS, size=2).tolist()
        found.append((round(gb * bigger, 1), round(speed * faster, 2)))
    return tuple(found)


def large_models(count: int, like: Sequence[ModelFigures]) -> tuple[ModelFigures, ...]:
    """Return so many models, in turn like each of `like`; figures to 0.1."""
    draws = stream(LARGE_SEED, "models", str(count))
    found: list[ModelFigures] = []
    for at in range(count):
        name, kind, gb, work_s, start_s = like[at % len(like)]
        bigger, longer, slower = draws.uniform(*FACTORS, size=3).tolist()
        copy = at // len(like) + 1
        found.append(
            (f"{name}-{copy:02d}", kind, round(gb * bigger, 1), round(work_s * longer, 1), round(start_s * slower, 1))
        )
    return tuple(found)


def spread_sites(nodes: int, sites: int) -> tuple[int, ...]:
    """Return the numbers, from 1, of the nodes that ingresses stand beside: as evenly spread as may be."""
    return tuple(1 + at * nodes // sites for at in range(sites))
