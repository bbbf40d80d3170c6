"""On the runtime `kubernetes`, with a real API server: role changes under load, and an API server that goes away."""

import asyncio
import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import psutil
import yaml

from fairlead.adapters.kubernetes_access import access_of
from fairlead.adapters.kubernetes_api import PODS, KubernetesApi, Object
from fairlead.contracts.containers import MODEL_LABEL, NODE_LABEL
from fairlead.contracts.plans import Override
from fairlead.contracts.settings import KubernetesSettings
from node_agent.pod_reading import instance_of, sign_of
from tests.acceptance.case import Case, Skipped, hold
from tests.acceptance.live import Ended, Up, until, up
from tests.kubernetes.raising import Lab, Missing, raised

CHANGES = 200
"""Starts and stops of pods that lose no request."""

SPEED = 8
"""Domain seconds in a wall second: a start takes one to two seconds, calls of the API some hundredths."""

ROUNDS_MOST = 60
ROUND_S = 30.0
"""Wall seconds within which one round of role changes must have come true."""

AWAY_S = 12.0
"""Wall seconds without an API server: three slots at speed 8."""

SLOT_S = 30.0

BACK_S = 30.0
"""Wall seconds within which what was killed must be there again."""

PAIRS = (("small-text", "vision-language"), ("vision-language", "small-text"))
"""Per round, what is pinned on even and on odd nodes; the other one is banned there."""


@contextmanager
def _lab() -> Iterator[Lab]:
    try:
        with raised() as lab:
            yield lab
    except Missing as missing:
        raise Skipped(str(missing)) from missing


@contextmanager
def _on(lab: Lab, duration_s: int) -> Iterator[Up]:
    """Run `fairlead up` on the runtime."""
    options = ("--scenario", "city7-rotating", "--load", "0.4", "--speed", str(SPEED), "--seed", "7", "--json")
    runtime, where = "kubernetes", lab.kubeconfig
    with up(*options, "--duration", str(duration_s), FAIRLEAD_NODE_AGENT__RUNTIME=runtime, KUBECONFIG=where) as system:
        system.works()
        yield system


Where = tuple[str, str]
"""Node and model."""


def _nodes(system: Up) -> list[str]:
    return sorted(node["id"] for node in system.call("GET", "nodes").json()["items"])


def _pods(system: Up, lab: Lab) -> dict[Where, Object]:
    """Return every pod of a model that the API server has."""
    settings = yaml.safe_load((system.state / "settings.yaml").read_text("utf-8"))
    namespace = settings["kubernetes"]["namespace"]

    async def listed() -> tuple[Object, ...]:
        api = KubernetesApi(access_of(KubernetesSettings(kubeconfig=lab.kubeconfig)))
        try:
            return (await api.items(PODS.path(namespace), labels=MODEL_LABEL))[0]
        finally:
            await api.close()

    found = {}
    for pod in asyncio.run(listed()):
        labels = pod["metadata"]["labels"]
        found[labels[NODE_LABEL], labels[MODEL_LABEL]] = pod
    return found


def _ready(pods: dict[Where, Object]) -> dict[Where, str]:
    """Return the instances that serve."""
    return {where: instance_of(pod) for where, pod in pods.items() if sign_of(pod).state == "ready"}


def _sound(system: Up, ended: Ended, failed_most: int = 0) -> dict[str, Any]:
    """Hold that a run ended well, lost nothing, and that no more failed than may; return its report."""
    hold(ended.status == 0, f"exit status {ended.status}: {ended.err[-600:]}")
    report: dict[str, Any] = json.loads(ended.out)
    requests = report["requests"]
    total = sum(requests[key] for key in ("finished", "failed", "open", "lost"))
    hold(total == requests["arrived"], f"the four do not add up: {requests}")
    hold(requests["lost"] == 0, f"lost: {requests}")
    hold(requests["failed"] <= failed_most, f"failed: {requests}, {report['failures']}")
    hold(not (left := system.left()), f"left behind: {left}")
    return report


def _fix(system: Up, where: Where, action: Literal["pin", "ban"]) -> str:
    """Fix a model on a node, and return the override's id."""
    node, model = where
    name = f"{action}-{node}-{model}"
    override = Override(
        id=name, node=node, model=model, action=action, created_at_s=0.0, expires_at_s=None, by="tests", why="a round"
    )
    made = system.call("POST", "overrides", override.to_document())
    hold(made.status in (200, 201), f"override: {made.status} {made.body[:300]!r}")
    return name


