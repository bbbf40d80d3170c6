"""One suite for the store port: the fake and MongoDB hold to the same laws."""

import asyncio

import pytest

from fairlead.contracts.cases import Advantage
from fairlead.contracts.cluster import Cluster
from fairlead.contracts.decisions import DecisionSummary, GenerationSeen
from fairlead.contracts.errors import Conflict, InputError, NotFound, RevisionMismatch, StaleGeneration
from fairlead.contracts.events import Mode, Wake
from fairlead.contracts.hindsight import PlanWorth
from fairlead.contracts.plans import Placement, RoutingTable
from fairlead.contracts.ports import Store
from tests.adapters import store_examples as some
from tests.adapters.store_fixture import Heard
from tests.control_api import dialogue_examples as example
from tests.policy.remembering import realised


async def test_a_new_store_is_empty(store: Store) -> None:
    """Nothing is in force, nothing has arrived, and it answers."""
    assert await store.cluster() == Cluster(nodes=(), models=(), sites=())
    assert await store.generations() == GenerationSeen(plan=0, placement=0, table=0)
    assert (await store.current_plan(), await store.current_placement(), await store.current_table()) == (None,) * 3
    assert (await store.arrived(), await store.pod_totals()) == ({}, (0, 0))
    assert (await store.latest_node_reports(), await store.latest_gateway_reports()) == ((), ())
    assert (await store.outcomes(limit=5, cursor=None)).items == ()
    assert (await store.overrides(), await store.tokens()) == ((), ())
    await store.ping()


async def test_a_cluster_comes_back_as_it_was_put(store: Store) -> None:
    """The whole is replaced, revisions and all."""
    await store.replace_cluster(some.cluster())
    assert await store.cluster() == some.cluster()
    smaller = Cluster(nodes=(some.node("node-3"),), models=(), sites=())
    await store.replace_cluster(smaller)
    assert await store.cluster() == smaller


async def test_a_revision_rises_with_each_change(store: Store) -> None:
    """A creation gives revision 0 whatever was sent, each change one more."""
    created = await store.put_node(some.node(revision=17), if_revision=None)
    assert created.revision == 0
    changed = await store.put_node(some.node(zone="east"), if_revision=0)
    assert (changed.revision, changed.zone) == (1, "east")
    assert (await store.cluster()).nodes == (changed,)


async def test_what_is_out_of_date_changes_nothing(store: Store) -> None:
    """Duplicates, other revisions and unknown ids are refused, each as itself."""
    await store.put_node(some.node(), if_revision=None)
    with pytest.raises(Conflict, match="exists already"):
        await store.put_node(some.node(zone="east"), if_revision=None)
    with pytest.raises(RevisionMismatch, match="has revision 0, not 3"):
        await store.put_node(some.node(zone="east"), if_revision=3)
    with pytest.raises(RevisionMismatch):
        await store.delete_node("node-1", if_revision=1)
    with pytest.raises(NotFound, match="node-9"):
        await store.delete_node("node-9", if_revision=0)
    with pytest.raises(NotFound):
        await store.put_site(some.site("site-9"), if_revision=0)
    assert (await store.cluster()).nodes == (some.node(),)


async def test_models_and_sites_are_created_changed_and_deleted(store: Store) -> None:
    """They follow the same rules as nodes."""
    await store.put_model(some.model(), if_revision=None)
    await store.put_site(some.site(), if_revision=None)
    model = await store.put_model(some.model(concurrency=4), if_revision=0)
    site = await store.put_site(some.site(), if_revision=0)
    assert await store.cluster() == Cluster(nodes=(), models=(model,), sites=(site,))
    await store.delete_model("text", if_revision=1)
    await store.delete_site("site-1", if_revision=1)
    assert await store.cluster() == Cluster(nodes=(), models=(), sites=())


