"""A run put together: nodes, ingresses with their views, the slot agent."""

from collections.abc import Iterable
from dataclasses import dataclass

from fairlead.contracts.cluster import Cluster
from fairlead.contracts.forecasts import Knowledge
from fairlead.contracts.notes import Note
from fairlead.contracts.plans import NodePlacement, Override
from fairlead.contracts.tuning import PolicyName, PolicySettings
from fairlead.policy.believing import bounds_of
from fairlead.policy.foreseeing import Foreseeing
from fairlead.policy.snapshot import allowed_age_s
from fairlead.policy.steering import Steering
from fairlead.policy.yielding import yields
from fairlead.twin.controller import Case, Controller
from fairlead.twin.engine import Engine
from fairlead.twin.node import Node
from fairlead.twin.requests import Arrival, Network
from fairlead.twin.rules import nodes_of, rules
from fairlead.twin.talking import Counsel, Surroundings, Talks
from fairlead.twin.views import FreshView, ReportedView, View


@dataclass(frozen=True, slots=True)
class Setup:
    """All that a run depends on but its demand."""

    cluster: Cluster
    policy: PolicyName
    fresh: bool
    """State on change; else every few seconds (CONTROL §5: `@fresh`, `@5s`)."""
    seed: int
    network: Network
    settings: PolicySettings
    static: tuple[NodePlacement, ...] = ()
    """The placement of policies that are given one; a random one without."""
    overrides: tuple[Override, ...] = ()
    """What operators order."""
    notes: tuple[Note, ...] = ()
    """What operators say will be."""
    counsel: Counsel | None = None
    """The language model that the agents ask; they ask none without."""
    knowledge: Knowledge | None = None
    """What was learned of recurring demand before this run."""


def assembled(setup: Setup, demand: Iterable[Arrival]) -> Engine:
    """Return a run whose first decision is in force, its pods ready, and whose demand is still to come."""
    nodes = nodes_of(setup.cluster, setup.settings, yielding=yields(setup.policy, setup.settings))
    views = {site.id: view_of(setup, site.id, nodes) for site in setup.cluster.sites}
    case = Case(setup.cluster, setup.policy, setup.settings, setup.seed, setup.static, setup.overrides)
    foreseeing = foreseeing_of(setup)
    talks = None
    if setup.counsel is not None:
        around = Surroundings(setup.cluster, setup.settings, setup.seed, setup.notes, setup.fresh)
        talks = Talks(setup.counsel, around, foreseeing)
    controller = Controller(case, talks, foreseeing)
    engine = Engine(
        nodes, views, setup.network, demand, rules(setup.settings, setup.seed, fresh=setup.fresh), controller
    )
    engine.begin()
    return engine


def foreseeing_of(setup: Setup) -> Foreseeing | None:
    """Return what forecasts demand, where somebody makes use of it."""
    if setup.counsel is None and not setup.settings.forecast:
        return None
    return Foreseeing(setup.cluster, setup.settings, knowledge=setup.knowledge)


def view_of(setup: Setup, site: str, nodes: dict[str, Node]) -> View:
    """Return what a site knows of the nodes before anything has happened."""
    steering = Steering(site, setup.settings.slot_s)
    steering.declared({m.id: m.work_s for m in setup.cluster.models})
    steering.network_s = {name: 2.0 * far_s for name, far_s in setup.network.between_s[site].items()}
    bounds = bounds_of(setup.cluster)
    if setup.fresh:
        return FreshView(steering, nodes, bounds)
    return ReportedView(steering, allowed_age_s(setup.settings), bounds)
