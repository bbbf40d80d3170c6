"""A system on either runtime: raised, looked into from several sides, steered by overrides, ended and accounted for."""

import asyncio
import json
import math
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import yaml

from fairlead.adapters.clock import ScaledClock
from fairlead.adapters.kubernetes_access import access_of
from fairlead.adapters.kubernetes_api import PODS, KubernetesApi, Object
from fairlead.contracts.containers import MODEL_LABEL, NODE_LABEL
from fairlead.contracts.decisions import DecisionRecord, PodView, SlotDecision, Snapshot
from fairlead.contracts.plans import Override
from fairlead.contracts.readings import NodeReport, Outcome
from fairlead.contracts.settings import KubernetesSettings, Settings
from node_agent.launchers import WarmParentClient
from node_agent.pod_reading import instance_of, sign_of
from testbed.client_log import ClientRecord, read_client_log
from testbed.client_stats import read_outcomes
from tests.acceptance.asking import Clients
from tests.acceptance.case import Broken, Skipped, hold
from tests.acceptance.live import Ended, Up, ask, until, up
from tests.kubernetes.raising import Lab, Missing, raised

Where = tuple[str, str]
"""Node and model."""

WITHIN_S = 30.0
"""Wall seconds for what is waited for: eight slots at speed 8, many times what each takes."""

CITY7 = ("--scenario", "city7-rotating", "--seed", "7", "--json")


@dataclass(frozen=True, slots=True)
class Process:
    """What stands for a pod's container, on either runtime."""

    instance: str
    pid: int
    start_ticks: int


@dataclass(frozen=True, slots=True)
class Kill:
    """Something that was killed; the requests that were inside may have failed."""

    node: str
    model: str | None
    """None for all that was on the node."""
    at_s: float
    """Domain instant."""
    site: str | None = None
    """Whose gateway it was."""

    def had(self, record: ClientRecord, outcome: Outcome | None) -> bool:
        """Tell whether a request was inside."""
        ended_s = math.inf if record.ended_at_s is None else record.ended_at_s
        if self.site == record.site and record.sent_at_s <= self.at_s <= ended_s:
            return True
        if outcome is None or outcome.node != self.node or self.model not in (None, outcome.model):
            return False
        return outcome.arrived_at_s <= self.at_s <= outcome.ended_at_s


@contextmanager
def lab() -> Iterator[Lab]:
    """Give a Kubernetes cluster; raises `Skipped` where there is none to be had."""
    try:
        with raised() as one:
            yield one
    except Missing as missing:
        raise Skipped(str(missing)) from missing


@contextmanager
def on(cluster: Lab | None, *options: str) -> Iterator[Up]:
    """Run `fairlead up` on the runtime `kubernetes` of a cluster, without one on the runtime `process`."""
    runtime, where = ("process", "") if cluster is None else ("kubernetes", cluster.kubeconfig)
    with up(*CITY7, *options, FAIRLEAD_NODE_AGENT__RUNTIME=runtime, KUBECONFIG=where) as system:
        system.works()
        yield system


def settings_of(system: Up) -> Settings:
    """Return what every process of a system reads."""
    return Settings.from_json(json.dumps(yaml.safe_load((system.state / "settings.yaml").read_text("utf-8"))))


def now_s(settings: Settings) -> float:
    """Return the domain's instant."""
    return ScaledClock(settings.speed, settings.clock_origin_s).now_s()


def nodes(system: Up) -> list[str]:
    """Return the ids of the nodes."""
    return sorted(node["id"] for node in system.call("GET", "nodes").json()["items"])


def snapshot(system: Up) -> Snapshot:
    """Return the newest readings as a decision would see them."""
    return Snapshot.from_json(system.call("GET", "snapshot").body)


def views(seen: Snapshot) -> dict[Where, PodView]:
    """Return every pod that a snapshot has."""
    return {(node.node, pod.model): pod for node in seen.nodes for pod in node.pods}


def processes(system: Up, settings: Settings) -> dict[Where, Process]:
    """Return what really runs, as the parent of all pods has it; raises `Broken` for two pods of one model on a node.

    Asked of neither an agent nor an API server.
    """
    parent, names = WarmParentClient(settings.node_agent.warm_parent), nodes(system)

    async def listed() -> list[dict[str, tuple[int, int]]]:
        return [await parent.pods(node) for node in names]

    found: dict[Where, Process] = {}
    for node, pods in zip(names, asyncio.run(listed()), strict=True):
        for instance, (pid, ticks) in pods.items():
            where = (node, instance.rpartition("-")[0])
            hold(where not in found, f"two pods of {where}: {instance} and {found.get(where)}")
            found[where] = Process(instance, pid, ticks)
    return found


def objects(settings: Settings, kubeconfig: str) -> dict[Where, Object]:
    """Return every pod of a model that the API server has; raises `Broken` for two of one model on a node."""

    async def listed() -> tuple[Object, ...]:
        api = KubernetesApi(access_of(KubernetesSettings(kubeconfig=kubeconfig)))
        try:
            return (await api.items(PODS.path(settings.kubernetes.namespace), labels=MODEL_LABEL))[0]
        finally:
            await api.close()

    found: dict[Where, Object] = {}
    for pod in asyncio.run(listed()):
        labels = pod["metadata"]["labels"]
        where = (labels[NODE_LABEL], labels[MODEL_LABEL])
        hold(where not in found, f"two objects of {where}, one is {pod['metadata']['name']}")
        found[where] = pod
    return found