async def test_a_model_that_fits_nowhere_is_refused(store: Store) -> None:
    """So is a deletion or a site that would leave the cluster inconsistent."""
    await store.replace_cluster(some.cluster())
    with pytest.raises(InputError, match="'giant' needs 9000000000 bytes, the largest node 'node-1' has 8000000000"):
        await store.put_model(some.model("giant", 9 * some.GB), if_revision=None)
    with pytest.raises(InputError, match="'image' needs"):
        await store.delete_node("node-1", if_revision=0)
    with pytest.raises(InputError, match="not defined"):
        await store.put_site(some.site("site-2", node="node-7"), if_revision=None)
    assert await store.cluster() == some.cluster()


async def test_a_report_is_kept_once_and_in_any_order(store: Store) -> None:
    """Sequences fill gaps late; the newest stays the newest."""
    taken = [await store.append_node_report(some.node_report(n)) for n in (1, 3, 3, 2, 1, 2, 6, 4)]
    assert taken == [True, True, False, True, False, False, True, True]
    assert await store.latest_node_reports() == (some.node_report(6),)
    assert await store.append_node_report(some.node_report(5))
    assert not await store.append_node_report(some.node_report(5))


async def test_reports_that_arrive_at_the_same_time_are_each_kept_once(store: Store) -> None:
    """Of twelve reports sent at once, three are sent twice."""
    reports = [some.node_report(n, name=f"node-{m}") for n in (1, 2, 3, 2) for m in (1, 2, 3)]
    taken = await asyncio.gather(*(store.append_node_report(report) for report in reports))
    assert sum(taken) == 9
    assert await store.latest_node_reports() == tuple(some.node_report(3, name=f"node-{m}") for m in (1, 2, 3))


async def test_a_late_report_of_a_former_instance_never_replaces_a_newer_one(store: Store) -> None:
    """What was observed last is the latest, whoever restarts."""
    assert await store.append_node_report(some.node_report(5, instance="a", observed_at_s=2000.0))
    assert await store.append_node_report(some.node_report(1, instance="b", observed_at_s=3000.0))
    assert await store.append_node_report(some.node_report(6, instance="a", observed_at_s=2500.0))
    (latest,) = await store.latest_node_reports()
    assert (latest.instance, latest.observed_at_s) == ("b", 3000.0)


async def test_counts_go_on_over_restarts(store: Store) -> None:
    """Counters that begin again at 0 with a process are added to those of its former ones."""
    await store.append_gateway_report(some.gateway_report(1, arrived=5))
    await store.append_gateway_report(some.gateway_report(3, arrived=9))
    await store.append_gateway_report(some.gateway_report(2, arrived=7))
    await store.append_gateway_report(some.gateway_report(1, instance="b", arrived=2, observed_at_s=2000.0))
    await store.append_gateway_report(some.gateway_report(1, name="site-2", arrived=100))
    assert await store.arrived() == {"text": 111}
    await store.append_node_report(some.node_report(1, starts=4, stops=1))
    await store.append_node_report(some.node_report(1, instance="b", starts=2, stops=2))
    assert await store.pod_totals() == (6, 3)


async def test_an_outcome_is_counted_once_however_often_its_report_is_sent(store: Store) -> None:
    """Outcomes are paged, those that ended last first."""
    report = some.gateway_report(1, outcomes=(some.outcome("r1", 1005.0), some.outcome("r2", 1003.0)))
    assert await store.append_gateway_report(report)
    assert not await store.append_gateway_report(report)
    await store.append_gateway_report(some.gateway_report(2, outcomes=(some.outcome("r3", 1004.0),)))
    page = await store.outcomes(limit=2, cursor=None)
    assert [one.request for one in page.items] == ["r1", "r3"]
    rest = await store.outcomes(limit=2, cursor=page.cursor)
    assert ([one.request for one in rest.items], rest.cursor) == (["r2"], None)


async def test_invariant_09_an_older_plan_never_replaces_a_newer_one(store: Store) -> None:
    """A plan must name the one in force as its parent; a refused one leaves no line in the journal."""
    await store.publish_plan(some.plan(1))
    await store.publish_epoch(some.plan(2), some.epoch_record(2))
    for late in (some.plan(1, 0), some.plan(2, 1), some.plan(3, 1)):
        with pytest.raises(StaleGeneration):
            await store.publish_plan(late)
        with pytest.raises(StaleGeneration):
            await store.publish_epoch(late, some.epoch_record(9))
    assert await store.current_plan() == some.plan(2)
    with pytest.raises(NotFound):
        await store.decision("epoch-9")


