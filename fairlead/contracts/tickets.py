"""What ingress and keeper say to one another about a request, and what a node agent tells its keeper.

    ingress                                keeper
      offer(ticket, model, bytes) ────────▶
          ◀──────── Queued | Refused(reason)
          ◀──────── Granted                 the pod has a free place; a body that did not go with the offer follows
          ◀──────── Head, bytes …           the pod's answer
          ◀──────── Done | Failed(phase) | Returned(reason)
      withdraw(ticket) ───────────────────▶
          ◀──────── Withdrawn | Started     a time-out counts as started

A ticket is `request` and `attempt`; the ingress takes the bytes of one attempt only.
"""

from typing import Annotated, Literal

from pydantic import Field

from fairlead.contracts.base import Bytes, Count, Generation, Id, Instant, Many, Message, Name, Seconds, Text
from fairlead.contracts.cluster import Url
from fairlead.contracts.readings import Phase


class Ticket(Message):
    """One attempt at one request."""

    request: Name
    attempt: Annotated[int, Field(ge=1)]


class Offer(Message):
    """An ingress asks a keeper to queue a request for a pod."""

    ticket: Ticket
    site: Id
    model: Id
    path: Annotated[str, Field(pattern=r"^/v1/[a-z/]+$")]
    """What the client asked for, such as `/v1/chat/completions`."""
    body_bytes: Bytes
    deadline_at_s: Instant
    """After this the ingress no longer waits: hold timeout from arrival."""


class Queued(Message):
    """The offer stands in the pod's queue."""

    kind: Literal["queued"] = "queued"
    ahead: Count
    """Requests before it, running ones included."""


class Refused(Message):
    """The keeper does not take the offer; nothing of it remains there."""

    kind: Literal["refused"] = "refused"
    reason: Literal["no-pod", "draining", "stopped", "unknown-model"]


class Granted(Message):
    """The pod has a free place, held for this ticket."""

    kind: Literal["granted"] = "granted"
    waited_s: Seconds


class Head(Message):
    """Status and content type of the pod's answer."""

    kind: Literal["head"] = "head"
    status: Annotated[int, Field(ge=100, le=599)]
    content_type: Annotated[str, Field(max_length=256)]


class Done(Message):
    """The answer is complete."""

    kind: Literal["done"] = "done"
    service_s: Seconds
    response_bytes: Bytes


class Failed(Message):
    """The attempt ended without its full answer."""

    kind: Literal["failed"] = "failed"
    phase: Literal["connect", "head", "body"]
    """How far it got: before the pod answered, before its first byte, or after."""
    reason: Text


class Returned(Message):
    """The ticket never started and is given back: its pod drains or is lost."""

    kind: Literal["returned"] = "returned"
    reason: Literal["draining", "pod-lost", "deadline", "withdrawn"]


class Withdrawal(Message):
    """Answer to a withdrawal: nobody will start a withdrawn ticket."""

    state: Literal["withdrawn", "started"]


Update = Queued | Refused | Granted | Head | Done | Failed | Returned
"""Everything that a keeper says about an offer, but for the bytes of the answer."""


class PodEndpoint(Message):
    """A pod as the node agent declares it to the keeper of its node."""

    model: Id
    instance: Name
    phase: Phase
    url: Url | None
    """Where it answers; None before its port is known."""
    concurrency: Annotated[int, Field(ge=1)]
    work_s: Annotated[float, Field(gt=0)]
    ready_at_s: Instant | None


class PodSet(Message):
    """All pods of a node: sent on each change and each `report_s`, so that a restarted keeper learns them."""

    node: Id
    instance: Name
    """The agent's process."""
    sequence: Annotated[int, Field(ge=1)]
    """Older ones of the same agent are refused."""
    speed: Annotated[float, Field(gt=0)]
    """Declared speed: where learning starts."""
    pods: Many[PodEndpoint]


class PodUse(Message):
    """How far a pod is from being free of requests."""

    model: Id
    instance: Name
    waiting: Count
    running: Count
    used_at_s: Instant | None


class PodUses(Message):
    """Answer to a `PodSet`."""

    node: Id
    pods: Many[PodUse]
    table_generation: Generation
