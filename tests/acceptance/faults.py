"""kill -9 of one process while requests flow: the others go on, it comes back, and every request is accounted for."""

import json
import os
import signal
from collections.abc import Callable

import psutil

from tests.acceptance.case import Case, hold
from tests.acceptance.live import Up, until, up

DURATION_S = 40
BACK_S = 20.0
"""Wall seconds within which a killed process must be there again."""


def _one(up: Up, *names: str) -> tuple[str, int]:
    """Return name and pid of the first supervised process whose name begins with one of `names`."""
    running = up.named()
    for name in sorted(running):
        if name.startswith(names):
            return name, running[name]
    raise KeyError(f"no process named {names} among {sorted(running)}")


def _pods(up: Up) -> list[psutil.Process]:
    """Return the emulated pods: what the warm parent has forked."""
    return psutil.Process(_one(up, "warm-parent")[1]).children()


def _kill(kind: str, may_fail: bool) -> Callable[[], str]:
    def case() -> str:
        options = ("--scenario", "city7-rotating", "--load", "0.8", "--speed", "30", "--seed", "7", "--json")
        with up(*options, "--duration", str(DURATION_S)) as system:
            system.works()
            until(lambda: system.finished() > 100, "a hundred requests finished", 30, system.alive)
            if kind == "pod":
                name, pid = "pod", _pods(system)[0].pid
                before = {p.pid for p in _pods(system)}
            else:
                (name, pid), before = _one(system, kind), set()
            os.kill(pid, signal.SIGKILL)
            at_kill = system.finished()
            until(
                lambda: system.finished() > at_kill + 30, f"requests went on flowing without {name}", 15, system.alive
            )
            if kind == "pod":
                until(lambda: {p.pid for p in _pods(system)} - before, "a pod was started again", BACK_S, system.alive)
            else:
                until(lambda: system.named().get(name, pid) != pid, f"{name} was started again", BACK_S, system.alive)
            ended = system.wait(DURATION_S + 60)
            hold(ended.status == 0, f"exit status {ended.status}: {ended.err[-600:]}")
            requests = json.loads(ended.out)["requests"]
            total = sum(requests[key] for key in ("finished", "failed", "open", "lost"))
            hold(total == requests["arrived"], f"the four do not add up: {requests}")
            hold(requests["lost"] == 0, f"lost: {requests}")
            hold(may_fail or requests["failed"] == 0, f"failed without need: {requests}")
            hold(not (left := system.left()), f"left behind: {left}")
            return f"{name}: {', '.join(f'{key} {requests[key]}' for key in ('arrived', 'failed', 'open', 'lost'))}"

    return case


CASES = tuple(
    Case(f"kill-{kind}", f"kill -9 of a {kind} during a run: flows on, comes back, nothing lost", _kill(kind, may_fail))
    for kind, may_fail in (
        ("planner", False),
        ("slot-agent", False),
        ("control", False),
        ("mongod", False),
        ("node-agent", False),
        ("gateway", True),
        ("pod", True),
    )
)
