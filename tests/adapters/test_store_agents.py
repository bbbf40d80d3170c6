"""What agents keep in a store: proposals, statuses, budgets, cases, tallies; the fake and MongoDB hold to the same."""

import asyncio

import pytest

from fairlead.contracts.agent_memory import (
    Acting,
    AgentMemory,
    Gains,
    Prediction,
    Predictions,
    Trip,
    Vitals,
    Watch,
)
from fairlead.contracts.cases import Advantage, ModelTally
from fairlead.contracts.cluster import Cluster
from fairlead.contracts.decisions import SlotInput
from fairlead.contracts.dialogue import BudgetLimits, BudgetSpent, Proposal
from fairlead.contracts.errors import Conflict, InputError, NotFound, RevisionMismatch
from fairlead.contracts.evidence import Call, Evidence, Label
from fairlead.contracts.forecasts import Change, Knowledge, Regime
from fairlead.contracts.plans import Rate
from fairlead.contracts.ports import Store
from fairlead.contracts.readings import Outcome
from fairlead.contracts.resources import RouteStates
from tests.adapters import store_examples as some
from tests.adapters.store_fixture import Heard

NOTHING = BudgetSpent(tokens_hour=0, tokens_day=0, money_hour=0.0, money_day=0.0)


def answered(proposal: Proposal, answer: str = "approved", at_s: float = 1010.0) -> Proposal:
    """Return the proposal with Ann's answer."""
    return proposal.model_copy(update={"approval": some.approval(answer, at_s)})


async def test_a_proposal_waits_until_a_person_answers_it(store: Store) -> None:
    """It comes back as it was left, with a revision that the answer must name."""
    assert await store.put_proposal(some.proposal(revision=4), if_revision=None) == some.proposal()
    assert await store.proposal("p1") == some.proposal()
    for answer, revision in ((answered(some.proposal()), 3), (some.proposal(), 1)):
        with pytest.raises(RevisionMismatch):
            await store.put_proposal(answer, if_revision=revision)
    done = await store.put_proposal(answered(some.proposal()), if_revision=0)
    assert (done.revision, done.approval) == (1, some.approval())
    assert await store.proposal("p1") == done
    with pytest.raises(NotFound, match="p9"):
        await store.proposal("p9")
    with pytest.raises(NotFound, match="p9"):
        await store.put_proposal(answered(some.proposal("p9")), if_revision=0)


async def test_an_answered_proposal_is_not_answered_again(store: Store) -> None:
    """Whoever comes second is told by whom and how; a second proposal of the id is refused too."""
    await store.put_proposal(some.proposal(), if_revision=None)
    with pytest.raises(Conflict, match="exists already"):
        await store.put_proposal(some.proposal(), if_revision=None)
    done = await store.put_proposal(answered(some.proposal(), "declined"), if_revision=0)
    for revision in (0, 1):
        with pytest.raises(Conflict, match="was declined already, by ann"):
            await store.put_proposal(answered(some.proposal()), if_revision=revision)
    assert await store.proposal("p1") == done


async def test_a_proposal_is_answered_in_time_and_as_it_was_read(store: Store) -> None:
    """A late approval, one of other content, and one that comes with the proposal change nothing."""
    await store.put_proposal(some.proposal(), if_revision=None)
    for answer in ("approved", "declined"):
        with pytest.raises(Conflict, match=r"expired at 1030\.000"):
            await store.put_proposal(answered(some.proposal(), answer, 1030.0), if_revision=0)
    other = answered(some.proposal()).model_copy(update={"content": "{}"})
    with pytest.raises(Conflict, match="does not change but by an approval"):
        await store.put_proposal(other, if_revision=0)
    with pytest.raises(InputError, match="before anybody could read it"):
        await store.put_proposal(answered(some.proposal("p2")), if_revision=None)
    assert await store.proposal("p1") == some.proposal()
    expired = await store.put_proposal(answered(some.proposal(), "expired", 1031.0), if_revision=0)
    assert expired.approval == some.approval("expired", 1031.0)


async def test_of_two_that_answer_at_once_one_is_heard(store: Store) -> None:
    """The other is told of a conflict."""
    await store.put_proposal(some.proposal(), if_revision=None)
    answers = [answered(some.proposal(), answer) for answer in ("approved", "declined") * 3]
    given = await asyncio.gather(*(store.put_proposal(one, if_revision=0) for one in answers), return_exceptions=True)
    kept = [one for one in given if isinstance(one, Proposal)]
    assert kept == [await store.proposal("p1")]
    assert all(isinstance(one, Conflict) for one in given if not isinstance(one, Proposal))


