"""On the runtime `kubernetes`, with a real API server: role changes under load, and an API server that has bad days.

It goes away, is slow, busy, or cut off from one node agent.
"""

import tempfile
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import yaml

from fairlead.adapters.kubernetes_access import access_of
from fairlead.contracts.cluster import Cluster, NodeSpec
from fairlead.contracts.settings import KubernetesSettings, Settings
from fairlead.twin.clusters import cluster
from testbed.ports import Ports
from tests.acceptance.case import Case, hold
from tests.acceptance.live import Up, until
from tests.acceptance.on_runtime import (
    Process,
    Where,
    accounted,
    fix,
    lab,
    let_go,
    name_of,
    nodes,
    now_s,
    objects,
    on,
    processes,
    ready,
    settings_of,
    snapshot,
    unfix,
    views,
)
from tests.kubernetes.proxy import Apart, Mood, Whom, proxied_apart
from tests.kubernetes.raising import Lab

CHANGES = 200
"""Starts and stops of pods that lose no request."""

ROUNDS_MOST = 60
ROUND_S = 30.0
"""Wall seconds within which one round of role changes must have come true."""

AWAY_S = 6.0
"""Wall seconds without an API server, and four more until it has started: longer than any retry of ours waits. The
cluster's own scheduler waits up to twice as long as it was away until it looks again, and binds no pod before."""

OUTAGE_SPEED = 2
"""Retries, the API server's start and its scheduler's wait wall seconds, whatever the speed: so slow that two slots,
30 s of wall time, are a fair share of the 60 s that they are of a real system."""

SLOTS = 2
"""After the API server is back, what was ordered meanwhile comes true within so many slots."""

OUTAGE_START_S = 4.0
"""Start delay of every model there: at that speed `city7`'s own would take half a minute to begin with."""

MOODS: dict[Mood, float] = {"slow": 8.0, "busy": 11.0, "cut": 11.0, "away": 8.0}
"""What befalls the API server, and for how many wall seconds from when the agents are at their orders: longer than a
call may take, after which it is tried again; of calls that are refused at once, until there are 5 s between two."""

FOR_ONE = ("cut", "away")
"""Of these, what befalls one agent alone: nothing comes through, or every connection is refused. One has a start to
make then, the other one a stop."""

ORDERED = "small-text"
"""The model of these orders: it has little to finish before it goes, and leaves room for no other one."""

LOOK_S = 0.3
"""Wall seconds between two looks."""

PAIRS = (("small-text", "vision-language"), ("vision-language", "small-text"))
"""Per round, what is pinned on even and on odd nodes; the other one is banned there."""


def _roles() -> str:
    with lab() as one, on(one, "--load", "0.4", "--speed", "8", "--duration", "300") as system:
        settings, names = settings_of(system), nodes(system)
        done, rounds = 0, 0
        before = ready(system, settings, one)
        while done < CHANGES and rounds < ROUNDS_MOST:
            now = _turned(system, one, names, PAIRS[rounds % 2])
            done += len(before.items() - now.items()) + len(now.items() - before.items())
            before = now
            rounds += 1
        hold(done >= CHANGES, f"only {done} role changes in {rounds} rounds")
        report = accounted(system, system.end(limit_s=60.0))
        pods = report["pods"]
        return f"{done} role changes, {pods['starts']} starts, {pods['stops']} stops: {report['requests']}"


def _turned(system: Up, one: Lab, names: list[str], pair: tuple[str, str]) -> dict[Where, str]:
    """Have every node serve one of a pair and not the other; return who serves then."""
    settings = settings_of(system)
    wanted = {(node, pair[at % 2]) for at, node in enumerate(names)}
    banned = {(node, pair[1 - at % 2]) for at, node in enumerate(names)}
    fixed = [fix(system, where, "pin") for where in sorted(wanted)]
    fixed += [fix(system, where, "ban") for where in sorted(banned)]

    def came_true() -> bool:
        there = objects(settings, one.kubeconfig).keys()
        return not banned & there and wanted <= ready(system, settings, one).keys()

    until(came_true, "a round of roles came true", ROUND_S, system.alive, LOOK_S)
    unfix(system, *fixed)
    return ready(system, settings, one)


