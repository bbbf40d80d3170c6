"""Notes and goals over HTTP: kept as they were said, refused where they make no sense, nothing in force unapproved."""

from typing import Any

import httpx

from control_api.words_routes import reading_for_s
from fairlead.adapters.store_rules import default_mode
from fairlead.contracts.notes import Goal, GoalView, Note
from fairlead.contracts.settings import Settings
from fairlead.policy.goals import in_force, under
from tests.adapters import store_examples as some
from tests.control_api.conftest import Api
from tests.control_api.test_resources import ROOT, refused


def draft(api: Api, **more: Any) -> dict[str, Any]:
    """Return a note for the hour from now on."""
    now_s = api.parts.clock.now_s()
    return {"text": "text triples", "from_s": now_s, "until_s": now_s + 3600.0, "by": "ann", **more}


async def test_a_note_is_kept_listed_and_forgotten(api: Api) -> None:
    """By the name that was given and the token that was shown; a time that is over or turned round is refused."""
    made = await api.by_role["operator"].post(f"{ROOT}/notes", json=draft(api))
    note = Note.from_json(made.content)
    assert (made.status_code, note.text, note.by.startswith("ann, token t-")) == (201, "text triples", True)
    assert [one["id"] for one in (await api.by_role["viewer"].get(f"{ROOT}/notes")).json()["items"]] == [note.id]
    assert Note.from_json((await api.admin.get(f"{ROOT}/notes/{note.id}")).content) == note
    assert "over" in refused(
        await api.admin.post(f"{ROOT}/notes", json=draft(api, from_s=1.0, until_s=2.0)), 422, "bad-input"
    )
    turned = draft(api, from_s=draft(api)["until_s"] + 9.0)
    assert "time span" in refused(await api.admin.post(f"{ROOT}/notes", json=turned), 422, "bad-input")
    assert (await api.admin.delete(f"{ROOT}/notes/{note.id}")).status_code == 204
    for ask in (api.admin.get, api.admin.delete):
        refused(await ask(f"{ROOT}/notes/{note.id}"), 404, "not-found")


async def test_only_operators_speak(api: Api) -> None:
    """Others may listen at most; an agent or a gateway does neither."""
    for role in ("viewer", "agent", "gateway"):
        client = api.by_role[role]
        refused(await client.post(f"{ROOT}/notes", json=draft(api)), 403, "denied")
        refused(await client.post(f"{ROOT}/goal", json=goal(api)), 403, "denied")
    refused(await api.by_role["agent"].get(f"{ROOT}/notes"), 403, "denied")


def goal(api: Api, text: str = "fairness first, protect image", **more: Any) -> dict[str, Any]:
    """Return a goal from now on."""
    return {"text": text, "from_s": api.parts.clock.now_s(), "until_s": None, "by": "", "reading": None, **more}


async def seen(api: Api) -> GoalView:
    """Return what the API says of the goal."""
    return GoalView.from_json((await api.by_role["viewer"].get(f"{ROOT}/goal")).content)


async def answered(api: Api, name: str, verb: str) -> httpx.Response:
    """Return what comes of an answer."""
    return await api.by_role["operator"].post(f"{ROOT}/goals/{name}:{verb}")


async def test_a_goal_acts_once_it_is_approved_and_is_undone_the_same_way(api: Api) -> None:
    """Read by rule, shown as a diff; undoing proposes what was there before, undoing that the goal again."""
    before = await seen(api)
    made = Goal.from_json((await api.by_role["operator"].post(f"{ROOT}/goal", json=goal(api))).content)
    assert "priority of image: 2 → 4" in made.changes
    assert any(one.startswith("weight of fairness: 0.5 → ") for one in made.changes)
    assert (await seen(api)).model_copy(update={"waiting": None}) == before
    assert (await seen(api)).waiting == made
    assert (await answered(api, made.id, "approve")).status_code == 200
    refused(await answered(api, made.id, "reject"), 409, "conflict")
    now = await seen(api)
    assert (now.weights, now.waiting) == (made.weights, None)
    assert in_force(await api.store.goals(), api.parts.clock.now_s()) == now.in_force
    assert under(api.parts.settings.controller, now.in_force).weights.fairness > 1.0
    back = Goal.from_json((await api.admin.post(f"{ROOT}/goal:undo")).content)
    assert (back.text, back.reading.read_by, back.weights) == ("as configured", "undo", before.weights)
    await answered(api, back.id, "approve")
    undone = await seen(api)
    assert (undone.weights, undone.priorities) == (before.weights, before.priorities)
    again = Goal.from_json((await api.admin.post(f"{ROOT}/goal:undo")).content)
    assert (again.text, again.weights, again.reading.priorities) == (made.text, made.weights, made.reading.priorities)
    await answered(api, again.id, "reject")
    assert await seen(api) == undone
    assert len((await api.admin.get(f"{ROOT}/goals")).json()["items"]) == 3
    (newest, *_) = (await api.admin.get(f"{ROOT}/goals")).json()["items"]
    assert (await api.by_role["viewer"].get(f"{ROOT}/goals/{again.id}")).json() == newest
    assert newest["approval"]["answer"] == "declined"
    refused(await api.by_role["viewer"].get(f"{ROOT}/goals/goal-9"), 404, "not-found")
    refused(await api.by_role["agent"].get(f"{ROOT}/goals/{again.id}"), 403, "denied")


