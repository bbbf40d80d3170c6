"""What agents by rule say: one that uses what it is told, and those that do harm in all ways that the gates leave.

None is a language model, and none is ever counted as one. They read nothing but the prompt.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from fairlead.twin.voices.reading import Cell, PlannerPrompt, SlotPrompt, Told
from fairlead.twin.voices.replying import (
    MOVED,
    Expectation,
    Reply,
    least_busy,
    most_busy,
    neutral,
    planner_reply,
    slot_reply,
    towards,
    wish,
)

NEW_S = 90.0
"""A regime that began so long ago is still news: a minute late hardly anything of it is left (CONTROL §2), the rest is
the time to notice and to answer."""

CLOSED_MOST = 0.3
"""Share of the memory that may be closed, as the prompt says."""

AVOIDED_MOST, WARM_MOST = 3, 8
"""What the vocabulary has room for (CONTROL §3)."""

UNKNOWN = "nothing is known that the counters do not show"

STEPS = 20
"""Steps of a probability: 0.05."""


def expectation(prompt: PlannerPrompt) -> Told | None:
    """Return whose rates begin to hold within the epoch: a note's, the coming regime's, or one's that just began."""
    notes = [one for one in prompt.told if one.alias[0] == "o" and one.rates and _begins(one, prompt)]
    coming = [
        one
        for one in prompt.told
        if one.alias[0] == "r" and not one.now and one.kept > one.missed and _begins(one, prompt)
    ]
    earliest = -prompt.begins_s - NEW_S
    began = [one for one in prompt.told if one.now and one.at_s is not None and one.at_s >= earliest]
    found = (*notes, *coming, *began)
    return found[0] if found else None


def stand_in(prompt: PlannerPrompt) -> Reply:
    """Return a plan that tells what will be, and leaves the rest to the controller."""
    found = expectation(prompt)
    if found is None:
        return neutral(prompt, UNKNOWN)
    at_s = None if found.now or found.at_s is None else max(0, round(found.at_s))
    return neutral(prompt, f"{found.alias} is expected", Expectation(found.alias, at_s))


def mistaken(prompt: PlannerPrompt) -> Reply:
    """Return what the stand-in says when it says something, of another regime: what comes in place of what began."""
    found = expectation(prompt)
    if found is None or not found.now:
        return stand_in(prompt)  # who gave it its timetable has seen to that
    others = [one for one in prompt.told if one.alias[0] == "r" and not one.now]
    return neutral(prompt, "another is expected", Expectation(others[0].alias, None) if others else None)


def believing(prompt: PlannerPrompt) -> Reply:
    """Return a plan that takes the first case for what comes, whatever it is."""
    cases = [one for one in prompt.told if one.alias[0] == "c"]
    if not cases:
        return stand_in(prompt)
    return neutral(prompt, f"as in {cases[0].alias}", Expectation(cases[0].alias, None))


def steady(prompt: SlotPrompt) -> Reply:
    """Return the fallback's rows, each with a tenth moved to where least work waits."""
    rows = {model: towards(cells, least_busy(cells), most_busy(cells), MOVED) for model, cells in prompt.rows}
    return slot_reply(rows, "a tenth moved to where least work waits")


def hostile_rows(prompt: SlotPrompt) -> Reply:
    """Return rows with as much as is trusted moved to where most work waits."""
    rows = {model: towards(cells, most_busy(cells), least_busy(cells), 2 * MOVED) for model, cells in prompt.rows}
    return slot_reply(rows, "more to where most work waits")


def hostile_plan(prompt: PlannerPrompt) -> Reply:
    """Return a valid plan as bad as the vocabulary allows.

    The fastest nodes are drained as far as may be, all that is awake is avoided, who is asked for most matters least,
    who is asked for least is warmed on the fastest nodes, and the rates that are furthest from now are expected.
    """
    closed = _fastest(prompt)
    nodes = [
        wish(one.node, "drain" if one.node in closed else "specialist", (), one.awake[:AVOIDED_MOST], 4)
        for one in prompt.nodes
    ]
    ranked = [model for model, _ in sorted(prompt.per_minute, key=lambda one: (-one[1], one[0]))]
    half = len(ranked) // 2
    models = [_said(model, 0, "silent") for model in ranked[:half]]
    models += [_said(model, 4, "surging") for model in ranked[half:]]
    gb = dict(prompt.models)
    open_nodes = sorted((n for n in prompt.nodes if n.node not in closed), key=lambda n: (-n.speed, n.node))
    pairs = [(m, n.node) for n in open_nodes for m in reversed(ranked) if gb[m] <= n.gb and m not in n.awake]
    warm = [{"model": m, "node": n, "at": "now"} for m, n in pairs[:WARM_MOST]]
    return planner_reply(nodes, models, "all that is awake is avoided", _furthest(prompt), warm)


