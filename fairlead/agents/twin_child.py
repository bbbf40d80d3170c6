"""The twin in a process of its own: it judges one proposal after another, so that no agent's loop ever waits for it.

    python -m fairlead.agents.twin_child --nice 5 --engine auto --lock FILE

Reads questions from standard input and writes verdicts to standard output (`fairlead.agents.frames`), until its input
ends. The reference engine judges at once. Beside it a thread of lower priority loads the compiled core, or
compiles it where it is not kept on disk, one process of a machine at a time: the next finds it there.
"""

import argparse
import fcntl
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import BinaryIO

import psutil

from fairlead.agents.frames import HUNG_S, Question, Verdict, read_question
from fairlead.contracts.cluster import Cluster
from fairlead.contracts.decisions import SlotState
from fairlead.contracts.errors import foreign
from fairlead.contracts.tuning import PolicySettings
from fairlead.policy.snapshot import fold
from fairlead.twin.branching import Branched, Candidate, Demand, Situation
from fairlead.twin.clusters import cluster, default_ports
from fairlead.twin.court import Means
from fairlead.twin.engines import EngineName, brancher
from fairlead.twin.gate import judged
from fairlead.twin.network import network_of
from fairlead.twin.requests import Network

LOADING_NICER = 5
"""By how much the thread that loads or compiles the core yields more than the judging beside it. With the process's own
5 that is a weight of 110 beside the 1024 of anybody else who wants a processor (Linux, sched(7)): compiling takes 65 s
of one just when an agent has begun; at 19 it would be 15, and on a busy machine the core would never be there."""


AIM_RATIO = 0.8
"""Of the time that there is, what a judgement is made to take: what branches took may be off by a quarter."""

AIM_MOST_S = 0.5 * HUNG_S
"""Wall seconds that a judgement is made to take at most, far from what ends this process."""


class Pace:
    """How fast branches of a judgement are played, by the clock."""

    def __init__(self, clock: Callable[[], float], began_s: float, deadline_s: float) -> None:
        """Begin at an instant of the clock that measures; of use is an answer within `deadline_s`."""
        self._clock = clock
        self._until_s = began_s + deadline_s
        self._aim_s = began_s + min(AIM_RATIO * deadline_s, AIM_MOST_S)
        self._seconds = 0.0
        self._requests = 0

    def late(self) -> bool:
        """Tell whether nobody waits any more."""
        return self._clock() > self._until_s

    def took(self, seconds: float, requests: int) -> None:
        """Count a branch; one without a request is taken for one with a request."""
        self._seconds += seconds
        self._requests += max(1, requests)

    def left(self) -> float | None:
        """Return how many more requests can be played; None before anything was."""
        if not self._requests:
            return None
        return max(0.0, self._aim_s - self._clock()) * self._requests / self._seconds


