"""A dialogue with a language model, told for people: what was asked, what came back, what was judged."""

from typing import Any

import typer

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
    for number, exchange in enumerate(dialogue["exchanges"], start=1):
        _question(number, exchange["ask"], prompt=prompt)
        _answer(number, exchange["answer"], reply=reply)
    for judgement in dialogue["judgements"]:
        typer.echo(f"  judged {judgement['code']} {plain(judgement['text'])}".rstrip())
    approval = dialogue["approval"]
    if approval is not None:
        by = f" by {plain(approval['by'])}" if approval["by"] else ""
        typer.echo(f"  {approval['answer']}{by} at {instant(approval['at_s'])}")
    hints = [word for word, told in (("--reply", reply), ("--prompt", prompt)) if not told]
    if hints and dialogue["exchanges"]:
        typer.echo(f"  in full: {' and '.join(hints)}")


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
