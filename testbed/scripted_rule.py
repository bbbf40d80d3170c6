"""What the scripted server says when it behaves well: a plain rule that reads nothing but the rendered prompt.

It is no language model and none of its answers is ever counted as a result of one. It finds the tables in the words
of the prompt, as a model would have to, and answers with text:

- slot agent: the fallback's rows as the prompt shows them, each with a tenth moved from the node where most work waits
  to the one where least does. That stays inside the trust region (0.3) also after shares were rounded to 0.05.
- planner: each node prefers what is awake there, as far as it fits its memory; if that leaves a model without a node,
  the roomiest nodes take it; if one cannot be taken anywhere, or aliases stand for groups, the neutral plan.
"""

from fairlead.twin.voices.reading import NodeLine, PlannerPrompt, SlotPrompt
from fairlead.twin.voices.replying import Reply, neutral, planner_reply, wish
from fairlead.twin.voices.rules import UNKNOWN, hostile_rows, steady

PREFERRED_MOST = 3
"""Models that a node may prefer (CONTROL §3)."""


def well(prompt: SlotPrompt | PlannerPrompt) -> Reply:
    """Return the reply of the rule, as JSON values."""
    if isinstance(prompt, SlotPrompt):
        return steady(prompt)
    return _plan(prompt)


def harmful(prompt: SlotPrompt | PlannerPrompt) -> Reply:
    """Return a reply that every gate without a twin must let pass, and that does what harm it can there."""
    if isinstance(prompt, SlotPrompt):
        return hostile_rows(prompt)
    nodes = [wish(one.node, "specialist", (), one.awake[:PREFERRED_MOST], 4) for one in prompt.nodes]
    models = [{"model": model, "priority": 0, "expected": "silent"} for model, _ in prompt.models]
    return planner_reply(nodes, models, "all that is awake is avoided")


def _plan(prompt: PlannerPrompt) -> Reply:
    if prompt.grouped:
        return neutral(prompt, UNKNOWN)
    size = dict(prompt.models)
    prefer = {one.node: _fitting(one, size) for one in prompt.nodes}
    for model in sorted(size, key=lambda one: (-size[one], one)):
        if not any(model in some for some in prefer.values()):
            free = [(one.gb - sum(size[m] for m in prefer[one.node]), one.node) for one in prompt.nodes]
            free = [(gb, node) for gb, node in free if gb >= size[model] and len(prefer[node]) < PREFERRED_MOST]
            if not free:
                return neutral(prompt, UNKNOWN)
            prefer[max(free)[1]].append(model)
    nodes = [wish(node, "specialist" if len(some) == 1 else "generalist", some, (), 1) for node, some in prefer.items()]
    return planner_reply(nodes, [], "each node goes on with what it has")


def _fitting(line: NodeLine, size: dict[str, float]) -> list[str]:
    """Return what of the models that are awake on a node fits it together, in order."""
    found: list[str] = []
    for model in line.awake:
        if len(found) < PREFERRED_MOST and sum(size[m] for m in (*found, model)) <= line.gb:
            found.append(model)
    return found
