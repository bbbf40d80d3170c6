"""Agents, their proposals and their dialogues, as the control API shows them, and a person's answers."""

import asyncio

import httpx
import pytest

from control_api.agent_routes import budgeted, viewed
from fairlead.adapters.store_rules import default_mode
from fairlead.contracts.cases import Advantage
from fairlead.contracts.decisions import DecisionRecord, EpochDecision
from fairlead.contracts.dialogue import (
    REPLY_CHARS,
    Agents,
    BudgetLeft,
    BudgetLimits,
    BudgetSpent,
    Proposal,
)
from fairlead.contracts.events import Role
from fairlead.contracts.hindsight import DecisionWorth, PlanWorth
from fairlead.contracts.settings import LlmEndpoint, LlmSettings, Settings
from fairlead.policy.cases import cluster_digest
from tests.adapters import store_examples as some
from tests.control_api import dialogue_examples as example
from tests.control_api.conftest import Api
from tests.control_api.test_resources import ROOT, refused
from tests.policy.remembering import case as remembered_case
from tests.waiting import until

UNSET = Settings()
SET = Settings(llm=LlmSettings(endpoints=(LlmEndpoint(url="http://127.0.0.1:9000/v1"),)))


async def test_agents_are_shown_before_they_have_said_anything(api: Api) -> None:
    """With the mode that holds by default, and why the fallback acts."""
    shown = Agents.from_json((await api.by_role["viewer"].get(f"{ROOT}/agents")).content)
    assert [(one.agent, one.mode, one.acting, one.status) for one in shown.items] == [
        ("planner", "shadow", "fallback", None),
        ("slot-agent", "shadow", "fallback", None),
    ]
    assert all("no language model is configured" in one.why for one in shown.items)
    assert shown.budget.left == BudgetLeft(tokens_hour=None, tokens_day=None, money_hour=None, money_day=None)


async def test_agents_are_shown_as_they_said_last(api: Api) -> None:
    """Beside what the budget is spent on, over both."""
    now_s = api.parts.clock.now_s()
    await api.store.put_agent_status(example.status(at_s=now_s))
    assert await api.store.reserve("a.1", 500, 0.25, BudgetLimits()) is None
    shown = Agents.from_json((await api.admin.get(f"{ROOT}/agents")).content)
    assert shown.items[1].status == example.status(at_s=now_s)
    assert shown.items[1].why == "mode is shadow"
    assert (shown.budget.spent.tokens_hour, shown.budget.spent.money_day) == (500, 0.25)


async def test_a_decision_is_shown_in_hindsight(api: Api) -> None:
    """What it cost, what was expected, what came so far; with its case where a plan has become one."""
    record = example.advice_record(example.dialogue(judgements=(example.judgement(),)))
    await api.store.publish_slot(None, None, record)
    shown = DecisionWorth.from_json((await api.by_role["viewer"].get(f"{ROOT}/decisions/{record.id}/worth")).content)
    assert (shown.id, shown.questions, shown.judging_s, shown.predicted_s) == (record.id, 2, 0.25, 11.0)
    assert shown.chosen is not None
    assert shown.chosen.name == "other-1"
    assert shown.case is None
    planned = some.epoch_record(1)
    await api.store.publish_epoch(None, planned)
    assert isinstance(planned.output, EpochDecision)
    assert planned.output.plan is not None
    name = f"{cluster_digest(planned.input.cluster)}-{planned.output.plan.epoch}-{planned.output.plan.generation}"
    await api.store.add_case(remembered_case(1).model_copy(update={"id": name}), capacity=8)
    epoch = (await api.admin.get(f"{ROOT}/decisions/{planned.id}/worth")).json()
    assert (epoch["case"], epoch["chosen"], epoch["questions"]) == (name, None, 0)
    assert epoch["realised"]["objective"] > 0.0
    gain = Advantage(value=0.1, low=0.05, high=0.15, twin="reference 0", demands=8)
    realised = remembered_case(1).realised
    await api.store.put_plan_worth(PlanWorth(decision=planned.id, case="abc-1-1", realised=realised, advantage=gain))
    unused = DecisionWorth.from_json((await api.admin.get(f"{ROOT}/decisions/{planned.id}/worth")).content)
    assert (unused.case, unused.advantage) == ("abc-1-1", gain)
    refused(await api.admin.get(f"{ROOT}/decisions/slot-99/worth"), 404, "not-found")


