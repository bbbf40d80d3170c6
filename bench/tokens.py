"""Tokens a slot and an epoch against cluster size: what the planner and the slot agent are asked, and what is replied.

Each question is as long as it can be at its size: a plan that says something of every node and model is in force, four
such cases are remembered, half of the memory is awake. Where the wheels of the extra `local` are installed the tokens
are SmolLM2's own, by llama.cpp, without its chat template (16 a question); otherwise our own count's, which is never
too low. Replies are the scripted rule's; where groups of nodes are asked about its plan is the neutral one. An epoch is
a question of each of its slots and one of the planner; its system parts are the same each time, so that a prefix cache
serves them.
"""

import json
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

from fairlead.contracts.dialogue import Ask
from fairlead.contracts.tuning import PolicySettings
from fairlead.policy.figures import tokens_most
from fairlead.policy.questions import PLANNER_TOKENS, SLOT_TOKENS
from fairlead.twin.voices.reading import read
from testbed.scripted_rule import well
from tests.policy.prompt_scenes import questions
from tests.testbed.real_text import missing, serving, tokens

SIZES = ((3, 1), (7, 4), (7, 24), (30, 60), (100, 20), (300, 50), (1000, 100))
"""Nodes and models."""

Counted = Callable[[str], int]


def main() -> None:
    """Print a line for each size."""
    slots = PolicySettings().epoch_slots
    with ExitStack() as stack:
        count: Counted = tokens_most
        said = f"counted by ourselves: {missing()}"
        if not missing():
            address, _ = stack.enter_context(serving())
            count = partial(tokens, address)
            said = "SmolLM2's own"
        print(f"tokens are {said}; a planner's prompt has {PLANNER_TOKENS} at most, a slot's {SLOT_TOKENS}")
        print("nodes models  planner: system  user  cases  reply   slot: system  user  reply   a slot an epoch")
        for nodes, models in SIZES:
            print(line(nodes, models, slots, count), flush=True)


def line(nodes: int, models: int, slots: int, count: Counted) -> str:
    """Return the figures of a size."""
    planner, slot = questions(nodes, models)
    plan, rows = sizes(planner.ask, count), sizes(slot.ask, count)
    epoch = sum(plan) + slots * sum(rows)
    return (
        f"{nodes:5d} {models:6d}  {plan[0]:15d} {plan[1]:5d} {len(planner.shown):6d} {plan[2]:6d}   "
        f"{rows[0]:12d} {rows[1]:5d} {rows[2]:6d}   {sum(rows):6d} {epoch:8d}"
    )


def sizes(ask: Ask, count: Counted) -> tuple[int, int, int]:
    """Return the tokens of a question's system and user part, and of a reply."""
    return count(ask.system), count(ask.user), count(json.dumps(well(read(ask.user))))


if __name__ == "__main__":
    main()
