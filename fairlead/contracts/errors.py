"""The tree of errors; expected refusals are values, these are what remains.

    FairleadError
    ├── InputError            what somebody gave cannot be taken            2
    │   ├── ConfigError       fairlead.yaml, an option or the environment
    │   └── TraceError        a line of a trace or an episode
    ├── NotFound              no such id                                    1
    ├── Conflict              another state than the caller thought
    │   ├── StaleGeneration   an older generation than the one in force
    │   └── RevisionMismatch  `If-Match` names another revision
    ├── Denied                no token, an unknown one, or the wrong role
    ├── SchemaTooNew          the database was written by a newer Fairlead
    ├── Diverged              a replayed decision is not the recorded one
    ├── Unavailable           something outside does not answer now
    │   ├── StoreUnavailable
    │   ├── ControlUnavailable
    │   ├── KeeperUnavailable
    │   └── KubernetesUnavailable
    ├── KubernetesRefused     the Kubernetes API does not take what was asked
    └── PodFault              a pod could not be started, watched or stopped

A message says what was tried, on which id, what was found, what is allowed and what to do.
"""

from typing import ClassVar

FOREIGN_CHARS = 256
"""How much of somebody else's text a message may carry."""


class FairleadError(Exception):
    """Root of all errors that Fairlead raises on purpose."""

    code: ClassVar[str] = "internal"
    """Stable name in problem details, metrics and logs."""
    status: ClassVar[int] = 500
    """Status of the HTTP answer."""


class InputError(FairleadError):
    """What somebody gave cannot be taken; nothing was changed."""

    code = "bad-input"
    status = 422


class ConfigError(InputError):
    """A setting is unknown, missing or out of range."""

    code = "bad-config"


class TraceError(InputError):
    """A line of a trace cannot be read; the message has its number."""

    code = "bad-trace"


class NotFound(FairleadError):
    """There is nothing of that id."""

    code = "not-found"
    status = 404


class Conflict(FairleadError):
    """The state is another one than the caller thought."""

    code = "conflict"
    status = 409


class StaleGeneration(Conflict):
    """An older or equal generation than the one in force."""

    code = "stale-generation"


class RevisionMismatch(Conflict):
    """`If-Match` names another revision than the one that is there."""

    code = "revision-mismatch"
    status = 412


class Denied(FairleadError):
    """There is no token, an unknown one, or its role may not do this."""

    code = "denied"
    status = 403


class SchemaTooNew(FairleadError):
    """The database was written by a newer Fairlead."""

    code = "schema-too-new"
    status = 503


class Diverged(FairleadError):
    """A replayed decision differs from the recorded one."""

    code = "diverged"
    status = 409


class Unavailable(FairleadError):
    """Something outside does not answer now; trying again later may help."""

    code = "unavailable"
    status = 503


class StoreUnavailable(Unavailable):
    """The database does not answer."""

    code = "store-unavailable"


class ControlUnavailable(Unavailable):
    """The control API does not answer."""

    code = "control-unavailable"


class KeeperUnavailable(Unavailable):
    """A node's keeper does not answer."""

    code = "keeper-unavailable"


class KubernetesUnavailable(Unavailable):
    """The Kubernetes API does not answer, or asks to be spared."""

    code = "kubernetes-unavailable"


class KubernetesRefused(FairleadError):
    """The Kubernetes API does not take what was asked: it is forbidden, invalid, or in conflict with what is there."""

    code = "kubernetes-refused"
    status = 502


class PodFault(FairleadError):
    """A pod could not be started, watched or stopped."""

    code = "pod-fault"


def foreign(text: object) -> str:
    """Return what somebody else's `text` says, cut to the length that a message of ours may carry."""
    words = " ".join(str(text).split())
    return words if len(words) <= FOREIGN_CHARS else words[: FOREIGN_CHARS - 1] + "…"
