"""`fairlead twin`: is the digital twin true."""

import dataclasses
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from fairlead_cli.shown import AsJson, echo_json, echo_table, examples

if TYPE_CHECKING:
    from fairlead.twin.truth import Checked

group = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


def register(app: typer.Typer) -> None:
    """Add the commands on the twin."""
    app.add_typer(group, name="twin", help="The digital twin: is it true.")


@group.command(
    "check",
    epilog=examples(
        "fairlead twin check",
        "fairlead twin check --requests 1000000",
        "fairlead twin check --json | jq '.items[] | {case, furthest_s, error_ratio}'",
    ),
)
def check(
    requests: Annotated[
        int, typer.Option("--requests", min=1000, help="Of each case; 10 000 000 for 1 % at load 0.9.")
    ] = 100_000,
    seed: Annotated[int, typer.Option("--seed", help="Of arrivals and work.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Compare the twin with queueing theory, and fail unless it is true.

    recursion: Lindley, Kiefer-Wolfowitz or attained time on the same sample, which is exact; furthest is the greatest
    difference of a single request. closed form: the mean in the long run, which a sample misses by its sampling
    error. little: how far Little's law is from holding on the path.
    """
    from fairlead.twin.truth import CASES, checked

    tell, over = progress("check")
    found = [checked(case, requests, seed, tell) for case in CASES]
    over()
    if as_json:
        echo_json({"items": [_document(one) for one in found], "ok": all(one.ok for one in found)})
    else:
        heads = ("case", "load", "closed form", "recursion", "twin", "furthest", "error", "sampling", "little", "")
        echo_table(heads, [_row(one) for one in found], empty="no case")
    raise typer.Exit(0 if all(one.ok for one in found) else 1)


def progress(what: str) -> tuple[Callable[[str, float], None], Callable[[], None]]:
    """Return how to say how far something is, and how to end that: one line, where a person looks."""
    if not sys.stderr.isatty():
        return (lambda name, share: None), (lambda: None)

    def tell(name: str, share: float) -> None:
        sys.stderr.write(f"\r\x1b[K{what}: {name} {share:4.0%}")
        sys.stderr.flush()

    def over() -> None:
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()

    return tell, over


def _document(one: "Checked") -> dict[str, object]:
    return {**dataclasses.asdict(one), "error_ratio": one.error_ratio, "ok": one.ok}


def _row(one: "Checked") -> tuple[str, ...]:
    return (
        one.case,
        f"{one.load:g}",
        "-" if one.closed_s is None else f"{one.closed_s:.4f} s",
        f"{one.recursion_s:.4f} s",
        f"{one.twin_s:.4f} s",
        f"{one.furthest_s:.1e} s",
        "-" if one.error_ratio is None else f"{one.error_ratio:+.2%}",
        f"±{one.sampling_s / one.twin_s:.2%}",
        f"{one.little_ratio:.0e}",
        "ok" if one.ok else "FAILED",
    )
