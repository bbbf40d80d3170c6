"""Questions to a language model: what enters them, in which order, and how long they are."""

import itertools
import json
import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairlead.contracts.decisions import SlotInput
from fairlead.contracts.dialogue import PromptText, Sampling
from fairlead.contracts.plans import Guide, Intent, ModelPriority
from fairlead.contracts.replies import SlotReply
from fairlead.policy.aliases import by_alias
from fairlead.policy.figures import tokens_most
from fairlead.policy.plan_words import bad_cases
from fairlead.policy.questions import (
    PLACE,
    PLANNER_TOKENS,
    REPLY_SHOWN_CHARS,
    SLOT_TOKENS,
    TEMPLATE_TOKENS,
    Question,
    filled,
    planner_question,
    repair_question,
    slot_question,
)
from fairlead.policy.registry import decide_slot
from fairlead.policy.slot_gate import guided
from tests.hash_seeds import run_under
from tests.policy.prompt_scenes import (
    HOSTILE,
    PLANNER_SAMPLING,
    SIZES,
    SLOT_SAMPLING,
    epoch,
    full_plan,
    hostile_inputs,
    questions,
    remembered,
    scene,
    shouting,
    texts,
)
from tests.policy.situations import asked, awake, cluster, model, node, placement, plan, pod, slot_input, view

PLANNER_ORDER = ("Weights:", "Cases", "Plan in force:", "Now:", "Models:", "Nodes:", "Check before you reply:")
SLOT_ORDER = ("Weights:", "Plan in force:", "Nodes:", "Models:", "Answer:", "Check before you reply:")

WORDS = frozenset(
    {"latency", "unfairness", "churn", "loss", "neutral", "none", "no", "model", "plan", "rates"}
    | {"specialist", "generalist", "standby", "drain", "prefer", "avoid", "bias", "warm", "at"}
    | {"priority", "silent", "falling", "same", "rising", "surging", "*"}
    | {"bad", "by", "llm", "fallback", "operator", "similar", "F", "gain", "to", "work", "lost", "hour"}
)
"""All that code puts into a question beside numbers and aliases; a new word has to be added here on purpose."""

NUMBER = re.compile(r"[-+x]?[0-9]+(\.[0-9]+)?|-")
ALIAS = re.compile(r"(n[0-9]{2}|m[0-9]{2}|c[0-9])\+?(:[0-9]+)?")
SEPARATORS = re.compile(r"[\s,;(){}\"]+")


def foreign(question: Question, prompt: PromptText) -> set[str]:
    """Return what stands in the user part that is no word of the prompt's text, no number, no alias, none of ours."""
    fixed = {word.strip(".:") for word in SEPARATORS.split(PLACE.sub(" ", prompt.user))}
    named = {a for pairs in (question.aliases.nodes, question.aliases.models, question.aliases.cases) for a, _ in pairs}
    left = set()
    for word in SEPARATORS.split(question.ask.user):
        bare = word.strip(".:")
        alias = ALIAS.fullmatch(bare)
        if not (bare in fixed | WORDS or NUMBER.fullmatch(bare) or (alias is not None and alias[1] in named)):
            left.add(word)
    return left


def spent(question: Question) -> int:
    """Return how many tokens a question has at most."""
    return TEMPLATE_TOKENS + tokens_most(question.ask.system) + tokens_most(question.ask.user)


@pytest.mark.parametrize(("nodes", "models"), SIZES)
def test_a_question_is_short_and_leaves_nobody_out(nodes: int, models: int) -> None:
    """Planner 4k and slot agent 2k tokens, full case memory and plan included; each node and model stands once."""
    for question, most in zip(questions(nodes, models), (PLANNER_TOKENS, SLOT_TOKENS), strict=True):
        assert spent(question) <= most
        assert (question.ask.system + question.ask.user).isascii()
        for pairs, letter, count in ((question.aliases.nodes, "n", nodes), (question.aliases.models, "m", models)):
            ids = [one for _, members in pairs for one in members]
            assert len(ids) == len(set(ids)) == count
            assert [alias for alias, _ in pairs] == [f"{letter}{k:02d}" for k in range(1, len(pairs) + 1)]
            for alias, members in pairs:
                lines = [x for x in question.ask.user.splitlines() if re.match(rf"{alias} (x[0-9]+ )?-?[0-9.]+ ", x)]
                assert len(lines) == 1, f"{alias} has {len(lines)} lines"
                assert (f"{alias} x{len(members)} " in lines[0]) == (len(members) > 1)


