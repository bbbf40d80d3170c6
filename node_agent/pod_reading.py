"""What a Kubernetes pod says of itself, in the words of the port `Runtime`: no API, no clock."""

import math
from dataclasses import dataclass
from typing import Any, Literal

from fairlead.contracts.containers import INSTANCE_LABEL, MODEL_LABEL
from fairlead.contracts.errors import foreign
from node_agent.pod_objects import CONTAINER

Object = dict[str, Any]

HOPELESS = frozenset(
    ("CrashLoopBackOff", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "CreateContainerConfigError")
)
"""Reasons for which a container waits and that time alone does not end soon (kubelet/images, kubelet/container): the
kubelet has tried more than once, or will never try."""

TROUBLED = frozenset(("ErrImagePull", "CreateContainerError", "RunContainerError", "RegistryUnavailable"))
"""Reasons that the kubelet may still get over."""

GRACE_S = 30
"""Wall seconds, the API's own default of `terminationGracePeriodSeconds`."""


@dataclass(frozen=True, slots=True)
class PodSign:
    """How a pod stands."""

    state: Literal["starting", "ready", "stopping", "ended"]
    """`ended`: its container has ended, the object is still there."""
    stage: str
    url: str | None
    reason: str
    """What keeps it from being ready, why it ended, or who stops it."""
    patience: Literal["wait", "soon", "none"]
    """Whether `reason` is worth waiting for: normally, for a while, not at all."""


def sign_of(pod: Object) -> PodSign:
    """Return how a pod stands."""
    status = pod.get("status") or {}
    url = _url(pod)
    if pod["metadata"].get("deletionTimestamp"):
        return PodSign("stopping", "", url, _disruption(status) or "deleted by somebody else", "wait")
    if status.get("phase") in ("Failed", "Succeeded") or _ended(status):
        return PodSign("ended", "", None, _ending(status), "wait")
    conditions = {one["type"]: one for one in status.get("conditions") or ()}
    if conditions.get("Ready", {}).get("status") == "True" and url is not None:
        return PodSign("ready", "", url, "", "wait")
    waiting, stage = _waiting(status)
    if waiting:
        reason = f"{waiting['reason']}: {foreign(waiting.get('message', ''))}".rstrip(": ")
        if waiting["reason"] in HOPELESS:
            return PodSign("starting", stage, url, _with_last(reason, status), "none")
        if waiting["reason"] in TROUBLED:
            return PodSign("starting", stage, url, reason, "soon")
    scheduled = conditions.get("PodScheduled", {})
    if scheduled.get("status") == "False":
        said = foreign(scheduled.get("message", "")) or "no node takes it"
        return PodSign("starting", "spawn", None, f"{scheduled.get('reason', 'Unschedulable')}: {said}", "soon")
    return PodSign("starting", stage, url, "", "wait")


def model_of(pod: Object) -> str | None:
    """Return the model that a pod of ours serves; None where it says none."""
    found = (pod["metadata"].get("labels") or {}).get(MODEL_LABEL)
    return None if found is None else str(found)


def instance_of(pod: Object) -> str:
    """Return a pod's instance; one made of its uid where somebody has taken the label away."""
    labels = pod["metadata"].get("labels") or {}
    return str(labels.get(INSTANCE_LABEL) or f"pod-{pod['metadata']['uid'][:12]}")


def grace_in(pod: Object) -> int:
    """Return the wall seconds that a pod has to end where nobody says otherwise."""
    return int(pod["spec"].get("terminationGracePeriodSeconds", GRACE_S))


def annotated(pod: Object, name: str, otherwise: float) -> float:
    """Return an instant or a quantity that an annotation holds: finite, not negative."""
    try:
        found = float((pod["metadata"].get("annotations") or {})[name])
    except (KeyError, ValueError):
        return otherwise
    return found if math.isfinite(found) and found >= 0.0 else otherwise


def _url(pod: Object) -> str | None:
    address = (pod.get("status") or {}).get("podIP")
    ours = [one for one in pod["spec"]["containers"] if one.get("name") == CONTAINER]
    ports = ours[0].get("ports") or () if ours else ()
    if not address or not ports:
        return None
    return f"http://{f'[{address}]' if ':' in address else address}:{ports[0]['containerPort']}"


def _containers(status: Object) -> tuple[Object, ...]:
    return (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ()))


def _ended(status: Object) -> Object | None:
    """Return how the model's container has ended; None while it has not, whatever runs on beside it."""
    ours = (one for one in status.get("containerStatuses") or () if one.get("name") == CONTAINER)
    return next(((one.get("state") or {}).get("terminated") for one in ours), None)


def _waiting(status: Object) -> tuple[Object | None, str]:
    """Return why a container does not run, if the kubelet says it, and what the start is doing."""
    containers = _containers(status)
    for one in containers:
        waiting = (one.get("state") or {}).get("waiting")
        if waiting and waiting.get("reason"):
            return waiting, "spawn"
    running = bool(containers) and all((one.get("state") or {}).get("running") for one in containers)
    return None, "load" if running else "spawn"


def _with_last(reason: str, status: Object) -> str:
    """Add how the container ended the last time."""
    for one in _containers(status):
        last = (one.get("lastState") or {}).get("terminated")
        if last:
            return f"{reason}; last {_how(last)}"
    return reason


def _ending(status: Object) -> str:
    """Return how a pod has ended."""
    ended = _ended(status) or next(
        (one["state"]["terminated"] for one in _containers(status) if (one.get("state") or {}).get("terminated")), None
    )
    if ended:
        return f"ended by itself with {_how(ended)}"
    said = ": ".join(foreign(status[name]) for name in ("reason", "message") if status.get(name))
    return f"ended by itself, {said}" if said else "ended by itself"


def _how(terminated: Object) -> str:
    code, why = terminated.get("exitCode"), terminated.get("reason", "")
    return f"exit status {code} ({why})" if why else f"exit status {code}"


def _disruption(status: Object) -> str:
    """Return who had the pod deleted, where that is an eviction, a drain, a taint or a preemption."""
    for one in status.get("conditions") or ():
        if one.get("type") == "DisruptionTarget" and one.get("status") == "True":
            return f"{one.get('reason', 'disrupted')}: {foreign(one.get('message', ''))}".rstrip(": ")
    return ""
