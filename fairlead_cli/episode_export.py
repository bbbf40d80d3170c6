"""`fairlead episodes export`: a stretch of what a running system's database has kept becomes an episode."""

import asyncio
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fairlead_cli.shown import AsJson, echo_json, examples

if TYPE_CHECKING:
    from fairlead.contracts.settings import Settings
    from fairlead.studies.episodes.files import Episode

MARGIN_S = 1e-3
"""An episode ends at least so much after its last request, domain seconds."""

LEAD_SLOTS = 1
"""Slots before the first request from which decisions and reports are taken: what was in force when it came."""

EPILOG = examples(
    "fairlead episodes export --out now.jsonl.gz                     (of the `fairlead up` that runs)",
    "FAIRLEAD_MONGODB_URI=mongodb://db:27017/?replicaSet=rs0 fairlead episodes export --out day.jsonl.gz",
    "fairlead episodes export --last 3600 --out hour.jsonl.gz",
)


def export(
    out: Annotated[Path, typer.Option("--out", help="The episode; .gz packs it.", show_default=False)],
    last: Annotated[
        float | None,
        typer.Option("--last", min=1.0, help="Domain seconds up to the newest request.", show_default=False),
    ] = None,
    since: Annotated[
        float | None,
        typer.Option("--since", min=0.0, help="Domain instant, in place of --last; from then on.", show_default=False),
    ] = None,
    until: Annotated[
        float | None, typer.Option("--until", min=0.0, help="Domain instant; until before then.", show_default=False)
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", help="Settings that name the database.", show_default=False)
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over a file that is there.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write what the database has: requests that have ended, reports, choices with propensities, decisions.

    The database keeps readings for `mongodb.report_ttl_s`. It does not know a request's work, for which its model's
    mean stands; `fairlead up --record` has what the clients know, too.
    """
    from fairlead.contracts.errors import InputError

    if since is not None and last is not None:
        raise InputError("give --last or --since, not both")
    if out.exists() and (out.is_dir() or not force):
        raise InputError(f"--out {out} is there already: name another file, or write over it with --force")
    made = asyncio.run(exported(database_settings(config), out, last, since, until))
    counts = {one.kind: one.lines for one in made.end.counts}
    if as_json:
        echo_json({"path": str(out), "begins_at_s": made.header.begins_at_s, "counts": counts})
        return
    typer.echo(f"{out}: {made.header.window_end_s / 60:.1f} min: " + ", ".join(f"{n} {k}" for k, n in counts.items()))


async def exported(
    settings: "Settings", out: Path, last: float | None, since: float | None, until: float | None
) -> "Episode":
    """Write a stretch of a database as an episode and return it; raises `InputError` where there is none."""
    from importlib.metadata import version

    from fairlead.adapters.mongo_history import MongoHistory
    from fairlead.contracts.errors import InputError
    from fairlead.policy.measuring import Window
    from fairlead.studies.episodes.export import Run, export, recorded_in

    history = MongoHistory(settings.mongodb)
    try:
        arrivals = await history.arrivals()
        if arrivals is None:
            raise InputError("the database has no request that has ended: there is nothing to write")
        end_s = until if until is not None else arrivals[1] + MARGIN_S
        begin_s = since if since is not None else (arrivals[0] if last is None else max(arrivals[0], end_s - last))
        if not begin_s < end_s:
            raise InputError(
                f"nothing lies between {begin_s:.3f} and {end_s:.3f} s: the database has requests "
                f"from {arrivals[0]:.3f} to {arrivals[1]:.3f}"
            )
        lead_s = begin_s - LEAD_SLOTS * settings.controller.slot_s
        recorded, cluster = await recorded_in(history, 0.0, end_s, settings.speed, version("fairlead"))
        name = f"export-{time.strftime('%Y%m%d-%H%M%S', time.gmtime(begin_s))}"
        run = Run(name, cluster, recorded, Window(begin_s, end_s), max(0.0, lead_s), end_s)
        return await export(run, history, None, out)
    finally:
        await history.aclose()


def database_settings(config: Path | None) -> "Settings":
    """Return the settings that name the database: the user's own, else those of the one `fairlead up` that runs."""
    from fairlead.contracts.errors import ConfigError
    from fairlead_cli import pointer
    from fairlead_cli.settings import of_this_process

    settings = of_this_process(config)
    if settings.mongodb.uri is not None:
        return settings
    running = pointer.read(os.environ)
    if len(running) != 1:
        raise ConfigError(
            f"{len(running)} `fairlead up` of yours are running and no database is named: set FAIRLEAD_MONGODB_URI or "
            "mongodb.uri"
        )
    return of_this_process(Path(running[0].state_dir) / "settings.yaml")
