"""In containers: up by one command, each container's process ended in turn under load, away without a trace."""

import json
import os
import signal
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fairlead.contracts.readings import Outcome
from fairlead_cli.settings import load
from testbed.client_log import ClientRecord, read_client_log
from testbed.client_stats import count, join, read_outcomes
from tests.acceptance.case import ROOT, Case, Skipped, hold
from tests.acceptance.containers import LOOK_S, Composed, Engine, built, composed, engine, service_of
from tests.acceptance.live import ask, until

TAG = "acceptance"
MOST_BYTES = {"core": 600_000_000, "edge": 320_000_000}
"""Of an image: measured 498 and 261 MB (2026-11), of which 141 MB are Debian's Python."""

FORBIDDEN = "pip pip3 gcc cc make"
"""What builds has no place in an image that runs."""

CORE = ("mongo", "control", "planner", "slot-agent")
EDGES = ("edge-1", "edge-2", "edge-3")
BACK_S = 60.0
"""Wall seconds within which a container whose process was ended must be healthy again."""

SITES = ("site-1", "site-2", "site-3")
"""In the order in which clients try them."""


@dataclass(frozen=True, slots=True)
class Kill:
    """A container whose process was ended."""

    service: str
    at_s: float
    """Domain instant."""
    back_s: float
    """Wall seconds until it was healthy and requests flowed."""

    @property
    def edge(self) -> str:
        """The number of its node and its site; empty where it is no edge."""
        return self.service.removeprefix("edge-") if self.service in EDGES else ""


def _up() -> str:
    with engine() as on:
        sizes = built(on, TAG)
        for kind, size in sizes.items():
            hold(size <= MOST_BYTES[kind], f"image {kind} has {size} bytes, {MOST_BYTES[kind]} are allowed")
            _check_image(on, f"fairlead-{kind}:{TAG}")
        with composed(on, TAG) as system:
            begun_s = time.monotonic()
            system.up()
            took_s = time.monotonic() - begun_s
            _answers_a_prompt(system)
            _check_confined(system)
            system.up("prometheus")
            _check_scraped(system)
            before = _newest(system)
            _check_stops(system)
            system.compose("down", "--timeout", "5")
            system.up()
            until(lambda: _newest(system) > before, f"decisions go on after {before}", 30, every_s=LOOK_S)
            system.compose("down", "--volumes", "--timeout", "5")
            hold(not (left := system.left()), f"left behind: {left}")
    mb = {kind: round(size / 1e6) for kind, size in sizes.items()}
    return f"images {mb} MB, healthy after {took_s:.0f} s, state outlives down, nothing left behind"


def _check_image(on: Engine, image: str) -> None:
    """Hold that an image runs as nobody in particular and holds nothing that builds."""
    words = f"id -u; command -v {FORBIDDEN} || true; python -c 'import pip' 2>&1 | tail -n 1"
    said = on.say("run", "--rm", "--read-only", "--network", "none", "--entrypoint", "sh", image, "-c", words)
    lines = said.split("\n")
    hold(lines[0] == "10001", f"{image} runs as user {lines[0]}")
    hold(lines[1] == "ModuleNotFoundError: No module named 'pip'", f"{image} holds what builds: {said}")


def _answers_a_prompt(system: Composed) -> None:
    """Return once each site has answered a prompt on its published port."""
    body = json.dumps({"model": "small-text", "messages": [{"role": "user", "content": "Where does the ferry go?"}]})
    sites = [f"{system.port(f'SITE_{at}_PORT')}/v1/chat/completions" for at in (1, 2, 3)]

    def answered() -> bool:
        return [ask("POST", url, body.encode(), {}, timeout_s=60).status for url in sites] == [200, 200, 200]

    until(answered, "each site answers a prompt", 120, every_s=LOOK_S)


def _check_confined(system: Composed) -> None:
    for one in system.states():
        host, name = one["HostConfig"], service_of(one)
        confined = host["ReadonlyRootfs"] and host["CapDrop"] == ["ALL"] and host["Memory"] > 0
        hold(bool(confined and one["Config"]["User"] not in ("", "0", "root")), f"{name} is not confined: {host}")


def _check_scraped(system: Composed) -> None:
    """Return once Prometheus has heard all processes and evaluates every rule."""

    def asked(path: str) -> Any:
        return ask("GET", f"{system.port('PROMETHEUS_PORT')}/api/v1/{path}", None, {}).json()["data"]

    def all_up() -> bool:
        values = [one["value"][1] for one in asked("query?query=up")["result"]]
        return values == ["1"] * 6

    until(all_up, "Prometheus scrapes all six", 60, every_s=LOOK_S)
    rules = [rule for group in asked("rules")["groups"] for rule in group["rules"]]
    hold(bool(rules) and all(rule["health"] != "err" for rule in rules), f"rules: {rules}")