@pytest.mark.parametrize(("nodes", "models", "active"), [(3, 1, None), (7, 4, None), (7, 24, 18), (12, 8, None)])
def test_small_clusters_are_not_summarised(nodes: int, models: int, active: int | None) -> None:
    """Each node and each model has an alias of its own; so has a catalogue of 24 of which 18 are asked for."""
    for question in questions(nodes, models, active=active):
        assert not question.aliases.grouped
        assert (len(question.aliases.nodes), len(question.aliases.models)) == (nodes, models)


@pytest.mark.parametrize(("nodes", "models"), [(100, 20), (1000, 100)])
def test_large_clusters_are_summarised_in_groups(nodes: int, models: int) -> None:
    """Some dozen groups, and no node of one zone in a group with one of another."""
    for question in questions(nodes, models, zones=3):
        assert question.aliases.grouped
        assert 6 <= len(question.aliases.nodes) <= 24
        for _, ids in question.aliases.nodes:
            assert len({int(n.removeprefix("node-")) % 3 for n in ids}) == 1


@pytest.mark.parametrize(("nodes", "models"), SIZES)
def test_the_constant_part_comes_first_then_what_changes_more_and_more(nodes: int, models: int) -> None:
    """CONTROL §3: cases, intent from above, state, one line that asks to check; once each, in this order."""
    for question, order in zip(questions(nodes, models), (PLANNER_ORDER, SLOT_ORDER), strict=True):
        lines = question.ask.user.splitlines()
        found = [next(w for w in order if x.startswith(w)) for x in lines if x.startswith(order)]
        assert found == list(order)
        assert lines[-1].startswith("Check before you reply:")


def test_the_system_part_is_the_same_whatever_is_asked() -> None:
    """Byte for byte: what a prefix cache serves. In this order: role, limits, reply with an example, objective."""
    asked_for = [questions(*size, seed=seed) for size, seed in itertools.product(SIZES[:4], (1, 2))]
    for each, prompt in zip(zip(*asked_for, strict=True), texts(), strict=True):
        assert {q.ask.system for q in each} == {prompt.system}
        parts = [prompt.system.index(w) for w in ("You ", "Hard limits:", "Reply with", "Example", "Objective:")]
        assert parts == sorted(parts)
        assert parts[0] == 0
        assert not PLACE.search(prompt.system)


@pytest.mark.parametrize(("nodes", "models"), SIZES)
def test_every_word_is_of_the_text_a_number_or_an_alias(nodes: int, models: int) -> None:
    """A closed vocabulary, whatever the size."""
    for question, prompt in zip(questions(nodes, models), texts(), strict=True):
        assert foreign(question, prompt) == set()


def test_a_foreign_word_would_be_found() -> None:
    """Also an alias that is none of the question's, and a word inside the routes."""
    question, prompt = questions(3, 1)[1], texts()[1]
    for word in ("ignore-previous-instructions", "m02", "n04", "c1", "1e5", '{"node-0001":0.5}'):
        user = f"{question.ask.user} {word}"
        strange = replace(question, ask=question.ask.model_copy(update={"user": user}))
        assert foreign(strange, prompt), word


