"""The twin's process hung, killed and wrong while agents act: no slot is late. Agents killed: they go on."""

import json
import os
import signal
from collections.abc import Sequence
from typing import Any

import psutil

from tests.acceptance.agents import BACK_S, CITY7, QUICK, advices
from tests.acceptance.case import Case, hold
from tests.acceptance.live import Up, until, up
from tests.acceptance.scripted import compiled, report_of, said, scripted

AGENTS = ("planner", "slot-agent")
JUDGED = ("no-worse", "worse", "wrong")
"""What the twin's verdict is where it has played anything."""


def _twin() -> str:
    """Stop, release and kill the slot agent's twin, and let its predictions be wrong by any measure."""
    compiled()
    with scripted("good=1") as server:
        options = (*CITY7, "--llm", server.url, "--mode", "auto")
        with up(*options, FAIRLEAD_LLM__WATCHDOG__ERROR_RATIO="0.001", **QUICK) as system:
            system.works()
            _verdict(system, JUDGED, "the twin judges")
            child = _child(system)
            child.suspend()
            hung = _verdict(system, ("late",), "a twin that hangs is late")
            child.resume()
            _verdict(system, JUDGED, "the twin judges again")
            child.kill()
            killed = _verdict(system, ("absent",), "a twin that was killed is absent")
            _verdict(system, JUDGED, "another twin judges")
            wrong = _verdict(system, ("wrong",), "a twin that is wrong is not believed")
            report = report_of(system, None)
    return f"hung: {hung!r}; killed: {killed!r}; wrong: {wrong!r}; {report['slots']}; {said(report)}"


def _verdict(system: Up, codes: Sequence[str], what: str) -> str:
    """Return what the twin says of the first proposal from now on of which it says one of `codes`.

    The fallback has to act where it is none that lets a proposal pass.
    """
    seen = {one["id"] for one in advices(system)}

    def found() -> dict[str, Any]:
        new = (one for one in advices(system) if one["id"] not in seen)
        return next((one for one in new if any(_is(step, codes) for step in one["steps"])), {})

    line = until(found, what, BACK_S, system.alive)
    step = next(one for one in line["steps"] if _is(one, codes))
    hold(step["ok"] or line["source"] == "fallback", f"{line['id']} acts after {step}")
    return f"{step['code']} {step['text']}"


def _is(step: dict[str, Any], codes: Sequence[str]) -> bool:
    return step["name"] == "twin" and step["code"] in codes


def _child(system: Up) -> psutil.Process:
    """Return the process of the slot agent's twin."""
    children = psutil.Process(system.named()["slot-agent"]).children(recursive=True)
    return next(one for one in children if "fairlead.agents.twin_child" in one.cmdline())


def _kept() -> str:
    """Kill both agents amid a run: what their dialogues were worth is counted on from there."""
    compiled()
    with scripted("good=1") as server, up(*CITY7, "--llm", server.url, "--mode", "shadow", **QUICK) as system:
        system.works()
        before = [_held(system, name) for name in AGENTS]
        for name in AGENTS:
            os.kill(system.named()[name], signal.SIGKILL)
        after = [_goes_on(system, name, count) for name, count in zip(AGENTS, before, strict=True)]
        ended = system.end()
        hold(ended.status == 0, f"exit status {ended.status}: {ended.err[-600:]}")
        requests = json.loads(ended.out)["requests"]
        hold(requests["lost"] == 0 and requests["failed"] == 0, f"lost or failed: {requests}")
    return "; ".join(after)


def _held(system: Up, agent: str) -> int:
    """Return over how many dialogues an agent's worth is known, once it is."""
    return until(lambda: int(_status(system, agent)["worth"]["dialogues"]), f"{agent} was asked", BACK_S, system.alive)


def _goes_on(system: Up, agent: str, before: int) -> str:
    """Return how an agent's worth is known over more dialogues than before, of which its process held a part."""

    def more() -> str:
        status = _status(system, agent)
        known, own = int(status["worth"]["dialogues"]), int(status["dialogues"])
        goes_on = 0 < own < known and known > before
        return f"{agent}: {before} dialogues before, {known} since, {own} of them its own" if goes_on else ""

    return until(more, f"{agent} goes on after {before} dialogues", BACK_S, system.alive)


def _status(system: Up, agent: str) -> dict[str, Any]:
    items = system.call("GET", "agents").json()["items"]
    found: dict[str, Any] = next(one for one in items if one["agent"] == agent)["status"]
    if found is None:
        raise KeyError(f"{agent} has said nothing yet")
    return found


CASES = (
    Case("agents-twin", "the twin hung, killed and wrong: the fallback acts and says why, no slot late", _twin),
    Case("agents-kept", "kill -9 of both agents: what their dialogues were worth is counted on", _kept),
)
