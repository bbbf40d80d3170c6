"""The same suite on both runtimes: a system under load in which pods start, drain, crash, lose node and agent."""

import time
from collections.abc import Callable

from tests.acceptance.asking import all_whole, clients
from tests.acceptance.case import Broken, Case
from tests.acceptance.live import until
from tests.acceptance.on_runtime import Scene, accounted, lab, on, settings_of
from tests.acceptance.runtime_orders import churn, fencing, weights
from tests.acceptance.runtime_topics import MODEL, crash, drain, node_loss, orphan, start
from tests.kubernetes.raising import Lab

SPEED = "8"
"""Domain seconds in a wall second: a start takes two to six seconds, a slot four, calls of an API some hundredths."""

LOAD = "0.4"
"""A node can go, and a pod of the largest model, without the others being full."""

DURATION_S = "240"
"""Wall seconds at most; the case ends the run once all topics are through."""

TRICKLES = 2
PAUSE_S = 0.3
"""Clients that ask for the topics' model all the time, and wall seconds between their requests: load 0.2 or so."""

TOPICS: tuple[Callable[[Scene], str], ...] = (start, drain, crash, orphan, fencing, node_loss, weights, churn)
"""In this order: `fencing` speaks as the agent that `orphan` has killed, `weights` makes the demand for `churn`."""


def _suite(cluster: Lab | None) -> str:
    with on(cluster, "--load", LOAD, "--speed", SPEED, "--duration", DURATION_S) as system:
        with clients(system) as some:
            scene = Scene(system, settings_of(system), cluster, some)
            trickles = [some.pool.submit(some.trickle, MODEL, PAUSE_S) for _ in range(TRICKLES)]
            until(lambda: len(some.trickled) > TRICKLES, "requests flow", 30, system.alive)
            for topic in TOPICS:
                _tell(topic, scene)
            some.leave()
            for one in trickles:
                one.result()
        all_whole(some.trickled, "requests that trickled")
        system.note_ports()
        report = accounted(system, system.end(limit_s=60.0), scene.kills)
        return f"{len(TOPICS)} topics, {len(some.trickled)} requests trickled, of the clients' {report['requests']}"


def _tell(topic: Callable[[Scene], str], scene: Scene) -> None:
    """Run a topic and print what it found; raises `Broken` with its name."""
    name, begun_s = topic.__name__.replace("_", " "), time.monotonic()
    try:
        found = topic(scene)
    except Broken as error:
        raise Broken(f"{name}: {error}") from error
    print(f"       {name}, {time.monotonic() - begun_s:.1f} s: {found}", flush=True)


def _process() -> str:
    return _suite(None)


def _kubernetes() -> str:
    with lab() as cluster:
        return _suite(cluster)


CLAIM = "start, drain, crash, orphan, fencing, node loss, weights, churn budget"
CASES = (
    Case("runtime-process", f"under load on the runtime process: {CLAIM}", _process),
    Case("runtime-kubernetes", f"the same on the runtime kubernetes: {CLAIM}", _kubernetes),
)