async def test_a_goal_that_says_nothing_is_refused(api: Api) -> None:
    """Words that name nothing, a model that there is not, a time that is over; without a goal nothing is undone."""
    assert "latency" in refused(await api.admin.post(f"{ROOT}/goal", json=goal(api, "be nice")), 422, "bad-input")
    reading = {"aims": {}, "priorities": [{"model": "other", "priority": 4}], "read_by": "llm", "why": ""}
    wrong = refused(await api.admin.post(f"{ROOT}/goal", json=goal(api, reading=reading)), 422, "bad-input")
    assert "no model 'other'" in wrong
    refused(await api.admin.post(f"{ROOT}/goal", json=goal(api, until_s=1.0)), 422, "bad-input")
    refused(await api.admin.post(f"{ROOT}/goal:undo"), 422, "bad-input")
    refused(await answered(api, "goal-9", "approve"), 404, "not-found")
    assert await api.store.goals() == ()


async def asking(api: Api, llm: str = "small at http://llm") -> None:
    """Let the planner say that it has a language model."""
    await api.store.put_agent_status(some.status().model_copy(update={"llm": llm}))


async def test_a_goal_is_left_to_the_planners_model_first(api: Api) -> None:
    """For as long as it has for a plan; nobody can answer before, and words that the rule cannot read may be set."""
    await asking(api)
    before_s = api.parts.clock.now_s()
    made = Goal.from_json((await api.admin.post(f"{ROOT}/goal", json=goal(api))).content)
    assert made.asked_until_s is not None
    assert 18.0 <= made.asked_until_s - before_s < 60.0
    assert made.reading.read_by == "rule"
    assert "being read" in refused(await answered(api, made.id, "approve"), 409, "conflict")
    vague = Goal.from_json((await api.admin.post(f"{ROOT}/goal", json=goal(api, "be nice"))).content)
    assert (vague.changes, vague.reading.why) == ((), "the rule understands nothing of it")
    given = {"aims": {"churn": 3}, "priorities": [], "read_by": "llm", "why": ""}
    sent = Goal.from_json((await api.admin.post(f"{ROOT}/goal", json=goal(api, reading=given))).content)
    assert sent.asked_until_s is None
    assert Goal.from_json((await api.admin.post(f"{ROOT}/goal", json=goal(api))).content).asked_until_s is not None


async def test_without_a_model_to_ask_the_rule_reads_alone(api: Api) -> None:
    """Then words that it cannot read are refused, and what it has read can be approved at once."""
    await asking(api, "none")
    made = Goal.from_json((await api.admin.post(f"{ROOT}/goal", json=goal(api))).content)
    assert made.asked_until_s is None
    refused(await api.admin.post(f"{ROOT}/goal", json=goal(api, "be nice")), 422, "bad-input")
    assert (await answered(api, made.id, "approve")).status_code == 200


def test_who_is_asked_is_a_matter_of_mode_policy_and_model() -> None:
    """The planner's alone, for 0.6 of a slot; none that is switched off or that a baseline would not heed."""
    shadow, lru = default_mode("planner"), Settings(policy="lru")
    asks = some.status().model_copy(update={"llm": "small at http://llm"})
    others = (some.status("slot-agent").model_copy(update={"llm": "small"}), asks.model_copy(update={"llm": "none"}))
    assert reading_for_s(Settings(), shadow, (*others, asks)) == 18.0
    assert reading_for_s(Settings(), shadow, others) is None
    assert reading_for_s(Settings(), shadow.model_copy(update={"mode": "off"}), (asks,)) is None
    assert reading_for_s(lru, shadow, (asks,)) is None
