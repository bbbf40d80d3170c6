"""Replies of agents by rule, as JSON values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fairlead.twin.voices.reading import Cell, PlannerPrompt

Reply = dict[str, Any]

MOVED = 0.1
"""Share of a row that a rule moves: inside the trust region (0.3) also after shares were rounded to 0.05."""

NEUTRAL = 2
"""The priority that tilts nothing (CONTROL §2 rule 4)."""


@dataclass(frozen=True, slots=True)
class Expectation:
    """Rates that a plan says will hold."""

    alias: str
    at_s: int | None
    """Seconds after the epoch's begin; None is now."""


def slot_reply(rows: Mapping[str, Mapping[str, float]], why: str) -> Reply:
    """Return a slot agent's reply."""
    return {"routes": {"*": {model: dict(row) for model, row in rows.items()}}, "hold": {}, "why": why}


def planner_reply(
    nodes: Sequence[Reply],
    models: Sequence[Reply],
    why: str,
    expected: Expectation | None = None,
    warm: Sequence[Reply] = (),
) -> Reply:
    """Return a planner's reply."""
    cites = expected is not None and expected.alias.startswith("c")
    return {
        "nodes": list(nodes),
        "models": list(models),
        "warm": list(warm),
        "rates_of": None if expected is None else expected.alias,
        "rates_at": "now" if expected is None or expected.at_s is None else expected.at_s,
        "confidence": NEUTRAL,
        "cases_cited": [expected.alias] if expected is not None and cites else [],
        "why": why,
    }


def wish(node: str, role: str, prefer: Sequence[str], avoid: Sequence[str], bias: int) -> Reply:
    """Return what a planner says of a node."""
    return {"node": node, "role": role, "prefer": list(prefer), "avoid": list(avoid), "bias": bias}


def neutral(prompt: PlannerPrompt, why: str, expected: Expectation | None = None) -> Reply:
    """Return a plan that tilts nothing, with the rates that are expected if any are."""
    nodes = [wish(one.node, "generalist", (), (), 0) for one in prompt.nodes]
    return planner_reply(nodes, [], why, expected)


def towards(cells: Sequence[Cell], to: str, away: str, share: float) -> dict[str, float]:
    """Return a row with up to `share` moved from one node to another."""
    row = {one.node: one.share for one in cells}
    moved = min(share, row[away]) if to != away else 0.0
    row[away] -= moved
    row[to] += moved
    return {node: round(value, 2) for node, value in row.items()}


def least_busy(cells: Sequence[Cell]) -> str:
    """Return the node where least work waits, one that is ready if any is."""
    return min(cells, key=lambda c: (not c.ready, c.work_s, c.node)).node


def most_busy(cells: Sequence[Cell]) -> str:
    """Return the node where most work waits; one that is not ready counts as busier."""
    return max(cells, key=lambda c: (not c.ready, c.work_s, c.node)).node
