"""Case memory: remembered epochs, each with what was seen, what was decided and what came of it (CONTROL §3)."""

from typing import Annotated

from pydantic import Field

from fairlead.contracts.base import Count, Generation, Id, Instant, Many, Message, Name, Positive, Ratio, Seconds, Text
from fairlead.contracts.plans import Intent, ModelPriority, Rate, Source, Warm


class ModelFeatures(Message):
    """What was seen of a model at the epoch's begin and during the epoch before."""

    model: Id
    log_rate: float
    """Natural logarithm of λ a second, of at least the start value."""
    trend: float
    """Logarithm of the newest slot's rate over the learned rate; 0 is steady."""
    dispersion: Seconds
    """Variance of arrivals a slot over their mean; 1 is Poisson."""
    backlog_s: Seconds
    """Waiting work."""
    price_s: float
    """Shadow price, request-seconds."""
    slowdown: Positive
    """Mean latency over work; 1 is unloaded."""


class NodeFeatures(Message):
    """What was seen of a node at the epoch's begin."""

    node: Id
    up: bool
    free_ratio: Ratio
    """Of its memory."""
    speed: Positive
    work_s: Seconds
    """Waiting and running."""
    awake: Many[Id]


class CaseFeatures(Message):
    """The key of a case: what similarity compares."""

    models: Many[ModelFeatures]
    nodes: Many[NodeFeatures]
    """Sorted by capacity (memory × speed), largest first, then by id."""
    failures: Count
    """Pods and nodes lost in the epoch before."""
    day_ratio: Ratio
    """Time of day, domain clock, as a share of 24 h."""


class Realised(Message):
    """What came of an epoch: the terms of the objective F (CONTROL §1), each as it stands there."""

    objective: Seconds
    """F; lower is better."""
    latency_s: Seconds
    """Mean, censored at the epoch's end."""
    fairness: Ratio
    """J'(x1)."""
    service: Ratio
    churn: Count
    """Starts and stops."""
    arrived: Count
    finished: Count


class Advantage(Message):
    """How much better than the fallback on the same demand, by the twin; positive is better."""

    value: float
    low: float
    high: float
    twin: Text
    """Version of the twin that says so."""
    demands: Count = 0
    """Played on so many: as recorded, and others of the same counts."""


class Provenance(Message):
    """Where a case comes from."""

    cluster: Name
    """Digest of the cluster's nodes and models: cases are compared within one."""
    source: Source
    """Whose plan was in force."""
    policy: Name
    llm: Text
    """Model that proposed the plan; empty for the fallback."""
    decision: Name
    """Of the journal."""
    version: Text
    """Of Fairlead."""
    seed: Count
    imported: bool = False


class Case(Message):
    """A remembered epoch. Only the evaluator writes one, never a model."""

    id: Name
    """`<cluster digest>-<epoch>-<plan generation>`."""
    epoch: Count
    began_at_s: Instant
    ended_at_s: Instant
    features: CaseFeatures
    plan_generation: Generation
    intents: Many[Intent]
    priorities: Many[ModelPriority]
    warm: Many[Warm]
    rates: Many[Rate]
    """Measured over the epoch: what `rates_of` cites."""
    realised: Realised
    fallback: Realised | None = None
    """Of the fallback on the same demand; None until the twin has said it."""
    replayed: Realised | None = None
    """Of the plan itself on that demand, by the twin: how far it is from `realised` is the twin's error."""
    advantage: Advantage | None = None
    quarantined: bool = False
    """Shown to no model; a person, a watchdog or the twin has said so."""
    quarantine: Text = ""
    """Why."""
    cited: Count = 0
    """How often a reply has cited it."""
    provenance: Provenance


class Quarantine(Message):
    """Why no model shall be shown a case any more."""

    why: Annotated[str, Field(min_length=1, max_length=256)]


class CaseSummary(Message):
    """A line of a listing."""

    id: Name
    epoch: Count
    began_at_s: Instant
    source: Source
    objective: Seconds
    advantage: Advantage | None
    quarantined: bool
    cited: Count
    cluster: Name


class ModelTally(Message):
    """What became of a model's requests that arrived within a window, by the outcomes of the ingresses."""

    model: Id
    finished: Count
    """With an outcome `finished` before the window's end."""
    timely: Count
    """Of the judged ones, those that finished within the model's deadline."""
    judged: Count
    """Arrived early enough to be judged: a deadline before the window's end, cancelled ones left out."""
    ended: Count
    """With any outcome but `cancelled` before the window's end."""
    latency_sum_s: Seconds
    """Over all that arrived in the window and have an outcome by now, cancelled ones left out; what did not finish
    before the window's end counts with its age there (CONTROL §1)."""
    counted: Annotated[int, Field(ge=0)]
    """How many `latency_sum_s` is over."""
    cancelled: Count
    """With an outcome `cancelled` by now: in none of the above; what arrived beyond both has no outcome yet."""
