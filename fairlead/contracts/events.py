"""What wakes a loop, and what the control API tells of changes."""

from typing import Annotated, Literal

from pydantic import Field

from fairlead.contracts.base import Id, Instant, Message, Name, Seconds, Text
from fairlead.contracts.dialogue import AgentName, ModeName


class Wake(Message):
    """A gateway misses a model: nobody has a pod of it, or its wait grows. Or the slot agent wakes the planner."""

    model: Id
    reason: Literal["missing", "wait", "node-lost", "changed"]
    """`changed`: demand or a node is not what it was; `model` is then any one."""
    site: Id | None
    wait_s: Seconds
    """How long the oldest request has been held, or what its best pod would take."""
    at_s: Instant


EventKind = Literal[
    "report",
    "plan",
    "placement",
    "table",
    "decision",
    "wake",
    "override",
    "mode",
    "node",
    "model",
    "site",
    "proposal",
    "note",
    "goal",
]


class Event(Message):
    """Something changed in the store."""

    sequence: Annotated[int, Field(ge=1)]
    kind: EventKind
    id: Name
    """Of what changed: a generation, a node, a decision."""
    at_s: Instant
    text: Text


class Mode(Message):
    """Who may act for an agent; with no LLM configured everything runs on the fallback and says so."""

    agent: AgentName
    mode: ModeName
    by: Text
    at_s: Instant
    revision: Annotated[int, Field(ge=0)] = 0


Role = Literal["admin", "operator", "agent", "gateway", "viewer"]


class TokenRecord(Message):
    """A bearer token as it is stored: never the token, its hash."""

    id: Name
    role: Role
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    note: Text
    created_at_s: Instant


class TokenDraft(Message):
    """Asks for a new token."""

    role: Role
    note: Text
    """Whom it is for."""


class TokenGiven(Message):
    """A new token: the only time that its secret is shown."""

    id: Name
    role: Role
    note: Text
    token: Text
    created_at_s: Instant


class Problem(Message):
    """RFC 9457 problem details."""

    type: Text
    title: Text
    status: Annotated[int, Field(ge=400, le=599)]
    detail: Annotated[str, Field(max_length=2048)]
    code: Name
    """Stable; see `fairlead.contracts.errors`."""
    instance: Text
