"""On the runtime `kubernetes`, with a real API server: role changes under load, and an API server that has bad days.

It goes away, is slow, busy, or cut off from one node agent.
"""

import itertools
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import yaml

from fairlead.adapters.kubernetes_access import access_of
from fairlead.contracts.settings import KubernetesSettings, Settings
from fairlead.twin.clusters import cluster
from tests.acceptance.case import Case, hold
from tests.acceptance.live import Up, free_port, until
from tests.acceptance.on_runtime import (
    Process,
    Where,
    accounted,
    fix,
    lab,
    let_go,
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
"""What befalls the API server, and for how many wall seconds from when the agents have their orders: longer than a call
may take, after which it is tried again; of calls that are refused at once, until there are 5 s between two tries."""

FOR_ONE = ("cut", "away")
"""Of these, what befalls one agent alone: nothing comes through, or every connection is refused."""

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

    until(came_true, "a round of roles came true", ROUND_S, system.alive, every_s=0.3)
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
    """Of pods that start or serve."""
    serving: dict[Where, str]
    finished: int
    wanted: tuple[Where, ...]
    """Models on nodes where they are not, each on a node of its own."""

    @property
    def limit_s(self) -> float:
        """Wall seconds of the slots within which what was ordered comes true."""
        return SLOTS * self.settings.controller.slot_s / self.settings.speed

    def order(self) -> tuple[str, ...]:
        """Order every start, and return the ids of the overrides."""
        return tuple(fix(self.system, where, "pin") for where in self.wanted)

    def known(self) -> bool:
        """Whether the agents are at the orders: they start the model, or stop another one that leaves it no room."""
        seen = views(snapshot(self.system))
        at_work = {node for (node, _), pod in seen.items() if pod.phase in ("starting", "stopping")}
        return all(where in seen or where[0] in at_work for where in self.wanted)

    def made(self, wanted: Sequence[Where]) -> bool:
        """Whether the API server has the pods."""
        return set(wanted) <= objects(self.settings, self.cluster.kubeconfig).keys()

    def true(self, wanted: Sequence[Where]) -> bool:
        """Whether the models serve there."""
        return set(wanted) <= ready(self.system, self.settings, self.cluster).keys()

    def outlived(self, trouble: str) -> None:
        """Hold that no process was ended or replaced but of pods that were let go, and that requests were finished."""
        left = processes(self.system, self.settings)
        killed = {w for w, was in self.run.items() if left.get(w) != was} - let_go(self.system, self.since_s)
        hold(not killed, f"processes of pods that did not outlive that {trouble}: {killed}")
        hold(self.system.finished() > self.finished, f"no request was finished while {trouble}")

    def comes_true(self) -> tuple[float, float]:
        """Wait until every order is true, and the others serve still; return wall seconds to pods and to readiness."""
        back_s = time.monotonic()
        until(lambda: self.made(self.wanted), "the pods are made", self.limit_s, self.system.alive, LOOK_S)
        made_s = time.monotonic() - back_s
        came_true = "what was ordered meanwhile has come true"
        until(lambda: self.true(self.wanted), came_true, self.limit_s - made_s, self.system.alive, LOOK_S)
        took_s = time.monotonic() - back_s
        after, ordered = ready(self.system, self.settings, self.cluster), let_go(self.system, self.since_s)
        lost = {where for where, was in self.serving.items() if after.get(where) != was} - ordered
        hold(not lost, f"pods that no placement lets go and that are gone, or others: {lost}")
        return made_s, took_s


def _trial(system: Up, one: Lab, orders: int = 1, after: str = "") -> Trial:
    """Choose what to order: on nodes that come after one, with something on them that might be stopped by mistake."""
    settings = settings_of(system)
    since_s, serving, every = now_s(settings), ready(system, settings, one), processes(system, settings)
    kept = {where for where, pod in views(snapshot(system)).items() if pod.phase in ("starting", "ready")}
    run = {where: process for where, process in every.items() if where in kept}
    names = sorted({node for node, _ in serving}, key=lambda node: (node <= after, node))
    absent = ([(node, model) for model in PAIRS[0] if (node, model) not in every] for node in names)
    wanted = tuple(itertools.islice((some[0] for some in absent if some), orders))
    hold(len(wanted) == orders, f"nothing is left to order: {sorted(every)}")
    return Trial(system, settings, one, since_s, run, serving, system.finished(), wanted)


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
        trial = _trial(system, one)
        overrides = _away(trial)
        one.run("up.sh")
        made_s, took_s = trial.comes_true()
        unfix(system, *overrides)
        report = accounted(system, system.end(limit_s=60.0))
        return (
            f"{trial.wanted} made {made_s:.1f} s and ready {took_s:.1f} s after the API server was back "
            f"(≤ {trial.limit_s:.0f}), {len(trial.serving)} pods served on: {report['requests']}"
        )


def _quick_to_start(folder: Path) -> str:
    """Write settings with `city7` on free ports, its models quick to start; return the file."""
    shape = cluster("city7", lambda _: free_port())
    models = tuple(model.model_copy(update={"start_delay_s": OUTAGE_START_S}) for model in shape.models)
    file = folder / "fairlead.yaml"
    file.write_text(yaml.safe_dump({"cluster": shape.model_copy(update={"models": models}).to_document()}), "utf-8")
    return str(file)


def _away(trial: Trial) -> tuple[str, ...]:
    """End the API server, order what is wanted, and wait until it has been away long enough; return the overrides."""
    trial.cluster.run("down.sh", "kube-apiserver")
    began_s = time.monotonic()
    overrides = trial.order()
    until(lambda: time.monotonic() - began_s > AWAY_S, "the outage is over", AWAY_S + 5, trial.system.alive)
    trial.outlived("the API server was away")
    return overrides


def _faults() -> str:
    """Node agents and the testbed's kubelets ask by the proxy; scheduler, controllers, KWOK and our looks do not.

    So a slow or busy API server is that for kubelets too; one that is away from an agent is away from it alone.
    """
    found, after = [], ""
    with lab() as one, _proxied(one) as (proxy, behind), _slowed(behind) as system:
        for mood in MOODS:
            trial = _trial(system, one, 2, after)
            after = trial.wanted[-1][0]
            found.append(f"{mood} {_endured(trial, proxy, mood)}")
            print(f"       {found[-1]}", flush=True)
        report = accounted(system, system.end(limit_s=60.0))
        return f"{'; '.join(found)} (≤ {trial.limit_s:.0f}): {report['requests']}"


def _endured(trial: Trial, proxy: Apart, mood: Mood) -> str:
    """Have the API server be in a mood, order two starts, and hold what comes of them; return how long it took."""
    system, (cut, *others) = trial.system, trial.wanted
    during = trial.wanted if mood == "slow" else others if mood in FOR_ONE else ()
    late = set(trial.wanted) - set(during)
    proxy.become(mood, _of_process(system.named()[f"node-agent-{cut[0]}"]) if mood in FOR_ONE else None)
    ordered_s = time.monotonic()
    overrides = trial.order()
    until(trial.known, "the agents are at the orders", trial.limit_s, system.alive, LOOK_S)
    known_s = time.monotonic()
    until(lambda: trial.true(during), f"{during} is ready meanwhile", trial.limit_s, system.alive, LOOK_S)
    true_s = time.monotonic()

    def over() -> bool:
        processes(system, trial.settings)  # of which there are no two for one pod
        there = late & objects(trial.settings, trial.cluster.kubeconfig).keys()
        hold(not there, f"made although the API server was {mood}: {there}")
        return time.monotonic() - known_s > MOODS[mood]

    until(over, f"it has been {mood} long enough", MOODS[mood] + 5.0, system.alive, LOOK_S)
    trial.outlived(f"the API server was {mood}")
    lasted_s = time.monotonic() - ordered_s
    proxy.become("well")
    made_s, took_s = trial.comes_true()
    unfix(system, *overrides)
    meanwhile = f", {len(during)} ready after {true_s - ordered_s:.1f} s of it" if during else ""
    afterwards = f", {len(late)} made {made_s:.1f} s and ready {took_s:.1f} s after it" if late else ""
    return f"for {lasted_s:.0f} s{meanwhile}{afterwards}"


def _of_process(pid: int) -> Whom:
    """Return what knows the connections of a process: all agents ask with the same credentials."""
    process = psutil.Process(pid)
    return lambda port: any(one.laddr.port == port for one in process.net_connections("tcp"))


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
