"""A dialogue with a language model, told for people: what was asked, what came back, what was judged."""

from typing import Any

import typer

from fairlead_cli.plans import tell_plan
from fairlead_cli.shown import indented, instant, plain


def tell(dialogue: dict[str, Any], *, reply: bool, prompt: bool) -> None:
    """Print a dialogue: a line for each question and answer, raw replies and whole prompts where asked for."""
    late = "" if dialogue["in_time"] else ", too late for what it was for"
    typer.echo(f"\ndialogue {dialogue['id']}: prompt {dialogue['prompt']}, mode {dialogue['mode']}{late}")
    settings, sampling = dialogue["settings"], dialogue["settings"]["sampling"]
    typer.echo(
        f"  {plain(settings['llm']) or 'language model'}, {settings['deadline_s']:.1f} s for all answers, "
        f"temperature {sampling['temperature']:g}, at most {sampling['reply_tokens']} tokens each"
    )
    for shown in dialogue["shown"]:
        typer.echo(f"  case {shown['alias']} is {shown['case']}, similarity {shown['similarity']:.2f}")
    if not dialogue["shown"]:
        typer.echo("  no remembered case was shown")
    for number, exchange in enumerate(dialogue["exchanges"], start=1):
        _question(number, exchange["ask"], prompt=prompt)
        _answer(number, exchange["answer"], reply=reply)
    for judgement in dialogue["judgements"]:
        _judged(judgement)
    if dialogue["unused"]:
        _unused(dialogue["unused"])
    approval = dialogue["approval"]
    if approval is not None:
        by = f" by {plain(approval['by'])}" if approval["by"] else ""
        typer.echo(f"  {approval['answer']}{by} at {instant(approval['at_s'])}")
    hints = [word for word, told in (("--reply", reply), ("--prompt", prompt)) if not told]
    if hints and dialogue["exchanges"]:
        typer.echo(f"  in full: {' and '.join(hints)}")


def _unused(proposal: dict[str, Any]) -> None:
    """Print what passed all gates and does not act."""
    typer.echo(f"  passed and does not act: {plain(proposal['why']) or '-'}")
    if "rows" in proposal:
        tell_rows(proposal["rows"])
    else:
        tell_plan(proposal)


def tell_rows(rows: list[dict[str, Any]]) -> None:
    """Print where requests go, zone by zone and model by model."""
    for row in rows:
        shares = ", ".join(f"{share['node']} {share['probability']:.2f}" for share in row["shares"])
        typer.echo(f"  {row['zone']} {row['model']}: {shares}")


def _judged(judgement: dict[str, Any]) -> None:
    """Print what the twin said: its verdict, and of each candidate what it gains over the fallback, the best first."""
    typer.echo(f"  judged {judgement['code']} {plain(judgement['text'])}".rstrip())
    if not judgement["twin"]:
        return
    ahead = f"{judgement['horizon_s']:.0f} s ahead, in {judgement['took_s']:.2f} s by {plain(judgement['twin'])}"
    typer.echo(f"    {ahead}; F is less where it is better, a gain positive")
    for trial in judgement["trials"]:
        mark = "*" if trial["name"] == judgement["chosen"] and judgement["code"] == "no-worse" else " "
        world = "if it comes true" if trial["believed"] else "as forecast"
        gain = f"{trial['gain']:+.4f} ({trial['low']:+.4f} to {trial['high']:+.4f})"
        latency = ""
        if trial["latency_s"] is not None and trial["fallback_latency_s"] is not None:
            latency = f", mean latency {trial['latency_s']:.1f} s for {trial['fallback_latency_s']:.1f} s"
        typer.echo(
            f"    {mark} {trial['name']} {world}: F {trial['objective']:.4f} for the fallback's "
            f"{trial['fallback']:.4f}, gain {gain} on {trial['scenarios']} demands{latency}"
        )


def tell_worth(worth: dict[str, Any]) -> None:
    """Print what a decision cost, what was expected of it and what came."""
    typer.echo("\nin hindsight")
    if worth["questions"]:
        typer.echo(
            f"  it cost {worth['prompt_tokens']} tokens in, {worth['reply_tokens']} out, money {worth['money']:.4f}, "
            f"{worth['seconds']:.2f} s of answers and {worth['judging_s']:.2f} s of judging"
        )
    if worth["chosen"] is not None:
        _acted(worth)
    tell_measured(worth["measured"], worth["predicted_s"])
    if worth["case"] is not None:
        typer.echo(f"  its epoch is case {worth['case']}: F {worth['realised']['objective']:.4f}")
        gain = worth["advantage"]
        words = "not known" if worth["source"] == "llm" else "nothing: it is the fallback's own"
        if gain is not None:
            had = "" if worth["source"] == "llm" else "the plan that did not act: "
            words = f"{had}{gain['value']:+.4f} ({gain['low']:+.4f} to {gain['high']:+.4f}) by {plain(gain['twin'])}"
        typer.echo(f"    worth over the fallback on the same demand: {words}")


def _acted(worth: dict[str, Any]) -> None:
    """Print what acted and what would have been next, each with its gain by the twin."""
    chosen, second = worth["chosen"], worth["runner_up"]
    acted = f"{chosen['name']} acted, gain {chosen['gain']:+.4f}" if worth["source"] == "llm" else "the fallback acted"
    told = "the fallback" if second is None else f"{second['name']}, gain {second['gain']:+.4f}"
    typer.echo(f"  {acted}; next best by the twin: {told}")


def tell_measured(came: dict[str, Any], predicted_s: float | None) -> None:
    """Print what became of the requests of a window, beside what was expected of them if anything was."""
    expected = "" if predicted_s is None else f", {predicted_s:.1f} s were expected"
    mean = "no request has ended" if came["latency_s"] is None else f"mean latency {came['latency_s']:.1f} s"
    so_far = "" if came["over"] else " so far"
    timely = f"; {came['timely']} of {came['judged']} timely" if came["judged"] else ""
    typer.echo(
        f"  from {instant(came['from_s'])} to {instant(came['until_s'])}{so_far}: {came['requests']} requests, "
        f"{mean}{expected}{timely}"
    )


def _question(number: int, ask: dict[str, Any], *, prompt: bool) -> None:
    chars = {name: len(ask[name]) for name in ("system", "user", "reply_schema")}
    typer.echo(
        f"  question {number} ({ask['turn']}, {ask['prompt']}): {chars['system']} characters that stay, "
        f"{chars['user']} that change, schema of {ask['reply']} {chars['reply_schema']}"
    )
    if prompt:
        for name in ("system", "user", "reply_schema"):
            typer.echo(f"    --- {name}\n{indented(ask[name])}")
        typer.echo("    ---")


def _answer(number: int, answer: dict[str, Any], *, reply: bool) -> None:
    model = f"{plain(answer['model']) or 'a model'} at {plain(answer['endpoint'])}" if answer["endpoint"] else "nobody"
    style = f" asked as {answer['style']}" if answer["style"] else ""
    attempts = f", {answer['attempts']} attempts" if answer["attempts"] > 1 else ""
    text = answer["text"]
    typer.echo(
        f"  answer {number}: {answer['code']} after {answer['took_s']:.2f} s from {model}{style}{attempts}; "
        f"tokens {answer['prompt_tokens']} in, {answer['reply_tokens']} out, money {answer['money']:.4f}; "
        + ("no reply" if text is None else f"{len(text)} characters")
    )
    if answer["detail"]:
        typer.echo(f"    {plain(answer['detail'])}")
    if reply and text is not None:
        typer.echo(f"    --- reply, as it came\n{indented(text)}\n    ---")