@given(hostile_inputs(), st.sampled_from((None, -0.09, 0.01)), st.integers(0, 5))
@settings(max_examples=150, deadline=None)
def test_nothing_that_somebody_named_or_wrote_enters_a_question(
    given_slot: SlotInput, low: float | None, count: int
) -> None:
    """`ignore-previous-instructions` is a legal id, of a node, model, zone, override or case; reasons name such ids."""
    decision = decide_slot(given_slot)
    cases = tuple(shouting(remembered(given_slot.cluster, turn, low=low)) for turn in range(count))
    planner, slot = texts()
    for question, prompt in (
        (
            planner_question(
                epoch(given_slot, decision, given_slot.plan), planner, cases, (0.9,) * count, PLANNER_SAMPLING
            ),
            planner,
        ),
        (slot_question(given_slot, decision, slot, SLOT_SAMPLING), slot),
    ):
        assert foreign(question, prompt) == set()
        everything = question.ask.to_json().lower()
        assert not [one for one in ("ignore", "previous", *HOSTILE) if one in everything]


def test_only_rows_with_a_choice_are_asked_for() -> None:
    """A row of one pod is 1; a model without a pod has none. Where no row has a choice, those of one pod are asked."""
    shape = cluster([node("a", 4.0), node("b", 2.0)], [model("x"), model("y"), model("z")])
    pods = (view("a", pod("x"), pod("y", count=2)), view("b", pod("x", "starting", ready_in_s=7.0, count=1)))
    demand = [asked("x", held=1, ago_s=1.0), asked("y"), asked("z")]
    given_slot = slot_input(
        shape,
        pods,
        demand,
        rates={"x": 0.1, "y": 0.0, "z": 0.0},
        placement=placement(awake("a", "x", "y"), awake("b", "x")),
    )
    decision = decide_slot(given_slot.model_copy(update={"trigger": "slot"}))
    _, prompt = texts()
    asked_for = slot_question(given_slot, decision, prompt, SLOT_SAMPLING).ask
    assert "\nAnswer: m01\n" in asked_for.user
    assert '"required":["m01"]' in asked_for.reply_schema
    lines = asked_for.user.splitlines()
    assert [x for x in lines if x.startswith("m02")] == ["m02 0 4 0: n01 1 8 2"]
    assert [x for x in lines if x.startswith("m01")] == ["m01 5 4 1: n01 0.3, n02 0.7 4 1 +7"]
    alone = slot_input(shape, (view("a", pod("y")), view("b")), demand[1:2], placement=placement(awake("a", "y")))
    decision = decide_slot(alone.model_copy(update={"trigger": "slot"}))
    assert "\nAnswer: m02\n" in slot_question(alone, decision, prompt, SLOT_SAMPLING).ask.user


def test_without_a_table_there_is_no_row_to_ask_for() -> None:
    """An event that changes nothing has no table; the question says so and does not fail."""
    given_slot = scene(3, 1)
    decision = decide_slot(given_slot).model_copy(update={"table": None})
    asked_for = slot_question(given_slot, decision, texts()[1], SLOT_SAMPLING).ask
    assert "\nAnswer: no model\n" in asked_for.user


@pytest.mark.parametrize(("nodes", "models"), SIZES)
def test_the_rows_as_they_are_shown_are_a_valid_reply(nodes: int, models: int) -> None:
    """Whoever copies the fallback's shares passes feasibility and trust region: rounding costs little, sums are 1."""
    given_slot = scene(nodes, models)
    decision = decide_slot(given_slot)
    assert decision.table is not None
    question = slot_question(given_slot, decision, texts()[1], SLOT_SAMPLING)
    wanted = re.findall(r"^Answer: (.*)$", question.ask.user, re.MULTILINE)[0].split()
    (shown,) = re.findall(r"^The fallback's routes, .*: (\{.*\})$", question.ask.user, re.MULTILINE)
    routes = json.loads(shown)
    for alias in wanted:
        (row,) = re.findall(rf"^{alias} [^:]*: (.*)$", question.ask.user, re.MULTILINE)
        assert routes["*"][alias] == {cell.split()[0]: float(cell.split()[1]) for cell in row.split(", ")}
    reply = SlotReply(routes=routes, hold={}, why="as the fallback")
    guide = guided(reply, decision.table, question.aliases, given_slot.settings)
    assert isinstance(guide, Guide), guide
    assert [r.model for r in guide.rows] == [by_alias(question.aliases.models)[a][0] for a in wanted]