async def test_invariant_09_an_older_placement_or_table_never_replaces_a_newer_one(store: Store) -> None:
    """Nor does one that names a plan or placement that is not in force."""
    await store.publish_slot(some.placement(1), some.table(1), some.slot_record(1))
    await store.publish_slot(some.placement(2), some.table(2), some.slot_record(2))
    late_ones: tuple[tuple[Placement | None, RoutingTable | None], ...] = (
        (some.placement(2), some.table(3)),
        (some.placement(3), some.table(2, 3)),
        (some.placement(3), some.table(3, 2)),
        (some.placement(3, plan_generation=1), None),
        (None, some.table(3, 1)),
    )
    for placement, table in late_ones:
        with pytest.raises(StaleGeneration):
            await store.publish_slot(placement, table, some.slot_record(3))
    assert (await store.current_placement(), await store.current_table()) == (some.placement(2), some.table(2))
    assert await store.generations() == GenerationSeen(plan=0, placement=2, table=2)
    with pytest.raises(NotFound):
        await store.decision("slot-3")


async def test_invariant_09_of_two_that_decide_at_once_one_is_published(store: Store) -> None:
    """The journal has the winner's line alone."""

    async def publish(decision: str) -> bool:
        record = some.slot_record(1).model_copy(update={"id": decision})
        try:
            await store.publish_slot(some.placement(1), some.table(1), record)
        except StaleGeneration:
            return False
        return True

    wins = await asyncio.gather(*(publish(f"slot-1-{n}") for n in range(6)))
    assert sum(wins) == 1
    page = await store.decisions(agent=None, limit=10, cursor=None)
    assert [record.id for record in page.items] == [f"slot-1-{wins.index(True)}"]


async def test_a_decision_stands_in_the_journal_as_it_was_made(store: Store) -> None:
    """Byte for byte, also where it changed nothing; a second one of its id is refused."""
    await store.publish_slot(some.placement(1), some.table(1), some.slot_record(1))
    await store.publish_slot(None, None, some.slot_record(2, published=False))
    await store.publish_slot(None, some.table(3, 1), some.slot_record(3, published=False))
    await store.publish_epoch(some.plan(1), some.epoch_record(1))
    assert (await store.decision("slot-1")).to_json() == some.slot_record(1).to_json()
    assert await store.decision("epoch-1") == some.epoch_record(1)
    with pytest.raises(Conflict, match="journaled already"):
        await store.publish_slot(None, None, some.slot_record(2))


async def test_a_decision_without_a_plan_is_journaled_alone(store: Store) -> None:
    """The plan in force stays; its generation may be followed afterwards."""
    await store.publish_epoch(some.plan(1), some.epoch_record(1))
    record = some.epoch_record(2, published=False)
    await store.publish_epoch(None, record)
    assert await store.current_plan() == some.plan(1)
    assert (await store.decision("epoch-2")).to_json() == record.to_json()
    page = await store.decision_summaries(agent="planner", limit=5, cursor=None)
    assert [(one.id, one.plan) for one in page.items] == [("epoch-2", 0), ("epoch-1", 1)]
    with pytest.raises(Conflict, match="journaled already"):
        await store.publish_epoch(some.plan(2), record)
    assert await store.generations() == GenerationSeen(plan=1, placement=0, table=0)
    await store.publish_epoch(some.plan(2), some.epoch_record(3))


