"""The agent: placements in, pods, declarations and reports out; on fakes, at a hundred times the wall's speed."""

import os
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import pytest

from fairlead.adapters.memory_control import MemoryControl
from fairlead.adapters.memory_keeper_control import MemoryKeeperControl
from fairlead.adapters.memory_runtime import Machine
from fairlead.adapters.spool import Spool
from fairlead.contracts.cluster import Cluster, ModelSpec
from fairlead.contracts.errors import KubernetesUnavailable
from fairlead.contracts.plans import EpochPlan, Intent
from fairlead.contracts.ports import PodStatus
from fairlead.policy.reconcile import Limits
from node_agent.books import Books
from tests.node_agent.pods import model, node, placement
from tests.node_agent.world import CLUSTER, MODELS, World, begun, ended, lasting
from tests.waiting import until


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """Give an agent with nothing to do; at the end no law was broken."""
    spool = Spool(tmp_path / "reports", 1_000_000)
    one = begun(tmp_path, Machine.empty(), MemoryControl(CLUSTER), MemoryKeeperControl("n1"), spool, "n1-first")
    yield one
    await ended(one)
    spool.close()


async def test_a_placement_starts_pods_and_everybody_hears_of_it(world: World) -> None:
    """Runtime, keeper and control plane; the report names the placement."""
    world.control.publish(lasting(1, "a", "b"))
    await world.phase("a", "ready")
    await world.phase("b", "ready")
    await until(lambda: world.keeper.phases() == {"a": "ready", "b": "ready"}, "the keeper knows")
    await until(lambda: {p.phase for p in world.last.pods} == {"ready"}, "the control plane knows")
    assert world.last.placement_generation == 1
    assert (world.last.memory_used_bytes, world.last.starts) == (3_000_000_000, 2)
    sequences = [r.sequence for r in world.control.node_reports]
    assert sequences == list(range(1, len(sequences) + 1))


async def test_what_a_plan_may_start_is_fetched_beforehand(tmp_path: Path) -> None:
    """Each plan once; of models that are known."""
    spool = Spool(tmp_path / "reports", 1_000_000)
    images = NotedImages()
    one = begun(tmp_path, Machine.empty(), MemoryControl(CLUSTER), MemoryKeeperControl("n1"), spool, "n1-first", images)
    for generation, names in ((1, ("b", "a")), (2, ("c", "absent"))):
        intent = Intent(node="n1", role="specialist", prefer=names, avoid=(), bias=2)
        one.control.publish(
            EpochPlan(
                generation=generation, parent=0, epoch=0, created_at_s=0.0, expires_at_s=1e12, source="operator",
                intents=(intent,), priorities=(), warm=(), why="",
            )
        )  # fmt: skip
        await until(partial(_heard, images, generation), "the plan was heard")
    assert images.asked == [("b", "a"), ("c",)]
    await ended(one)
    spool.close()


async def test_a_plan_whose_images_could_not_be_asked_for_is_heard_again(tmp_path: Path) -> None:
    """The API may have been away."""
    spool = Spool(tmp_path / "reports", 1_000_000)
    images = NotedImages(away=2)
    one = begun(tmp_path, Machine.empty(), MemoryControl(CLUSTER), MemoryKeeperControl("n1"), spool, "n1-first", images)
    one.control.publish(
        EpochPlan(
            generation=1, parent=0, epoch=0, created_at_s=0.0, expires_at_s=1e12, source="operator",
            intents=(Intent(node="n1", role="specialist", prefer=("a",), avoid=(), bias=2),),
            priorities=(), warm=(), why="",
        )
    )  # fmt: skip
    await until(partial(_heard, images, 1), "the plan was heard")
    assert one.agent.faults.pop("images") == 2
    await ended(one)
    spool.close()


def _heard(images: "NotedImages", count: int) -> bool:
    return len(images.asked) == count


@dataclass
class NotedImages:
    """The port of images; it fetches nothing and notes what it was asked for."""

    away: int = 0
    """How many times it fails at first."""
    asked: list[tuple[str, ...]] = field(default_factory=list)

    async def expect(self, models: Sequence[ModelSpec]) -> None:
        """Note it."""
        if self.away > 0:
            self.away -= 1
            raise KubernetesUnavailable("away")
        self.asked.append(tuple(one.id for one in models))