async def test_proposals_are_listed_newest_first(store: Store) -> None:
    """By when they were made, whatever was answered since."""
    for n in (2, 1, 3):
        await store.put_proposal(some.proposal(f"p{n}", 1000.0 + n), if_revision=None)
    await store.put_proposal(answered(some.proposal("p1", 1001.0), at_s=1020.0), if_revision=0)
    first = await store.proposals(limit=2, cursor=None)
    assert [one.id for one in first.items] == ["p3", "p2"]
    rest = await store.proposals(limit=2, cursor=first.cursor)
    assert ([one.id for one in rest.items], rest.cursor) == (["p1"], None)
    with pytest.raises(InputError, match="cursor"):
        await store.proposals(limit=2, cursor="x")


async def test_changes_tell_of_proposals(store: Store) -> None:
    """When one is left, and how it was answered, each at its instant."""
    async with Heard(store, ["proposal"]) as heard:
        await store.put_proposal(some.proposal(), if_revision=None)
        await store.put_proposal(answered(some.proposal()), if_revision=0)
        await heard.hears(("proposal", "p1", "pending"), ("proposal", "p1", "approved"))
        assert [event.at_s for event in heard.events if event.kind == "proposal"] == [1000.0, 1010.0]


async def test_an_agent_says_one_thing_of_itself(store: Store) -> None:
    """The last; agents in order."""
    assert await store.agent_statuses() == ()
    for one in (some.status("slot-agent"), some.status("planner"), some.status("planner", 1300.0)):
        await store.put_agent_status(one)
    assert await store.agent_statuses() == (some.status("planner", 1300.0), some.status("slot-agent"))


async def test_what_an_agent_goes_on_with_is_kept(store: Store) -> None:
    """Nothing at first; then what it kept last, whole; another agent's is another."""
    assert await store.agent_memory("planner") is None
    seen = Vitals(at_s=5.0, backlog_s=None, judged=3, timely=2, counted=1, latency_sum_s=0.1)
    acts = Acting(at_s=6.0, until_s=9.0, latency_s=None, cited=("case-1",))
    trip = Trip(code="backlog", text="much", cited=("case-1",), until_s=9.0)
    first = AgentMemory(agent="planner", at_s=1.0, llm="a model", prompt="planner/1", version="1.0")
    last = first.model_copy(
        update={
            "gains": Gains(dialogues=2, gain=-0.1, money=0.3),
            "predictions": Predictions(open=(Prediction(at_s=1.0, until_s=2.0, latency_s=0.1),), errors=(1 / 3,)),
            "watch": Watch(trips=1, last=trip, calm=seen, accepted=acts, since_s=6.0, cited=("case-1",)),
        }
    )
    for kept in (first, last):
        await store.put_agent_memory(kept)
        assert await store.agent_memory("planner") == kept
    assert await store.agent_memory("slot-agent") is None


async def test_what_was_learned_of_demand_is_kept(store: Store) -> None:
    """Nothing at first; then what was learned last, whole."""
    assert await store.knowledge() == Knowledge()
    regime = Regime(id="r1", seen_s=600.0, rates=(Rate(model="m1", per_s=0.25),))
    change = Change(at_s=1200.0, before="r1", after="r2", began_at_s=None)
    for known in (Knowledge(regimes=(regime,)), Knowledge(regimes=(regime,), changes=(change,))):
        await store.put_knowledge(known)
        assert await store.knowledge() == known


async def test_what_became_of_the_routes_is_kept(store: Store) -> None:
    """Nothing at first; then what was seen last, whole."""
    assert await store.routes() == RouteStates()
    seen = RouteStates(gateway="infra/edge", reason="", items=(some.route_state(),))
    for routes in (seen, RouteStates(observed_at_s=13.0)):
        await store.put_routes(routes)
        assert await store.routes() == routes