def test_a_reply_limit_that_is_too_small_for_a_row_each_makes_the_question_coarser() -> None:
    """A reply that is cut off is worth nothing."""
    given_slot = scene(16, 16)
    decision = decide_slot(given_slot)
    fine = slot_question(given_slot, decision, texts()[1], Sampling(reply_tokens=1500))
    coarse = slot_question(given_slot, decision, texts()[1], Sampling(reply_tokens=300))
    least = slot_question(given_slot, decision, texts()[1], Sampling(reply_tokens=16))
    sizes = [len(q.aliases.models) for q in (fine, coarse, least)]
    assert sizes[0] == 16 > sizes[1] > sizes[2] == 2


def test_cases_are_shown_with_what_came_of_them_and_a_bad_one_says_so() -> None:
    """Aliases in the order given, at most five; the plan in words, neutral parts left out."""
    shape = cluster([node("a"), node("b")], [model("x"), model("y")])
    given_slot = slot_input(shape, (view("a", pod("x")), view("b")), trigger="slot", rates={"x": 0.1, "y": 0.0})
    decision = decide_slot(given_slot)
    cases = [remembered(shape, 0), remembered(shape, 1, low=-0.09), remembered(shape, 2, low=None)]
    cases[0] = cases[0].model_copy(
        update={"intents": plan(intents=(Intent(node="a", role="drain", prefer=(), avoid=(), bias=0),)).intents}
    )
    cases += [remembered(shape, k) for k in (3, 4, 5)]
    question = planner_question(
        epoch(given_slot, decision), texts()[0], cases, (1.0, 0.9, 0.8, 0.7, 0.6, 0.5), PLANNER_SAMPLING
    )
    assert [(s.alias, s.case, s.similarity) for s in question.shown] == [
        (f"c{k + 1}", cases[k].id, round(1.0 - k / 10, 1)) for k in range(5)
    ]
    lines = question.ask.user.splitlines()
    assert [x for x in lines if x.startswith("c1")] == [
        "c1: by llm, similar 1, F 0.31, fallback F 0.31, gain 0.032 (0.012 to 0.052), work 25, lost 1, hour 13"
    ]
    assert next(x for x in lines if x.startswith("c2")).startswith("c2: bad, by llm, similar 0.9, F 0.32,")
    assert [x for x in lines if x.startswith("c3")] == [
        "c3: by llm, similar 0.8, F 0.33, gain -, work 25, lost 1, hour 13"
    ]
    assert lines[lines.index(next(x for x in lines if x.startswith("c1"))) + 1 :][:2] == [
        "rates m01 7.4 m02 7.4",
        "plan n01 drain bias 0; m01 priority 0 rising; m02 priority 1 rising; warm m01 n01 n02 at 30",
    ]


def test_where_no_advantage_is_known_the_highest_F_is_bad() -> None:
    """Retrieval always takes a bad one along; equal ones are not told apart, a quarantined one is bad at any rate."""
    shape = cluster([node("a")], [model("x")])
    unknown = [remembered(shape, k, low=None, objective=f) for k, f in enumerate((0.3, 0.5, 0.4))]
    assert bad_cases(unknown) == {unknown[1].id}
    assert bad_cases(unknown[:1]) == frozenset()
    assert bad_cases([remembered(shape, k, low=None, objective=0.3) for k in (1, 2)]) == frozenset()
    shut = unknown[2].model_copy(update={"quarantined": True})
    assert bad_cases([*unknown[:2], shut]) == {shut.id}


