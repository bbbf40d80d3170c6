"""Questions to a language model: the prompt's text filled with numbers, fixed words and aliases, nothing else.

The system part is the same in each question, so that a prefix cache serves it; the user part goes from what changes
least to what changes most. A question that would be too long is asked about groups of nodes and models instead.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from fairlead.contracts.cases import Case
from fairlead.contracts.cluster import Cluster
from fairlead.contracts.decisions import EpochInput, SlotDecision, SlotInput
from fairlead.contracts.dialogue import AgentName, Ask, CaseShown, PromptText, ReplyName, Sampling
from fairlead.contracts.tuning import PolicySettings
from fairlead.policy.aliases import Aliases, case_aliases, named
from fairlead.policy.draft import GB
from fairlead.policy.epoch_tables import epoch_models, epoch_nodes
from fairlead.policy.figures import figure, mean, tokens_most
from fairlead.policy.forecast_words import forecast_lines, regime_aliases
from fairlead.policy.grouping import Limits, grouped, heaviest
from fairlead.policy.note_words import note_aliases, note_lines, quoted
from fairlead.policy.plan_words import HOURS, case_words, plan_words
from fairlead.policy.reply_schemas import goal_schema, planner_schema, slot_schema
from fairlead.policy.slot_tables import routes_of, rows_of, shares_of, slot_models, slot_nodes

CASES_MOST = 5
"""Four retrieved ones and the fallback's own result (CONTROL §3); a reply may cite as many."""

REPLY_SHOWN_CHARS = 2000
"""So much of a reply that could not be used is shown again: twice what a valid one of a small cluster takes."""

PLANNER_TOKENS = 4000
SLOT_TOKENS = 2000
"""Of a prompt as the model gets it (CONTROL §3)."""

TEMPLATE_TOKENS = 24
"""What a chat template adds to two messages; SmolLM2's, 16 tokens, and half as many again."""

NODE_TOKENS, MODEL_TOKENS, WARM_TOKENS, CELL_TOKENS, ROW_TOKENS, WHY_TOKENS = 40, 15, 20, 10, 7, 100
"""Of a reply: a node with two preferred models, a model's priority, a pod to warm, a probability, a row around them,
reason and brackets. SmolLM2, compact JSON, 2026-11-21: 34, 15, 19, 9.1, 6.1, some 90."""

WARM_USUAL = 4
"""Half of what may be warmed."""

DAY_S = 86_400.0

FINENESS = tuple(
    Limits(nodes, models, alone)
    for nodes, models, alone in (
        (24, 24, 18),
        (16, 16, 12),
        (12, 12, 8),
        (12, 8, 6),
        (8, 8, 6),
        (8, 6, 4),
        (6, 4, 3),
        (4, 4, 3),
        (3, 2, 1),
    )
)
"""Aliases of nodes and models that a question may have: the first of these that is short enough is asked."""

ANOTHER_TEMPERATURE = 0.8
"""Of further proposals: at 0 a model gives the likeliest one again; own choice."""

PLACE = re.compile(r"\{([a-z_]+)\}")
"""A named place in a prompt's text; braces of JSON are none."""


@dataclass(frozen=True, slots=True)
class Question:
    """A question and what its aliases stand for."""

    ask: Ask
    aliases: Aliases
    shown: tuple[CaseShown, ...]