async def test_what_is_set_aside_counts_until_it_is_settled(store: Store) -> None:
    """Then what it took does: less, or more, or where nothing was set aside."""
    assert await store.spent() == NOTHING
    assert await store.reserve("a1", 900, 0.5, BudgetLimits()) is None
    assert await store.reserve("a2", 100, 0.1, BudgetLimits()) is None
    assert await store.spent() == BudgetSpent(tokens_hour=1000, tokens_day=1000, money_hour=0.6, money_day=0.6)
    await store.settle("a1", 400, 0.2)
    assert await store.spent() == BudgetSpent(tokens_hour=500, tokens_day=500, money_hour=0.3, money_day=0.3)
    await store.settle("a2", 150, 0.1)
    await store.settle("a3", 7, 0.0)
    assert await store.spent() == BudgetSpent(tokens_hour=557, tokens_day=557, money_hour=0.3, money_day=0.3)


async def test_a_question_asked_again_before_it_is_settled_sets_aside_once_more(store: Store) -> None:
    """Each attempt may be counted by a server; one settlement is for all of them."""
    limits = BudgetLimits(tokens_per_hour=250)
    assert [await store.reserve("a1", 100, 0.0, limits) is None for _ in range(3)] == [True, True, False]
    await store.settle("a1", 30, 0.0)
    assert (await store.spent()).tokens_hour == 30


@pytest.mark.parametrize(
    ("limits", "code", "text"),
    [
        (BudgetLimits(tokens_per_hour=1000), "budget-tokens", "700 of 1000 tokens an hour are spent, 200 reserved, "),
        (BudgetLimits(tokens_per_day=1000), "budget-tokens", "700 of 1000 tokens a day are spent, 200 reserved, "),
        (BudgetLimits(money_per_hour=1.0), "budget-money", "0.7 of 1 of money an hour are spent, 0.2 reserved, "),
        (BudgetLimits(money_per_day=1.0), "budget-money", "0.7 of 1 of money a day are spent, 0.2 reserved, "),
    ],
)
async def test_what_would_exceed_a_limit_is_refused(store: Store, limits: BudgetLimits, code: str, text: str) -> None:
    """The last that fits is not; a refusal says which limit, what counts, what was wanted, and sets nothing aside."""
    assert await store.reserve("a1", 700, 0.7, limits) is None
    await store.settle("a1", 700, 0.7)
    assert await store.reserve("a2", 200, 0.2, limits) is None
    refusal = await store.reserve("a3", 101, 0.101, limits)
    assert refusal is not None
    assert refusal.code == code
    assert refusal.text.startswith(text)
    assert refusal.text.endswith(("101 wanted", "0.101 wanted"))
    assert await store.reserve("a4", 100, 0.1, limits) is None
    assert await store.reserve("a5", 1, 0.000001, limits) is not None
    assert (await store.spent()).tokens_hour == 1000


async def test_who_asks_at_once_never_exceeds_a_limit_together(store: Store) -> None:
    """Of sixty that want 90 tokens each, eleven get them of 1000."""
    limits = BudgetLimits(tokens_per_hour=1000)
    refusals = await asyncio.gather(*(store.reserve(f"a{n}", 90, 0.0, limits) for n in range(60)))
    assert sum(one is None for one in refusals) == 11
    assert (await store.spent()).tokens_hour == 990


async def test_less_than_nothing_cannot_be_spent(store: Store) -> None:
    """Nor what is no number."""
    for tokens, money in ((-1, 0.0), (1, -0.1), (1, float("nan")), (1, float("inf"))):
        with pytest.raises(InputError, match="cannot be spent"):
            await store.reserve("a1", tokens, money, BudgetLimits())
        with pytest.raises(InputError, match="cannot be spent"):
            await store.settle("a1", tokens, money)
    assert await store.spent() == NOTHING


async def test_a_case_comes_back_as_it_was_kept(store: Store) -> None:
    """One of the same id takes its place, and has been cited no less often."""
    await store.add_case(some.case(), capacity=8)
    assert await store.case("c1") == some.case()
    await store.cite_cases(["c1", "c9", "c1"])
    await store.cite_cases(["c1"])
    await store.add_case(some.case(quarantined=True), capacity=8)
    assert await store.case("c1") == some.case(quarantined=True, cited=2)
    await store.add_case(some.case(cited=5), capacity=8)
    assert await store.case("c1") == some.case(cited=5)
    assert (await store.cases(cluster=None, limit=5, cursor=None)).items == (some.case(cited=5),)
    await store.delete_case("c1")
    for ask in (store.case, store.delete_case):
        with pytest.raises(NotFound, match="no case 'c1'"):
            await ask("c1")


