"""What is decided: intents and plans for an epoch, a placement and a routing table for a slot, people's overrides."""

from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from fairlead.contracts.base import Count, Generation, Id, Instant, Many, Message, Name, Positive, Ratio, Seconds, Text

Source = Literal["llm", "fallback", "operator"]
Level = Annotated[int, Field(ge=0, le=4)]
NodeRole = Literal["specialist", "generalist", "standby", "drain"]
Expected = Literal["silent", "falling", "same", "rising", "surging"]

ROW_TOLERANCE = 1e-9
"""How far the sum of a row may be from 1 (DESIGN §8, invariant 3)."""


class Intent(Message):
    """What the planner wants of a node for an epoch."""

    node: Id
    role: NodeRole
    """`standby` starts nothing new here, `drain` also lets what is here go; the other two are words for people."""
    prefer: Annotated[Many[Id], Field(max_length=3)]
    avoid: Annotated[Many[Id], Field(max_length=3)]
    bias: Level
    """How much `prefer` and `avoid` tilt the price (CONTROL §2 rule 4); 0 is neutral."""

    @model_validator(mode="after")
    def _is_disjoint(self) -> Self:
        both = sorted(set(self.prefer) & set(self.avoid))
        if both:
            raise ValueError(f"node {self.node!r} both prefers and avoids {both}")
        return self


class ModelPriority(Message):
    """How much a model matters this epoch and what is expected of its demand."""

    model: Id
    priority: Level
    """2 is neutral."""
    expected: Expected


class Rate(Message):
    """λ of a model: as learned so far, or as expected."""

    model: Id
    per_s: Seconds


class Warm(Message):
    """Start a pod at a time, before it is asked for."""

    model: Id
    node: Id
    at_s: Instant


class EpochPlan(Message):
    """All intents of an epoch."""

    generation: Annotated[int, Field(ge=1)]
    parent: Generation
    """The plan that this one follows; 0 if it is the first."""
    epoch: Count
    """Number of the epoch since the clock's origin."""
    created_at_s: Instant
    expires_at_s: Instant
    source: Source
    intents: Many[Intent]
    priorities: Many[ModelPriority]
    warm: Many[Warm]
    why: Annotated[str, Field(max_length=280)]
    rates: Many[Rate] = ()
    """What is expected to arrive, where something remembered or said says it; `warm` is judged by it (CONTROL §2
    rule 4)."""
    rates_at_s: Instant | None = None
    """When they begin to hold: in the slot that begins then or next they are learned, and rule 2 acts on them at once.
    None: `warm` is judged by them and nothing else."""

    @model_validator(mode="after")
    def _names_each_once(self) -> Self:
        once("node", [i.node for i in self.intents])
        once("model", [p.model for p in self.priorities])
        return self


class PlanDraft(Message):
    """A plan without its place in the sequence: what an operator or a model proposes."""

    intents: Many[Intent]
    priorities: Many[ModelPriority]
    warm: Many[Warm]
    why: Annotated[str, Field(max_length=280)]
    rates: Many[Rate] = ()
    rates_at_s: Instant | None = None
    """As in `EpochPlan`."""


class Override(Message):
    """What an operator has fixed, above any plan."""

    id: Name
    node: Id
    model: Id
    action: Literal["pin", "ban"]
    """`pin` keeps the pod awake, `ban` keeps it off."""
    created_at_s: Instant
    expires_at_s: Instant | None
    """None lasts until it is deleted."""
    by: Text
    why: Text
    revision: Annotated[int, Field(ge=0)] = 0


class Reason(Message):
    """Why one thing was decided: the rule that fired and its numbers."""

    rule: Name
    """Stable code, such as `rule1-missing`, `rule1-wait`, `rule2-worth`, `pinned`, `hysteresis`."""
    node: Id | None
    model: Id | None
    value_s: float | None
    """The number that decided, in request-seconds or seconds; None if there is none."""
    text: Text


class Verdict(Message):
    """Whether a draft could be a plan now."""

    valid: bool
    reasons: Many[Reason]
    """Why not; empty where it is valid."""