def ready(system: Up, settings: Settings, cluster: Lab | None) -> dict[Where, str]:
    """Return the instances that serve: the control API's word and, on Kubernetes, the API server's, of what runs."""
    run = processes(system, settings)
    serving = {where for where, pod in views(snapshot(system)).items() if pod.phase == "ready" and where in run}
    if cluster is None:
        return {where: run[where].instance for where in serving}
    signs = {w: instance_of(p) for w, p in objects(settings, cluster.kubeconfig).items() if sign_of(p).state == "ready"}
    return {where: signs[where] for where in serving if signs.get(where) == run[where].instance}


def name_of(where: Where, action: Literal["pin", "ban"]) -> str:
    """Return the id of the override that fixes a model on a node."""
    return f"{action}-{where[0]}-{where[1]}"


def fix(system: Up, where: Where, action: Literal["pin", "ban"]) -> str:
    """Fix a model on a node, and return the override's id."""
    (node, model), name = where, name_of(where, action)
    override = Override(
        id=name, node=node, model=model, action=action, created_at_s=0.0, expires_at_s=None, by="tests", why="a role"
    )
    made = system.call("POST", "overrides", override.to_document())
    hold(made.status in (200, 201), f"override: {made.status} {made.body[:300]!r}")
    return name


def unfix(system: Up, *names: str) -> None:
    """Take overrides back."""
    for name in names:
        gone = system.call("DELETE", f"overrides/{name}")
        hold(gone.status in (200, 204), f"override: {gone.status} {gone.body[:300]!r}")


def let_go(system: Up, since_s: float) -> set[Where]:
    """Return the pods that a placement which was in force since a domain instant has let go, as the journal has it."""
    found: set[Where] = set()
    for line in system.call("GET", "decisions?agent=slot-agent&limit=200").json()["items"]:
        record = DecisionRecord.from_json(system.call("GET", f"decisions/{line['id']}").body)
        assert isinstance(record.output, SlotDecision)
        if record.output.placement is not None:
            found |= {(node.node, model) for node in record.output.placement.nodes for model in node.stoppable}
            if line["made_at_s"] < since_s:
                break
    return found


def accounted(system: Up, ended: Ended, kills: Sequence[Kill] = ()) -> dict[str, Any]:
    """Hold that a run ended well, lost nothing, and failed nothing but what was inside of a kill; return its report."""
    hold(ended.status == 0, f"exit status {ended.status}: {ended.err[-600:]}")
    report: dict[str, Any] = json.loads(ended.out)
    requests = report["requests"]
    total = sum(requests[key] for key in ("finished", "failed", "open", "lost"))
    hold(total == requests["arrived"], f"the four do not add up: {requests}")
    hold(requests["lost"] == 0, f"lost: {requests}")
    unexplained = _failed_elsewhere(system, kills) if requests["failed"] else []
    hold(not unexplained, f"failed outside of what was killed: {requests}, {report['failures']}, {unexplained[:3]}")
    hold(not (left := system.left()), f"left behind: {left}")
    return report


def _failed_elsewhere(system: Up, kills: Sequence[Kill]) -> list[ClientRecord]:
    """Return the requests that failed and were inside of nothing at the instant of its kill."""
    logs = sorted((system.state / "client").glob("*.jsonl"))
    if not logs:
        raise Broken(f"there is no log of the clients in {system.state / 'client'}")
    outcomes = read_outcomes(system.state / "outcomes")
    failed = (one for log in logs for one in read_client_log(log) if one.end == "failed")
    return [one for one in failed if not any(kill.had(one, outcomes.get(one.id)) for kill in kills)]


@dataclass(slots=True)
class Scene:
    """A system on a runtime, clients of it, and what was done to it."""

    system: Up
    settings: Settings
    cluster: Lab | None
    """None on the runtime `process`."""
    clients: Clients
    kills: list[Kill] = field(default_factory=list)
    former: NodeReport | None = None
    """What an agent that was killed had said last."""

    def ready(self) -> dict[Where, str]:
        """Return the instances that serve."""
        return ready(self.system, self.settings, self.cluster)

    def having(self, model: str) -> list[str]:
        """Return the nodes where a model is ready."""
        return sorted(node for node, one in self.ready() if one == model)

    def processes(self) -> dict[Where, Process]:
        """Return the processes behind all pods; two for one pod break the case."""
        return processes(self.system, self.settings)

    def row(self, model: str) -> dict[str, float]:
        """Return where the table in force sends requests of a model."""
        table = self.system.call("GET", "tables/current").json()
        return {s["node"]: s["probability"] for r in table["rows"] if r["model"] == model for s in r["shares"]}

    def measured(self, metric: str) -> list[float]:
        """Return the values that the sites' metrics have; `metric` is a pattern of its name and labels."""
        said = (ask("GET", f"{site}/metrics", None, {}).body.decode() for site in self.clients.sites)
        return [float(value) for text in said for value in re.findall(rf"^{metric} (\S+)$", text, re.MULTILINE)]

    def sent_again(self) -> float:
        """Return how many requests the sites have sent again because what had them was lost."""
        return sum(self.measured(r'fairlead_gateway_tickets_moved_total\{site="[^"]*",why="lost"\}'))

    def until(self, look: Callable[[], object], what: str, every_s: float = 0.05) -> float:
        """Return after how many wall seconds something came true."""
        begun_s = time.monotonic()
        until(look, what, WITHIN_S, self.system.alive, every_s)
        return time.monotonic() - begun_s
