"""What a cluster is made of: nodes, models and sites, and how a model's pod is launched."""

from collections.abc import Iterable
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from fairlead.contracts.base import Id, Many, Message, Name, Positive, Seconds
from fairlead.contracts.containers import Container, Subdomain

Kind = Literal["text", "vision-language", "image"]

Url = Annotated[str, StringConstraints(pattern=r"^https?://[^\s/]+$", max_length=512)]
"""Scheme, host and port, without a path."""


class Launch(Message):
    """How a pod of a model is started as a process that serves HTTP on a loopback port."""

    launcher: Literal["exec", "warm-parent"]
    """`exec` runs the command; `warm-parent` asks the parent at the agent's `warm_parent` socket to fork it."""
    command: Many[Annotated[str, StringConstraints(min_length=1, max_length=4096)]]
    """Program and arguments; `{port}`, `{model}`, `{node}` and `{python}` are replaced in each."""
    ready_path: Annotated[str, StringConstraints(pattern=r"^/\S*$")] = "/health"
    """Answers 200 once the pod can serve, anything else or nothing before."""

    @model_validator(mode="after")
    def _command_is_given(self) -> Self:
        if not self.command:
            raise ValueError("command is empty: name the program that serves the model")
        return self


class ModelSpec(Message):
    """A named model and what one pod of it takes."""

    id: Id
    kind: Kind
    memory_bytes: Annotated[int, Field(gt=0)]
    """Claimed by a pod from the moment its start begins until it has gone."""
    work_s: Positive
    """Mean compute of one request, in seconds of a node of speed 1 that does nothing else."""
    start_delay_s: Seconds
    """From the order to start until the pod is ready, seconds."""
    wake_delay_s: Seconds = 1.5
    """The same for a pod that sleeps on the node with its weights in host memory (CONTROL §5)."""
    deadline_s: Positive = 60.0
    """A request that finishes later counts as untimely (CONTROL §1)."""
    concurrency: Annotated[int, Field(ge=1, le=1024)] = 1
    """Requests that one pod serves at the same time."""
    launch: Launch | None = None
    """For the runtime `process`; None where the model has a container alone."""
    revision: Annotated[int, Field(ge=0)] = 0
    """Rises with each change; the value of `ETag` and `If-Match`."""
    container: Container | None = None
    """For the runtime `kubernetes`; None where the model has a launch alone."""

    @model_validator(mode="after")
    def _can_be_started(self) -> Self:
        if self.launch is None and self.container is None:
            raise ValueError(f"model {self.id!r} has neither launch nor container: say how a pod of it is started")
        return self


class NodeSpec(Message):
    """A machine that can hold pods."""

    id: Id
    memory_bytes: Annotated[int, Field(gt=0)]
    """What models may claim together."""
    speed: Positive
    """Seconds of work done in a second, declared; the learned speed travels in reports."""
    zone: Id = "default"
    trust: Literal["own", "partner", "public"] = "own"
    power_w: Positive | None = None
    """Draw under load, watts; None where nobody has measured it."""
    host_memory_bytes: Annotated[int, Field(ge=0)] = 0
    """What sleeping pods may keep their weights in; 0 where none can sleep, as with this version's node agents."""
    pausing: bool = False
    """Its runtime runs one pod at a time, the one with least work left, and pauses the others (CONTROL §2 rule 8); in
    this version the twin alone does."""
    keeper_url: Url
    """Where the node's keeper takes offers."""
    revision: Annotated[int, Field(ge=0)] = 0
    """Rises with each change; the value of `ETag` and `If-Match`."""
    kubernetes_node: Subdomain | None = None
    """Name of its Kubernetes node; None where that is its id."""


class SiteSpec(Message):
    """A place where prompts enter."""

    id: Id
    node: Id | None
    """The node that stands beside it; None where there is none."""
    url: Url
    """Where clients send requests."""
    revision: Annotated[int, Field(ge=0)] = 0
    """Rises with each change; the value of `ETag` and `If-Match`."""


class Cluster(Message):
    """All nodes, models and sites, each sorted by id; every model fits at least one node."""

    nodes: Many[NodeSpec]
    models: Many[ModelSpec]
    sites: Many[SiteSpec]

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        for what, ids in (
            ("node", [n.id for n in self.nodes]),
            ("model", [m.id for m in self.models]),
            ("site", [s.id for s in self.sites]),
        ):
            check_ids(what, ids)
        known = {n.id for n in self.nodes}
        for site in self.sites:
            if site.node is not None and site.node not in known:
                raise ValueError(f"site {site.id!r} stands beside node {site.node!r}, which is not defined")
        if self.nodes:
            largest = max(self.nodes, key=lambda n: n.memory_bytes)
            for model in self.models:
                if model.memory_bytes > largest.memory_bytes:
                    raise ValueError(
                        f"model {model.id!r} needs {model.memory_bytes} bytes, the largest node {largest.id!r} has "
                        f"{largest.memory_bytes}: give a node more memory or leave the model out"
                    )
        return self


def check_ids(what: str, ids: Iterable[str]) -> None:
    """Raise `ValueError` that names the first id which repeats or is out of order."""
    before = ""
    for one in ids:
        if one == before:
            raise ValueError(f"{what} {one!r} is defined twice: ids must differ")
        if one < before:
            raise ValueError(f"{what} {one!r} stands after {before!r}: sort by id")
        before = one


class Revised(Message):
    """Answer to a change: what was changed and the revision it has now."""

    id: Name
    revision: Annotated[int, Field(ge=0)]
