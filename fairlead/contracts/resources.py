"""What Kubernetes shows of Fairlead: the rows of one model as an object, and what became of the routes of a gateway.

The specs of the other custom resources are messages that stand elsewhere: `EdgeModel` is a `ModelSpec` whose id is
the object's name, `EdgePlan` an `EpochPlan`.
"""

from typing import Annotated, Literal

from pydantic import Field

from fairlead.contracts.base import Count, Generation, Id, Instant, Many, Message, Name, Ratio, Text
from fairlead.contracts.plans import Row, Source, Zone


class ModelRoutes(Message):
    """All rows of one model in the routing table, by zone: the spec of an `EdgeRoutingTable`."""

    model: Id
    table_generation: Generation
    """The table that last changed them; later ones differ by less than a gateway's weights can tell."""
    decision: Name
    """In which the table was decided: `fairlead decisions show` says why."""
    source: Source
    rows: Annotated[Many[Row], Field(min_length=1)]


RouteStage = Literal["accepted", "rejected", "waiting", "stale"]
"""What the cluster's gateway says of a route: it takes it, it does not, it has not said anything yet, or not of what is
written now although it had time."""


class RouteBackend(Message):
    """What one node weighs in a route."""

    node: Id
    weight: Count


class RouteState(Message):
    """One `HTTPRoute` of ours."""

    route: Name
    """Name of the object."""
    model: Id
    zone: Zone
    table_generation: Generation
    """The table whose weights it carries; while a later one differs by less than half a percent it stays."""
    backends: Many[RouteBackend]
    left_out: Ratio
    """Probability of nodes beyond the sixteen that a rule can have."""
    stage: RouteStage
    reason: Text
    """In the words of the gateway; empty where it takes the route."""
    since_at_s: Instant
    """When it came to this stage."""


class RouteStates(Message):
    """All routes that are exported to the cluster's own gateway."""

    gateway: Text = ""
    """`namespace/name` of the `Gateway`; empty where none is set and ours alone serves."""
    observed_at_s: Instant | None = None
    """None before anything was exported."""
    reason: Text = "nothing exports routes to a gateway of the cluster: ours alone serves"
    """Why nothing is exported, else empty."""
    items: Many[RouteState] = ()