def test_what_a_runtime_says_of_a_pod_is_reported() -> None:
    """Why a start takes so long, and who else stops a pod."""
    books = Books(node(gb=4), {m.id: m for m in MODELS}, "n1-first", Limits(600.0, 5.0, 300.0), told_for_s=60.0)
    books.begin(MODELS[0], "a-1", 0.0)
    status = PodStatus("a", "a-1", "starting", "spawn", None, 0.0, 1, "Unschedulable: no node takes it")
    assert books.seen(status, 1.0)
    assert books.report(1.0).pods[0].reason == "Unschedulable: no node takes it"
    assert books.seen(replace(status, state="ready", reason=""), 2.0)
    assert books.report(2.0).pods[0].reason == ""
    assert books.seen(replace(status, state="stopping", reason="EvictionByEvictionAPI: drained"), 3.0)
    (pod,) = books.report(3.0).pods
    assert (pod.phase, pod.reason) == ("stopping", "EvictionByEvictionAPI: drained")


def served(books: Books, instance: str, at_s: float) -> PodStatus:
    """Have a pod of model a be ready, and return what was said of it."""
    books.begin(MODELS[0], instance, at_s)
    status = PodStatus("a", instance, "ready", "", "http://pod", at_s, 1, "")
    books.seen(status, at_s)
    return status


def reasons(books: Books, now_s: float) -> list[tuple[str, str, str]]:
    """Return phase, instance and reason of each pod in the next report."""
    return [(pod.phase, pod.instance, pod.reason) for pod in books.report(now_s).pods]


def test_what_others_did_to_a_pod_is_told_for_two_slots_though_it_is_gone_or_another_is_there() -> None:
    """Longest for a minute here; what is to be said of a pod as it is now goes first."""
    books = Books(node(gb=4), {m.id: m for m in MODELS}, "n1-first", Limits(600.0, 5.0, 300.0), told_for_s=60.0)
    status = served(books, "a-1", 0.0)
    books.seen(replace(status, state="stopping", reason="deleted by somebody else"), 10.0)
    assert reasons(books, 10.0) == [("stopping", "a-1", "deleted by somebody else")]
    books.seen(replace(status, state="gone", reason="deleted by somebody else"), 12.0)
    assert reasons(books, 14.0) == [("off", "a-1", "4 s ago: deleted by somebody else")]
    assert books.pods == {}
    status = served(books, "a-2", 15.0)
    assert reasons(books, 16.0) == [("ready", "a-2", "6 s ago: deleted by somebody else")]
    books.seen(replace(status, reason="somebody changed our labels on it: it gets them back"), 20.0)
    assert reasons(books, 20.0) == [("ready", "a-2", "somebody changed our labels on it: it gets them back")]
    books.seen(status, 21.0)
    assert reasons(books, 30.0) == [("ready", "a-2", "10 s ago: somebody changed our labels on it: it gets them back")]
    assert reasons(books, 80.0) == [("ready", "a-2", "")]


def test_a_crash_is_told_when_the_next_pod_is_there_and_a_stop_of_our_own_is_not() -> None:
    """Who ordered it knows why; what a runtime says of a stop that takes long is no trouble of others' making."""
    books = Books(node(gb=4), {m.id: m for m in MODELS}, "n1-first", Limits(600.0, 5.0, 300.0), told_for_s=60.0)
    status = served(books, "a-1", 0.0)
    books.seen(replace(status, state="gone", reason="ended by itself with exit status 1"), 10.0)
    status = served(books, "a-2", 20.0)
    assert reasons(books, 21.0) == [("ready", "a-2", "11 s ago: ended by itself with exit status 1")]
    books.put(replace(books.pods["a"], phase="stopping"))
    books.seen(replace(status, state="stopping", reason="DELETE got no answer"), 71.0)
    books.seen(replace(status, state="gone"), 72.0)
    assert reasons(books, 73.0) == []