async def test_the_journal_is_listed_newest_first_by_agent_and_page(store: Store) -> None:
    """Records and summaries alike."""
    await store.publish_epoch(some.plan(1), some.epoch_record(1))
    for n in range(1, 6):
        await store.publish_slot(some.placement(n), some.table(n), some.slot_record(n))
    first = await store.decisions(agent="slot-agent", limit=3, cursor=None)
    rest = await store.decisions(agent="slot-agent", limit=3, cursor=first.cursor)
    assert [r.id for r in (*first.items, *rest.items)] == [f"slot-{n}" for n in (5, 4, 3, 2, 1)]
    assert rest.cursor is None
    everyone = await store.decision_summaries(agent=None, limit=10, cursor=None)
    assert {s.id for s in everyone.items} == {"epoch-1", *(f"slot-{n}" for n in range(1, 6))}
    newest = everyone.items[0]
    assert (newest.id, newest.number, newest.placement, newest.table, newest.plan) == ("slot-5", 5, 5, 5, 0)
    assert newest.steps == some.STEPS


async def test_what_a_plan_was_worth_is_kept_beside_its_decision(store: Store) -> None:
    """The last word of it, nothing before; not of a plan that no decision of ours made."""
    record = some.epoch_record(1)
    await store.publish_epoch(some.plan(1), record)
    assert await store.plan_worth("epoch-1") is None
    gain = Advantage(value=0.1, low=-0.1, high=0.3, twin="compiled 0", demands=8)
    for value in (0.2, 0.1):
        worth = PlanWorth(
            decision="epoch-1",
            case="abc-1-1",
            realised=realised(0.25),
            advantage=gain.model_copy(update={"value": value}),
        )
        await store.put_plan_worth(worth)
        assert await store.plan_worth("epoch-1") == worth
    assert await store.decision("epoch-1") == record
    await store.put_plan_worth(worth.model_copy(update={"decision": "epoch-2"}))
    assert await store.plan_worth("epoch-2") is None


async def test_a_summary_says_what_a_dialogue_was_about(store: Store) -> None:
    """Also where it was late; nothing without one, nor in a line of a Fairlead that did not say it."""
    for record in example.whole_slot():
        await store.publish_slot(None, None, record)
    page = await store.decision_summaries(agent="slot-agent", limit=9, cursor=None)
    assert [(one.number, one.about) for one in reversed(page.items)] == [(33, 32), (33, None), (33, 33), (33, None)]
    older = page.items[0].to_document()
    del older["about"]
    assert DecisionSummary.model_validate(older).about is None


async def test_plans_and_tables_are_listed_newest_first(store: Store) -> None:
    """In pages, by generation."""
    for n in (1, 2, 3):
        await store.publish_plan(some.plan(n))
        await store.publish_slot(some.placement(n), some.table(n), some.slot_record(n))
    plans = await store.plans(limit=2, cursor=None)
    assert [p.generation for p in plans.items] == [3, 2]
    assert (await store.plans(limit=2, cursor=plans.cursor)).items == (some.plan(1),)
    tables = await store.tables(limit=2, cursor=None)
    assert [t.generation for t in tables.items] == [3, 2]
    assert (await store.tables(limit=2, cursor=tables.cursor)).items == (some.table(1),)


@pytest.mark.parametrize("cursor", ["", "x", "é", "bnVsbA", "WzFd" * 9, "WzEuMCwyXQ", "Wy0xXQ=="])
async def test_a_foreign_cursor_is_refused(store: Store, cursor: str) -> None:
    """Whatever it is, it is bad input, not a fault."""
    with pytest.raises(InputError, match="cursor"):
        await store.decisions(agent=None, limit=3, cursor=cursor)
    with pytest.raises(InputError, match="cursor"):
        await store.outcomes(limit=3, cursor=cursor)


async def test_overrides_are_put_changed_and_lifted(store: Store) -> None:
    """With revisions, as everything that people change."""
    await store.put_override(some.override("o2"), if_revision=None)
    await store.put_override(some.override("o1"), if_revision=None)
    with pytest.raises(Conflict):
        await store.put_override(some.override("o1"), if_revision=None)
    changed = await store.put_override(some.override("o1"), if_revision=0)
    assert changed.revision == 1
    with pytest.raises(RevisionMismatch):
        await store.put_override(some.override("o1"), if_revision=0)
    assert await store.overrides() == (changed, some.override("o2"))
    await store.delete_override("o2")
    with pytest.raises(NotFound):
        await store.delete_override("o2")
    assert await store.overrides() == (changed,)


