"""`fairlead episodes`: stretches of demand as files: made from real traces or from a run, listed and looked at."""

import dataclasses
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fairlead_cli import episode_export
from fairlead_cli.shown import AsJson, echo_json, echo_table, examples, instant, plain

if TYPE_CHECKING:
    from fairlead.studies.episodes.imports import Source
    from fairlead.studies.episodes.looks import Look

LOAD = 0.8
"""Of an import: busy, and the controller still has room (CONTROL §5)."""

PLOT_ROWS = 18
"""Lines of the plot of `show`: with the words above it still on a small terminal."""

group = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
group.command("export", epilog=episode_export.EPILOG)(episode_export.export)


def register(app: typer.Typer) -> None:
    """Add the commands on episodes."""
    app.add_typer(group, name="episodes", help="Stretches of demand as files: import, export, list, show.")


@group.command(
    "import",
    epilog=examples(
        "fairlead episodes import azure AzureLLMInferenceTrace_conv.csv --model small-text",
        "fairlead episodes import servegen language-m-large.tar.gz --load 0.6 --from 86400 --clients 5",
        "fairlead episodes import gentd26 traces/alibaba-gentd26 --out images.jsonl.gz",
        "fairlead episodes import mooncake conversation_trace.jsonl --model large-text --work sizes",
        "fairlead episodes import csv my-demand.csv                 (at_s,model,… as it is)",
        "fairlead episodes import azure conv.csv --model small-text --with servegen=traces/servegen \\",
        "    --with gentd26=traces/alibaba-gentd26 --load 0.8 --seed 7 --out city.jsonl.gz",
    ),
)
def import_(
    kind: Annotated[str, typer.Argument(help="azure, servegen, gentd26, mooncake or csv.", show_default=False)],
    path: Annotated[Path, typer.Argument(help="Its file, or the directory of its data set.", show_default=False)],
    out: Annotated[
        Path | None,
        typer.Option("--out", help="The episode; KIND-SEED.jsonl.gz in this directory without.", show_default=False),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option("--model", help="That it feeds; those it suits without. May be given again.", show_default=False),
    ] = None,
    also: Annotated[
        list[str] | None,
        typer.Option(
            "--with",
            metavar="KIND[:MODEL,…]=PATH",
            help="Another trace in the same demand. May be given again.",
            show_default=False,
        ),
    ] = None,
    cluster: Annotated[str, typer.Option("--cluster", help="Whose models are asked.")] = "city7",
    load: Annotated[
        float | None,
        typer.Option(
            "--load", help=f"Offered work / speed of all nodes; {LOAD:g} by default.", min=0.001, show_default=False
        ),
    ] = None,
    begin: Annotated[float, typer.Option("--from", min=0.0, help="Where in the traces to begin, seconds.")] = 0.0,
    duration: Annotated[float, typer.Option("--duration", min=1.0, help="Seconds, the warm-up in it.")] = 6000.0,
    warm_up: Annotated[float, typer.Option("--warm-up", min=0.0, help="Seconds that are not measured.")] = 1200.0,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the sample and of sites.")] = 0,
    work: Annotated[
        str, typer.Option("--work", help="mean: the model's own; sizes: in proportion to each request's in its trace.")
    ] = "mean",
    clients: Annotated[
        int | None,
        typer.Option("--clients", min=1, help="ServeGen: so many clients at random; all without.", show_default=False),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over a file that is there.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make an episode of real traces; nothing is written where a line of them is wrong.

    Rows are kept with a fixed probability each, from the seed, so that the work that they ask for is the load; a trace
    with too few rows is laid over itself, stretch after stretch; time is never compressed. The factors are printed, and
    recorded in the episode. A csv file with a column `model` is taken as it is.
    """
    from fairlead.contracts.errors import InputError
    from fairlead.studies.episodes import imports, own
    from fairlead.studies.episodes.looks import look
    from fairlead.twin.clusters import cluster as named
    from fairlead.twin.clusters import default_ports

    if work not in ("mean", "sizes"):
        raise InputError(f"--work {work!r} is neither mean nor sizes")
    first = _source(kind, ",".join(model or ()), path)
    sources = (first, *(_also(one) for one in also or ()))
    whole = len(sources) == 1 and first.kind == "csv" and own.names_models(path)
    if whole and (load is not None or model):
        raise InputError(f"{path} names models and is taken as it is: leave --load and --model out")
    target = _target(out or Path(f"{kind}-{seed}.jsonl.gz"), force=force)
    wish = imports.Wish(
        name=_name(target),
        cluster=named(cluster, default_ports(cluster)),
        sources=sources,
        load=LOAD if load is None else load,
        warm_up_s=warm_up,
        run_s=duration,
        from_s=begin,
        seed=seed,
        sized=work == "sizes",
        clients=clients,
    )
    made = imports.import_whole(wish, target) if whole else imports.import_episode(wish, target)
    _tell(look(made.path), as_json=as_json)


@group.command(
    "list",
    epilog=examples(
        "fairlead episodes list",
        "fairlead episodes list ~/episodes --json",
    ),
)
def list_(
    places: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[FILE|DIR]…", help="This directory without.", show_default=False),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List episodes, each read through: one that was cut off or changed is named with what is wrong."""
    from fairlead.studies.episodes.looks import listed

    found = [one for place in places or [Path()] for one in listed(place)]
    if as_json:
        items = [
            {"path": str(one.path), "wrong": one.wrong or None, **(_facts(one.episode) if one.episode else {})}
            for one in found
        ]
        echo_json({"items": items})
        return
    rows = [
        (str(one.path), *_cells(_facts(one.episode))) if one.episode else (str(one.path), plain(one.wrong))
        for one in found
    ]
    width = 6
    padded = [(*row, *[""] * (width - len(row))) for row in rows]
    echo_table(("file", "name", "minutes", "requests", "decisions", "from"), padded, empty="no episodes here")


@group.command(
    "show",
    epilog=examples(
        "fairlead episodes show city.jsonl.gz",
        "fairlead episodes show run.jsonl.gz --json",
    ),
)
def show(
    path: Annotated[Path, typer.Argument(metavar="EPISODE", help="A file.", show_default=False)],
    as_json: AsJson = False,
) -> None:
    """Show what an episode has: demand by model, sources with their factors, the run it was recorded from, a plot."""
    from fairlead.studies.episodes.looks import drawn, look

    seen = look(path)
    _tell(seen, as_json=as_json)
    if not as_json and seen.demand:
        typer.echo("\n" + drawn(path, min(shutil.get_terminal_size().columns, 100), PLOT_ROWS))


def _source(kind: str, models: str, path: Path) -> "Source":
    from fairlead.contracts.errors import InputError
    from fairlead.studies.episodes.imports import KINDS, Source

    for one in KINDS:
        if one == kind:
            return Source(one, path, tuple(name for name in models.split(",") if name))
    raise InputError(f"trace kind {plain(kind)[:40]!r} is none of {', '.join(KINDS)}")


def _also(text: str) -> "Source":
    from fairlead.contracts.errors import InputError

    head, equals, path = text.partition("=")
    if not equals or not path:
        raise InputError(f"--with {plain(text)[:80]!r} is not of the form KIND=PATH or KIND:MODEL,MODEL=PATH")
    kind, _, models = head.partition(":")
    return _source(kind, models, Path(path))


def _target(out: Path, *, force: bool) -> Path:
    """Return where to write; raises `InputError` where that must not or cannot be."""
    from fairlead.contracts.errors import InputError

    if out.exists() and (out.is_dir() or not force):
        raise InputError(f"--out {out} is there already: name another file, or write over it with --force")
    return out


def _name(path: Path) -> str:
    """Return the name of an episode that is written to a file: the file's, as far as a name may be so."""
    stem = path.name.removesuffix(".gz").removesuffix(".jsonl").lower()
    return (
        "".join(c if (c.isascii() and c.isalnum()) or c in ".-" else "-" for c in stem).strip(".-")[:128] or "episode"
    )


def _facts(episode: Any) -> dict[str, Any]:
    header = episode.header
    return {
        "name": header.name,
        "begins_at_s": header.begins_at_s,
        "window_s": [header.window_start_s, header.window_end_s],
        "nodes": len(header.cluster.nodes),
        "seed": header.seed,
        "counts": {one.kind: one.lines for one in episode.end.counts},
        "sources": [one.to_document() for one in header.sources],
        "recorded": header.recorded.to_document() if header.recorded else None,
        "sha256": episode.end.sha256,
    }


def _cells(facts: dict[str, Any]) -> tuple[str, ...]:
    traces = dict.fromkeys(one["trace"] for one in facts["sources"])
    recorded = facts["recorded"]
    origin = f"run of {recorded['policy']}, {instant(facts['begins_at_s'])}" if recorded else ", ".join(traces)
    counts = facts["counts"]
    minutes = f"{facts['window_s'][1] / 60:.0f}"
    return facts["name"], minutes, str(counts.get("request", 0)), str(counts.get("decision", 0)), origin or "a table"


def _tell(seen: "Look", *, as_json: bool) -> None:
    """Print what an episode has."""
    facts = _facts(seen.episode)
    demand = [dataclasses.asdict(one) for one in seen.demand]
    if as_json:
        echo_json({"path": str(seen.episode.path), "load": seen.load, **facts, "demand": demand})
        return
    start_s, end_s = facts["window_s"]
    typer.echo(
        f"{seen.episode.path}: {facts['name']}, {end_s / 60:.1f} min of which {start_s / 60:.1f} are warm-up, "
        f"{facts['nodes']} nodes, load {seen.load:.3f} in the window, seed {facts['seed']}"
    )
    typer.echo("lines: " + ", ".join(f"{count} {kind}" for kind, count in facts["counts"].items()))
    if facts["recorded"]:
        run = facts["recorded"]
        load = "-" if run["load"] is None else f"{run['load']:g}"
        typer.echo(
            f"recorded: {run['policy']}, seed {run['seed']}, speed {run['speed']:g}, scenario {run['scenario'] or '-'} "
            f"at load {load}, from {instant(facts['begins_at_s'])} of simulated time on"
        )
    for one in facts["sources"]:
        chosen = f", {len(one['clients'])} clients" if one["clients"] else ""
        typer.echo(
            f"source: {one['trace']} {one['file']} for {one['model']}: {one['trace_per_s']:.3g} rows/s over "
            f"{one['layers']} stretches from {one['from_s']:g} s{chosen}, each kept with probability "
            f"{one['kept_ratio']:.4g}"
        )
    hours = (end_s - start_s) / 3600.0
    rows = [
        (one["model"], one["requests"], f"{one['requests'] / hours:.1f}", f"{one['work_s'] / one['requests']:.2f} s")
        for one in demand
    ]
    echo_table(("model", "requests", "an hour", "mean work"), rows, empty="no requests in the window")