@dataclass(frozen=True, slots=True)
class Trial:
    """What is there as trouble with the API server begins, and what is ordered meanwhile."""

    system: Up
    settings: Settings
    cluster: Lab
    since_s: float
    """Domain instant."""
    run: dict[Where, Process]
    """Of pods that start or serve, and are not ordered to stop."""
    serving: dict[Where, str]
    finished: int
    starts: frozenset[Where]
    """Models where they are not, and are banned."""
    stops: frozenset[Where]
    """Models where they serve, and are pinned."""

    @property
    def orders(self) -> frozenset[Where]:
        """What is to come true."""
        return self.starts | self.stops

    @property
    def limit_s(self) -> float:
        """Wall seconds of the slots within which it comes true."""
        return SLOTS * self.settings.controller.slot_s / self.settings.speed

    def order(self) -> None:
        """Pin what is banned, and ban what is pinned."""
        for where in sorted(self.starts):
            unfix(self.system, name_of(where, "ban"))
            fix(self.system, where, "pin")
        for where in sorted(self.stops):
            unfix(self.system, name_of(where, "pin"))
            fix(self.system, where, "ban")

    def heard(self) -> bool:
        """Whether the agents are at the orders: pods start, and those that are to go have no requests any more."""
        seen = views(snapshot(self.system))
        stay = {where for where in self.stops if where in seen and seen[where].phase != "stopping"}
        return self.starts <= seen.keys() and not stay

    def taken(self) -> frozenset[Where]:
        """Return the orders of which the API server knows."""
        there = objects(self.settings, self.cluster.kubeconfig)
        going = {where for where, pod in there.items() if "deletionTimestamp" in pod["metadata"]}
        return (self.starts & there.keys()) | (self.stops - there.keys()) | (self.stops & going)

    def true(self) -> frozenset[Where]:
        """Return the orders that have come true: models that serve, or of which nothing is left."""
        serving = ready(self.system, self.settings, self.cluster).keys()
        left = processes(self.system, self.settings).keys() | objects(self.settings, self.cluster.kubeconfig).keys()
        return (self.starts & serving) | (self.stops - left)

    def outlived(self, trouble: str) -> None:
        """Hold that no process was ended or replaced but of pods that were let go, and that requests were finished."""
        left = processes(self.system, self.settings)
        killed = {w for w, was in self.run.items() if left.get(w) != was} - let_go(self.system, self.since_s)
        hold(not killed, f"processes of pods that did not outlive that {trouble}: {killed}")
        hold(self.system.finished() > self.finished, f"no request was finished while {trouble}")

    def comes_true(self) -> tuple[float, float]:
        """Wait until every order is true and the others serve still; return wall seconds to taken, and to true."""
        back_s, alive = time.monotonic(), self.system.alive
        until(lambda: self.taken() == self.orders, "the API server knows of all orders", self.limit_s, alive, LOOK_S)
        taken_s = time.monotonic() - back_s
        came_true = "what was ordered meanwhile has come true"
        until(lambda: self.true() == self.orders, came_true, self.limit_s - taken_s, alive, LOOK_S)
        took_s = time.monotonic() - back_s
        after, ordered = ready(self.system, self.settings, self.cluster), let_go(self.system, self.since_s)
        lost = {where for where, was in self.serving.items() if after.get(where) != was} - ordered - self.stops
        hold(not lost, f"pods that no placement lets go and that are gone, or others: {lost}")
        return taken_s, took_s


def _trial(system: Up, one: Lab, starts: frozenset[Where], stops: frozenset[Where]) -> Trial:
    settings = settings_of(system)
    since_s, serving = now_s(settings), ready(system, settings, one)
    seen = views(snapshot(system)).items()
    kept = {where for where, pod in seen if pod.phase in ("starting", "ready")} - stops
    run = {where: process for where, process in processes(system, settings).items() if where in kept}
    return Trial(system, settings, one, since_s, run, serving, system.finished(), starts, stops)


