"""What is measured: pods, loads, reports and outcomes, each with the time it was observed. Absent is None, never 0."""

from typing import Annotated, Literal

from pydantic import Field

from fairlead.contracts.base import (
    Bytes,
    Count,
    Generation,
    Id,
    Instant,
    Many,
    Message,
    Name,
    Positive,
    Ratio,
    Seconds,
    Text,
)

Phase = Literal["off", "starting", "ready", "sleeping", "draining", "stopping"]
"""`off → starting → ready → draining → stopping → off`; `off` with `backoff_until_s` after a crash.

Where a node has host memory a stop may end in `sleeping` in place of `off`, and a start begin there."""


class PodReading(Message):
    """One model on one node, as its node agent sees it."""

    model: Id
    instance: Name
    """Differs for each start, so that a restarted pod is not taken for the one before."""
    phase: Phase
    since_at_s: Instant
    """When this phase began."""
    stage: Text
    """What a start is doing now (`spawn`, `load`, `probe`, `wake`); `sleep` of a stop that ends there; else empty."""
    ready_at_s: Instant | None
    """When a starting pod is expected to be ready; when a ready pod became so; else None."""
    memory_bytes: Bytes
    """Claimed now, of the host's memory while it sleeps; 0 only when off."""
    crashes: Count
    """Ends in a row that nobody ordered."""
    backoff_until_s: Instant | None
    """No start before then; None when there is no back-off."""
    reason: Text
    """Why it ended or cannot start, else empty."""


class NodeReport(Message):
    """What a node agent says of its node: sent each `report_s` and on change."""

    node: Id
    instance: Name
    """The agent's process; sequences count within it."""
    sequence: Annotated[int, Field(ge=1)]
    observed_at_s: Instant
    memory_bytes: Bytes
    """What pods may claim on the node."""
    memory_used_bytes: Bytes
    """Claimed by pods that start, serve, drain or stop."""
    placement_generation: Generation
    """The newest placement that the agent has seen."""
    pods: Many[PodReading]
    starts: Count
    """Pods started by this agent's process since it began."""
    stops: Count
    """Pods stopped on purpose since it began."""
    overruns: Count
    """Times that the claims exceeded the node's memory."""
    forced_losses: Count
    """Requests lost to forced stops."""


class PodLoad(Message):
    """The queue of one pod, as its keeper sees it."""

    model: Id
    phase: Phase
    ready_in_s: Seconds
    """Residual start; 0 when ready."""
    work_s: Seconds
    """W: mean work waiting and running, running work left counts max(b − attained, 0.1 b) (CONTROL §2)."""
    count: Count
    """K: requests waiting and running."""
    running: Count
    used_at_s: Instant | None
    """When a request last began or ended here; None if never."""


class KeeperState(Message):
    """Loads of a node's pods: pushed on change to each ingress that listens."""

    node: Id
    instance: Name
    sequence: Annotated[int, Field(ge=1)]
    observed_at_s: Instant
    speed: Positive
    """v: learned from completions."""
    pods: Many[PodLoad]


class KeeperStates(Message):
    """Loads of several nodes, as their gateways' newest reports have them."""

    items: Many[KeeperState]


Status = Literal["finished", "failed", "cancelled", "refused"]
"""`refused` is a 429 or 503 of ours; `cancelled` the client went away; `failed` everything else without an answer."""


class Outcome(Message):
    """How one request ended, from the ingress that owned it."""

    request: Name
    attempts: Annotated[int, Field(ge=0)]
    """Offers that were queued or started somewhere; more than 1 means it was moved or sent again."""
    model: Id
    site: Id
    node: Id | None
    """Where it was served last; None if nowhere."""
    status: Status
    reason: Text
    """A stable code such as `hold-timeout`, `pod-lost`, empty when finished."""
    arrived_at_s: Instant
    ended_at_s: Instant
    wait_s: Seconds
    """From arrival until a pod had it."""
    service_s: Seconds | None
    """From then until the last byte; None if no pod had it."""
    response_bytes: Bytes
    table_generation: Generation
    """The table that steered it; 0 if none did."""
    propensity: Ratio | None
    """Probability with which its first node was chosen; None if it never was."""
    queued_at_s: Instant | None = None
    """When the last node that had its ticket took it; None if none did."""


class ModelCount(Message):
    """A count and a duration for one model."""

    model: Id
    arrived: Count
    """Requests since the gateway's process began."""
    held: Count
    """Requests held now because no pod has them."""
    oldest_held_s: Seconds
    """How long the oldest of them has been held; 0 if none is."""
    asked_at_s: Instant | None
    """The last arrival; None if never."""


class ChoiceCount(Message):
    """How often requests of a model were first sent to a node."""

    model: Id
    node: Id
    chosen: Count


class Choice(Message):
    """One routing decision of an ingress in full: the 1 in 100 sample of the journal."""

    request: Name
    at_s: Instant
    model: Id
    node: Id
    table_generation: Generation
    propensity: Ratio
    explored: bool
    prices_s: Many["NodePrice"]


class NodePrice(Message):
    """What it would cost to send a request to a node (CONTROL §2 rule 6)."""

    node: Id
    delay_s: float
    """d: when it will finish."""
    externality_s: float
    """e: how much it delays those already there."""


class Accepted(Message):
    """Answer to a report."""

    accepted: bool
    """False if it had been kept before; nothing is to be sent again either way."""


class GatewayReport(Message):
    """What a gateway says of itself as ingress, keeper or both: sent each `report_s`."""

    gateway: Id
    instance: Name
    sequence: Annotated[int, Field(ge=1)]
    observed_at_s: Instant
    site: Id | None
    """Where it is an ingress; None if it is none."""
    models: Many[ModelCount]
    choices: Many[ChoiceCount]
    """Since the process began."""
    samples: Many[Choice]
    """Since the last report."""
    outcomes: Many[Outcome]
    """Since the last report."""
    keeper: KeeperState | None
    """Where it is a keeper; None if it is none."""
    table_generation: Generation
    """The newest table that it has seen."""


Choice.model_rebuild()