async def test_a_mode_is_shadow_until_somebody_changes_it(store: Store) -> None:
    """Proposals are judged and journaled, the fallback acts; its revision is 0 until then."""
    assert (await store.mode("planner")).mode == "shadow"
    off = Mode(agent="planner", mode="off", by="ann", at_s=5.0)
    assert (await store.put_mode(off, if_revision=0)).revision == 1
    with pytest.raises(RevisionMismatch):
        await store.put_mode(off, if_revision=0)
    assert (await store.put_mode(off, if_revision=1)).revision == 2
    assert (await store.mode("planner")).mode == "off"
    assert (await store.mode("slot-agent")).mode == "shadow"
    with pytest.raises(NotFound, match="agents are planner and slot-agent"):
        await store.mode("deployer")


async def test_tokens_are_kept_by_their_hash(store: Store) -> None:
    """Neither an id nor a hash stands there twice."""
    await store.add_token(some.token("t2", "b"))
    await store.add_token(some.token("t1", "a"))
    for again in (some.token("t1", "c"), some.token("t3", "a")):
        with pytest.raises(Conflict):
            await store.add_token(again)
    assert await store.tokens() == (some.token("t1", "a"), some.token("t2", "b"))
    await store.delete_token("t1")
    with pytest.raises(NotFound):
        await store.delete_token("t1")
    assert await store.tokens() == (some.token("t2", "b"),)


async def test_changes_tell_what_was_published_in_order(store: Store) -> None:
    """The journal's line comes before what it decided; sequences count from 1."""
    async with Heard(store, ["plan", "placement", "table", "decision"]) as heard:
        await store.publish_epoch(some.plan(1), some.epoch_record(1))
        await store.publish_slot(some.placement(1), some.table(1), some.slot_record(1))
        await store.wake(Wake(model="text", reason="missing", site=None, wait_s=1.0, at_s=1000.0))
        await heard.hears(
            ("decision", "epoch-1", "fallback"),
            ("plan", "1", "fallback"),
            ("decision", "slot-1", "fallback"),
            ("placement", "1", "slot-1"),
            ("table", "1", "slot-1"),
        )
        assert [event.sequence for event in heard.events] == list(range(1, len(heard.events) + 1))
        assert heard.events[-1].at_s == some.table(1).created_at_s


async def test_changes_tell_of_wakes_modes_and_the_cluster(store: Store) -> None:
    """Kind, id and what happened."""
    async with Heard(store, ["wake", "mode", "override", "node", "model", "site"]) as heard:
        await store.wake(Wake(model="text", reason="wait", site="site-1", wait_s=1.0, at_s=1000.0))
        await store.replace_cluster(Cluster(nodes=(some.node(),), models=(some.model(),), sites=()))
        await store.put_node(some.node(zone="east"), if_revision=0)
        await store.put_mode(Mode(agent="planner", mode="off", by="ann", at_s=5.0), if_revision=0)
        await store.put_override(some.override(), if_revision=None)
        await store.delete_model("text", if_revision=0)
        await heard.hears(
            ("wake", "text", "wait"),
            ("node", "node-1", "created"),
            ("model", "text", "created"),
            ("node", "node-1", "changed"),
            ("mode", "planner", "off"),
            ("override", "o1", "pin"),
            ("model", "text", "deleted"),
        )


async def test_changes_tell_of_reports(store: Store) -> None:
    """With the reporter's id; a former instance that is retired is no news."""
    async with Heard(store, ["report"]) as heard:
        await store.append_node_report(some.node_report(1))
        await store.append_gateway_report(some.gateway_report(1))
        await store.append_gateway_report(some.gateway_report(1, instance="b", observed_at_s=5000.0))
        await heard.hears(
            ("report", "node-1", "node"), ("report", "site-1", "gateway"), ("report", "site-1", "gateway")
        )