def random_rows(prompt: SlotPrompt, chance: np.random.Generator) -> Reply:
    """Return rows drawn at random, some of which are trusted."""
    rows = {}
    for model, cells in prompt.rows:
        steps = chance.multinomial(STEPS, np.full(len(cells), 1.0 / len(cells)))
        rows[model] = {cell.node: int(step) / STEPS for cell, step in zip(cells, steps, strict=True)}
    return slot_reply(rows, "a throw of dice")


def random_plan(prompt: PlannerPrompt, chance: np.random.Generator) -> Reply:
    """Return any words of the vocabulary that make a plan; nothing is preferred, for then much would be invalid."""
    models, words = [model for model, _ in prompt.models], ("silent", "falling", "same", "rising", "surging")
    nodes = []
    for one in prompt.nodes:
        avoid = [models[int(at)] for at in chance.permutation(len(models))[: int(chance.integers(AVOIDED_MOST + 1))]]
        role = "standby" if chance.random() < CLOSED_MOST / len(prompt.nodes) else "generalist"
        nodes.append(wish(one.node, role, (), avoid, int(chance.integers(5))))
    said = [_said(model, int(chance.integers(5)), words[int(chance.integers(len(words)))]) for model in models]
    gb = dict(prompt.models)
    pairs = [(m, n.node) for n in prompt.nodes for m in models if gb[m] <= n.gb and m not in n.awake]
    drawn = chance.permutation(len(pairs))[: int(chance.integers(WARM_MOST + 1))]
    warm = [{"model": pairs[int(at)][0], "node": pairs[int(at)][1], "at": "now"} for at in drawn]
    aliases = [one.alias for one in prompt.told]
    expected = Expectation(aliases[int(chance.integers(len(aliases)))], None) if aliases else None
    return planner_reply(nodes, said, "a throw of dice", expected, warm)


def misread(prompt: PlannerPrompt | SlotPrompt) -> PlannerPrompt | SlotPrompt:
    """Return a prompt as telemetry would make it that lies inside plausible bounds.

    Where most work waits none is said to, and the other way round; what comes in the epoch is said to come at once.
    """
    if isinstance(prompt, SlotPrompt):
        return SlotPrompt(tuple((model, _mirrored(cells)) for model, cells in prompt.rows))
    told = tuple(one if one.at_s is None or one.now else replace(one, at_s=0.0) for one in prompt.told)
    return replace(prompt, told=told)


def _begins(one: Told, prompt: PlannerPrompt) -> bool:
    return one.at_s is not None and -NEW_S / 2 <= one.at_s < prompt.lasts_s


def _said(model: str, priority: int, expected: str) -> Reply:
    return {"model": model, "priority": priority, "expected": expected}


def _fastest(prompt: PlannerPrompt) -> frozenset[str]:
    """Return the fastest nodes that may be closed together; one of the largest stays open."""
    room = CLOSED_MOST * sum(one.gb for one in prompt.nodes)
    widest = max(prompt.nodes, key=lambda one: (one.gb, -one.speed, one.node)).node
    closed: list[str] = []
    for one in sorted(prompt.nodes, key=lambda n: (-n.speed, n.node)):
        if one.gb <= room and one.node != widest:
            closed.append(one.node)
            room -= one.gb
    return frozenset(closed)


def _furthest(prompt: PlannerPrompt) -> Expectation | None:
    """Return the rates furthest from those of now, requests a minute."""
    now = dict(prompt.per_minute)

    def away(one: Told) -> float:
        said = dict(one.rates)
        return sum(abs(said.get(model, 0.0) - now.get(model, 0.0)) for model in {*said, *now})

    found = max(prompt.told, key=away, default=None)
    return None if found is None else Expectation(found.alias, None)


def _mirrored(cells: Sequence[Cell]) -> tuple[Cell, ...]:
    most_s = max(one.work_s for one in cells)
    return tuple(replace(one, work_s=most_s - one.work_s) for one in cells)