def test_what_was_set_since_the_last_dialogue_counts() -> None:
    """An agent's own words hold only while its mode is the one of its last dialogue and it still speaks."""
    auto = default_mode("slot-agent").model_copy(update={"mode": "auto"})
    said = example.status(mode="auto", acting="llm", why="")
    assert (viewed(auto, said, SET, 1010.0).acting, viewed(auto, said, SET, 1010.0).why) == ("llm", "")
    cases = (
        (auto, None, SET, 1010.0, "no dialogue with its language model has ended yet"),
        (auto, None, UNSET, 1010.0, "no language model is configured: start with --llm"),
        (auto, said.model_copy(update={"llm": "none"}), SET, 1010.0, "no language model is configured"),
        (auto, said, SET, 1091.0, "no dialogue has ended for 91 s"),
        (auto, said, SET.model_copy(update={"policy": "lru"}), 1010.0, "policy lru is a baseline"),
        (auto.model_copy(update={"mode": "off"}), said, SET, 1010.0, "mode is off"),
        (auto.model_copy(update={"mode": "shadow"}), said, SET, 1010.0, "mode is shadow"),
        (auto.model_copy(update={"mode": "assist"}), said, SET, 1010.0, "mode is assist"),
        (auto, said.model_copy(update={"mode": "shadow"}), SET, 1010.0, "mode is auto: the next proposal"),
    )
    for mode, status, settings, now_s, words in cases:
        view = viewed(mode, status, settings, now_s)
        assert view.acting == "fallback"
        assert words in view.why
    planner = default_mode("planner")
    assert viewed(planner, example.status("planner", why="late"), SET, 1091.0).why == "late"


def test_what_is_left_of_a_budget_is_never_negative() -> None:
    """What is never settled stays spent, so that more than a limit that was lowered since can be spent."""
    spent = BudgetSpent(tokens_hour=700, tokens_day=900, money_hour=0.5, money_day=0.75)
    limits = BudgetLimits(tokens_per_hour=1000, tokens_per_day=800, money_per_hour=0.25, money_per_day=1.0)
    left = budgeted(limits, spent).left
    assert left == BudgetLeft(tokens_hour=300, tokens_day=0, money_hour=0.0, money_day=0.25)


async def proposed(api: Api, number: int, for_s: float = 600.0) -> Proposal:
    """Leave a proposal that ends so long from now."""
    now_s = api.parts.clock.now_s()
    made = example.proposal(number, created_at_s=now_s - 1.0 + number / 10, expires_at_s=now_s + for_s)
    return await api.store.put_proposal(made, if_revision=None)


async def test_proposals_are_listed_newest_first_in_pages(api: Api) -> None:
    """And read one by one, with their tag."""
    made = [await proposed(api, number) for number in (1, 2, 3)]
    first = (await api.admin.get(f"{ROOT}/proposals")).json()
    rest = (await api.admin.get(f"{ROOT}/proposals", params={"cursor": first["cursor"]})).json()
    assert [one["id"] for one in (*first["items"], *rest["items"])] == [one.id for one in reversed(made)]
    assert rest["cursor"] is None
    read = await api.by_role["viewer"].get(f"{ROOT}/proposals/{made[0].id}")
    assert (read.text, read.headers["etag"]) == (made[0].to_json(), '"0"')
    refused(await api.admin.get(f"{ROOT}/proposals/slot-agent-9-9"), 404, "not-found")


@pytest.mark.parametrize(("verb", "said"), [("approve", "approved"), ("decline", "declined")])
async def test_a_proposal_is_answered_once_and_it_is_kept_by_whom(api: Api, verb: str, said: str) -> None:
    """The second answer is refused and told who gave the first."""
    name = (await proposed(api, 1)).id
    before_s = api.parts.clock.now_s()
    response = await api.by_role["operator"].post(f"{ROOT}/proposals/{name}:{verb}")
    answered = Proposal.from_json(response.content)
    tokens = {token.role: token.id for token in await api.store.tokens()}
    assert (response.status_code, response.headers["etag"]) == (200, '"1"')
    assert answered.approval is not None
    assert (answered.approval.answer, answered.approval.by) == (said, f"token {tokens['operator']}")
    assert before_s <= answered.approval.at_s <= api.parts.clock.now_s()
    assert await api.store.proposal(name) == answered
    for again in ("approve", "decline"):
        detail = refused(await api.admin.post(f"{ROOT}/proposals/{name}:{again}"), 409, "conflict")
        assert f"{said} already, by token {tokens['operator']}" in detail
    assert await api.store.proposal(name) == answered


async def test_an_answer_that_comes_too_late_is_refused(api: Api) -> None:
    """Nothing is written; nor for a proposal that is not there."""
    late = await proposed(api, 1, for_s=0.0)
    detail = refused(await api.admin.post(f"{ROOT}/proposals/{late.id}:approve"), 409, "conflict")
    assert "expired" in detail
    assert await api.store.proposal(late.id) == late
    refused(await api.admin.post(f"{ROOT}/proposals/nothing:approve"), 404, "not-found")


async def test_of_two_answers_at_once_one_counts(api: Api) -> None:
    """The other is a conflict, whichever came first."""
    name = (await proposed(api, 1)).id
    answers: list[httpx.Response] = await asyncio.gather(
        *(api.admin.post(f"{ROOT}/proposals/{name}:{verb}") for verb in ("approve", "decline", "approve"))
    )
    assert sorted(one.status_code for one in answers) == [200, 409, 409]


@pytest.mark.parametrize("role", ["viewer", "agent", "gateway"])
async def test_only_operators_answer(api: Api, role: Role) -> None:
    """Not even the agent whose proposal it is."""
    name = (await proposed(api, 1)).id
    for verb in ("approve", "decline"):
        refused(await api.by_role[role].post(f"{ROOT}/proposals/{name}:{verb}"), 403, "denied")
    assert (await api.store.proposal(name)).approval is None


