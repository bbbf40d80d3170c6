"""What happens in the twin and in which order: by time, then by kind, then as it was entered."""

import heapq
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NodeLost:
    """A node dies with all that is on it."""

    node: str


@dataclass(frozen=True, slots=True)
class NodeBack:
    """A dead node is there again, empty."""

    node: str


@dataclass(frozen=True, slots=True)
class SpeedTurned:
    """A node is faster or slower from now on, and nobody is told."""

    node: str
    speed: float
    """Seconds of work done in a second."""


Mishap = NodeLost | NodeBack | SpeedTurned


@dataclass(frozen=True, slots=True)
class Ended:
    """A pod has done a request, unless who is served there has changed since (`version`)."""

    node: str
    model: str
    request: int
    version: int


@dataclass(frozen=True, slots=True)
class Ready:
    """A start is over."""

    node: str
    model: str
    instance: str


@dataclass(frozen=True, slots=True)
class Gone:
    """A stop is over."""

    node: str
    model: str
    instance: str


@dataclass(frozen=True, slots=True)
class Answered:
    """The client has the whole answer."""

    request: int


@dataclass(frozen=True, slots=True)
class Reached:
    """A ticket is at the node that it was sent to."""

    request: int


@dataclass(frozen=True, slots=True)
class Returned:
    """A ticket that never started is at its ingress again."""

    request: int


@dataclass(frozen=True, slots=True)
class Sent:
    """The client of the demand's next request sends it."""


@dataclass(frozen=True, slots=True)
class Entered:
    """A request is at its ingress."""

    request: int


@dataclass(frozen=True, slots=True)
class Expired:
    """A request has waited for as long as it may."""

    request: int


@dataclass(frozen=True, slots=True)
class Patience:
    """A node's agent looks again: time alone may have changed what it does."""

    node: str


@dataclass(frozen=True, slots=True)
class Ticked:
    """A slot or a refresh begins: reports, reminders, a decision."""


@dataclass(frozen=True, slots=True)
class Attended:
    """Something is due in a talk with a language model: a plan to ask for, or an answer."""


@dataclass(frozen=True, slots=True)
class Rung:
    """The slot agent has been told that a model is missed."""


Event = (
    Mishap
    | Ended
    | Ready
    | Gone
    | Answered
    | Reached
    | Returned
    | Sent
    | Entered
    | Expired
    | Patience
    | Ticked
    | Attended
    | Rung
)

ORDER: tuple[type[Event], ...] = (
    NodeLost,
    NodeBack,
    SpeedTurned,
    Ended,
    Ready,
    Gone,
    Answered,
    Reached,
    Returned,
    Sent,
    Entered,
    Expired,
    Patience,
    Ticked,
    Attended,
    Rung,
)
"""At one instant: the world first, then places that become free, then who wants one, reports and decisions last."""

PRIORITY: dict[type[Event], int] = {kind: at for at, kind in enumerate(ORDER)}


class Calendar:
    """Events that are still to come."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, int, Event]] = []
        self._entered = 0

    def enter(self, at_s: float, event: Event) -> None:
        """Note that `event` happens at `at_s`."""
        self._entered += 1
        heapq.heappush(self._heap, (at_s, PRIORITY[type(event)], self._entered, event))

    def next_at_s(self) -> float | None:
        """Return when the next event happens; None if there is none."""
        return self._heap[0][0] if self._heap else None

    def take(self) -> tuple[float, Event]:
        """Return the next event with its instant, and forget it; raises `IndexError` if there is none."""
        at_s, _, _, event = heapq.heappop(self._heap)
        return at_s, event