async def test_some_cases_come_in_the_order_in_which_they_were_asked_for(store: Store) -> None:
    """Those that are there; the quarantined among them say so, and why, until they are released."""
    for n in range(1, 4):
        await store.add_case(some.case(f"c{n}", 1000.0 * n), capacity=8)
    await store.quarantine_cases(["c3", "c1", "c9"], "its plan made things worse")
    found = await store.some_cases(["c3", "c9", "c2", "c1"])
    assert [one.id for one in found] == ["c3", "c2", "c1"]
    assert [(one.quarantined, one.quarantine) for one in found] == [
        (True, "its plan made things worse"),
        (False, ""),
        (True, "its plan made things worse"),
    ]
    assert await store.case("c3") == found[0]
    assert (await store.cases(cluster=None, limit=1, cursor=None)).items == found[:1]
    await store.quarantine_cases(["c3"], "")
    assert await store.case("c3") == some.case("c3", 3000.0)
    assert await store.some_cases([]) == ()


async def test_a_stamp_tells_which_cases_have_changed(store: Store) -> None:
    """By being written, quarantined or released, deleted and written anew, not by being cited; newest first."""
    for n, cluster in ((1, "d1"), (2, "d1"), (3, "d2"), (4, "d1"), (5, "d1"), (6, "d1")):
        await store.add_case(some.case(f"c{n}", 1000.0 * n, cluster=cluster), capacity=8)
    before = await store.case_stamps("d1")
    assert list(before) == ["c6", "c5", "c4", "c2", "c1"]
    await store.cite_cases(["c1"])
    assert await store.case_stamps("d1") == before
    await store.add_case(some.case("c1", 1000.0, objective=0.2), capacity=8)
    await store.quarantine_cases(["c2"], "it went wrong")
    await store.delete_case("c4")
    await store.delete_case("c5")
    await store.add_case(some.case("c5", 5000.0), capacity=8)
    after = await store.case_stamps("d1")
    assert list(after) == ["c6", "c5", "c2", "c1"]
    assert {name for name, stamp in after.items() if stamp != before[name]} == {"c5", "c2", "c1"}
    await store.quarantine_cases(["c2"], "")
    assert (await store.case_stamps("d1"))["c2"] not in (before["c2"], after["c2"])
    assert await store.case_stamps("d3") == {}


async def test_what_a_case_is_judged_by_is_kept_and_forgotten_with_it(store: Store) -> None:
    """Also where the case is written again."""
    begin = some.slot_record(1).input
    assert isinstance(begin, SlotInput)
    calls = (Call(at_s=1.5, site="s1", model="m1"),)
    made = Evidence(case="c1", ended_at_s=1300.0, begin=begin, plan=some.plan(), calls=calls)
    with pytest.raises(NotFound, match="no case 'c1'"):
        await store.put_evidence(made)
    await store.add_case(some.case(), capacity=8)
    with pytest.raises(NotFound, match="nothing is kept"):
        await store.evidence("c1")
    await store.put_evidence(made)
    await store.add_case(some.case(objective=0.2), capacity=8)
    assert await store.evidence("c1") == made
    await store.delete_case("c1")
    await store.add_case(some.case(), capacity=8)
    with pytest.raises(NotFound, match="nothing is kept"):
        await store.evidence("c1")
    with pytest.raises(NotFound, match="no case 'c2'"):
        await store.evidence("c2")


async def test_a_label_is_kept_beside_what_a_case_says(store: Store) -> None:
    """Nothing else of it changes, and one that is forgotten does not come back; written anew, a case is as it says."""
    gain = Advantage(value=0.2, low=0.1, high=0.3, twin="reference 0.0", demands=8)
    worth = some.case().realised
    said = Label(replayed=worth, fallback=worth.model_copy(update={"objective": 0.9}), advantage=gain)
    with pytest.raises(NotFound, match="no case 'c1'"):
        await store.label_case("c1", said)
    assert (await store.cases(cluster=None, limit=5, cursor=None)).items == ()
    await store.add_case(some.case(), capacity=8)
    await store.cite_cases(["c1"])
    await store.quarantine_cases(["c1"], "it went wrong")
    before = await store.case_stamps("d1")
    made = await store.label_case("c1", said)
    assert (made.cited, made.quarantined, made.quarantine) == (1, True, "it went wrong")
    assert (made.replayed, made.fallback, made.advantage) == (said.replayed, said.fallback, gain)
    assert await store.case("c1") == made
    assert await store.case_stamps("d1") != before
    again = said.model_copy(update={"advantage": gain.model_copy(update={"twin": "reference 1.0"})})
    await store.quarantine_cases(["c1"], "")
    assert (await store.label_case("c1", again)).advantage == again.advantage
    assert not (await store.case("c1")).quarantined
    await store.add_case(some.case(), capacity=8)
    assert await store.case("c1") == some.case(cited=1)


