"""Single processes of a cluster that is spread over machines: each command runs one until it is told to end."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fairlead_cli import keys
from fairlead_cli.llm_options import Chosen, Llm, LlmModel, with_llm
from fairlead_cli.shown import examples

if TYPE_CHECKING:
    import subprocess

    from fairlead.contracts.settings import Settings

Config = Annotated[
    Path | None, typer.Option("--config", help="Settings, YAML; ./fairlead.yaml if it is there.", show_default=False)
]
TokenFile = Annotated[
    Path | None,
    typer.Option(
        "--token-file", help="File that holds the bearer token, in place of FAIRLEAD_TOKEN.", show_default=False
    ),
]
KubernetesNode = Annotated[
    str | None,
    typer.Option("--kubernetes-node", help="In place of --node: what Kubernetes calls the node.", show_default=False),
]


def register(app: typer.Typer) -> None:
    """Add the commands that run one process."""
    panel = "Single processes"
    app.command(
        "control",
        rich_help_panel=panel,
        epilog=examples(
            "FAIRLEAD_MONGODB_URI=mongodb://db:27017 fairlead control",
            "fairlead control --config fairlead.yaml",
        ),
    )(control)
    app.command(
        "planner",
        rich_help_panel=panel,
        epilog=examples(
            "FAIRLEAD_MONGODB_URI=mongodb://db:27017 fairlead planner",
            "OPENAI_API_KEY=… fairlead planner --llm https://api.example.com/v1 --llm-model NAME",
            "fairlead planner --llm local",
        ),
    )(planner)
    app.command(
        "slot-agent",
        rich_help_panel=panel,
        epilog=examples(
            "FAIRLEAD_MONGODB_URI=mongodb://db:27017 fairlead slot-agent",
            "OPENAI_BASE_URL=http://127.0.0.1:11434/v1 fairlead slot-agent --llm-model NAME",
        ),
    )(slot_agent)
    app.command(
        "node-agent",
        rich_help_panel=panel,
        epilog=examples(
            "FAIRLEAD_CONTROL_URL=https://control:8700 FAIRLEAD_TOKEN=… fairlead node-agent --node node-1",
        ),
    )(node_agent)
    app.command(
        "gateway",
        rich_help_panel=panel,
        epilog=examples(
            "FAIRLEAD_CONTROL_URL=https://control:8700 FAIRLEAD_TOKEN=… fairlead gateway --node node-1 --site site-1",
        ),
    )(gateway)
    app.command(
        "kube-sync",
        rich_help_panel=panel,
        epilog=examples(
            "FAIRLEAD_MONGODB_URI=mongodb://db:27017 KUBECONFIG=admin.conf fairlead kube-sync",
        ),
    )(kube_sync)
    app.command(
        "edge",
        rich_help_panel=panel,
        epilog=examples(
            "FAIRLEAD_CONTROL_URL=https://control:8700 fairlead edge --node node-1 --site site-1 --keys /run/fairlead",
        ),
    )(edge)


def control(config: Config = None) -> None:
    """Run the control API, on the database of the settings."""
    settings = _with_database(_prepare(config, "control"))
    from control_api.service import serve

    _run(serve(settings))


def planner(config: Config = None, llm: Llm = None, llm_model: LlmModel = None) -> None:
    """Run the planner: a plan each epoch, a language model asked ahead of it if there is one."""
    asking = with_llm(_with_database(_prepare(config, "planner")), llm, llm_model, os.environ)
    from planner.service import serve

    _run_agent(asking, serve)


def slot_agent(config: Config = None, llm: Llm = None, llm_model: LlmModel = None) -> None:
    """Run the slot agent: a placement and a routing table each slot, and at once when a model is missed.

    A language model, if there is one, is asked beside it for each slot's routes.
    """
    asking = with_llm(_with_database(_prepare(config, "slot-agent")), llm, llm_model, os.environ)
    from slot_agent.service import serve

    _run_agent(asking, serve)


def kube_sync(config: Config = None) -> None:
    """Keep the store and Kubernetes together: declared models in, mirrors and routes of a gateway out."""
    settings = _with_database(_prepare(config, "kube-sync"))
    from kube_sync.service import serve

    _run(serve(settings))


def node_agent(
    node: Annotated[
        str | None, typer.Option("--node", help="Id of the node that this machine is.", show_default=False)
    ] = None,
    kubernetes_node: KubernetesNode = None,
    config: Config = None,
    token_file: TokenFile = None,
) -> None:
    """Run the agent of one node: starts, drains and stops its pods as the placement says."""
    if node is None and kubernetes_node is None:
        raise typer.BadParameter("a node agent needs --node or --kubernetes-node")
    settings = _prepare(config, f"node-agent-{node or kubernetes_node}")
    token = _token(settings, token_file)
    from node_agent.service import serve

    _run(serve(settings, node or node_called(settings, kubernetes_node or ""), token))


def gateway(
    node: Annotated[
        str | None, typer.Option("--node", help="Keep the queues of this node's pods.", show_default=False)
    ] = None,
    site: Annotated[
        str | None, typer.Option("--site", help="Take requests in at this site.", show_default=False)
    ] = None,
    kubernetes_node: KubernetesNode = None,
    config: Config = None,
    token_file: TokenFile = None,
) -> None:
    """Run a gateway: the keeper of a node, the ingress of a site, or both."""
    if node is None and site is None and kubernetes_node is None:
        raise typer.BadParameter("a gateway needs --node or --kubernetes-node, --site or both")
    settings = _prepare(config, f"gateway-{node or kubernetes_node or site}")
    token = _token(settings, token_file)
    from gateway.service import serve

    keeping = node if kubernetes_node is None else node or node_called(settings, kubernetes_node)
    _run(serve(settings, keeping, site, token))


def edge(
    node: Annotated[str, typer.Option("--node", help="Id of the node that this machine is.", show_default=False)],
    key_folder: Annotated[
        Path,
        typer.Option("--keys", help="Folder of keys, as `fairlead setup --edge-keys` writes it.", show_default=False),
    ],
    site: Annotated[
        str | None, typer.Option("--site", help="Take requests in at this site, too.", show_default=False)
    ] = None,
    emulated: Annotated[bool, typer.Option("--emulated", help="Fork emulated models, for a trial.")] = False,
    config: Config = None,
) -> None:
    """Run all of one edge node: its gateway and its node agent, each started again if it dies."""
    settings = _prepare(config, f"edge-{node}")
    from testbed.edge_machine import Machine, run

    agent, gate, keeper = (keys.read(key_folder / name, "--keys") for name in (keys.AGENT, keys.GATEWAY, keys.KEEPER))
    asyncio.run(run(settings, Machine(node, site, emulated, agent, gate, keeper)))


def node_called(settings: "Settings", name: str) -> str:
    """Return the id of the node that Kubernetes calls so: that name itself unless the settings' cluster says another.

    So all pods of a DaemonSet can have the same command.
    """
    from fairlead.contracts.cluster import Cluster

    nodes = settings.cluster.nodes if isinstance(settings.cluster, Cluster) else ()
    return next((one.id for one in nodes if one.kubernetes_node == name), name)


def _prepare(config: Path | None, process: str) -> "Settings":
    """Return the settings of a process, its log made ready.

    structlog imports rich, where it is installed, to draw tracebacks that no service prints: without it a process
    starts with 0.16 s less of CPU and 6 MB less of memory (2026-11).
    """
    sys.modules.setdefault("rich", None)  # type: ignore[arg-type]
    from fairlead.adapters.log import configure
    from fairlead_cli.settings import of_this_process

    settings = of_this_process(config)
    configure(settings.log_level, process)
    return settings


def _with_database(settings: "Settings") -> "Settings":
    from fairlead.contracts.errors import ConfigError

    if settings.mongodb.uri is None:
        raise ConfigError(
            "no database is set: give FAIRLEAD_MONGODB_URI or mongodb.uri, or run `fairlead up`, which brings one along"
        )
    return settings


def _token(settings: "Settings", file: Path | None) -> str:
    from fairlead.contracts.errors import ConfigError

    if file is not None:
        return keys.read(file, "--token-file")
    token = keys.bearer(os.environ)
    if not token and settings.control.auth:
        raise ConfigError("FAIRLEAD_TOKEN is not set: make a token with `fairlead token create` and hand it over")
    return token


def _run_agent(asking: Chosen, serve: Callable[["Settings"], Coroutine[Any, Any, None]]) -> None:
    """Run an agent, with a language model of its own as a child if it is to have one on this machine."""
    if not asking.local:
        _run(serve(asking.settings))
        return
    from testbed import local_llm
    from testbed.ports import Ports

    local_llm.require()
    ports = Ports()
    port = ports.take()
    settings = local_llm.asking(asking.settings, port)

    async def with_child(process: "subprocess.Popen[bytes]") -> None:
        await local_llm.answering(process, port)
        await serve(settings)

    try:
        with local_llm.child(port) as process:
            _run(with_child(process))
    finally:
        ports.release()


def _run(service: Coroutine[Any, Any, None]) -> None:
    """Run a service under uvloop until SIGTERM or SIGINT cancels it."""
    import uvloop

    async def until_told() -> None:
        task = asyncio.ensure_future(service)
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        try:
            await task
        except asyncio.CancelledError:
            if not task.cancelled():
                raise

    uvloop.run(until_told())
