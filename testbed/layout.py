"""Where everything of a local cluster lies: directory, ports, settings file, and the programs that make it up."""

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

import yaml

from fairlead.adapters import mongod
from fairlead.contracts.cluster import Cluster
from fairlead.contracts.dialogue import AgentName, ModeName
from fairlead.contracts.errors import ConfigError, foreign
from fairlead.contracts.settings import Settings
from fairlead.studies.searched import searched_placement
from fairlead.twin import clusters
from fairlead.twin.scenarios import Scenario
from testbed import local_llm
from testbed.played_cluster import contained
from testbed.ports import Ports
from testbed.supervise import Program

CONTROL_PORT = 8700
"""Of the control API when it is free; the sites' gateways come next."""

SOCKET_PATH_MOST = 100
"""Longest path of a unix socket that is surely allowed: `sun_path` has 108 bytes (unix(7))."""


@dataclass(frozen=True, slots=True)
class Order:
    """What `fairlead up` was asked for."""

    settings: Settings
    scenario: Scenario
    load: float
    duration_s: float | None
    """Wall seconds of demand; None until told to end."""
    trace: tuple[str, Path] | None
    directory: Path | None
    """Where state is kept; None for a temporary place that is removed."""
    port: int | None
    """Of the control API, if it must be this one."""
    local_llm: bool
    """Whether planner and slot agent ask a language model that is started here."""
    mode: ModeName | None
    """Of both agents from the start; None leaves what the database has."""
    record: Path | None
    """File that the run is written to as an episode; None writes none."""


@dataclass(frozen=True, slots=True)
class Layout:
    """A local cluster on disk and on ports, before anything runs."""

    order: Order
    settings: Settings
    """Complete: what the settings file says that every process reads."""
    cluster: Cluster
    directory: Path
    scratch: tuple[Path, ...]
    """Temporary directories, to be removed at the end."""
    run: str
    """Names the run: the mark of its processes, the beginning of its requests' ids."""
    mongod_port: int | None
    """None where a database of the user's is used."""
    llm_port: int | None
    """Of the language model that is started here; None where none is."""
    ports: Ports
    """All that are claimed for it."""

    @property
    def file(self) -> Path:
        """The settings file of all processes."""
        return self.directory / "settings.yaml"

    @property
    def key_variables(self) -> tuple[str, ...]:
        """Names of the environment variables that hold the keys of language models."""
        return tuple(one.key_variable for one in self.settings.llm.endpoints if one.key_variable is not None)

    @property
    def client_log(self) -> Path:
        """Where the load generator writes what became of each request."""
        return self.directory / "client" / f"{self.run}.jsonl"

    def write(self) -> None:
        """Write the settings file, and the placement of a policy that is given one.

        What processes of an earlier run have kept of its cluster goes: it had other ports.
        """
        for cache in self.directory.glob("*/cluster.json"):
            cache.unlink()
        text = yaml.safe_dump(self.settings.to_document(), sort_keys=False, allow_unicode=True)
        self.file.write_text(text, encoding="utf-8")
        static = self.directory / "static.json"
        static.unlink(missing_ok=True)
        if self.settings.policy == "sed-static":
            searched = searched_placement(self.order.scenario.cluster, self.order.scenario.name)
            placement = [one.to_document() for one in searched]
            static.write_text(json.dumps(placement, indent=1), encoding="utf-8")

    def remove(self) -> None:
        """Remove what is temporary and give the ports back."""
        self.ports.release()
        for folder in self.scratch:
            shutil.rmtree(folder, ignore_errors=True)


def lay_out(order: Order, now_s: float) -> Layout:
    """Choose directory and ports for an order; `now_s` is the Unix time at which the domain's clock starts.

    Raises `ConfigError` where a port or a directory that was asked for cannot be had.
    """
    _check_policy(order)
    ports = Ports()
    try:
        return _laid_out(order, now_s, ports)
    except BaseException:
        ports.release()
        raise


