"""A scripted edge for tests of the deciders: nodes that do what the placement says, gateways that count and hold."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from fairlead.contracts.cluster import Cluster, Launch, ModelSpec, NodeSpec, SiteSpec
from fairlead.contracts.plans import Placement
from fairlead.contracts.readings import (
    GatewayReport,
    KeeperState,
    ModelCount,
    NodeReport,
    PodLoad,
    PodReading,
)

GB = 10**9
ORIGIN_S = 1_000_000.0


def cluster(nodes: int = 3, models: int = 3, memory_gb: int = 4) -> Cluster:
    """Return nodes `n1`… and models `m1`… of 2 GB, 2 s of work and 10 s to start; one site at each node."""
    launch = Launch(launcher="exec", command=("server", "{port}"))
    return Cluster(
        nodes=tuple(
            NodeSpec(id=f"n{i}", memory_bytes=memory_gb * GB, speed=1.0, keeper_url=f"http://127.0.0.1:{7000 + i}")
            for i in range(1, nodes + 1)
        ),
        models=tuple(
            ModelSpec(id=f"m{i}", kind="text", memory_bytes=2 * GB, work_s=2.0, start_delay_s=10.0, launch=launch)
            for i in range(1, models + 1)
        ),
        sites=tuple(
            SiteSpec(id=f"s{i}", node=f"n{i}", url=f"http://127.0.0.1:{7100 + i}") for i in range(1, nodes + 1)
        ),
    )


@dataclass(slots=True)
class Pod:
    """A pod of the scripted edge."""

    model: str
    phase: str
    since_at_s: float
    ready_at_s: float
    count: int = 0


@dataclass(slots=True)
class Edge:
    """All nodes and gateways of a cluster; a test moves its time on and asks for its reports."""

    cluster: Cluster
    now_s: float
    pods: dict[str, dict[str, Pod]] = field(default_factory=dict)
    arrived: dict[str, int] = field(default_factory=dict)
    asked_at_s: dict[str, float] = field(default_factory=dict)
    held_since_s: dict[str, float] = field(default_factory=dict)
    lost: set[str] = field(default_factory=set)
    sequence: int = 0
    starts: int = 0
    placement: int = 0

    def awake(self, node: str, model: str) -> None:
        """Make a pod ready that has been for long."""
        self.pods.setdefault(node, {})[model] = Pod(model, "ready", self.now_s - 1000.0, self.now_s - 1000.0)

    def ask(self, model: str, count: int = 1) -> None:
        """Let requests arrive; they are held where no pod is ready or starting."""
        self.arrived[model] = self.arrived.get(model, 0) + count
        self.asked_at_s[model] = self.now_s
        for pods in self.pods.values():
            if model in pods:
                pods[model].count += count
                return
        self.held_since_s.setdefault(model, self.now_s)

    def lose(self, node: str) -> None:
        """Let a node fall silent."""
        self.lost.add(node)

    def obey(self, placement: Placement | None) -> None:
        """Start and stop pods as a placement says, at once and without a drain."""
        if placement is None:
            return
        self.placement = placement.generation
        for wanted in placement.nodes:
            if wanted.node in self.lost:
                continue
            pods = self.pods.setdefault(wanted.node, {})
            for model in wanted.stoppable:
                pods.pop(model, None)
            for model in wanted.awake:
                if model not in pods:
                    self.starts += 1
                    pods[model] = Pod(model, "starting", self.now_s, self.now_s + 10.0)

    def pass_time(self, now_s: float) -> None:
        """Move on: starting pods get ready and take what is held, requests finish."""
        self.now_s = now_s
        for node, pods in self.pods.items():
            for pod in pods.values():
                if pod.phase == "starting" and pod.ready_at_s <= now_s and node not in self.lost:
                    pod.phase, pod.since_at_s = "ready", pod.ready_at_s
                if pod.phase == "ready":
                    pod.count = 0
                    self.held_since_s.pop(pod.model, None)

    def node_reports(self) -> Iterable[NodeReport]:
        """Yield a report of each node that is not lost."""
        self.sequence += 1
        for spec in self.cluster.nodes:
            if spec.id in self.lost:
                continue
            pods = sorted(self.pods.get(spec.id, {}).values(), key=lambda p: p.model)
            yield NodeReport(
                node=spec.id,
                instance="agent",
                sequence=self.sequence,
                observed_at_s=self.now_s,
                memory_bytes=spec.memory_bytes,
                memory_used_bytes=2 * GB * len(pods),
                placement_generation=self.placement,
                pods=tuple(reading(p) for p in pods),
                starts=0,
                stops=0,
                overruns=0,
                forced_losses=0,
            )

    def gateway_reports(self) -> Iterable[GatewayReport]:
        """Yield a report of each gateway whose node is not lost; the first one has counted all arrivals."""
        self.sequence += 1
        alive = [n for n in self.cluster.nodes if n.id not in self.lost]
        for position, spec in enumerate(alive):
            pods = sorted(self.pods.get(spec.id, {}).values(), key=lambda p: p.model)
            yield GatewayReport(
                gateway=spec.id,
                instance="gateway",
                sequence=self.sequence,
                observed_at_s=self.now_s,
                site=f"s{spec.id[1:]}",
                models=tuple(self._count(m.id) for m in self.cluster.models) if position == 0 else (),
                choices=(),
                samples=(),
                outcomes=(),
                keeper=KeeperState(
                    node=spec.id,
                    instance="gateway",
                    sequence=self.sequence,
                    observed_at_s=self.now_s,
                    speed=1.0,
                    pods=tuple(load(p, self.now_s) for p in pods),
                ),
                table_generation=0,
            )

    def _count(self, model: str) -> ModelCount:
        since_s = self.held_since_s.get(model)
        return ModelCount(
            model=model,
            arrived=self.arrived.get(model, 0),
            held=0 if since_s is None else 1,
            oldest_held_s=0.0 if since_s is None else self.now_s - since_s,
            asked_at_s=self.asked_at_s.get(model),
        )


def reading(pod: Pod) -> PodReading:
    """Return what the agent says of a pod."""
    return PodReading(
        model=pod.model,
        instance=f"{pod.model}-1",
        phase="ready" if pod.phase == "ready" else "starting",
        since_at_s=pod.since_at_s,
        stage="" if pod.phase == "ready" else "load",
        ready_at_s=pod.ready_at_s,
        memory_bytes=2 * GB,
        crashes=0,
        backoff_until_s=None,
        reason="",
    )


def load(pod: Pod, now_s: float) -> PodLoad:
    """Return what the keeper says of a pod."""
    return PodLoad(
        model=pod.model,
        phase="ready" if pod.phase == "ready" else "starting",
        ready_in_s=0.0 if pod.phase == "ready" else max(0.0, pod.ready_at_s - now_s),
        work_s=2.0 * pod.count,
        count=pod.count,
        running=min(1, pod.count),
        used_at_s=None,
    )
