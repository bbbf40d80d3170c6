"""On the runtime `kubernetes`, with a real API server: role changes under load, and an API server that goes away."""

import tempfile
import time
from pathlib import Path

import yaml

from fairlead.twin.clusters import cluster
from tests.acceptance.case import Case, hold
from tests.acceptance.live import Up, free_port, until
from tests.acceptance.on_runtime import (
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
    unfix,
)
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


def _outage() -> str:
    with lab() as one, tempfile.TemporaryDirectory(prefix="fairlead-outage-") as folder:
        config = _quick_to_start(Path(folder))
        options = ("--config", config, "--load", "0.8", "--speed", str(OUTAGE_SPEED), "--duration", "200")
        with on(one, *options) as system:
            settings = settings_of(system)
            until(lambda: system.finished() > 10, "requests flow", 60, system.alive)
            since_s, before, run = now_s(settings), ready(system, settings, one), processes(system, settings)
            wanted = next((n, m) for n in nodes(system) for m in PAIRS[0] if (n, m) not in run)
            override = _away(system, one, wanted)
            left = processes(system, settings)
            killed = {where for where, was in run.items() if left.get(where) != was} - let_go(system, since_s)
            hold(not killed, f"processes of pods that did not outlive the outage: {killed}")
            one.run("up.sh")
            back_s, limit_s = time.monotonic(), SLOTS * settings.controller.slot_s / OUTAGE_SPEED
            until(lambda: wanted in objects(settings, one.kubeconfig), "the pod is made", limit_s, system.alive, 0.3)
            made_s = time.monotonic() - back_s
            came_true = "what was ordered meanwhile has come true"
            until(lambda: wanted in ready(system, settings, one), came_true, limit_s - made_s, system.alive, 0.3)
            took_s = time.monotonic() - back_s
            after, ordered = ready(system, settings, one), let_go(system, since_s)
            lost = {where for where in before if after.get(where) != before[where]} - ordered
            hold(not lost, f"pods that no placement lets go and that are gone, or others: {lost}")
            unfix(system, override)
            report = accounted(system, system.end(limit_s=60.0))
            return (
                f"{wanted} made {made_s:.1f} s and ready {took_s:.1f} s after the API server was back "
                f"(≤ {limit_s:.0f}), "
                f"{len(before)} pods served on: {report['requests']}"
            )


def _quick_to_start(folder: Path) -> str:
    """Write settings with `city7` on free ports, its models quick to start; return the file."""
    shape = cluster("city7", lambda _: free_port())
    models = tuple(model.model_copy(update={"start_delay_s": OUTAGE_START_S}) for model in shape.models)
    file = folder / "fairlead.yaml"
    file.write_text(yaml.safe_dump({"cluster": shape.model_copy(update={"models": models}).to_document()}), "utf-8")
    return str(file)


def _away(system: Up, one: Lab, wanted: Where) -> str:
    """End the API server, order a start, and return once it has been away long enough; return the override's id."""
    one.run("down.sh", "kube-apiserver")
    finished, began_s = system.finished(), time.monotonic()
    override = fix(system, wanted, "pin")
    until(lambda: time.monotonic() - began_s > AWAY_S, "the outage is over", AWAY_S + 5, system.alive)
    hold(system.finished() > finished, "no request was finished while the API server was away")
    return override


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
)
