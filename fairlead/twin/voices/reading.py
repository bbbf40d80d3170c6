"""What a rendered prompt shows, found in its words as a model has to find it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

AWAKE_FROM = 5
"""Where in a node's line the models that are awake begin: behind GB, free GB, speed, up, work."""

_LINE = re.compile(r"^([nm]\d{2,4})((?: x\d+)?) (.*)$")

_NUMBER = r"-?\d+(?:\.\d+)?"

_TOLD = re.compile(
    rf"^(?P<alias>[or]\d) (?:now(?: since (?P<since>{_NUMBER}))?|at (?P<at>{_NUMBER}) \([^)]*\), "
    rf"kept (?P<kept>\d+), missed (?P<missed>\d+)|from (?P<begin>{_NUMBER}) to (?P<end>{_NUMBER}))"
    r"(?:,|:) rates (?P<rates>[^:\n]*)",
    re.MULTILINE,
)
"""A regime of the forecast, or a note of an operator."""

_CASE = re.compile(r"^(c\d): (.*)\nrates (.*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Cell:
    """A node in the row of a model."""

    node: str
    share: float
    work_s: float
    ready: bool


@dataclass(frozen=True, slots=True)
class SlotPrompt:
    """What a slot agent's prompt shows."""

    rows: tuple[tuple[str, tuple[Cell, ...]], ...]
    """By model, those that are asked for."""


@dataclass(frozen=True, slots=True)
class NodeLine:
    """A node, or a group, of a planner's prompt."""

    node: str
    gb: float
    awake: tuple[str, ...]
    speed: float = 1.0


@dataclass(frozen=True, slots=True)
class Told:
    """Rates that a prompt names: of a regime, of a note, of a case."""

    alias: str
    rates: tuple[tuple[str, float], ...]
    """Requests a minute by model; others have none."""
    at_s: float | None = None
    """When they begin to hold, seconds after the epoch's begin; None where that is not said."""
    now: bool = False
    """Of the regime that is now."""
    kept: int = 0
    missed: int = 0
    """How often such a change came, and did not."""
    bad: bool = False
    """Of a case that went badly."""


@dataclass(frozen=True, slots=True)
class PlannerPrompt:
    """What a planner's prompt shows."""

    nodes: tuple[NodeLine, ...]
    models: tuple[tuple[str, float], ...]
    """With their GB."""
    grouped: bool
    per_minute: tuple[tuple[str, float], ...] = ()
    """Requests of each model, as learned."""
    told: tuple[Told, ...] = ()
    """Regimes and notes, in their order, then cases."""
    begins_s: float = 0.0
    """Until the epoch begins."""
    lasts_s: float = 300.0


class Unreadable(Exception):
    """A prompt in which the tables are not found."""


def read(user: str) -> SlotPrompt | PlannerPrompt:
    """Return what the changing part of a prompt shows; raises `Unreadable` where it is none of ours."""
    wanted = re.search(r"^Answer: (.*)$", user, re.MULTILINE)
    models, nodes = _table(user, "Models: "), _table(user, "Nodes: ")
    if not models or not nodes:
        raise Unreadable("the prompt has no tables of models and nodes")
    if wanted is not None:
        named = set(wanted[1].split())
        rows = ((alias, tuple(_cells(rest.partition(": ")[2]))) for alias, _, rest in models if alias in named)
        return SlotPrompt(tuple((alias, cells) for alias, cells in rows if cells))
    times = re.search(rf"The epoch begins in ({_NUMBER}) s and lasts ({_NUMBER}) s\.", user)
    return PlannerPrompt(
        nodes=tuple(
            NodeLine(alias, float(rest.split()[0]), _awake(rest), _figure(rest.split()[2])) for alias, _, rest in nodes
        ),
        models=tuple((alias, float(rest.split()[0])) for alias, _, rest in models),
        grouped=any(many for _, many, _ in (*models, *nodes)),
        per_minute=tuple((alias, _figure(rest.split()[3])) for alias, _, rest in models if len(rest.split()) > 3),
        told=(*_told(user), *_cases(user)),
        begins_s=0.0 if times is None else float(times[1]),
        lasts_s=300.0 if times is None else float(times[2]),
    )


def _told(user: str) -> Iterator[Told]:
    for found in _TOLD.finditer(user):
        since, at, begin = found["since"], found["at"], found["begin"]
        when = next((float(one) for one in (at, begin, since) if one is not None), None)
        yield Told(
            alias=found["alias"],
            rates=_rates(found["rates"]),
            at_s=when,
            now=at is None and begin is None,
            kept=int(found["kept"] or 0),
            missed=int(found["missed"] or 0),
        )


def _cases(user: str) -> Iterator[Told]:
    for found in _CASE.finditer(user):
        yield Told(found[1], _rates(found[3]), bad=found[2].startswith("bad"))


def _rates(text: str) -> tuple[tuple[str, float], ...]:
    """Return rates such as `m01 3.1 m05 0.4`."""
    words = text.split()
    return tuple((a, float(b)) for a, b in zip(words[::2], words[1::2], strict=False) if a[0] == "m")


def _figure(word: str) -> float:
    """Return a number of a table; what is not known is taken for none."""
    return 0.0 if word == "-" else float(word)


def _table(user: str, head: str) -> list[tuple[str, str, str]]:
    """Return the lines below a heading: alias, ` xN` of a group, and the rest."""
    found = re.search(rf"^{head}.*$", user, re.MULTILINE)
    if found is None:
        return []
    lines = []
    for line in user[found.end() + 1 :].splitlines():
        row = _LINE.match(line)
        if row is None:
            break
        lines.append((row[1], row[2], row[3]))
    return lines


def _cells(text: str) -> Iterator[Cell]:
    """Yield the nodes of a row such as `n01 0.4 12 3, n02 0.6 +12`."""
    for part in text.split(", "):
        words = part.split()
        if len(words) >= 2:
            figures = [float(one) for one in words[1:] if not one.startswith("+")]
            work_s = figures[1] if len(figures) > 1 else 0.0
            yield Cell(words[0], figures[0], work_s, len(figures) == len(words) - 1)


def _awake(rest: str) -> tuple[str, ...]:
    return tuple(one.rstrip("+").partition(":")[0] for one in rest.split()[AWAKE_FROM:])
