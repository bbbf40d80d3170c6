"""A slot told for people: who decided in it, what was asked and judged, what it cost, what came."""

from typing import Any

import typer

from fairlead_cli.dialogues import tell, tell_measured, tell_worth
from fairlead_cli.explained import explain, tell_head, tell_troubles
from fairlead_cli.shown import echo_table, instant


def tell_slot(account: dict[str, Any], records: list[dict[str, Any]], *, reply: bool, prompt: bool) -> None:
    """Print a slot; `records` are the slot's own decision and those that a language model was asked for."""
    typer.echo(f"slot {account['slot']}, from {instant(account['begins_at_s'])} to {instant(account['ends_at_s'])}")
    typer.echo(f"  {_plan(account)}")
    seconds, money = account["seconds"], account["money"]
    typer.echo(
        f"  dialogues with a language model: {len(account['dialogues'])}, {account['prompt_tokens']} tokens in, "
        f"{account['reply_tokens']} out, money {money:.4f}, {seconds:.2f} s of answers and judging"
    )
    tell_measured(account["measured"], None)
    typer.echo("")
    echo_table(
        ("decision", "made at", "kind", "source", "asks", "placement", "table"),
        [
            (
                one["id"],
                instant(one["made_at_s"]),
                one["kind"],
                one["source"],
                str(one["asks"] or "-"),
                str(one["placement"] or "-"),
                str(one["table"] or "-"),
            )
            for one in account["decisions"]
        ],
        empty="nothing was decided",
    )
    worths = {one["id"]: one for one in account["dialogues"]}
    for record in records:
        typer.echo("")
        tell_head(record)
        tell_troubles(record["input"])
        if record["dialogue"]:
            tell(record["dialogue"], reply=reply, prompt=prompt)
            tell_worth(worths[record["id"]])
        explain(record["output"])


def _plan(account: dict[str, Any]) -> str:
    if not account["plan"]:
        return "under no plan"
    made_by = account["plan_decision"]
    how = f": fairlead decisions show {made_by}" if made_by else ""
    return f"under plan {account['plan']}, source {account['plan_source']}{how}"