async def test_a_swap_waits_for_running_requests_and_for_memory(world: World) -> None:
    """Drain, stop, then start; while a request runs the pod stays, and the memory is never exceeded."""
    world.control.publish(lasting(1, "a", "b"))
    await world.phase("b", "ready")
    world.keeper.busy["b"] = (1, 1)
    world.control.publish(lasting(2, "a", "c", stoppable=("b",)))
    await world.phase("b", "draining")
    count = len(world.keeper.declared)
    await until(lambda: len(world.keeper.declared) > count + 5, "the keeper is asked again")
    assert world.keeper.phases()["b"] == "draining"
    assert "c" not in world.phases()
    world.keeper.busy["b"] = (0, 0)
    await world.phase("b", None)
    await world.phase("c", "ready")
    assert (world.books.stops, world.books.forced_losses) == (1, 0)


async def test_a_keeper_that_is_away_blocks_no_start_and_ends_no_drain(world: World) -> None:
    """Pods start without it; a drain waits for its word."""
    world.keeper.away = True
    world.control.publish(lasting(1, "a"))
    await world.phase("a", "ready")
    world.control.publish(lasting(2, stoppable=("a",)))
    await world.phase("a", "draining")
    faults = world.agent.faults["keeper"]
    await until(lambda: world.agent.faults["keeper"] > faults + 1, "the keeper is tried again")
    assert world.phases() == {"a": "draining"}
    world.keeper.away = False
    await world.phase("a", None)


async def test_a_drain_without_a_keeper_ends_at_the_limit(world: World) -> None:
    """A shorter one here; what was still running is counted as lost."""
    world.books.limits = Limits(60.0, 5.0, 300.0)
    world.control.publish(lasting(1, "a"))
    await world.phase("a", "ready")
    world.keeper.busy["a"] = (0, 2)
    world.control.publish(lasting(2, stoppable=("a",)))
    await world.phase("a", None)
    assert world.books.forced_losses == 2


async def test_a_pod_wanted_again_stays(world: World) -> None:
    """The drain is taken back and the keeper hears of it."""
    world.control.publish(lasting(1, "a"))
    await world.phase("a", "ready")
    world.keeper.busy["a"] = (0, 1)
    world.control.publish(lasting(2, stoppable=("a",)))
    await until(lambda: world.keeper.phases() == {"a": "draining"}, "it drains")
    world.control.publish(lasting(3, "a"))
    await until(lambda: world.keeper.phases() == {"a": "ready"}, "it serves again")
    assert (world.books.starts, world.books.stops) == (1, 0)


async def test_a_crashed_pod_starts_again_after_its_back_off(world: World) -> None:
    """The keeper hears at once that it is gone; the next start is another instance."""
    world.control.publish(lasting(1, "a"))
    await world.phase("a", "ready")
    before = world.books.pods["a"].instance
    crashed_at_s = world.clock.now_s()
    world.runtime.crash("a")
    await until(lambda: world.keeper.phases() == {}, "the keeper knows")
    off = world.books.pods["a"]
    assert (off.phase, off.crashes, off.reason) == ("off", 1, "ended by itself")
    assert off.backoff_until_s == pytest.approx(off.since_at_s + 5.0)
    await world.phase("a", "starting")
    assert world.clock.now_s() >= crashed_at_s + 5.0
    await world.phase("a", "ready")
    assert world.books.pods["a"].instance != before


async def test_a_start_that_cannot_begin_backs_off_and_says_why(world: World) -> None:
    """It is reported, claims nothing, and is tried again."""
    world.runtime.broken.add("a")
    world.control.publish(lasting(1, "a"))
    await until(lambda: "a" in world.books.pods and world.books.pods["a"].crashes == 2, "it was tried twice")
    await until(lambda: any(p.reason for r in world.control.node_reports for p in r.pods), "it was reported")
    world.runtime.broken.clear()
    await world.phase("a", "ready")


async def test_an_instance_can_be_a_label(world: World) -> None:
    """However long the model's id is."""
    longest = model("m" * 63, start_s=1.0)
    world.control.replace_cluster(Cluster(nodes=CLUSTER.nodes, models=(*MODELS, longest), sites=()))
    world.control.publish(lasting(1, longest.id))
    await world.phase(longest.id, "ready")
    assert len(world.books.pods[longest.id].instance) == 63