def _roles_fixed(system: Up, one: Lab) -> tuple[frozenset[Where], frozenset[Where]]:
    """Fix what four nodes have, for nothing to have to make room there; return where `ORDERED` is not, and where it is.

    Nodes are taken first whose room without it is none for another model.
    """
    settings = settings_of(system)
    assert isinstance(settings.cluster, Cluster)
    claims = {model.id: model.memory_bytes for model in settings.cluster.models}
    serving = ready(system, settings, one)
    here = {node.id: {m for n, m in serving if n == node.id} for node in settings.cluster.nodes}

    def room_for_others(node: NodeSpec) -> bool:
        left = node.memory_bytes - sum(claims[model] for model in here[node.id] - {ORDERED})
        return any(claims[model] <= left for model in claims.keys() - here[node.id])

    chosen = [node.id for node in sorted(settings.cluster.nodes, key=room_for_others)][:4]
    bare, full = (frozenset((node, ORDERED) for node in some) for some in (chosen[:2], chosen[2:]))
    for where in sorted({w for w in serving if w[0] in chosen and w[1] != ORDERED} | full):
        fix(system, where, "pin")
    for where in sorted(bare):
        fix(system, where, "ban")

    def so() -> bool:
        there = objects(settings, one.kubeconfig).keys() | processes(system, settings).keys()
        return not bare & there and full <= ready(system, settings, one).keys()

    until(so, "four nodes have what they shall", ROUND_S, system.alive, LOOK_S)
    return bare, full


@contextmanager
def _slowed(one: Lab) -> Iterator[Up]:
    """Run a system that is slow enough for an API server's outages, on a cluster; requests flow."""
    with tempfile.TemporaryDirectory(prefix="fairlead-outage-") as folder:
        config = _quick_to_start(Path(folder))
        options = ("--config", config, "--load", "0.8", "--speed", str(OUTAGE_SPEED), "--duration", "200")
        with on(one, *options) as system:
            until(lambda: system.finished() > 10, "requests flow", 60, system.alive)
            yield system


def _outage() -> str:
    with lab() as one, _slowed(one) as system:
        trial = _trial(system, one, *_roles_fixed(system, one))
        _away(trial)
        one.run("up.sh")
        taken_s, took_s = trial.comes_true()
        report = accounted(system, system.end(limit_s=60.0))
        return (
            f"{len(trial.orders)} orders taken {taken_s:.1f} s and true {took_s:.1f} s after the API server was back "
            f"(≤ {trial.limit_s:.0f}), {len(trial.serving)} pods served on: {report['requests']}"
        )


def _quick_to_start(folder: Path) -> str:
    """Write settings with `city7` on free ports, its models quick to start; return the file."""
    ports = Ports()
    shape = cluster("city7", lambda _: ports.take())
    ports.release()
    models = tuple(model.model_copy(update={"start_delay_s": OUTAGE_START_S}) for model in shape.models)
    file = folder / "fairlead.yaml"
    file.write_text(yaml.safe_dump({"cluster": shape.model_copy(update={"models": models}).to_document()}), "utf-8")
    return str(file)


def _away(trial: Trial) -> None:
    """End the API server, order, and wait until it has been away long enough."""
    trial.cluster.run("down.sh", "kube-apiserver")
    began_s = time.monotonic()
    trial.order()
    until(lambda: time.monotonic() - began_s > AWAY_S, "the outage is over", AWAY_S + 5, trial.system.alive)
    trial.outlived("the API server was away")


def _faults() -> str:
    """Node agents and the testbed's kubelets ask by the proxy; scheduler, controllers, KWOK and our looks do not.

    So a slow or busy API server is that for kubelets too; one that is away from an agent is away from it alone.
    """
    found = []
    with lab() as one, _proxied(one) as (proxy, behind), _slowed(behind) as system:
        bare, full = _roles_fixed(system, one)
        for mood in MOODS:
            trial = _trial(system, one, bare, full)
            found.append(f"{mood} {_endured(trial, proxy, mood)}")
            print(f"       {found[-1]}", flush=True)
            bare, full = full, bare
        report = accounted(system, system.end(limit_s=60.0))
        return f"{'; '.join(found)} (≤ {trial.limit_s:.0f}): {report['requests']}"


