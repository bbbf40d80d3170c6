"""How many requests a second each engine of the twin plays on one core: `city7-stationary` at 0.8, and M/M/1 at 0.9.

The requests are drawn before, figures are taken after: what is measured is the engine. The best of three runs.
"""

import time

import numpy as np

from fairlead.contracts.cluster import Cluster, Launch, ModelSpec, NodeSpec, SiteSpec
from fairlead.contracts.plans import NodePlacement
from fairlead.policy.measuring import Window
from fairlead.studies.searched import searched_placement
from fairlead.twin.compiled.play import begun, played
from fairlead.twin.compiled.setting import Crowd, crowd
from fairlead.twin.play import Game, engine_of, policy_at
from fairlead.twin.requests import at_once
from fairlead.twin.scenarios import scenario
from fairlead.twin.streams import stream
from fairlead.twin.subjects import Subject, subject_of

POLICIES = ("sed-static@fresh", "sed-static@5s", "marginal-dpp@fresh", "marginal-dpp@5s")
COMPILED_S, REFERENCE_S = 100_000.0, 3_000.0
"""How long `city7` is played by each engine."""

MM1 = "sed-static[refresh_s=1000,report_s=1000,slot_s=1000,hold_timeout_s=1e9]@fresh"
MM1_REQUESTS = 1_000_000
RUNS = 3


def compiled(game: Game, requests: Crowd) -> float:
    """Return the rate of the compiled core; what is compiled is compiled before."""
    end_s = game.subject.window.end_at_s
    rates = []
    for _ in range(RUNS):
        run = begun(game, requests)
        before = time.process_time()
        played(run, end_s)
        rates.append(len(requests.model) / (time.process_time() - before))
    return max(rates)


def reference(game: Game) -> float:
    """Return the rate of the reference engine."""
    engine = engine_of(game)
    before = time.process_time()
    engine.run(game.subject.window.end_at_s)
    return engine.books.arrived / (time.process_time() - before)


def one_server() -> tuple[Game, Crowd]:
    """Return M/M/1 as a cluster of one node with one pod."""
    url = "http://127.0.0.1:9000"
    model = ModelSpec(
        id="m",
        kind="text",
        memory_bytes=1,
        work_s=1.0,
        start_delay_s=0.0,
        launch=Launch(launcher="exec", command=("serve",)),
    )
    node = NodeSpec(id="n", memory_bytes=1, speed=1.0, keeper_url=url)
    shape = Cluster(nodes=(node,), models=(model,), sites=(SiteSpec(id="s", node="n", url=url),))
    draws = stream(1, "bench", "mm1")
    at_s = np.cumsum(draws.exponential(1.0 / 0.9, MM1_REQUESTS))
    nothing = np.zeros(MM1_REQUESTS, np.int64)
    requests = Crowd(at_s, nothing, nothing, draws.exponential(1.0, MM1_REQUESTS))
    subject = Subject("mm1", shape, at_once(shape), lambda: iter(()), Window(0.0, float(at_s[-1]) + 1_000.0))
    placement = (NodePlacement(node="n", awake=("m",), stoppable=()),)
    return Game(subject, policy_at(MM1), 1, placement), requests


def main() -> None:
    """Print the rates."""
    shape = scenario("city7-stationary")
    static = searched_placement(shape.cluster, shape.name)
    subject, short = (subject_of(shape, 0.8, 1, 0.0, run_s) for run_s in (COMPILED_S, REFERENCE_S))
    requests = crowd(subject)
    print(f"{'city7-stationary, load 0.8':32s} {'compiled':>12s} {'x real time':>12s} {'reference':>12s}  requests/s")
    for text in POLICIES:
        fast = compiled(Game(subject, policy_at(text), 1, static), requests)
        slow = reference(Game(short, policy_at(text), 1, static))
        times = fast * COMPILED_S / len(requests.model)
        print(f"{text:32s} {fast:12,.0f} {times:12,.0f} {slow:12,.0f}", flush=True)
    print(f"{'M/M/1, load 0.9':32s} {compiled(*one_server()):12,.0f}")


if __name__ == "__main__":
    main()