def _check_stops(system: Composed) -> None:
    """Stop every container and hold that each ended in order, not by the engine's patience."""
    system.compose("stop", "--timeout", "30")
    codes = {service_of(one): one["State"]["ExitCode"] for one in system.states()}
    hold(set(codes.values()) == {0}, f"exit statuses after a stop: {codes}")


def _newest(system: Composed) -> int:
    """Return the number of the newest slot decision, asked by the command line inside a container."""
    command = ("exec", "-T", "control", "fairlead", "decisions", "list", "--limit", "20", "--json")
    items = json.loads(system.compose(*command))["items"]
    return max(int(one["id"].removeprefix("slot-")) for one in items if one["id"].startswith("slot-"))


def _kill() -> str:
    if os.geteuid() != 0:
        raise Skipped("a container's process can be ended from outside by root only: run this case as root")
    with engine() as on:
        built(on, TAG)
        with composed(on, TAG) as system, tempfile.TemporaryDirectory(prefix="fairlead-compose-") as folder:
            system.up()
            system.up("clients")
            until(lambda: _finished(system) > 30, "requests flow", 90, every_s=LOOK_S)
            kills = [_end(system, service) for service in (*CORE, *EDGES)]
            system.compose("stop", "--timeout", "30", "clients")
            return _accounted(system, Path(folder), kills)


def _finished(system: Composed) -> int:
    """Return how many requests the clients have seen finished."""
    last = system.compose("logs", "--no-color", "--tail", "1", "clients").rpartition('{"progress"')[2]
    return int(json.loads(f'{{"progress"{last}')["progress"]["finished"]) if last else 0


def _now_s() -> float:
    settings = load(ROOT / "deploy" / "compose" / "fairlead.yaml", {})
    return settings.clock_origin_s + (time.time() - settings.clock_origin_s) * settings.speed


def _end(system: Composed, service: str) -> Kill:
    """End a container's process from outside and return once it is back and requests flow.

    `docker kill` would count as the wish of an operator, after which no policy restarts.
    """
    before = system.state(service)
    os.kill(before["State"]["Pid"], signal.SIGKILL)
    at_s, begun_s, finished = _now_s(), time.monotonic(), _finished(system)
    restarts = before["RestartCount"]
    until(lambda: _finished(system) > finished + 5, f"requests flow on without {service}", BACK_S, every_s=LOOK_S)
    until(lambda: system.state(service)["RestartCount"] > restarts, f"{service} was restarted", BACK_S, every_s=LOOK_S)
    until(lambda: service not in system.unwell(), f"{service} is healthy again", BACK_S, every_s=LOOK_S)
    return Kill(service, at_s, time.monotonic() - begun_s)


def _accounted(system: Composed, folder: Path, kills: Sequence[Kill]) -> str:
    """Hold that every request has an end, and that each that failed was inside a gateway or a pod that was killed."""
    copies = {"clients": ("clients.jsonl", "clients.jsonl"), **{e: ("outcomes", f"outcomes-{e}") for e in EDGES}}
    for service, (source, target) in copies.items():
        name = system.state(service)["Id"]
        system.engine.say("cp", f"{name}:/var/lib/fairlead/{source}", str(folder / target))
    gathered = folder / "outcomes"
    gathered.mkdir()
    for file in folder.glob("outcomes-*/*.jsonl"):
        file.rename(gathered / file.name)
    records, outcomes = read_client_log(folder / "clients.jsonl"), read_outcomes(gathered)
    counts = count(join(records, outcomes))
    hold(counts.lost == 0, f"lost: {counts}")
    failed = [one for one in records if one.end == "failed"]
    unexplained = [one for one in failed if not any(_inside(one, outcomes.get(one.id), kill) for kill in kills)]
    hold(not unexplained, f"failed outside of what was killed: {unexplained[:3]}, {counts}")
    hold(counts.finished > 10 * max(1, counts.failed), f"hardly anything finished: {counts}")
    slowest = max(kills, key=lambda kill: kill.back_s)
    return (
        f"{len(kills)} containers ended, all back, {slowest.service} last after {slowest.back_s:.0f} s: "
        f"{counts.arrived} requests, "
        f"{counts.finished} finished, {counts.failed} failed inside a killed edge, {counts.open} open, 0 lost"
    )


def _inside(record: ClientRecord, outcome: Outcome | None, kill: Kill) -> bool:
    """Tell whether a request was at a gateway, or in a pod, of an edge at the instant that this was killed."""
    ended_s = record.ended_at_s
    if not kill.edge or ended_s is None or not record.sent_at_s <= kill.at_s <= ended_s:
        return False
    first = SITES.index(record.site)
    tried = {SITES[(first + at) % len(SITES)] for at in range(record.sends)}
    return f"site-{kill.edge}" in tried or (outcome is not None and outcome.node == f"node-{kill.edge}")


CASES = (
    Case("compose-up", "images, `docker-compose.yml` up, confined, scraped, down and up again, no trace left", _up),
    Case(
        "compose-kill",
        "each container's process ended in turn under load: nothing lost but inside a killed edge",
        _kill,
    ),
)