class Twin:
    """Judges, and says of itself which engine it is and what memory it takes."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        """Measure by a clock: seconds since whatever instant."""
        self.clock = clock
        self._play = brancher("reference")
        self._engine: EngineName = "reference"
        """That played the newest branch."""
        self._process = psutil.Process()
        self._far: tuple[Cluster, Network] | None = None
        """The network of the newest cluster."""

    def compile(self) -> None:
        """Let the compiled core judge what it can once this returns. Raises what compiling does."""
        play = brancher("auto")
        self._engine = play(_nothing(), Candidate("fallback"), (), 1.0).engine
        self._play = play

    def judge(self, one: Question, began_s: float) -> Verdict:
        """Return the judgement of a proposal that was asked for at `began_s`, or why there is none in its time."""
        pace = Pace(self.clock, began_s, one.deadline_s)

        def branch(situation: Situation, candidate: Candidate, demand: Demand, until_s: float) -> Branched:
            return self._branch(pace, (situation, candidate, demand, until_s))

        try:
            means = Means(branch, pace.left, self._network(one.asked.cluster))
            found = judged(one.asked, one.judge, one.asked.settings.gate, means)
        except TimeoutError:
            return self.verdict(one.number).model_copy(update={"late": True})
        except Exception as error:  # the top of a judgement: whatever it is, the agent is told and the next is judged
            return self.verdict(one.number).model_copy(update={"fault": foreign(f"{type(error).__name__}: {error}")})
        verdict = self.verdict(one.number)
        took = {"twin": verdict.twin, "took_s": self.clock() - began_s}
        return verdict.model_copy(update={"judgement": found.model_copy(update=took)})

    def verdict(self, number: int) -> Verdict:
        """Return a verdict without a judgement; of number 0 it says that the twin is ready."""
        name = f"{self._engine} {version('fairlead')}"
        return Verdict(number=number, twin=name, memory_bytes=self._process.memory_info().rss)

    def _branch(self, pace: Pace, what: tuple[Situation, Candidate, Demand, float]) -> Branched:
        """Play a branch and count it; one of no length lays the situation out, which is done once."""
        if pace.late():
            raise TimeoutError
        began_s = self.clock()
        found = self._play(*what)
        if what[3] > what[0].now_s:
            pace.took(self.clock() - began_s, found.arrived)
        self._engine = found.engine
        return found

    def _network(self, cluster: Cluster) -> Network:
        if self._far is None or self._far[0] != cluster:
            self._far = cluster, network_of(cluster)
        return self._far[1]


def _nothing() -> Situation:
    """Return a cluster of which nothing was ever heard."""
    settings, city7 = PolicySettings(), cluster("city7", default_ports("city7"))
    return Situation(
        now_s=0.0,
        seed=0,
        policy="marginal-dpp",
        settings=settings,
        cluster=city7,
        network=network_of(city7),
        snapshot=fold(0.0, city7, (), (), {}, {}, settings),
        state=SlotState(slot=0, rates=(), rotation=0),
        plan=None,
        placement=None,
    )


def serve(twin: Twin, heard: BinaryIO, said: BinaryIO) -> None:
    """Answer what is heard until that ends."""
    while (head := heard.readline()).endswith(b"\n"):
        began_s = twin.clock()  # reading what is asked takes a part of the time
        asked, judge = heard.readline(), heard.readline()
        if not judge.endswith(b"\n"):
            return
        tell(said, twin.judge(read_question(head, asked, judge), began_s))


def tell(said: BinaryIO, verdict: Verdict) -> None:
    """Write a verdict."""
    said.write(f"{verdict.to_json()}\n".encode())
    said.flush()


@contextmanager
def alone(lock: str) -> Iterator[None]:
    """Wait until no other process of this machine is in here."""
    Path(lock).parent.mkdir(parents=True, exist_ok=True)
    with open(lock, "w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def compiled_beside(twin: Twin, lock: str) -> threading.Thread:
    """Begin to load or compile the twin's core in a thread that yields to what else runs."""

    def compiled() -> None:
        me = threading.get_native_id()  # on Linux each thread has a priority of its own
        nice = os.getpriority(os.PRIO_PROCESS, me) + LOADING_NICER
        os.setpriority(os.PRIO_PROCESS, me, nice)
        with alone(lock):
            twin.compile()

    thread = threading.Thread(target=compiled, name="twin: compiling", daemon=True)
    thread.start()
    return thread


def main() -> int:
    """Judge until standard input ends."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--nice", type=int, default=5)
    parser.add_argument("--engine", choices=("auto", "reference"), default="auto")
    parser.add_argument("--lock", required=True)
    options = parser.parse_args()
    os.nice(options.nice)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal's Ctrl-C: whoever started it ends it
    said, sys.stdout = sys.stdout.buffer, sys.stderr  # what anybody prints is no verdict
    twin = Twin()
    tell(said, twin.verdict(0))
    if options.engine == "auto":
        compiled_beside(twin, options.lock)
    serve(twin, sys.stdin.buffer, said)
    return 0


if __name__ == "__main__":
    sys.exit(main())
