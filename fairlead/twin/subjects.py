"""What is played, whoever decides: a scenario of CONTROL §5 at a load with a seed, or any other demand."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from fairlead.contracts.cluster import Cluster
from fairlead.contracts.notes import Note
from fairlead.contracts.plans import Override
from fairlead.policy.measuring import Window
from fairlead.twin.calendar import Mishap
from fairlead.twin.clusters import cluster, default_ports
from fairlead.twin.courses import changes
from fairlead.twin.demand import Shape, draw, until
from fairlead.twin.network import network_of
from fairlead.twin.requests import Arrival, Network
from fairlead.twin.scenarios import RUN_S, WARM_UP_S, Scenario


@dataclass(frozen=True, slots=True)
class Subject:
    """A cluster and all that happens to it; equal subjects happen in the same way."""

    name: str
    cluster: Cluster
    network: Network
    demand: Callable[[], Iterator[Arrival]]
    """The requests from instant 0 to the window's end, in order of time; each call yields them anew."""
    window: Window
    """Its arrivals are measured; what comes before is warm-up."""
    mishaps: tuple[tuple[float, Mishap], ...] = ()
    """Instant and what befalls a node then; whoever decides is not told."""
    overrides: tuple[Override, ...] = ()
    """What operators order, each from its `created_at_s` on: whoever decides follows it."""
    notes: tuple[Note, ...] = ()
    """What operators say will be, each from its `created_at_s` on: it stands in the planner's prompts."""
    changes_at_s: tuple[float, ...] = ()
    """When rates change before the window's end, where the demand was drawn from rates; whoever decides is not told."""


def subject_of(
    scenario: Scenario, load: float, seed: int, warm_up_s: float = WARM_UP_S, run_s: float = RUN_S
) -> Subject:
    """Return a scenario at a load: the demand that `fairlead up` plays with the same seed; `run_s` has the warm-up."""
    shape = cluster(scenario.cluster, default_ports(scenario.cluster))

    def demand() -> Iterator[Arrival]:
        spans = scenario.spans(shape, load, seed, warm_up_s)
        for one in until(draw(spans, shape, seed, Shape(work=scenario.work)), run_s):
            yield Arrival(one.at_s, one.site, one.model, one.work_s)

    trouble = scenario.trouble(shape, seed, warm_up_s)
    window = Window(warm_up_s, run_s)
    return Subject(
        scenario.name,
        shape,
        network_of(shape),
        demand,
        window,
        trouble.mishaps,
        trouble.overrides,
        scenario.said(shape, load, seed, warm_up_s),
        changes(scenario.spans(shape, load, seed, warm_up_s), run_s),
    )