async def test_answers_are_posted(api: Api) -> None:
    """Other methods are refused with the one that is allowed."""
    response = await api.admin.get(f"{ROOT}/proposals/p1:approve")
    refused(response, 405, "method-not-allowed")
    assert response.headers["allow"] == "POST"


async def test_a_proposal_and_its_answer_are_events(api: Api) -> None:
    """So that who waits for one need not ask again and again."""
    events = api.parts.watch.events(frozenset(("proposal",)), None)
    reading = asyncio.create_task(anext(events))
    await until(lambda: api.parts.watch.listened_to)
    made = await proposed(api, 1)
    first = await reading
    await api.admin.post(f"{ROOT}/proposals/{made.id}:approve")
    second = await anext(events)
    assert [(one.kind, one.id, one.text) for one in (first, second)] == [
        ("proposal", made.id, "pending"),
        ("proposal", made.id, "approved"),
    ]
    await events.aclose()


async def test_a_caller_is_named_by_token_and_note(api: Api) -> None:
    """What stands in an audit: which token, whose it is, and nothing secret."""
    made = (await api.admin.post(f"{ROOT}/tokens", json={"role": "operator", "note": "ann's laptop"})).json()
    name = (await proposed(api, 1)).id
    headers = {"authorization": f"Bearer {made['token']}"}
    answered = (await api.admin.post(f"{ROOT}/proposals/{name}:approve", headers=headers)).json()
    assert answered["approval"]["by"] == f"token {made['id']} (ann's laptop)"


async def test_a_decision_tells_the_whole_dialogue(api: Api) -> None:
    """Prompt, cases, model, sampling, raw reply, verdicts, seconds, tokens and money, byte for byte."""
    record = example.advice_record()
    await api.store.publish_slot(None, None, record)
    read = await api.by_role["viewer"].get(f"{ROOT}/decisions/{record.id}")
    assert DecisionRecord.from_json(read.content) == record
    listed = (await api.admin.get(f"{ROOT}/decisions")).json()["items"]
    assert [(one["id"], one["kind"], one["asks"]) for one in listed] == [("slot-table-7", "advice", 2)]


async def test_the_longest_replies_come_back_whole(api: Api) -> None:
    """Up to the limit of a reply, whatever its characters are."""
    text = ('\x1b[2J\u2028\x00\\"' * REPLY_CHARS)[:REPLY_CHARS]
    turns = (example.exchange(1, example.answer(text), "x" * 60_000), example.exchange(2, example.answer(text)))
    record = example.advice_record(example.dialogue(*turns))
    await api.store.publish_slot(None, None, record)
    read = DecisionRecord.from_json((await api.admin.get(f"{ROOT}/decisions/{record.id}")).content)
    assert read == record


async def test_a_dialogue_is_held_again_over_rest(api: Api) -> None:
    """Identical from the journal alone; a question that is another one today is a problem with its line."""
    record = await example.held_record("no JSON at all", '{"routes": 1}')
    for one in (record, example.asked_otherwise(record)):
        await api.store.publish_slot(None, None, one)
    same = (await api.admin.post(f"{ROOT}/decisions/{record.id}/replay")).json()
    assert same == {"id": record.id, "identical": True, "difference": ""}
    other = await api.admin.post(f"{ROOT}/decisions/slot-table-8/replay")
    assert "asked otherwise" in refused(other, 409, "diverged")


async def test_a_change_of_mode_keeps_who_and_when(api: Api) -> None:
    """The token stands beside the name that was given, the instant is ours; a copy of the last name says nothing."""
    tokens = {token.role: f"token {token.id}" for token in await api.store.tokens()}
    body = {"agent": "planner", "mode": "auto", "by": "ann", "at_s": 5.0, "revision": 0}
    before_s = api.parts.clock.now_s()
    path = f"{ROOT}/mode/planner"
    first = (await api.by_role["operator"].put(path, json=body, headers={"if-match": '"0"'})).json()
    assert (first["mode"], first["by"]) == ("auto", f"ann, {tokens['operator']}")
    assert before_s <= first["at_s"] <= api.parts.clock.now_s()
    second = (await api.admin.put(path, json=first | {"mode": "off"}, headers={"if-match": '"1"'})).json()
    assert (second["mode"], second["by"]) == ("off", tokens["admin"])
    third = (await api.admin.put(path, json=second | {"by": "x" * 256}, headers={"if-match": '"2"'})).json()
    assert len(third["by"]) == 256
    shown = Agents.from_json((await api.admin.get(f"{ROOT}/agents")).content).items[0]
    assert (shown.mode_by, shown.mode_at_s) == (third["by"], third["at_s"])


async def test_plain_decisions_ask_nobody(api: Api) -> None:
    """A record from before there were dialogues reads as one without."""
    await api.store.publish_slot(some.placement(1), some.table(1), some.slot_record(1))
    assert (await api.admin.get(f"{ROOT}/decisions")).json()["items"][0]["asks"] == 0
