"""`fairlead agents`: what acts for planner and slot agent, and what their language model does and costs."""

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fairlead_cli.counsel import LlmSeconds, TwinMode, Wanted, counselled, local_model
from fairlead_cli.llm_options import LlmModel
from fairlead_cli.progress import bar
from fairlead_cli.shown import AsJson, echo_json, echo_table, examples, instant, plain

if TYPE_CHECKING:
    from fairlead.studies.cells import ScenarioAt
    from fairlead.twin.play import Game

STAND_IN = "stand-in"
"""The rule that answers in place of a language model, and is never counted as one."""

EvaluatedLlm = Annotated[
    list[str] | None,
    typer.Option(
        "--llm",
        metavar="SOURCE",
        help="Language model to ask: local (a small one on this machine), http(s)://HOST/v1, replay:FILE (recorded by "
        f"record:FILE beside another source), or a rule in its place: {STAND_IN}, scripted:good=0.8,bad=0.2.",
        show_default=False,
    ),
]

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
    language model since the agent's process began. twin: what judges proposals; worth: what those that pass would gain
    if they acted, or gain, a dialogue, with a suggestion where that is sure; watchdog: what followed acceptance.
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


@group.command(
    "evaluate",
    epilog=examples(
        "fairlead agents evaluate --llm stand-in --scenario catalogue-roomy-cycle --load 0.6 --seeds 3",
        "fairlead agents evaluate --llm scripted:good=0.8,bad=0.2 --scenario city7-rotating --seeds 2 --json",
        "fairlead agents evaluate --llm local --warm-up 300 --duration 600 --seeds 2 --json",
        "fairlead agents evaluate --llm http://127.0.0.1:8000/v1 --scenario city7-event --load 0.6 --seeds 10 --json",
    ),
)
def evaluate(
    scenario: Annotated[str, typer.Option("--scenario", help="One of `fairlead scenarios`.")] = "city7-rotating",
    load: Annotated[float, typer.Option("--load", min=0.01, help="Offered work / speed of all nodes.")] = 0.8,
    seeds: Annotated[int, typer.Option("--seeds", min=1, max=1000, help="Seeds 1 to this.")] = 3,
    duration: Annotated[
        float, typer.Option("--duration", min=60.0, help="Simulated seconds that are measured after the warm-up.")
    ] = 4800.0,
    warm_up: Annotated[
        float, typer.Option("--warm-up", min=0.0, help="Simulated seconds before that, in which agents are asked too.")
    ] = 1200.0,
    llm: EvaluatedLlm = None,
    llm_model: LlmModel = None,
    llm_seconds: LlmSeconds = None,
    mode: TwinMode = "auto",
    as_json: AsJson = False,
) -> None:
    """Ask a language model in the twin, and say what it is worth against the fallback and what it costs.

    Planner and slot agent ask it as they would live; the seconds that it takes pass on the virtual clock, those of a
    local one as it computes, whatever else this machine does; the gates and the twin judge what it says. Both play the
    same demand, seed by seed. gain: objective F of the fallback less that of the agents, above 0 they are better. A
    rule that stands in for a model (stand-in, scripted) counts for none.
    """
    from fairlead.studies.cells import ScenarioAt
    from fairlead.studies.evaluation import Named, document, evaluated

    source = ScenarioAt(scenario, load, warm_up, warm_up + duration)
    asked = ", ".join(one[:80] for one in llm or () if not one.startswith("record:")) or "as configured"
    waited = "after an update the twin's core is compiled first: a minute or two"
    with local_model(llm or ()) as local, bar("evaluate", waited) as tell:
        found = evaluated(
            source,
            range(1, seeds + 1),
            lambda seed: _playing(source, Wanted(llm or (), llm_model, llm_seconds, mode, seed, local)),
            Named(asked, mode, llm_seconds),
            lambda seed, share: tell(round(100 * (seed - 1 + share)), 100 * seeds),
        )
    told = document(found)
    if as_json:
        echo_json(told)
    else:
        echo_table(("what", "value"), _evaluation(told), empty="nothing")