def planner_question(
    given: EpochInput, prompt: PromptText, cases: Sequence[Case], similarities: Sequence[float], sampling: Sampling
) -> Question:
    """Return what the planner is asked: of `cases`, with their similarities, the first five."""
    cases, similarities = cases[:CASES_MOST], similarities[:CASES_MOST]
    told = {
        "cases": case_aliases([c.id for c in cases]),
        "notes": note_aliases(given),
        "regimes": regime_aliases(given),
    }
    rates = {r.model: r.per_s for r in given.rates}
    first = heaviest(given.cluster, rates)
    settings = given.settings

    def about(limits: Limits) -> tuple[Question, int]:
        aliases = replace(grouped(given.cluster, given.snapshot, rates, limits, first), **told)
        values = {
            **_times(given),
            "weights": _weights(settings) + _goal(given, aliases),
            "notes": note_lines(given, aliases),
            "forecast": forecast_lines(given, aliases),
            "cases": case_words(cases, similarities, aliases),
            "plan": plan_words(given.parent, aliases),
            "models": epoch_models(given, aliases),
            "nodes": epoch_nodes(given, aliases),
        }
        schema = planner_schema(aliases, settings.epoch_slots, settings.slot_s)
        ask = _ask("planner", "PlannerReply", prompt, values, schema, sampling)
        reply = NODE_TOKENS * len(aliases.nodes) + MODEL_TOKENS * len(aliases.models) + WARM_TOKENS * WARM_USUAL
        return Question(ask=ask, aliases=aliases, shown=_shown(aliases, similarities)), reply + WHY_TOKENS

    return _first_within(PLANNER_TOKENS, about)


def slot_question(given: SlotInput, fallback: SlotDecision, prompt: PromptText, sampling: Sampling) -> Question:
    """Return what the slot agent is asked: the rows of `fallback` that have a choice, all where none has.

    Of a large cluster the models with the most work are asked about, the others stand there in groups.
    """
    rates = {r.model: r.per_s for r in fallback.state.rates}
    shares = shares_of(fallback)
    first = sorted(heaviest(given.cluster, rates), key=lambda m: len(shares.get(m, ())) < 2)
    held = {v.model for v in given.snapshot.models if v.held}

    def about(limits: Limits) -> tuple[Question, int]:
        aliases = grouped(given.cluster, given.snapshot, rates, limits, first)
        rows = rows_of(given, fallback, aliases)
        wanted = {model: cells for model, cells in rows.items() if len(cells) > 1} or rows
        values = {
            "weights": _weights(given.settings),
            "trust": figure(given.settings.trust_tv),
            "plan": plan_words(given.plan, aliases),
            "nodes": slot_nodes(given, aliases),
            "models": slot_models(given, fallback, aliases, rows),
            "wanted": " ".join(wanted) or "no model",
            "routes": routes_of(wanted),
        }
        nodes = {model: [c.node for c in cells] for model, cells in wanted.items()}
        schema = slot_schema(nodes, [a for a, ids in aliases.models if held.intersection(ids)])
        ask = _ask("slot-agent", "SlotReply", prompt, values, schema, sampling)
        reply = CELL_TOKENS * sum(map(len, wanted.values())) + ROW_TOKENS * len(wanted) + WHY_TOKENS
        return Question(ask=ask, aliases=aliases, shown=()), reply

    return _first_within(SLOT_TOKENS, about)


def goal_question(
    text: str, cluster: Cluster, settings: PolicySettings, prompt: PromptText, sampling: Sampling
) -> Question:
    """Return what is asked about a goal in words: each model has an alias.

    Where that is too long only those have whose id stands in the words, and each kind of the others.
    """
    each = [[m.id] for m in cluster.models]
    alone = [ids for ids in each if ids[0] in text.lower()]
    others = sorted((m.kind, m.id) for m in cluster.models if [m.id] not in alone)
    by_kind = [[one for _, one in group] for _, group in groupby(others, lambda pair: pair[0])]

    def about(groups: Sequence[Sequence[str]]) -> Question:
        aliases = Aliases(nodes=(), models=named("m", groups))
        values = {
            "weights": _weights(settings),
            "models": _kinds(cluster, aliases),
            "goal": quoted(text, cluster, aliases),
        }
        ask = _ask("planner", "GoalReply", prompt, values, goal_schema(aliases.models), sampling)
        return Question(ask=ask, aliases=aliases, shown=())

    question = about(each)
    return question if prompt_tokens(question.ask) <= PLANNER_TOKENS else about(alone + by_kind)