def _laid_out(order: Order, now_s: float, ports: Ports) -> Layout:
    control = _control_port(order, ports)
    shape = _cluster(order, ports)
    if order.settings.node_agent.runtime == "kubernetes":
        shape = contained(shape)
    run = f"run-{round(now_s)}-{os.getpid()}"
    directory = order.directory or Path(tempfile.mkdtemp(prefix="fairlead-"))
    scratch: tuple[Path, ...] = (directory,) if order.directory is None else ()
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--state-dir {directory} cannot be made: {foreign(error)}") from error
    socket = directory / "warm-parent.sock"
    if len(str(socket)) > SOCKET_PATH_MOST:
        short = Path(tempfile.mkdtemp(prefix="fairlead-", dir="/tmp"))
        scratch += (short,)
        socket = short / "warm-parent.sock"
    port = ports.take() if order.settings.mongodb.uri is None else None
    given = order.settings
    uri = given.mongodb.uri if port is None else mongod.uri_of(port)
    settings = given.model_copy(
        update={
            "state_dir": str(directory),
            "cluster": shape,
            "clock_origin_s": now_s,
            "control": given.control.model_copy(update={"port": control, "url": f"http://127.0.0.1:{control}"}),
            "mongodb": given.mongodb.model_copy(update={"uri": uri}),
            "node_agent": given.node_agent.model_copy(update={"warm_parent": str(socket)}),
            # requests have had their grace before gateways are told to stop
            "gateway": given.gateway.model_copy(update={"drain_s": 0.0}),
        }
    )
    if given.node_agent.runtime == "kubernetes":
        kubernetes = given.kubernetes.model_copy(update={"namespace": f"played-{run}"})
        settings = settings.model_copy(update={"kubernetes": kubernetes})
    llm_port = ports.take(local_llm.PORT) if order.local_llm else None
    if llm_port is not None:
        settings = local_llm.asking(settings, llm_port)
    return Layout(order, settings, shape, directory, scratch, run, port, llm_port, ports)


def _control_port(order: Order, ports: Ports) -> int:
    if order.port is None:
        return ports.take(CONTROL_PORT)
    if not ports.claim(order.port):
        raise ConfigError(
            f"port {order.port} of the control API is in use: free it, or leave out --port for another one"
        )
    return order.port


def _cluster(order: Order, ports: Ports) -> Cluster:
    """Return the user's own cluster, whose ports must be free, or the scenario's on ports that are."""
    own = order.settings.cluster
    if isinstance(own, Cluster):
        if not (own.nodes and own.models and own.sites):
            raise ConfigError("the cluster of the settings needs at least one node, one model and one site to run")
        for url in (*(n.keeper_url for n in own.nodes), *(s.url for s in own.sites)):
            _take_own(url, ports)
        return own
    name = order.scenario.cluster
    ids = clusters.listeners(clusters.cluster(name, lambda _: 1))
    sites = {site.id for site in clusters.cluster(name, lambda _: 1).sites}
    first = iter(range(CONTROL_PORT + 1, CONTROL_PORT + 1 + len(sites)))
    chosen = {one: ports.take(next(first) if one in sites else None) for one in sorted(ids)}
    return clusters.cluster(name, chosen)


def _take_own(url: str, ports: Ports) -> None:
    parts = urlsplit(url)
    if parts.hostname not in ("127.0.0.1", "localhost") or parts.port is None:
        raise ConfigError(f"{url} is not on this machine: `fairlead up` runs all nodes here, on http://127.0.0.1:PORT")
    if not ports.claim(parts.port):
        raise ConfigError(f"port {parts.port} of {url} is in use: give the node or site another one")


def _check_policy(order: Order) -> None:
    if order.settings.policy != "sed-static":
        return
    if isinstance(order.settings.cluster, Cluster) or not searched_placement(order.scenario.cluster):
        raise ConfigError(
            f"policy sed-static needs a searched placement, and there is none for scenario {order.scenario.name}: "
            "take a scenario of city7, or another policy"
        )


@dataclass(frozen=True, slots=True)
class Keys:
    """What only some of the processes of a run may know."""

    tokens: dict[str, str]
    """Bearer tokens by role."""
    keeper: str
    """Shared by keepers and those who call them."""
    llm: dict[str, str]
    """Environment variables of those who ask a language model."""


