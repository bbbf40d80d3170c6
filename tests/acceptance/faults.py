"""kill -9 of one process after the other while requests flow: the rest goes on, it comes back, nothing is lost."""

import json
import os
import signal
from collections.abc import Callable, Sequence

import psutil

from tests.acceptance.case import Case, hold
from tests.acceptance.live import Up, until, up

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


def _killed(system: Up, kind: str) -> str:
    """Kill one process of a kind, see requests flow on and it come back; return its name."""
    if kind == "pod":
        name, pid = "pod", _pods(system)[0].pid
        before = {p.pid for p in _pods(system)}
    else:
        (name, pid), before = _one(system, kind), set()
    os.kill(pid, signal.SIGKILL)
    at_kill = system.finished()
    until(lambda: system.finished() > at_kill + 30, f"requests went on flowing without {name}", 15, system.alive)
    if kind == "pod":
        until(lambda: {p.pid for p in _pods(system)} - before, "a pod was started again", BACK_S, system.alive)
    else:
        until(lambda: system.named().get(name, pid) != pid, f"{name} was started again", BACK_S, system.alive)
    return name


def _kill(kinds: Sequence[str], duration_s: int, may_fail: bool) -> Callable[[], str]:
    def case() -> str:
        options = ("--scenario", "city7-rotating", "--load", "0.8", "--speed", "30", "--seed", "7", "--json")
        with up(*options, "--duration", str(duration_s)) as system:
            system.works()
            until(lambda: system.finished() > 100, "a hundred requests finished", 30, system.alive)
            names = [_killed(system, kind) for kind in kinds]
            ended = system.wait(duration_s + 60)
            hold(ended.status == 0, f"exit status {ended.status}: {ended.err[-600:]}")
            requests = json.loads(ended.out)["requests"]
            total = sum(requests[key] for key in ("finished", "failed", "open", "lost"))
            hold(total == requests["arrived"], f"the four do not add up: {requests}")
            hold(requests["lost"] == 0, f"lost: {requests}")
            hold(may_fail or requests["failed"] == 0, f"failed without need: {requests}")
            hold(not (left := system.left()), f"left behind: {left}")
            counts = ", ".join(f"{key} {requests[key]}" for key in ("arrived", "failed", "open", "lost"))
            return f"{', '.join(names)}: {counts}"

    return case


CASES = (
    Case(
        "kill-control-side",
        "kill -9 of what decides, one process after the other, and of a node agent: flows on, all back, nothing lost",
        _kill(("planner", "slot-agent", "control", "mongod", "node-agent"), 90, may_fail=False),
    ),
    Case(
        "kill-data-path",
        "kill -9 of a gateway, then of a pod: flows on, both back, nothing lost but what they had in hand",
        _kill(("gateway", "pod"), 50, may_fail=True),
    ),
)