def _endured(trial: Trial, proxy: Apart, mood: Mood) -> str:
    """Have the API server be in a mood, order, and hold what comes of it; return how long that took."""
    system, late = trial.system, _late(trial, mood)
    meanwhile = trial.orders - late
    whom = _agents_of(system, {node for node, _ in late}) if mood in FOR_ONE else None
    proxy.become(mood, whom)
    ordered_s = time.monotonic()
    trial.order()
    until(trial.heard, "the agents are at the orders", trial.limit_s, system.alive, LOOK_S)
    heard_s = time.monotonic()
    until(lambda: meanwhile <= trial.true(), f"{meanwhile} are true meanwhile", trial.limit_s, system.alive, LOOK_S)
    true_s = time.monotonic()

    def over() -> bool:
        processes(system, trial.settings)  # of which there are no two for one pod
        hold(not (taken := late & trial.taken()), f"taken although the API server was {mood}: {taken}")
        return time.monotonic() - heard_s > MOODS[mood]

    until(over, f"it has been {mood} long enough", MOODS[mood] + 5.0, system.alive, LOOK_S)
    trial.outlived(f"the API server was {mood}")
    lasted_s = time.monotonic() - ordered_s
    proxy.become("well")
    taken_s, took_s = trial.comes_true()
    said = f", {len(meanwhile)} orders true after {true_s - ordered_s:.1f} s of it" if meanwhile else ""
    said += f", {len(late)} taken {taken_s:.1f} s and true {took_s:.1f} s after it" if late else ""
    return f"for {lasted_s:.0f} s{said}"


def _late(trial: Trial, mood: Mood) -> frozenset[Where]:
    """Return the orders that cannot come true before the API server is well."""
    match mood:
        case "slow":
            return frozenset()
        case "cut":
            return frozenset(sorted(trial.starts)[:1])
        case "away":
            return frozenset(sorted(trial.stops)[:1])
    return trial.orders


def _agents_of(system: Up, some: Collection[str]) -> Whom:
    """Return what knows the connections of the agents of some nodes: all agents ask with the same credentials."""
    agents = [psutil.Process(system.named()[f"node-agent-{node}"]) for node in some]
    return lambda port: any(one.laddr.port == port for agent in agents for one in agent.net_connections("tcp"))


@contextmanager
def _proxied(one: Lab) -> Iterator[tuple[Apart, Lab]]:
    """Give a proxy before an API server, and the cluster as those see it who ask by the proxy: without credentials."""
    named = {"name": "proxy"}
    with (
        proxied_apart(access_of(KubernetesSettings(kubeconfig=one.kubeconfig))) as proxy,
        tempfile.NamedTemporaryFile("w", prefix="fairlead-faults-") as file,
    ):
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{**named, "cluster": {"server": proxy.url}}],
            "users": [{**named, "user": {}}],
            "contexts": [{**named, "context": {"cluster": "proxy", "user": "proxy"}}],
            "current-context": "proxy",
        }
        file.write(yaml.safe_dump(document))
        file.flush()
        yield proxy, replace(one, kubeconfig=file.name)


CASES = (
    Case(
        "kubernetes-roles",
        f"{CHANGES} role changes under load on the runtime kubernetes: nothing lost, nothing left behind",
        _roles,
    ),
    Case(
        "kubernetes-outage",
        f"the API server ends and comes back: every pod serves on, what was ordered comes true in {SLOTS} slots",
        _outage,
    ),
    Case(
        "kubernetes-faults",
        f"the API server slow, busy, away from one agent: no pod stopped or doubled, orders come true in {SLOTS} slots",
        _faults,
    ),
)
