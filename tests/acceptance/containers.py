"""A container engine for the cases that need one, and `docker-compose.yml` brought up on it under a name of its own.

An engine that answers is used as it is. Where none does, the scripts in the folder that DOCKER_LAB names, without it in
../shared/lab/docker, are asked to start one with stand-ins for what a registry would give; it is ended afterwards.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.acceptance.case import ROOT, Broken, Skipped
from tests.acceptance.live import free_port, until

LAB = Path(os.environ.get("DOCKER_LAB") or ROOT.parent / "shared" / "lab" / "docker")
DAEMON = Path("/var/run/docker.pid")
PORTS = ("CONTROL_PORT", "SITE_1_PORT", "SITE_2_PORT", "SITE_3_PORT", "PROMETHEUS_PORT", "GRAFANA_PORT")
"""Variables of the compose file."""
LOAD = "0.8"
"""Of the clients: CONTROL §5's second lightest, so that something is in flight wherever a process is ended."""
PROFILES = ("--profile", "load", "--profile", "metrics")
LABEL = "label=com.docker.compose.project"
LOOK_S = 0.5
"""Wall seconds between looks by way of the client, which takes a tenth of that of a processor's time."""
STEP_S = 900.0
"""Wall seconds for one command: a first build fetches some 400 MB."""


@dataclass(frozen=True, slots=True)
class Engine:
    """Clients of an engine that answers."""

    docker: str
    compose: tuple[str, ...]

    def say(self, *arguments: str) -> str:
        """Return what the client prints; raises `Broken`."""
        return _run((self.docker, *arguments))

    def inspect(self, *ids: str) -> list[dict[str, Any]]:
        """Return the documents of containers or images."""
        found: list[dict[str, Any]] = json.loads(self.say("inspect", *ids)) if ids else []
        return found


@contextlib.contextmanager
def engine() -> Iterator[Engine]:
    """Give an engine while the context lasts; raises `Skipped` where there is none to be had."""
    started = not _answers(_client())
    if started and not (LAB / "up.sh").is_file():
        raise Skipped(f"no container engine answers, and no scripts that start one are in {LAB}: start one")
    if started and os.geteuid() != 0:
        raise Skipped(f"no container engine answers, and only root can start one by {LAB}: start one")
    try:
        if started:
            _run((str(LAB / "up.sh"), *(() if _has_plugin() else ("--compose-v1",))))
        docker = _client()
        if (LAB / "images.sh").is_file() and not _run((docker, "images", "-q", "mongo:7")).strip():
            _run((str(LAB / "images.sh"), "--prometheus", _prometheus_tag()))
        yield Engine(docker, _composer(docker))
    finally:
        if started and DAEMON.is_file():
            daemon = int(DAEMON.read_text("ascii"))
            os.kill(daemon, signal.SIGTERM)
            until(lambda: not Path(f"/proc/{daemon}").exists(), "the engine ends", 60)


def _client() -> str:
    """Return the client: Debian's beside its engine where that is installed, else the one on PATH."""
    return next((one for one in ("/usr/bin/docker",) if Path(one).is_file()), shutil.which("docker") or "docker")