def _kinds(cluster: Cluster, aliases: Aliases) -> str:
    """Return a line for each alias of models: what kind they are, and how large on average."""
    specs = {m.id: m for m in cluster.models}
    lines = []
    for alias, ids in aliases.models:
        them = [specs[one] for one in ids]
        many = f" x{len(them)}" if len(them) > 1 else ""
        sizes = (mean([m.memory_bytes / GB for m in them]), mean([m.work_s for m in them]))
        lines.append(f"{alias}{many} {them[0].kind} {' '.join(map(figure, sizes))}")
    return "\n".join(lines)


def repair_question(question: Question, prompt: PromptText, reply: str, fault: str) -> Question:
    """Return `question` asked once more, with the reply that could not be used and why; `fault` is in our own words."""
    shown = "".join(c for c in reply[: 2 * REPLY_SHOWN_CHARS] if c.isprintable() or c == "\n")[:REPLY_SHOWN_CHARS]
    again = filled(prompt.repair, {"reply": shown, "fault": fault})
    ask = question.ask.model_copy(update={"turn": "repair", "user": f"{question.ask.user}\n\n{again}"})
    return replace(question, ask=ask)


def another_question(question: Question, number: int) -> Question:
    """Return `question` asked for one more proposal, with room for chance: the same words would bring the same one."""
    sampling = question.ask.sampling
    warmer = sampling.model_copy(update={"temperature": max(sampling.temperature, ANOTHER_TEMPERATURE)})
    user = f"{question.ask.user}\n\nThis is proposal {number}: think of another one than the first that comes to mind."
    return replace(question, ask=question.ask.model_copy(update={"turn": "another", "user": user, "sampling": warmer}))


def filled(text: str, values: Mapping[str, str]) -> str:
    """Return `text` with each `{place}` that `values` names filled; what is filled in is not looked at again."""
    return PLACE.sub(lambda found: values.get(found[1], found[0]), text)


def _ask(
    agent: AgentName,
    reply: ReplyName,
    prompt: PromptText,
    values: Mapping[str, str],
    schema: str,
    sampling: Sampling,
) -> Ask:
    return Ask(
        agent=agent,
        prompt=f"{prompt.id}/{prompt.version}",
        turn="first",
        system=prompt.system,
        user=filled(prompt.user, values),
        reply=reply,
        reply_schema=schema,
        sampling=sampling,
    )


def _times(given: EpochInput) -> dict[str, str]:
    begins_at_s = given.now_s if given.begins_at_s is None else given.begins_at_s
    return {
        "hour": figure(HOURS * (given.now_s % DAY_S) / DAY_S),
        "begins": figure(max(0.0, begins_at_s - given.now_s)),
        "lasts": figure(given.settings.epoch_slots * given.settings.slot_s),
    }


def _weights(settings: PolicySettings) -> str:
    weights = settings.weights
    pairs = (
        ("latency", weights.latency),
        ("unfairness", weights.fairness),
        ("churn", weights.churn),
        ("loss", weights.service),
    )
    return ", ".join(f"{word} {figure(value)}" for word, value in pairs)


def _goal(given: EpochInput, aliases: Aliases) -> str:
    """Return the words of the goal in force; they are in the weights already, and in the priorities of plans."""
    return f'; as an operator put it: "{quoted(given.goal.text, given.cluster, aliases)}"' if given.goal else ""


def _shown(aliases: Aliases, similarities: Sequence[float]) -> tuple[CaseShown, ...]:
    pairs = zip(aliases.cases, similarities, strict=True)
    return tuple(CaseShown(alias=alias, case=ids[0], similarity=s) for (alias, ids), s in pairs)


def _first_within(prompt: int, about: Callable[[Limits], tuple[Question, int]]) -> Question:
    """Return the finest question of at most `prompt` tokens whose reply fits its limit too; else the coarsest.

    `about` returns a question and how many tokens its reply may take.
    """
    for limits in FINENESS:
        question, reply = about(limits)
        ask = question.ask
        if prompt_tokens(ask) <= prompt and reply <= ask.sampling.reply_tokens:
            break
    return question


def prompt_tokens(ask: Ask) -> int:
    """Return how many tokens a question has at most as the model gets it."""
    return TEMPLATE_TOKENS + tokens_most(ask.system) + tokens_most(ask.user)
