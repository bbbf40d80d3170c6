"""What a case is judged by afterwards: an epoch's begin and what arrived in it; and what the twin says (CONTROL §3)."""

from fairlead.contracts.base import Id, Instant, Many, Message, Name
from fairlead.contracts.cases import Advantage, Realised
from fairlead.contracts.decisions import SlotInput
from fairlead.contracts.plans import EpochPlan


class Call(Message):
    """A request that arrived."""

    at_s: Instant
    site: Id
    model: Id


class Evidence(Message):
    """All that the twin needs to play an epoch again, under its plan and under the fallback."""

    case: Name
    ended_at_s: Instant
    """End of the epoch."""
    begin: SlotInput
    """Of the decision of the epoch's first slot."""
    plan: EpochPlan
    calls: Many[Call]
    """In order of time; cancelled ones are left out, as in every term of F."""
    decision: Name | None = None
    """Where the plan passed the gates and did not act, whose it was: the case is of another one; None is the case's."""


class Label(Message):
    """What the twin says of an epoch that is over."""

    replayed: Realised
    """Of the plan, on the demand as recorded."""
    fallback: Realised
    """Of the fallback, on the same."""
    advantage: Advantage
