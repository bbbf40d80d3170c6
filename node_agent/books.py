"""What an agent knows of its pods, and the messages made of it: plain state, changed by what the runtime says."""

from dataclasses import dataclass, field, replace

from fairlead.contracts.cluster import Cluster, ModelSpec, NodeSpec
from fairlead.contracts.errors import foreign
from fairlead.contracts.plans import Placement
from fairlead.contracts.ports import PodStatus
from fairlead.contracts.readings import NodeReport, PodReading
from fairlead.contracts.tickets import PodEndpoint, PodSet
from fairlead.policy.reconcile import Limits, Pod, claimed_bytes, crashed, reading_of, turned


@dataclass(slots=True)
class Books:
    """The state of one node's agent."""

    node: NodeSpec
    models: dict[str, ModelSpec]
    instance: str
    """Of the agent's process."""
    limits: Limits
    told_for_s: float
    """For how long it is told what others did to a pod, domain seconds."""
    placement: Placement | None = None
    pods: dict[str, Pod] = field(default_factory=dict)
    starts: int = 0
    stops: int = 0
    overruns: int = 0
    forced_losses: int = 0
    _ready: set[str] = field(default_factory=set)
    """Instances that have answered, whatever phase the agent has put them in since."""
    _troubles: dict[str, Pod] = field(default_factory=dict)
    """What others last did to a model's pod, or how it ended by itself: off since then, with the reason."""
    _reports: int = 0
    _sets: int = 0

    def learn(self, cluster: Cluster) -> None:
        """Take the cluster's definition; a model that was removed stays known as long as a pod of it lives."""
        here = {model: self.models[model] for model in self.pods if model in self.models}
        self.models = here | {m.id: m for m in cluster.models}
        for pod in list(self.pods.values()):
            self.pods[pod.model] = self._claiming(pod)
        self.node = next((n for n in cluster.nodes if n.id == self.node.id), self.node)

    def begin(self, model: ModelSpec, instance: str, now_s: float) -> None:
        """Note that a pod is started; its memory counts from here."""
        before = self.pods.get(model.id)
        self.pods[model.id] = Pod(
            model.id,
            instance,
            "starting",
            now_s,
            model.memory_bytes,
            stage="spawn",
            ready_at_s=now_s + model.start_delay_s,
            crashes=0 if before is None else before.crashes,
        )
        self.starts += 1
        if claimed_bytes(self.pods) > self.node.memory_bytes:
            self.overruns += 1

    def faulted(self, model: str, reason: str, now_s: float) -> None:
        """Note that a pod could not even begin."""
        self.pods[model] = crashed(self.pods[model], reason, now_s, self.limits)

    def put(self, pod: Pod) -> None:
        """Note a pod's new state."""
        self.pods[pod.model] = pod

    def undrained(self, model: str, now_s: float) -> None:
        """Note that a draining pod serves again, or goes on starting."""
        pod = self.pods[model]
        self.pods[model] = turned(pod, "ready" if pod.instance in self._ready else "starting", now_s)

    def seen(self, status: PodStatus, now_s: float) -> bool:
        """Take what the runtime says of a pod; False if that changes nothing."""
        pod = self.pods.get(status.model)
        if status.state == "gone":
            return self._gone(pod, status, now_s)
        if pod is None or pod.phase == "off":
            pod = self._found(status)
        elif pod.instance != status.instance:
            return False
        if status.reason and status.state != "starting" and pod.phase != "stopping":
            self._trouble(status, now_s)
        stage = status.stage if pod.phase == "starting" else ""
        fresh = replace(pod, url=status.url, stage=stage, reason=status.reason)
        if status.state == "ready" and status.instance not in self._ready:
            self._ready.add(status.instance)
            fresh = replace(fresh, stage="", ready_at_s=status.since_at_s)
            if pod.phase == "starting":
                fresh = replace(fresh, phase="ready", since_at_s=status.since_at_s)
        elif status.state == "stopping" and pod.phase != "stopping":
            fresh = turned(fresh, "stopping", now_s)
        self.pods[status.model] = fresh
        return fresh != pod

    def _found(self, status: PodStatus) -> Pod:
        """Return a pod that an earlier agent started."""
        spec = self.models.get(status.model)
        expected_s = status.since_at_s + (spec.start_delay_s if spec is not None else 0.0)
        return self._claiming(
            Pod(
                status.model, status.instance, "starting", status.since_at_s, status.memory_bytes, ready_at_s=expected_s
            )
        )

    def _claiming(self, pod: Pod) -> Pod:
        """Return a pod that claims what its model does where it does not say itself."""
        spec = self.models.get(pod.model)
        if pod.memory_bytes > 0 or pod.phase == "off" or spec is None:
            return pod
        return replace(pod, memory_bytes=spec.memory_bytes)

    def _gone(self, pod: Pod | None, status: PodStatus, now_s: float) -> bool:
        if pod is None or pod.instance != status.instance or pod.phase == "off":
            return False
        self._ready.discard(status.instance)
        if pod.phase == "stopping":
            del self.pods[status.model]
        else:
            self._trouble(status, now_s)
            self.pods[status.model] = crashed(pod, status.reason, now_s, self.limits)
        return True

    def _trouble(self, status: PodStatus, now_s: float) -> None:
        """Note what nobody here has ordered, so that it is told when the pod is gone or another one has its place."""
        reason = status.reason or "ended"
        self._troubles[status.model] = Pod(status.model, status.instance, "off", now_s, 0, reason=reason)

    def strays(self) -> tuple[Pod, ...]:
        """Return the pods that live and whose model is not known."""
        return tuple(p for p in self._sorted() if p.model not in self.models and p.phase not in ("off", "stopping"))

    def pod_set(self) -> PodSet:
        """Return the next declaration to the keeper: every pod that is there and whose model is known."""
        self._sets += 1
        return PodSet(
            node=self.node.id,
            instance=self.instance,
            sequence=self._sets,
            speed=self.node.speed,
            pods=tuple(
                PodEndpoint(
                    model=pod.model,
                    instance=pod.instance,
                    phase=pod.phase,
                    url=pod.url,
                    concurrency=self.models[pod.model].concurrency,
                    work_s=self.models[pod.model].work_s,
                    ready_at_s=pod.ready_at_s,
                )
                for pod in self._sorted()
                if pod.phase != "off" and pod.model in self.models
            ),
        )

    def report(self, now_s: float) -> NodeReport:
        """Return the next report."""
        self._reports += 1
        return NodeReport(
            node=self.node.id,
            instance=self.instance,
            sequence=self._reports,
            observed_at_s=now_s,
            memory_bytes=self.node.memory_bytes,
            memory_used_bytes=claimed_bytes(self.pods),
            placement_generation=0 if self.placement is None else self.placement.generation,
            pods=self._readings(now_s),
            starts=self.starts,
            stops=self.stops,
            overruns=self.overruns,
            forced_losses=self.forced_losses,
        )

    def _readings(self, now_s: float) -> tuple[PodReading, ...]:
        """Return what is said of each pod: why it is not as ordered or, for a while, why the one before it was not."""
        self._troubles = {m: one for m, one in self._troubles.items() if now_s - one.since_at_s < self.told_for_s}
        said = dict(self.pods)
        for model, trouble in self._troubles.items():
            if model not in said or not said[model].reason:
                reason = foreign(f"{now_s - trouble.since_at_s:.0f} s ago: {trouble.reason}")
                said[model] = replace(said.get(model, trouble), reason=reason)
        return tuple(reading_of(said[model]) for model in sorted(said))

    def _sorted(self) -> list[Pod]:
        return sorted(self.pods.values(), key=lambda p: p.model)
