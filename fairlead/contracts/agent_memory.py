"""What an agent keeps over a restart: what its dialogues were worth, how right the twin was, what is being watched."""

from typing import Literal

from fairlead.contracts.base import Count, Instant, Many, Message, Name, Seconds, Text
from fairlead.contracts.dialogue import AgentName

TripCode = Literal["backlog", "timely", "latency"]


class Gains(Message):
    """Sums over dialogues, in order."""

    dialogues: Count = 0
    gain: float = 0.0
    """Of F."""
    squares: float = 0.0
    products: float = 0.0
    """Of each gain and the one before it."""
    last: float = 0.0
    tokens: Count = 0
    money: Seconds = 0.0


class Prediction(Message):
    """What the twin expects of the requests that arrive in a window, as it was decided then."""

    at_s: Instant
    until_s: Instant
    latency_s: Seconds
    """Mean."""


class Predictions(Message):
    """What the twin has predicted."""

    open: Many[Prediction] = ()
    """Not measured yet, oldest first."""
    errors: Many[float] = ()
    """Of the newest that were: relative, oldest first."""


class Vitals(Message):
    """How the cluster does."""

    at_s: Instant
    backlog_s: Seconds | None
    """Work that waits or runs, over the speed that is up; None while no node is."""
    judged: Count
    """Requests that arrived early enough to be judged."""
    timely: Count
    counted: Count
    """Requests whose latency is known."""
    latency_sum_s: Seconds

    @property
    def latency_s(self) -> float:
        """Mean latency; 0 without any request."""
        return self.latency_sum_s / self.counted if self.counted else 0.0


class Acting(Message):
    """A proposal that acts."""

    at_s: Instant
    until_s: Instant
    """So far the twin has played it ahead."""
    latency_s: Seconds | None
    """Mean latency that the twin predicted; None where it did not say."""
    cited: Many[Name]
    """Cases that it rests on."""


class Trip(Message):
    """What is out of bounds, and what follows from it."""

    code: TripCode
    text: Text
    cited: Many[Name]
    """Cases to be quarantined."""
    until_s: Instant
    """Until then the fallback acts."""


class Watch(Message):
    """What the watchdog knows."""

    trips: Count = 0
    """All that there were."""
    last: Trip | None = None
    calm: Vitals | None = None
    """As it was before the stretch of proposals that acts."""
    accepted: Acting | None = None
    """The newest of the stretch; None while nothing acts."""
    since_s: Instant = 0.0
    """When the stretch began."""
    cited: Many[Name] = ()
    """By the whole stretch."""
    pending: Many[Trip] = ()
    """Those whose cases are not quarantined yet, oldest first: the store may have been away."""


class AgentMemory(Message):
    """All that an agent keeps; what of it still holds for another model, prompt or Fairlead: `policy.remembrance`."""

    agent: AgentName
    at_s: Instant
    """Domain time at which it was kept."""
    llm: Text
    """What was configured, without credentials."""
    prompt: Name
    """Id and version."""
    version: Text
    """Of Fairlead."""
    gains: Gains = Gains()
    predictions: Predictions = Predictions()
    watch: Watch = Watch()
