"""Names that commands take, and the nearest one to a name that is none of them."""

import difflib
from collections.abc import Iterable

import typer

AGENTS = ("planner", "slot-agent")


def near(word: str, known: Iterable[str]) -> str:
    """Return the words that name the nearest of `known`; empty where none is near."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f": did you mean {close[0]!r}?" if close else ""


def an_agent(name: str | None) -> None:
    """Raise a usage error unless `name` is an agent's, or None."""
    if name is not None and name not in AGENTS:
        raise typer.BadParameter(f"agent {name!r} is none of {', '.join(AGENTS)}{near(name, AGENTS)}")
