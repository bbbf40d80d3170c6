"""What a case is judged by afterwards: the epoch's begin and what arrived in it (CONTROL §3)."""

from fairlead.contracts.base import Id, Instant, Many, Message, Name
from fairlead.contracts.decisions import SlotInput


class Call(Message):
    """A request that arrived."""

    at_s: Instant
    site: Id
    model: Id


class Evidence(Message):
    """All that the twin needs to play an epoch again, under its plan and under the fallback."""

    case: Name
    begin: SlotInput
    """Of the decision of the epoch's first slot."""
    calls: Many[Call]
    """In order of time; cancelled ones are left out, as in every term of F."""