def surroundings(layout: Layout) -> tuple[Program, ...]:
    """Return what must answer before any process of ours starts: database and language model, where they are ours."""
    programs = []
    if layout.mongod_port is not None:
        programs.append(Program("mongod", tuple(mongod.command(layout.directory, layout.mongod_port))))
    if layout.llm_port is not None:
        programs.append(Program("llm", local_llm.command(layout.llm_port)))
    return tuple(programs)


class Programs:
    """The programs of a layout, but for what surrounds them."""

    def __init__(self, layout: Layout, keys: Keys) -> None:
        self._layout = layout
        self._keys = keys

    @property
    def admin_token(self) -> str:
        """What commands of the same user show to the control API."""
        return self._keys.tokens["admin"]

    def core(self) -> tuple[Program, ...]:
        """Return control API and planner."""
        return (self._ours("control", "control", "admin"), self._agent("planner"))

    def slot_agent(self) -> Program:
        """Return the slot agent: its first placement is for the nodes that have reported when it starts."""
        return self._agent("slot-agent")

    def edge(self) -> tuple[Program, ...]:
        """Return warm parent, kubelets where they are played, gateways and node agents."""
        layout = self._layout
        socket = layout.settings.node_agent.warm_parent
        assert socket is not None
        module = (sys.executable, "-m", "testbed.warm_parent", "--socket", socket, "--config", str(layout.file))
        emulated = any(m.launch is not None and m.launch.launcher == "warm-parent" for m in layout.cluster.models)
        played = (sys.executable, "-m", "testbed.played_cluster", "--config", str(layout.file))
        return (
            *((Program("warm-parent", module),) if emulated else ()),
            *((Program("kubelets", played),) if layout.settings.node_agent.runtime == "kubernetes" else ()),
            *self._gateways(),
            *(
                self._ours(f"node-agent-{node.id}", "node-agent", "agent", "--node", node.id)
                for node in layout.cluster.nodes
            ),
        )

    def load_generator(self, stdin: int, grace_s: float) -> Program:
        """Return the clients; they wait on `stdin` for the domain instant to begin at, and end by themselves."""
        layout, order = self._layout, self._layout.order
        argv = [sys.executable, "-m", "testbed.load_generator", "--config", str(layout.file)]
        argv += ["--scenario", order.scenario.name, "--load", repr(order.load), "--seed", str(layout.settings.seed)]
        argv += ["--log", str(layout.client_log), "--run", layout.run]
        argv += ["--start-at", "-", "--grace", repr(grace_s)]
        if order.duration_s is not None:
            argv += ["--duration", repr(order.duration_s)]
        if order.trace is not None:
            argv += ["--trace", str(order.trace[1])]
        return Program("load-generator", tuple(argv), restart=False, stdin=stdin)

    def _gateways(self) -> tuple[Program, ...]:
        """Return one gateway per node, ingress of the site beside it too, and one for each site without a node."""
        beside = {site.node: site.id for site in reversed(self._layout.cluster.sites) if site.node is not None}
        programs = []
        for node in self._layout.cluster.nodes:
            site = ("--site", beside[node.id]) if node.id in beside else ()
            programs.append(self._ours(f"gateway-{node.id}", "gateway", "gateway", "--node", node.id, *site))
        alone = [site.id for site in self._layout.cluster.sites if site.id not in beside.values()]
        programs += [self._ours(f"gateway-{site}", "gateway", "gateway", "--site", site) for site in alone]
        return tuple(programs)

    def _agent(self, name: AgentName) -> Program:
        return replace(self._ours(name, name, "admin"), environ=self._keys.llm)

    def _ours(self, name: str, command: str, role: str, *options: str) -> Program:
        argv = (sys.executable, "-m", "fairlead_cli", command, "--config", str(self._layout.file), *options)
        environ = {"FAIRLEAD_TOKEN": self._keys.tokens[role], "FAIRLEAD_KEEPER_TOKEN": self._keys.keeper}
        return Program(name, argv, environ if role in ("agent", "gateway") else {})


Tell = Callable[[str], None]
"""Takes a line for the person who looks on."""
