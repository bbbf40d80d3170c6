"""What an operator says in words, for a time span: notes of what will be, and goals of what matters."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from fairlead.contracts.base import Id, Instant, Many, Message, Name, Text
from fairlead.contracts.dialogue import Approval, Exchange
from fairlead.contracts.plans import Level
from fairlead.contracts.tuning import Weights

NOTE_CHARS = 280

Words = Annotated[str, Field(min_length=1, max_length=NOTE_CHARS)]


class NoteDraft(Message):
    """A note that an operator asks to be kept."""

    text: Words
    from_s: Instant
    until_s: Instant
    by: Text

    @model_validator(mode="after")
    def _ends_after_it_begins(self) -> Self:
        if self.until_s <= self.from_s:
            raise ValueError("until_s is not after from_s: a note is for a time span")
        return self


class Note(Message):
    """A sentence of an operator's; it stands in prompts as data, never as an instruction."""

    id: Name
    text: Words
    from_s: Instant
    until_s: Instant
    by: Text
    created_at_s: Instant
    revision: Annotated[int, Field(ge=0)] = 0


class Aims(Message):
    """How much each term of F shall weigh: 2 as configured, each level more twice as much, each less half."""

    latency: Level = 2
    fairness: Level = 2
    churn: Level = 2
    """Starts and stops: what costs energy and wear without serving anybody."""
    service: Level = 2


class ModelLevel(Message):
    """How much a model matters while a goal is in force; 2 is neutral."""

    model: Id
    priority: Level


class GoalReading(Message):
    """What a goal in words was read as: a closed vocabulary, whoever has read it."""

    aims: Aims
    priorities: Many[ModelLevel]
    """By model; models that are not named are neutral."""
    read_by: Literal["rule", "llm", "undo"]
    why: Text = ""
    """Which words were understood, and which were not; why no model's reading is here, where one was asked."""


class GoalDraft(Message):
    """A goal that an operator asks for."""

    text: Words
    from_s: Instant
    until_s: Instant | None
    """None lasts until another goal is approved."""
    by: Text
    reading: GoalReading | None = None
    """None has the control API read it by its rule."""


class Goal(Message):
    """A goal in words with its reading; it is in force from its approval on, inside its time span."""

    id: Name
    text: Words
    from_s: Instant
    until_s: Instant | None
    by: Text
    created_at_s: Instant
    reading: GoalReading
    weights: Weights
    """Of F, as they will be."""
    changes: Many[Text]
    """What it changes against what is in force when it is read: the diff that is approved."""
    asked_until_s: Instant | None = None
    """Until then the planner's language model may read it in place of the rule, and nobody can approve it. None: no
    model is asked, or what came of that is here."""
    by_rule: GoalReading | None = None
    """What the rule had read, where a model's reading has taken its place."""
    exchanges: Many[Exchange] = ()
    """What a model was asked about it and answered; decisions keep the goal without."""
    approval: Approval | None = None
    revision: Annotated[int, Field(ge=0)] = 0


class GoalView(Message):
    """What is in force, and what waits for approval."""

    in_force: Goal | None
    weights: Weights
    priorities: Many[ModelLevel]
    waiting: Goal | None
    """The newest goal that nobody has answered."""
