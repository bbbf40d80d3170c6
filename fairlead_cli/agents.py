"""`fairlead agents`: what acts for planner and slot agent, and what their language model does and costs."""

from typing import Any

import typer

from fairlead_cli.shown import AsJson, echo_json, echo_table, examples, instant, plain

group = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


def register(app: typer.Typer) -> None:
    """Add the commands on agents."""
    app.add_typer(group, name="agents", help="Who acts, language model or fallback, why, and what it costs.")


@group.command(
    "status",
    epilog=examples(
        "fairlead agents status",
        "fairlead agents status --json | jq '.items[] | {agent, acting, why}'",
    ),
)
def status(as_json: AsJson = False) -> None:
    """Show for each agent: mode, who acts and why, its language model, what that was asked, and the budget left.

    asked: questions, repairs too; accepted: dialogues whose proposal passed all gates, as a share of those held;
    fallback: the share that ended on the fallback, in mode shadow all of them. Seconds and tokens are those of the
    language model since the agent's process began.
    """
    from fairlead_cli.client import locate

    found = locate().get("agents").json()
    if as_json:
        echo_json(found)
        return
    echo_table(
        ("agent", "mode", "acting", "asked", "accepted", "fallback", "seconds", "tokens in", "out", "money", "last"),
        [_row(one) for one in found["items"]],
        empty="no agent",
    )
    for one in found["items"]:
        typer.echo("")
        _explain(one)
    typer.echo("")
    _budget(found["budget"])


def _row(one: dict[str, Any]) -> tuple[str, ...]:
    said = one["status"]
    if said is None:
        return (one["agent"], one["mode"], one["acting"], *("-",) * 8)
    return (
        one["agent"],
        one["mode"],
        one["acting"],
        str(said["asks"]),
        _share(said["accepted"], said["dialogues"]),
        _share(said["fallbacks"], said["dialogues"]),
        f"{said['seconds']:.1f}",
        str(said["prompt_tokens"]),
        str(said["reply_tokens"]),
        f"{said['money']:.4f}",
        instant(said["at_s"]),
    )


def _share(part: int, whole: int) -> str:
    return f"{part} of {whole}, {part / whole:.0%}" if whole else "-"


def _explain(one: dict[str, Any]) -> None:
    """Print why what acts does, and how the agent sees its endpoints."""
    typer.echo(f"{one['agent']}: {_acting(one)}")
    if one["mode_at_s"]:
        typer.echo(f"  mode {one['mode']} since {instant(one['mode_at_s'])} by {plain(one['mode_by'])}")
    said = one["status"]
    if said is None:
        return
    if said["llm"] and not said["endpoints"]:
        typer.echo(f"  language model: {plain(said['llm'])}")
    for endpoint in said["endpoints"]:
        style = f"asked as {endpoint['style']}" if endpoint["style"] else "not probed yet"
        last = f", last answer {endpoint['last_code']}" if endpoint["last_code"] else ", not asked yet"
        typer.echo(
            f"  {plain(endpoint['url'])}  model {plain(endpoint['model']) or '-'}, {style}, "
            f"breaker {endpoint['breaker']}{last}"
        )


def _acting(one: dict[str, Any]) -> str:
    if one["acting"] == "llm":
        return "the language model acts"
    return f"the fallback acts: {plain(one['why'])}" if one["why"] else "the fallback acts"


def _budget(budget: dict[str, Any]) -> None:
    """Print what is left, of each limit that is set."""
    limits, spent, left = budget["limits"], budget["spent"], budget["left"]
    told = []
    for what, span in (("tokens", "hour"), ("tokens", "day"), ("money", "hour"), ("money", "day")):
        limit = limits[f"{what}_per_{span}"]
        if limit is None:
            continue
        used, rest = (_amount(what, one[f"{what}_{span}"]) for one in (spent, left))
        told.append(f"  {what}, last {span}: {used} of {_amount(what, limit)} spent or reserved, {rest} left")
    if told:
        typer.echo("budget of all agents together, wall time")
        typer.echo("\n".join(told))
    else:
        typer.echo(
            f"no budget is set; spent in the last hour {spent['tokens_hour']} tokens, "
            f"in the last day {spent['tokens_day']}"
        )


def _amount(what: str, value: float) -> str:
    return str(value) if what == "tokens" else f"{value:.4f}"
