"""A request while an ingress owns it, and how it ends."""

from dataclasses import dataclass
from typing import Literal, Protocol

from fairlead.contracts.readings import Status

Place = Literal["new", "held", "transfer", "queued", "running"]
"""Where an open request is; the middle terms of DESIGN §8, invariant 1."""


@dataclass(frozen=True, slots=True)
class Ask:
    """What a client asked for, checked."""

    request: str
    model: str
    path: str
    body: bytes


@dataclass(slots=True, eq=False)
class Open:
    """A request that has been accepted and has not ended."""

    ask: Ask
    arrived_at_s: float
    deadline_at_s: float
    """Hold timeout from arrival: after it nobody waits for a place any more."""
    place: Place = "new"
    attempt: int = 0
    """Number of the last ticket."""
    tried: int = 0
    """Offers that were queued or started somewhere."""
    sent_again: bool = False
    """It had been started, was lost with no byte seen by the client, and was sent again: that happens once."""
    refusals: int = 0
    """In a row."""
    held_at_s: float | None = None
    node: str | None = None
    granted_at_s: float | None = None
    queued_at_s: float | None = None
    """When the last node that had its ticket took it."""
    propensity: float | None = None
    """Of its first node."""
    decision: str = ""
    table_generation: int = 0


@dataclass(frozen=True, slots=True)
class End:
    """How a request ended."""

    status: Status
    reason: str = ""
    response_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error for the client in OpenAI's envelope."""

    status: int
    code: str
    message: str
    type: str = "invalid_request_error"
    param: str | None = None
    retry_after_s: float | None = None
    stage: str | None = None
    """`starting` or `no-pod`, where a model could not be had in time."""


class Reply(Protocol):
    """The way back to one client; exactly one of `whole`, `refuse` and `begin` is called, once."""

    async def whole(self, one: Open, status: int, content_type: str, body: bytes) -> None:
        """Answer in one piece."""

    async def refuse(self, refusal: Refusal, one: Open | None) -> None:
        """Answer with an error."""

    async def begin(self, one: Open, status: int, content_type: str) -> None:
        """Begin a stream."""

    async def write(self, piece: bytes) -> None:
        """Pass a piece of the stream on."""

    async def finish(self) -> None:
        """End the stream."""

    async def break_off(self, refusal: Refusal) -> None:
        """Say in the stream that it is broken, then close the connection without its proper end."""
