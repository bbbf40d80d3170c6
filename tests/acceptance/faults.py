"""kill -9 of one process after the other while requests flow: the rest goes on, it comes back, nothing is lost.

Agents and pods are killed by the cases of `runtimes`, on both runtimes.
"""

import os
import signal

from testbed.client_stats import read_outcomes
from tests.acceptance.case import Case, hold
from tests.acceptance.live import Up, until, up
from tests.acceptance.on_runtime import CITY7, Kill, accounted, now_s, settings_of

BACK_S = 20.0
"""Wall seconds within which a killed process must be there again."""

DECIDING = ("planner", "slot-agent", "control", "mongod")
"""No request passes through them."""


def _killed(system: Up, kind: str) -> str:
    """Kill the first process of a kind, see requests flow on and it come back; return its name."""
    name = next(one for one in sorted(system.named()) if one.startswith(kind))
    pid = system.named()[name]
    os.kill(pid, signal.SIGKILL)
    at_kill = system.finished()
    until(lambda: system.finished() > at_kill + 30, f"requests went on flowing without {name}", 15, system.alive)
    until(lambda: system.named().get(name, pid) != pid, f"{name} was started again", BACK_S, system.alive)
    return name


def _kills() -> str:
    with up(*CITY7, "--load", "0.8", "--speed", "30", "--duration", "240") as system:
        system.works()
        until(lambda: system.finished() > 100, "a hundred requests finished", 30, system.alive)
        settings = settings_of(system)
        names = [_killed(system, kind) for kind in DECIDING]
        ended = read_outcomes(system.state / "outcomes").values()
        failed = [one for one in ended if one.status in ("failed", "refused")]
        hold(not failed, f"failed while only what decides was killed: {failed[:3]}")
        sites = {f"gateway-{site['node']}": site for site in system.call("GET", "sites").json()["items"]}
        at_s, name = now_s(settings), _killed(system, "gateway")
        kill = Kill(sites[name]["node"], None, at_s, site=sites[name]["id"])
        requests = accounted(system, system.end(limit_s=60.0), (kill,))["requests"]
        counts = ", ".join(f"{key} {requests[key]}" for key in ("arrived", "failed", "open", "lost"))
        return f"{', '.join((*names, name))}: {counts}"


CASES = (
    Case(
        "kill-processes",
        "kill -9 of what decides, then of a gateway: flows on, all back, nothing lost but what that had in hand",
        _kills,
    ),
)