def _playing(source: "ScenarioAt", wanted: Wanted) -> "AbstractContextManager[Game]":
    """Give the game of a seed, with the language model that the options name, or the rule in its place."""
    from fairlead.contracts.errors import ConfigError
    from fairlead.studies.evaluation import asking, standing_in

    if STAND_IN not in wanted.llm:
        return asking(source, wanted.seed, counselled(wanted))
    if len(wanted.llm) > 1 or wanted.model is not None or wanted.mode != "auto":
        raise ConfigError(f"--llm {STAND_IN} stands alone: leave out other --llm, --llm-model, --mode")
    return standing_in(source, wanted.seed, wanted.seconds)


def _evaluation(told: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the rows of an evaluation."""
    shares = (("malformed", "malformed_ratio"), ("unanswered", "unanswered_ratio"), ("fallback", "fallback_ratio"))
    return [
        ("asked", f"{told['llm']}, mode {told['mode']}, {told['scenario']} at {told['load']:g}"),
        ("gain in F", _interval(told["gain"], 4)),
        ("F, of the fallback's", _interval(told["ratio"]["objective"], 3)),
        ("mean latency, of the fallback's", _interval(told["ratio"]["mean"], 3)),
        *((name, "-" if told[key] is None else f"{told[key]:.1%}") for name, key in shares),
        ("dialogues, questions", f"{told['dialogues']}, {told['questions']}"),
        ("tokens, money, seconds", f"{told['tokens']}, {told['money']:.4f}, {told['took_s']:.0f}"),
    ]


def _interval(one: dict[str, float | None] | None, digits: int) -> str:
    if one is None:
        return "-"
    if one["low"] is None or one["high"] is None:
        return f"{one['value']:.{digits}f} (one seed)"
    return f"{one['value']:.{digits}f} [{one['low']:.{digits}f}, {one['high']:.{digits}f}]"


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
    if said["gate"] is not None:
        _twin(said["gate"])
    if said["worth"] is not None:
        _worth(said["worth"], one["agent"])
    if said["watchdog"] is not None:
        _watchdog(said["watchdog"])


def _twin(gate: dict[str, Any]) -> None:
    """Print how the twin is, what its judgements were, and how far its predictions were off."""
    state = gate["state"] if gate["state"] == "ready" else f"{gate['state']}: {plain(gate['text'])}"
    size = f", {gate['memory_bytes'] / 1e6:.0f} MB" if gate["memory_bytes"] else ""
    judged = gate["no_worse"] + gate["worse"] + gate["unjudged"]
    told = f", {gate['seconds'] / judged:.2f} s each" if judged else ""
    typer.echo(f"  twin: {state}{', ' + plain(gate['twin']) if gate['twin'] else ''}{size}")
    typer.echo(f"    {gate['no_worse']} no worse, {gate['worse']} worse, {gate['unjudged']} not judged{told}")
    if gate["error"] is not None:
        typer.echo(f"    its predictions of the mean latency were off by {gate['error']:.0%} on average")


def _worth(worth: dict[str, Any], agent: str) -> None:
    """Print what proposals would gain or gain, what that costs, and what it suggests."""
    between = f" ({worth['low']:+.4f} to {worth['high']:+.4f})" if worth["low"] is not None else ""
    typer.echo(
        f"  worth: gain {worth['gain']:+.4f} of F a dialogue{between} by the twin, over {worth['dialogues']}; "
        f"{worth['tokens']:.0f} tokens, money {worth['money']:.4f} each"
    )
    command = {"promote": f": fairlead mode {agent} auto", "demote": f": fairlead mode {agent} shadow"}
    if worth["text"]:
        typer.echo(f"    {plain(worth['text'])}{command.get(worth['advice'], '')}")


def _watchdog(watchdog: dict[str, Any]) -> None:
    """Print what was out of bounds after a proposal was accepted."""
    if not watchdog["trips"]:
        return
    until = f"nothing acts until {instant(watchdog['until_s'])}" if watchdog["holds"] else "over"
    typer.echo(f"  watchdog: {watchdog['trips']} times out of bounds, {until}; last {plain(watchdog['text'])}")


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
