"""How a pod of a model is made of a container image, for the runtime `kubernetes`, and the names its objects carry.

Quantities are plain numbers here; the runtime writes them as Kubernetes does (cores, bytes).
"""

from typing import Annotated, Final, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from fairlead.contracts.base import Many, Message, Positive

Word = Annotated[str, StringConstraints(max_length=4096)]
Path = Annotated[str, StringConstraints(pattern=r"^/\S*$", max_length=1024)]

Image = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/:@-]{0,511}$")]
"""Reference of an image, such as `registry.example.com/models/vision@sha256:…`; a digest is never pulled anew."""

Subdomain = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$")]
"""Name of a Kubernetes object (RFC 1123 subdomain)."""

API_GROUP: Final = "fairlead.dev"
"""Group of our custom resources and prefix of our labels and annotations."""

API_VERSION: Final = "fairlead.dev/v1alpha1"

MANAGED_BY_LABEL: Final = "app.kubernetes.io/managed-by"
MANAGED_BY: Final = "fairlead"
"""On every object that Fairlead makes; also its field manager for server-side apply."""

NODE_LABEL: Final = "fairlead.dev/node"
"""Id of the node that a pod is for; the selector of its agent's watch."""

MODEL_LABEL: Final = "fairlead.dev/model"
"""Id of the model that a pod serves."""

INSTANCE_LABEL: Final = "fairlead.dev/instance"
"""Instance of a pod, as reports and declarations name it; it tells a pod from a later one of the same name."""


class Variable(Message):
    """One environment variable of a container. No secret belongs here: mount one, or let the image find it."""

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_.-]{0,252}$")]
    value: Word


class GpuShare(Message):
    """What a container takes of a GPU, as the node's device plugin offers it."""

    resource: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9.-]{0,252}/[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]
    """Extended resource: `nvidia.com/gpu` for whole ones or time slices, `nvidia.com/gpu.shared` where slices are
    renamed, `nvidia.com/mig-1g.5gb` for a MIG profile."""
    count: Annotated[int, Field(ge=1, le=64)] = 1


class WeightsVolume(Message):
    """Where a container finds its weights; mounted read-only."""

    source: Literal["claim", "host-path", "image"]
    """A PersistentVolumeClaim of the namespace; a directory of the machine; an OCI image (Kubernetes 1.33 or later)."""
    name: Annotated[str, StringConstraints(pattern=r"^\S+$", max_length=1024)]
    """The claim's name, the absolute path, or the image's reference."""
    mount_path: Path

    @model_validator(mode="after")
    def _path_is_absolute(self) -> Self:
        if self.source == "host-path" and not self.name.startswith("/"):
            raise ValueError(f"weights at host path {self.name!r}: give an absolute path")
        return self


class Toleration(Message):
    """A taint of nodes that does not keep a pod away, field by field as Kubernetes has it (`core/v1` Toleration)."""

    key: Annotated[str, StringConstraints(min_length=1, max_length=317)] | None = None
    """The taint's; None with `Exists` is every taint, also that of a cordoned node."""
    operator: Literal["Equal", "Exists"] = "Equal"
    value: Annotated[str, StringConstraints(max_length=63)] | None = None
    """The taint's, where the operator is `Equal`; None is the empty one."""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    """None is every effect."""
    tolerationSeconds: Annotated[int, Field(ge=0)] | None = None
    """Wall seconds for which a `NoExecute` taint is tolerated; None is for ever."""

    @model_validator(mode="after")
    def _api_takes_it(self) -> Self:
        if self.operator == "Exists" and self.value:
            raise ValueError(f"a toleration of {self.key!r} with Exists has the value {self.value!r}: leave it out")
        if self.operator == "Equal" and self.key is None:
            raise ValueError("a toleration without key is of every taint: let its operator be Exists")
        if self.tolerationSeconds is not None and self.effect != "NoExecute":
            raise ValueError(f"a toleration of {self.key!r} has seconds: let its effect be NoExecute")
        return self


class Container(Message):
    """How a pod of a model runs as a container that serves HTTP.

    What the model claims of the node's memory is `ModelSpec.memory_bytes`; where that is a GPU's, Kubernetes does not
    count it.
    """

    image: Image
    command: Many[Word] = ()
    """Replaces the image's entrypoint; `{port}`, `{model}` and `{node}` are replaced in each word, here and in `args`
    and `environment`."""
    args: Many[Word] = ()
    environment: Many[Variable] = ()
    port: Annotated[int, Field(ge=1, le=65535)] = 8000
    ready_path: Path = "/health"
    """Answers 200 once the pod can serve, anything else or nothing before."""
    cpu: Positive | None = None
    """Cores that are set aside for it; None sets none aside."""
    host_memory_bytes: Annotated[int, Field(gt=0)] | None = None
    """Main memory that is set aside for it and that it may not exceed; None neither."""
    gpu: GpuShare | None = None
    weights: WeightsVolume | None = None
    stop_grace_s: Positive = 30.0
    """Wall seconds from the request to end, be it ours, an eviction or a node's drain, until it is ended; the drain of
    its requests is part of them where others end it."""