class NodePlacement(Message):
    """What shall be awake on a node, and which pods its agent may stop now."""

    node: Id
    awake: Many[Id]
    stoppable: Many[Id]
    """Models that are not in `awake`; what is in neither stays as it is."""
    forced: Many[Id] = ()
    """Of the stoppable ones, those that an operator wants gone even before their requests have finished."""

    @model_validator(mode="after")
    def _is_disjoint(self) -> Self:
        once(f"on node {self.node!r}: model", [*self.awake, *self.stoppable])
        if not set(self.forced) <= set(self.stoppable):
            raise ValueError(
                f"node {self.node!r} forces {sorted(set(self.forced) - set(self.stoppable))}, not stoppable"
            )
        return self


class Placement(Message):
    """Per node the models to be awake and the pods that may stop: written by the slot agent alone."""

    generation: Annotated[int, Field(ge=1)]
    plan_generation: Generation
    slot: Count
    """Number of the slot since the clock's origin."""
    created_at_s: Instant
    expires_at_s: Instant
    decision: Name
    nodes: Many[NodePlacement]

    @model_validator(mode="after")
    def _names_each_once(self) -> Self:
        once("node", [n.node for n in self.nodes])
        return self


class Share(Message):
    """The probability of one node in a row."""

    node: Id
    probability: Ratio


Zone = Annotated[str, Field(pattern=r"^(\*|[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)$")]
"""A site's id or `*` for all."""

Rule = Literal["marginal", "sed", "rotate", "strict", "pair"]
"""How an ingress picks inside a row: least d + e, least d, in turn, drawn as it stands, or of two drawn the one of
less d + e."""


class Row(Message):
    """Where requests of one model go from one zone."""

    zone: Zone
    model: Id
    rule: Rule
    prior_weight_s: Seconds
    """Weight of log(max P/P) against d + e; 0 in the fallback's tables."""
    explore: Ratio
    """Probability of drawing from P instead."""
    shares: Annotated[Many[Share], Field(min_length=1)]

    @model_validator(mode="after")
    def _sums_to_one(self) -> Self:
        once(f"in the row of {self.model!r}: node", [s.node for s in self.shares])
        total = sum(s.probability for s in self.shares)
        if abs(total - 1.0) > ROW_TOLERANCE:
            raise ValueError(f"row ({self.zone}, {self.model}) sums to {total!r}: probabilities of a row must sum to 1")
        return self


class GuideRow(Message):
    """A row that was proposed: where requests of one model should go from one zone."""

    zone: Zone
    model: Id
    shares: Annotated[Many[Share], Field(min_length=1)]


class Guide(Message):
    """Proposed rows that have passed all gates; they steer the tables of their slot while they still fit."""

    slot: Count
    rows: Annotated[Many[GuideRow], Field(min_length=1)]
    why: Annotated[str, Field(max_length=280)]


class ModelWork(Message):
    """b: mean work of a model's requests in force."""

    model: Id
    work_s: Positive


class NodeSpeed(Message):
    """v: learned speed of a node in force."""

    node: Id
    speed: Positive


class RoutingTable(Message):
    """For each zone and model a probability for each node; a model without pods has no row."""

    generation: Annotated[int, Field(ge=1)]
    placement_generation: Generation
    plan_generation: Generation
    slot: Count
    created_at_s: Instant
    expires_at_s: Instant
    """Past it the table steers for three slots more (DESIGN §3, static stability)."""
    decision: Name
    source: Source
    rows: Many[Row]
    work: Many[ModelWork]
    speeds: Many[NodeSpeed]

    @model_validator(mode="after")
    def _names_each_once(self) -> Self:
        once("row", [f"{r.zone}/{r.model}" for r in self.rows])
        return self


def once(what: str, names: Sequence[str]) -> None:
    """Raise `ValueError` that names the first of `names` which stands there twice."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ValueError(f"{what} {name!r} stands twice")
        seen.add(name)