def _answers(docker: str) -> bool:
    try:
        return subprocess.run([docker, "info"], capture_output=True, timeout=20, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def _has_plugin() -> bool:
    """Tell whether Compose 2 is there, or was built before: building it takes minutes."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return any((cache / "docker-lab").glob("compose-*/docker-compose"))


def _prometheus_tag() -> str:
    image: str = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))["services"]["prometheus"]["image"]
    return image.rpartition(":")[2]


def _composer(docker: str) -> tuple[str, ...]:
    """Return the command of Compose 2 or 1; raises `Skipped`."""
    if subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode == 0:
        return (docker, "compose")
    first = shutil.which("docker-compose")
    if first is None:
        raise Skipped("a container engine answers, and there is no compose: install docker-compose or the plugin")
    return (first,)


def _run(command: Sequence[str], environ: Mapping[str, str] | None = None) -> str:
    """Return what a command prints; raises `Broken` with the end of what it said."""
    whole = {**os.environ, "DOCKER_BUILDKIT": "1", "COMPOSE_DOCKER_CLI_BUILD": "1", **(environ or {})}
    whole["PATH"] = f"/usr/bin:{whole['PATH']}"  # compose 1 builds and runs by the first client on PATH
    done = subprocess.run(command, cwd=ROOT, env=whole, capture_output=True, text=True, timeout=STEP_S, check=False)
    if done.returncode != 0:
        raise Broken(f"{' '.join(command)} ended with {done.returncode}: {(done.stderr or done.stdout)[-800:]}")
    return done.stdout


@dataclass(frozen=True, slots=True)
class Composed:
    """One project of the compose file."""

    engine: Engine
    name: str
    environ: dict[str, str]
    mounted: set[str] = field(default_factory=set)
    """Volumes that its containers have had, named or not."""

    def compose(self, *arguments: str) -> str:
        """Run compose on this project."""
        return _run((*self.engine.compose, "--project-name", self.name, *PROFILES, *arguments), self.environ)

    def up(self, *services: str) -> None:
        """Bring services up, all without a profile if none is named, and return once all are healthy."""
        profiles = PROFILES if services else ()
        _run((*self.engine.compose, "--project-name", self.name, *profiles, "up", "--detach", *services), self.environ)
        until(lambda: not self.unwell(), "every container is healthy", 180, every_s=LOOK_S)
        for one in self.states():
            self.mounted.update(mount["Name"] for mount in one["Mounts"] if mount["Type"] == "volume")

    def states(self, *services: str) -> list[dict[str, Any]]:
        """Return the documents of the containers, of some services alone if they are named."""
        found = self.engine.inspect(*self._ids("ps", "--all", "--quiet", "--no-trunc"))
        return [one for one in found if not services or service_of(one) in services]

    def state(self, service: str) -> dict[str, Any]:
        """Return the document of a service's container."""
        return self.states(service)[0]

    def unwell(self) -> list[str]:
        """Return which services do not run, or do not say that they are healthy, where they should."""
        return [service_of(one) for one in self.states() if not _well(one)]

    def port(self, variable: str) -> str:
        """Return the address of a published port."""
        return f"http://127.0.0.1:{self.environ[variable]}"

    def left(self) -> list[str]:
        """Return what there is of the project: containers, volumes, networks."""
        volumes = set(self.engine.say("volume", "ls", "--quiet").split()) & self.mounted
        found = (*self._ids("ps", "-aq"), *self._ids("volume", "ls", "-q"), *self._ids("network", "ls", "-q"), *volumes)
        return sorted(set(found))

    def _ids(self, *words: str) -> list[str]:
        return self.engine.say(*words, "--filter", f"{LABEL}={self.name}").split()


def service_of(container: Mapping[str, Any]) -> str:
    """Return the service that a container is of."""
    return str(container["Config"]["Labels"]["com.docker.compose.service"])


def _well(container: Mapping[str, Any]) -> bool:
    """Tell whether a container is healthy: without a check it must run, the one that sets things up must have ended."""
    state = container["State"]
    if service_of(container) == "setup":
        return bool(state["Status"] == "exited" and state["ExitCode"] == 0)
    return bool(state["Running"] and state.get("Health", {"Status": "healthy"})["Status"] == "healthy")


@contextlib.contextmanager
def composed(on: Engine, tag: str) -> Iterator[Composed]:
    """Give a project of its own on free ports, with images of a tag; whatever it started is away at the end."""
    name = f"fairlead-{uuid.uuid4().hex[:8]}"
    one = Composed(on, name, {"FAIRLEAD_TAG": tag, "LOAD": LOAD} | {variable: str(free_port()) for variable in PORTS})
    try:
        yield one
    except Broken as error:
        with contextlib.suppress(Broken):
            raise Broken(f"{error}; unwell: {one.unwell()}; {one.compose('logs', '--tail', '5')[-1500:]}") from error
        raise
    finally:
        with contextlib.suppress(Broken):
            one.compose("down", "--volumes", "--timeout", "3")


def built(on: Engine, tag: str) -> dict[str, int]:
    """Return the bytes of the images `core` and `edge`, built as `make images` does."""
    _run(("make", "--no-print-directory", "images", f"DOCKER={on.docker}", f"TAG={tag}"))
    return {kind: int(on.inspect(f"fairlead-{kind}:{tag}")[0]["Size"]) for kind in ("core", "edge")}
