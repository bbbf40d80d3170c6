"""`fairlead estimates`: service times and failures by model and node, from what was recorded."""

import asyncio
import dataclasses
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fairlead_cli.episode_export import database_settings, exported
from fairlead_cli.shown import AsJson, echo_json, echo_table, examples

if TYPE_CHECKING:
    from fairlead.studies.estimates import Found
    from fairlead.studies.statistics import Interval


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        "estimates",
        epilog=examples(
            "fairlead estimates                              (of the `fairlead up` that runs)",
            "fairlead estimates --last 3600",
            "fairlead estimates run.jsonl.gz --json | jq '.items[] | select(.why == \"\")'",
        ),
    )(estimates)


def estimates(
    episode: Annotated[
        Path | None, typer.Argument(help="A recorded run; without: what the database has kept.", show_default=False)
    ] = None,
    last: Annotated[
        float | None,
        typer.Option("--last", min=1.0, help="Domain seconds up to the newest request.", show_default=False),
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", help="Settings that name the database.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print what requests take and how often they fail, by model and node, with 95 % intervals.

    service: from when its pod had a request to its last byte; alone: with the sharing of the node taken out; if all:
    had every request of the model gone there, weighted by how likely each was sent there, where that can be known.
    Waiting is not estimated so: it depends on where the others go. Compare policies with `fairlead replay`.
    """
    from fairlead.contracts.errors import InputError
    from fairlead.studies.estimates import estimates as estimated

    if episode is not None and last is not None:
        raise InputError("--last goes with a database; an EPISODE is taken whole")
    if episode is not None:
        found = estimated(episode)
    else:
        with tempfile.TemporaryDirectory(prefix="fairlead-estimates-") as folder:
            out = Path(folder) / "now.jsonl"
            asyncio.run(exported(database_settings(config), out, last, None, None))
            found = estimated(out)
    if as_json:
        echo_json({"items": [_document(one) for one in found]})
        return
    heads = ("model", "node", "requests", "service s", "alone s", "failed", "alone s if all", "failed if all", "")
    echo_table(heads, [_row(one) for one in found if one.requests], empty="no request has ended at a node")


def _document(one: "Found") -> dict[str, Any]:
    return dataclasses.asdict(one)


def _row(one: "Found") -> tuple[str, ...]:
    return (
        one.model,
        one.node,
        str(one.requests),
        _shown(one.service_s),
        _shown(one.alone_s),
        _shown(one.failed_ratio),
        _shown(one.all_alone_s),
        _shown(one.all_failed_ratio),
        one.why,
    )


def _shown(found: "Interval | None") -> str:
    return "-" if found is None else f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}]"