def _roles() -> str:
    with _lab() as lab, _on(lab, 300) as system:
        nodes = _nodes(system)
        done, rounds = 0, 0
        before = _ready(_pods(system, lab))
        while done < CHANGES and rounds < ROUNDS_MOST:
            now = _turned(system, lab, nodes, PAIRS[rounds % 2])
            done += len(before.items() - now.items()) + len(now.items() - before.items())
            before = now
            rounds += 1
        hold(done >= CHANGES, f"only {done} role changes in {rounds} rounds")
        report = _sound(system, system.end(limit_s=60.0))
        pods = report["pods"]
        return f"{done} role changes, {pods['starts']} starts, {pods['stops']} stops: {report['requests']}"


def _turned(system: Up, lab: Lab, nodes: list[str], pair: tuple[str, str]) -> dict[Where, str]:
    """Have every node serve one of a pair and not the other; return who serves then."""
    wanted = {(node, pair[at % 2]) for at, node in enumerate(nodes)}
    banned = {(node, pair[1 - at % 2]) for at, node in enumerate(nodes)}
    names = [_fix(system, where, "pin") for where in sorted(wanted)]
    names += [_fix(system, where, "ban") for where in sorted(banned)]

    def came_true() -> bool:
        pods = _pods(system, lab)
        return wanted <= _ready(pods).keys() and not banned & pods.keys()

    until(came_true, "a round of roles came true", ROUND_S, system.alive, every_s=0.3)
    for name in names:
        gone = system.call("DELETE", f"overrides/{name}")
        hold(gone.status in (200, 204), f"override: {gone.status} {gone.body[:300]!r}")
    return _ready(_pods(system, lab))


def _outage() -> str:
    with _lab() as lab, _on(lab, 150) as system:
        until(lambda: system.finished() > 30, "requests flow", 60, system.alive)
        before = _ready(_pods(system, lab))
        lab.run("down.sh", "kube-apiserver")
        finished, began_s = system.finished(), time.monotonic()
        wanted = next((n, m) for n in _nodes(system) for m in PAIRS[0] if (n, m) not in before)
        override = _fix(system, wanted, "pin")
        until(lambda: time.monotonic() - began_s > AWAY_S, "the outage is over", AWAY_S + 5, system.alive)
        hold(system.finished() > finished, "no request was finished while the API server was away")
        lab.run("up.sh")
        back_s = time.monotonic()
        after = until(lambda: _with(wanted, system, lab), "what was ordered meanwhile", 2 * SLOT_S, system.alive)
        took_s = time.monotonic() - back_s
        lost = {where for where in before.keys() & after.keys() if before[where] != after[where]}
        hold(not lost, f"pods that did not outlive the outage: {lost}")
        system.call("DELETE", f"overrides/{override}")
        report = _sound(system, system.end(limit_s=60.0))
        return f"{wanted} ready {took_s:.1f} s after the API server was back: {report['requests']}"


def _with(wanted: Where, system: Up, lab: Lab) -> dict[Where, str]:
    """Return who serves; nobody before `wanted` does."""
    ready = _ready(_pods(system, lab))
    return ready if wanted in ready else {}


def _kills() -> str:
    with _lab() as lab, _on(lab, 150) as system:
        until(lambda: system.finished() > 20, "requests flow", 60, system.alive)
        before = _ready(_pods(system, lab))
        wanted = next((n, m) for n in _nodes(system) for m in PAIRS[0] if (n, m) not in before)
        agent = f"node-agent-{wanted[0]}"
        pid = system.named()[agent]
        os.kill(pid, signal.SIGKILL)
        until(lambda: system.named().get(agent, pid) != pid, f"{agent} was started again", BACK_S, system.alive)
        override = _fix(system, wanted, "pin")
        after = until(lambda: _with(wanted, system, lab), "the new agent started a pod", 2 * SLOT_S, system.alive)
        taken = {
            where for where in before if where[0] == wanted[0] and after.get(where, before[where]) != before[where]
        }
        hold(not taken, f"pods of {wanted[0]} that did not outlive their agent: {taken}")
        system.call("DELETE", f"overrides/{override}")
        forks = psutil.Process(system.named()["warm-parent"]).children()
        forks[0].kill()
        known = set(after.values())
        until(lambda: set(_ready(_pods(system, lab)).values()) - known, "a pod was started again", BACK_S, system.alive)
        report = _sound(system, system.end(limit_s=60.0), failed_most=1)
        return f"{agent} and a pod killed: {report['requests']}"


CASES = (
    Case(
        "kubernetes-kills",
        "kill -9 of a node agent and of a pod on the runtime kubernetes: adopted, started again, nothing lost",
        _kills,
    ),
    Case(
        "kubernetes-roles",
        f"{CHANGES} role changes under load on the runtime kubernetes: nothing lost, nothing left behind",
        _roles,
    ),
    Case(
        "kubernetes-outage",
        "the API server ends and comes back: every pod serves on, what was ordered comes true in two slots",
        _outage,
    ),
)
