"""What a language model may say: a closed vocabulary of aliases, levels and words (CONTROL §3), nothing else.

Aliases stand for ids so that an id which somebody chose cannot speak to the model: `n01` a node or a group of nodes,
`m01` a model or a group of models, `z01` a zone, `c1` a remembered case, `o1` a note of an operator.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from fairlead.contracts.base import Many, Message, Ratio
from fairlead.contracts.plans import Expected, Level, NodeRole

NodeAlias = Annotated[str, StringConstraints(pattern=r"^n[0-9]{2,4}$")]
ModelAlias = Annotated[str, StringConstraints(pattern=r"^m[0-9]{2,4}$")]
ZoneAlias = Annotated[str, StringConstraints(pattern=r"^(\*|z[0-9]{2,4})$")]
CaseAlias = Annotated[str, StringConstraints(pattern=r"^c[0-9]$")]
RatesAlias = Annotated[str, StringConstraints(pattern=r"^[cor][0-9]$")]
"""Of what says rates: a case, a note of an operator, or a regime of the forecast."""

PLANNER_WHY_CHARS = 280
SLOT_WHY_CHARS = 140
GOAL_WHY_CHARS = 140


class NodeWish(Message):
    """What the planner says of a node."""

    node: NodeAlias
    role: NodeRole
    prefer: Annotated[Many[ModelAlias], Field(max_length=3)]
    avoid: Annotated[Many[ModelAlias], Field(max_length=3)]
    bias: Level

    @model_validator(mode="after")
    def _is_disjoint(self) -> Self:
        both = sorted(set(self.prefer) & set(self.avoid))
        if both:
            raise ValueError(f"node {self.node} both prefers and avoids {', '.join(both)}")
        return self


class ModelWish(Message):
    """What the planner says of a model."""

    model: ModelAlias
    priority: Level
    expected: Expected


class WarmWish(Message):
    """A pod that the planner wants before it is asked for."""

    model: ModelAlias
    node: NodeAlias
    at: Literal["now"] | Annotated[int, Field(ge=0, le=86_400)]
    """`now`, or whole domain seconds after the epoch's begin."""


class PlannerReply(Message):
    """The planner's whole answer."""

    nodes: Annotated[Many[NodeWish], Field(min_length=1)]
    models: Many[ModelWish]
    warm: Annotated[Many[WarmWish], Field(max_length=8)]
    rates_of: RatesAlias | None
    """The case, note or regime whose rates are expected, in place of `expected` of each model."""
    rates_at: Literal["now"] | Annotated[int, Field(ge=0, le=86_400)] = "now"
    """When they begin to hold, as in `warm`; of no meaning without `rates_of`."""
    confidence: Level
    """Journaled only."""
    cases_cited: Annotated[Many[CaseAlias], Field(max_length=5)]
    why: Annotated[str, Field(max_length=PLANNER_WHY_CHARS)]


class SlotReply(Message):
    """The slot agent's whole answer."""

    routes: Annotated[dict[ZoneAlias, dict[ModelAlias, dict[NodeAlias, Ratio]]], Field(min_length=1)]
    """Zone → model → node → probability."""
    hold: dict[ModelAlias, Ratio]
    """Journaled only."""
    why: Annotated[str, Field(max_length=SLOT_WHY_CHARS)]


class LevelWish(Message):
    """How much a model matters, as a goal in words was read."""

    model: ModelAlias
    priority: Level


class GoalReply(Message):
    """What a goal in words says: levels of the terms of F and of models; 2 leaves each as it is."""

    latency: Level
    fairness: Level
    churn: Level
    service: Level
    models: Many[LevelWish]
    why: Annotated[str, Field(max_length=GOAL_WHY_CHARS)]