async def test_a_disk_that_takes_nothing_holds_nobody_up(world: World) -> None:
    """What a successor would want is not kept; the placement is followed, the cluster's new models are known."""
    for name in ("placement", "cluster"):
        (world.directory / f"{name}.{os.getpid()}").mkdir()
    new = model("new", start_s=1.0)
    world.control.replace_cluster(Cluster(nodes=CLUSTER.nodes, models=(*MODELS, new), sites=()))
    world.control.publish(lasting(1, "a", "new"))
    await world.phase("a", "ready")
    await world.phase("new", "ready")
    assert world.agent.faults == {}


async def test_invariant_04_an_expired_placement_stops_nothing(world: World) -> None:
    """What drains by it serves again; what crashes by it comes back."""
    world.control.publish(lasting(1, "a"))
    await world.phase("a", "ready")
    world.keeper.busy["a"] = (0, 1)
    world.control.publish(placement(2, stoppable=("a",), expires_at_s=world.clock.now_s() + 50.0))
    await world.phase("a", "draining")
    await world.phase("a", "ready")
    world.keeper.busy.clear()
    count = len(world.keeper.declared)
    await until(lambda: len(world.keeper.declared) > count + 3, "time passes")
    assert world.phases() == {"a": "ready"}
    assert world.books.stops == 0


async def test_invariant_09_an_older_placement_changes_nothing(world: World) -> None:
    """However it gets here."""
    world.control.publish(lasting(7, "a"))
    await world.phase("a", "ready")
    world.control.publish(lasting(6, stoppable=("a",)))
    count = len(world.control.node_reports)
    await until(lambda: len(world.control.node_reports) > count + 3, "time passes")
    assert world.phases() == {"a": "ready"}
    assert world.last.placement_generation == 7


async def test_without_control_plane_everything_goes_on(world: World) -> None:
    """Pods serve, crashed ones come back, reports are kept and arrive afterwards once each."""
    world.control.publish(lasting(1, "a"))
    await world.phase("a", "ready")
    await until(lambda: bool(world.control.node_reports), "a report arrived")
    world.control.away = True
    arrived = len(world.control.node_reports)
    world.runtime.crash("a")
    await world.phase("a", "starting")
    await world.phase("a", "ready")
    assert len(world.control.node_reports) == arrived
    world.control.away = False
    await until(lambda: bool(world.last.pods) and world.last.pods[0].phase == "ready", "the reports arrived")
    sequences = [r.sequence for r in world.control.node_reports]
    assert sequences == list(range(1, len(sequences) + 1))


async def test_a_model_that_is_new_to_the_cluster_is_looked_up(world: World) -> None:
    """A placement may name what the agent has not heard of."""
    new = model("new", start_s=1.0)
    world.control.replace_cluster(Cluster(nodes=CLUSTER.nodes, models=(*MODELS, new), sites=()))
    world.control.publish(lasting(1, "new"))
    await world.phase("new", "ready")


async def test_a_successor_takes_over_pods_placement_and_reports(tmp_path: Path) -> None:
    """The old agent's reports are delivered by the new one; ready pods are never declared as anything else."""
    machine, control, keeper = Machine.empty(), MemoryControl(CLUSTER), MemoryKeeperControl("n1")
    spool = Spool(tmp_path / "reports", 1_000_000)
    first = begun(tmp_path, machine, control, keeper, spool, "n1-first")
    control.publish(lasting(1, "a"))
    await first.phase("a", "ready")
    instance = first.books.pods["a"].instance
    control.away = True
    kept_before = spool.pending
    await until(lambda: spool.pending > kept_before + 3, "reports are kept")
    await ended(first)
    spool.close()
    spool = Spool(tmp_path / "reports", 1_000_000)
    keeper.declared.clear()
    second = begun(tmp_path, machine, control, keeper, spool, "n1-second")
    await second.phase("a", "ready")
    assert second.books.pods["a"].instance == instance
    assert second.books.placement is not None
    await until(lambda: len(keeper.declared) > 2, "the keeper is told")
    assert {p.phase for s in keeper.declared for p in s.pods} == {"ready"}
    control.away = False
    await until(lambda: spool.pending == 0, "everything is delivered")
    for who in ("n1-first", "n1-second"):
        sequences = [r.sequence for r in control.node_reports if r.instance == who]
        assert sequences == list(range(1, len(sequences) + 1))
        assert sequences
    assert second.books.starts == 0
    await ended(second)
    spool.close()