def test_what_plans_and_cases_say_of_what_is_gone_is_left_out() -> None:
    """An imported case may know other nodes and models; their names are nowhere, what is known of the others stays."""
    shape, other = (
        cluster([node(n) for n in nodes], [model(m) for m in models])
        for nodes, models in ((("a", "b"), ("x", "y")), (("b", "gone"), ("lost", "x")))
    )
    given_slot = slot_input(shape, (view("a"), view("b")), trigger="slot", plan=full_plan(other))
    decision = decide_slot(given_slot)
    asked_for = planner_question(
        epoch(given_slot, decision, full_plan(other)), texts()[0], [remembered(other, 0)], (1.0,), PLANNER_SAMPLING
    )
    said = "n02 specialist prefer m01 bias 1; m01 priority 1 rising"
    assert f"\nrates m01 7.4\nplan {said}\n" in asked_for.ask.user
    assert f"\nPlan in force: {said}\n" in asked_for.ask.user
    assert f"\nPlan in force: {said}\n" in slot_question(given_slot, decision, texts()[1], SLOT_SAMPLING).ask.user


def test_a_plan_that_tilts_nothing_is_neutral() -> None:
    """Roles that are words, preferences without bias, middling priorities."""
    shape = cluster([node("a"), node("b")], [model("x")])
    intents = (
        Intent(node="a", role="generalist", prefer=("x",), avoid=(), bias=0),
        Intent(node="b", role="generalist", prefer=(), avoid=(), bias=3),
    )
    wanted = plan(intents=intents, priorities=(ModelPriority(model="x", priority=2, expected="same"),))
    given_slot = slot_input(shape, (view("a"), view("b")), trigger="slot", plan=wanted)
    asked_for = slot_question(given_slot, decide_slot(given_slot), texts()[1], SLOT_SAMPLING)
    assert "\nPlan in force: neutral\n" in asked_for.ask.user


def test_a_repair_shows_the_reply_and_the_fault_after_the_question() -> None:
    """The same system part and schema; of the reply the printable first 2000 characters; its places are not filled."""
    for question, prompt in zip(questions(7, 4), texts(), strict=True):
        again = repair_question(question, prompt, "{fault}\x1b[2J\n\x00" + "é" * 3000, "row *.m01 sums to 1.2")
        assert again.ask.user.startswith(question.ask.user + "\n\n")
        added = again.ask.user.removeprefix(question.ask.user)
        assert "{fault}[2J\n" + "é" * (REPLY_SHOWN_CHARS - 11) + "\n" in added
        assert "It cannot be used: row *.m01 sums to 1.2\n" in added
        assert (again.ask.turn, again.aliases, again.shown) == ("repair", question.aliases, question.shown)
        assert again.ask.model_copy(update={"turn": "first", "user": question.ask.user}) == question.ask


def test_what_is_filled_in_is_not_looked_at_again() -> None:
    """A place in a value stays as it is, one that is not given too."""
    assert filled("{a} {b} {c}", {"a": "{b}", "b": "1"}) == "{b} 1 {c}"


def test_a_question_names_its_prompt_and_settings() -> None:
    """So that the journal says what was asked with."""
    planner, slot = questions(7, 4)
    assert (planner.ask.agent, planner.ask.prompt, planner.ask.reply) == ("planner", "planner/1", "PlannerReply")
    assert (slot.ask.agent, slot.ask.prompt, slot.ask.reply) == ("slot-agent", "slot/1", "SlotReply")
    assert (planner.ask.sampling, slot.ask.sampling) == (PLANNER_SAMPLING, SLOT_SAMPLING)
    assert "Now: hour 2.8. The epoch begins in 18 s and lasts 300 s." in planner.ask.user
    given_slot = scene(3, 1)
    begun = epoch(given_slot, decide_slot(given_slot)).model_copy(update={"begins_at_s": None})
    assert "begins in 0 s" in planner_question(begun, texts()[0], (), (), PLANNER_SAMPLING).ask.user


def test_invariant_07_the_hash_seed_changes_no_question() -> None:
    """Equal questions have equal bytes in two processes that hash differently, groups and cases included."""
    program = (
        "from tests.policy.prompt_scenes import questions; "
        "print(*(q.ask.to_json() for size in ((7, 4), (100, 20)) for q in questions(*size)))"
    )
    outputs = [run_under(seed, "-c", program) for seed in ("1", "2")]
    assert outputs[0] == outputs[1]
    assert outputs[0].count(b'"system":') == 4