async def test_cases_are_listed_by_cluster_newest_first(store: Store) -> None:
    """Those that began last first, equal ones by id, in pages."""
    for n, cluster in ((3, "d1"), (1, "d2"), (2, "d1"), (5, "d1"), (4, "d1")):
        await store.add_case(some.case(f"c{n}", 1000.0 + n // 2, cluster=cluster), capacity=8)
    first = await store.cases(cluster="d1", limit=3, cursor=None)
    assert [one.id for one in first.items] == ["c5", "c4", "c3"]
    rest = await store.cases(cluster="d1", limit=3, cursor=first.cursor)
    assert ([one.id for one in rest.items], rest.cursor) == (["c2"], None)
    everyone = await store.cases(cluster=None, limit=9, cursor=None)
    assert [one.id for one in everyone.items] == ["c5", "c4", "c3", "c2", "c1"]
    assert (await store.cases(cluster="d3", limit=9, cursor=None)).items == ()
    with pytest.raises(InputError, match="cursor"):
        await store.cases(cluster="d1", limit=3, cursor="x")


async def test_cases_beyond_the_capacity_are_forgotten_cluster_by_cluster(store: Store) -> None:
    """The oldest first, but neither the best nor the worst."""
    await store.add_case(some.case("best", 1.0, objective=0.1), capacity=8)
    await store.add_case(some.case("worst", 2.0, objective=0.9), capacity=8)
    await store.add_case(some.case("other", 0.0, cluster="d2"), capacity=8)
    for n in range(20):
        await store.add_case(some.case(f"c{n:02d}", 10.0 + n), capacity=8)
    page = await store.cases(cluster=None, limit=30, cursor=None)
    assert [one.id for one in page.items] == [*(f"c{n}" for n in range(19, 13, -1)), "worst", "best", "other"]
    await store.add_case(some.case("c20", 30.0), capacity=3)
    page = await store.cases(cluster="d1", limit=30, cursor=None)
    assert [one.id for one in page.items] == ["c20", "worst", "best"]


async def test_a_tally_counts_what_became_of_requests(store: Store) -> None:
    """By the model's deadline; what did not finish in time counts with its age at the window's end, cancelled apart."""
    quick = some.model("image", deadline_s=5.0)
    await store.replace_cluster(Cluster(nodes=(some.node(),), models=(quick, some.model()), sites=()))

    def ended(model: str, arrived_at_s: float, after_s: float, status: str = "finished") -> None:
        outcomes.append(
            some.outcome(
                f"r{len(outcomes)}", arrived_at_s + after_s, model=model, arrived_at_s=arrived_at_s, status=status
            )
        )

    outcomes: list[Outcome] = []
    ended("text", 99.5, 1.0)  # before the window
    ended("text", 100.0, 2.0)
    ended("text", 101.0, 61.0)  # untimely
    ended("text", 140.0, 60.0)  # judged at its end, timely and finished by it
    ended("text", 141.0, 1.0)  # too late to be judged
    ended("text", 110.0, 1.0, "failed")
    ended("text", 190.0, 30.0)  # finished after the window
    ended("text", 120.0, 1.0, "cancelled")
    ended("text", 200.0, 1.0)  # after the window
    ended("image", 100.0, 5.0)
    ended("image", 100.0, 5.5)
    ended("image", 150.0, 100.0, "refused")
    ended("gone", 150.0, 1.0, "cancelled")
    await store.append_gateway_report(some.gateway_report(1, outcomes=tuple(outcomes)))
    assert await store.tallies(100.0, 200.0) == (
        ModelTally(model="gone", finished=0, timely=0, judged=0, ended=0, latency_sum_s=0.0, counted=0, cancelled=1),
        ModelTally(model="image", finished=2, timely=1, judged=3, ended=2, latency_sum_s=60.5, counted=3, cancelled=0),
        ModelTally(model="text", finished=4, timely=2, judged=4, ended=5, latency_sum_s=224.0, counted=6, cancelled=1),
    )
    assert await store.tallies(300.0, 400.0) == ()
