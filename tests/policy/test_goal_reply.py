"""Goals in words as a language model reads them: what it is asked, and what of its answers is taken."""

import json
from typing import Any

import pytest

from fairlead.adapters.memory_llm import MemoryLlm
from fairlead.adapters.prompt_files import goal_prompt
from fairlead.contracts.cluster import Cluster
from fairlead.contracts.dialogue import Sampling
from fairlead.contracts.notes import Aims, Goal, GoalReading, ModelLevel
from fairlead.contracts.tuning import PolicySettings, Weights
from fairlead.policy.goal_reply import heard
from fairlead.policy.goals import aimed, reread, view
from fairlead.policy.parsing import Fault
from fairlead.policy.questions import PLANNER_TOKENS, Question, goal_question, prompt_tokens
from fairlead.twin.clusters import cluster, default_ports

WORDS = 'protect vision "tonight", energy second'
GOAL = Goal(
    id="g1",
    text=WORDS,
    from_s=0.0,
    until_s=None,
    by="ann",
    created_at_s=0.0,
    reading=GoalReading(aims=Aims(churn=3), priorities=(), read_by="rule", why="not understood: tonight"),
    weights=Weights(),
    changes=(),
)


def asked(shape: Cluster, text: str = WORDS) -> Question:
    """Return what is asked about a goal."""
    return goal_question(text, shape, PolicySettings(), goal_prompt(), Sampling())


CITY = cluster("city7", lambda _: 1)


def reply(**more: Any) -> str:
    """Return a reply that protects the model of vision."""
    neutral = dict.fromkeys(("latency", "fairness", "churn", "service"), 2)
    return json.dumps(
        {**neutral, "churn": 3, "models": [{"model": "m04", "priority": 4}], "why": "vision\x07 most", **more}
    )


async def told(text: str) -> GoalReading | Fault:
    """Return what comes of a reply to the question about city7."""
    question = asked(CITY)
    answer = await MemoryLlm([text]).ask(question.ask, id="a", deadline_s=1.0)
    return heard(answer, question.aliases)


def test_a_goal_is_asked_about_in_aliases_between_quotes() -> None:
    """Each model with its kind and size; no id, and no quote that could end the words."""
    ask = asked(CITY).ask
    assert (ask.agent, ask.prompt, ask.reply) == ("planner", "goal/1", "GoalReply")
    assert '\nThe operator\'s words: "protect m04 tonight , energy second"\n' in ask.user
    assert "\nm01 image 5 24\nm02 text 3.5 8\nm03 text 1 2\nm04 vision-language 2.2 4\n" in ask.user
    assert not any(m.id in ask.user for m in CITY.models if m.id != m.kind)
    schema = json.loads(ask.reply_schema)
    assert schema["$defs"]["model"]["enum"] == ["m01", "m02", "m03", "m04"]
    assert schema["properties"]["churn"] == {"enum": [0, 1, 2, 3, 4], "type": "integer"}
    assert list(schema["properties"]) == ["latency", "fairness", "churn", "service", "models", "why"]


def test_a_goal_of_a_large_cluster_is_asked_about_in_kinds() -> None:
    """A hundred models are asked about one by one, a thousand by kind, but for those that the words name."""
    nation = cluster("nation1000", default_ports("nation1000"))
    assert len(asked(nation).aliases.models) == 100
    many = [m.model_copy(update={"id": f"{m.id}-{k}"}) for k in range(10) for m in nation.models]
    models = tuple(sorted(many, key=lambda m: m.id))
    question = asked(Cluster(nodes=nation.nodes, models=models, sites=nation.sites), "protect text-1-02-7")
    sizes = {alias: len(ids) for alias, ids in question.aliases.models}
    assert sorted(sizes.values()) == [1, 240, 320, 439]
    assert f"\nm02 x{sizes['m02']} text " in question.ask.user
    assert '"protect m03"' in question.ask.user
    assert prompt_tokens(question.ask) <= PLANNER_TOKENS


async def test_a_reply_becomes_a_reading() -> None:
    """Levels of terms, and of the ids behind aliases; words are made printable."""
    found = await told(reply())
    priorities = (ModelLevel(model="vision-language", priority=4),)
    assert found == GoalReading(aims=Aims(churn=3), priorities=priorities, read_by="llm", why="vision  most")
    found = await told(reply(churn=2))
    assert isinstance(found, GoalReading)


@pytest.mark.parametrize(
    ("text", "step", "said"),
    [
        ("protect vision", "parse", "no JSON object"),
        (reply(churn=2.5), "schema", "churn must be a whole number"),
        (reply(churn=5), "schema", "churn must be at most 4"),
        (reply(energy=3), "schema", "? is not in the schema"),
        (reply(models=[{"model": "image", "priority": 4}]), "schema", "models[0].model must be one of the given"),
        (reply(models=[{"model": "m09", "priority": 4}]), "feasibility", "there is no m09"),
        (reply(models=2 * [{"model": "m01", "priority": 4}]), "feasibility", "m01 stands twice"),
        (reply(churn=2, models=[{"model": "m01", "priority": 2}]), "feasibility", "every level is 2"),
    ],
)
async def test_a_reply_that_is_no_reading_is_refused(text: str, step: str, said: str) -> None:
    """At the gate that it does not pass; the words name nothing that the reply has brought but aliases."""
    found = await told(text)
    assert isinstance(found, Fault)
    assert (found.step, found.said) == (step, found.text)
    assert said in found.text


def test_a_reading_brings_weights_and_the_diff() -> None:
    """Against what is in force; without a model's reading the rule's stays, and says why."""
    now = view((), PolicySettings(), 1.0)
    mine = GoalReading(aims=Aims(), priorities=(ModelLevel(model="image", priority=4),), read_by="llm")
    read = aimed(GOAL, reread(GOAL, mine, ""), now, Weights())
    assert (read.reading, read.weights, read.changes) == (mine, Weights(), ("priority of image: 2 → 4",))
    left = reread(GOAL, None, "late")
    assert left.aims == GOAL.reading.aims
    assert left.why == "no language model's reading: late; not understood: tonight"
    silent = GOAL.model_copy(update={"reading": GOAL.reading.model_copy(update={"why": ""})})
    assert reread(silent, None, "late").why == "no language model's reading: late"
    assert any(one.startswith("weight of churn: 0.05 → 0.0") for one in aimed(GOAL, left, now, Weights()).changes)
