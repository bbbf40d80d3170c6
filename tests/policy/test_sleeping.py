"""Pods that sleep in host memory: what an agent does, and what a decision counts on."""

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fairlead.contracts.plans import NodePlacement
from fairlead.policy.arrays import board
from fairlead.policy.feasibility import check_rows
from fairlead.policy.reconcile import (
    FALLS_ASLEEP,
    Action,
    Drain,
    Pod,
    Start,
    Stop,
    Undrain,
    Wait,
    claimed_bytes,
    hosted_bytes,
    reconcile,
    turned,
)
from fairlead.policy.registry import decide_slot
from tests.policy import situations as at
from tests.policy import test_reconcile as agents
from tests.policy.test_reconcile import wanted


def acts(mine: NodePlacement, *pods: Pod, memory: int = 11, host: int = 20) -> tuple[Action, ...]:
    """Return what the agent of a node does by a placement in force."""
    return reconcile(mine, True, {p.model: p for p in pods}, agents.MODELS, memory, agents.NOW_S, agents.LIMITS, host)


def drained(name: str) -> Pod:
    """Return a pod that was ready and has drained."""
    return agents.pod(name, "draining", since_at_s=950.0, waiting=0, running=0)


def test_a_drained_pod_falls_asleep_and_its_successor_starts_in_its_place() -> None:
    """It claims host memory from then on, and the node's until it sleeps."""
    mine = wanted("d", stoppable=("c",))
    assert acts(mine, drained("c"), memory=6) == (Stop("c", forced=False, lost=0, asleep=True), Wait("d", "memory"))
    falling = replace(turned(drained("c"), "stopping", agents.NOW_S), stage=FALLS_ASLEEP)
    sleeping = turned(falling, "sleeping", agents.NOW_S)
    assert acts(mine, falling, memory=6) == (Wait("d", "memory"),)
    assert acts(mine, sleeping, memory=6) == (Start("d"),)
    assert [(claimed_bytes({"c": p}), hosted_bytes({"c": p})) for p in (falling, sleeping)] == [(3, 3), (0, 3)]


def test_a_sleeping_pod_wakes_where_there_is_room() -> None:
    """Else it waits for memory as any start does; nothing else is done with it."""
    sleeping = agents.pod("c", "sleeping")
    assert acts(wanted("c"), sleeping) == (Start("c", wake=True),)
    assert acts(wanted("c"), sleeping, memory=2) == (Wait("c", "memory"),)
    assert acts(wanted(stoppable=("c",)), sleeping) == ()


def test_who_has_slept_longest_makes_room() -> None:
    """One at a time, not who shall wake, and nobody for a pod that has nothing to keep."""
    old, new = agents.pod("a", "sleeping", since_at_s=10.0), agents.pod("b", "sleeping", since_at_s=20.0)
    mine = wanted(stoppable=("c", "d"))
    assert acts(mine, old, new, drained("c"), drained("d"), host=5) == (Stop("a", forced=False, lost=0),)
    assert acts(mine, new, drained("c"), host=5) == (Stop("c", forced=False, lost=0, asleep=True),)
    assert acts(wanted("a", stoppable=("c",)), old, drained("c"), memory=0, host=3)[0] == Stop("c", False, 0)
    loading = replace(drained("c"), ready_at_s=agents.NOW_S + 5.0)
    assert acts(mine, loading) == (Stop("c", forced=False, lost=0),)


def test_a_pod_too_large_for_the_host_and_one_that_is_forced_stop() -> None:
    """As where nobody can sleep."""
    assert acts(wanted(stoppable=("d",)), drained("d"), host=4) == (Stop("d", forced=False, lost=0),)
    late = agents.pod("c", "draining", since_at_s=100.0, waiting=0, running=1)
    assert acts(wanted(stoppable=("c",)), replace(late, ready_at_s=50.0)) == (Stop("c", forced=True, lost=1),)


@given(st.lists(st.tuples(agents.wishes(), st.booleans(), st.floats(0, 200)), max_size=30), st.integers(0, 9))
def test_neither_memory_nor_host_memory_is_ever_exceeded(
    course: list[tuple[NodePlacement | None, bool, float]], host: int
) -> None:
    """Whatever placements follow one another; in the end what is wanted is there."""
    pods: dict[str, Pod] = {}
    now_s, memory = agents.NOW_S, 8
    for mine, in_force, for_s in [*course, *[(wanted("b", "c", stoppable=("a", "d")), True, 50.0)] * 12]:
        for action in reconcile(mine, in_force, pods, agents.MODELS, memory, now_s, agents.LIMITS, host):
            match action:
                case Drain(model):
                    pods[model] = replace(turned(pods[model], "draining", now_s), waiting=0, running=0)
                case Undrain(model):
                    pods[model] = turned(pods[model], "ready", now_s)
                case Stop(model) if pods[model].phase == "sleeping":
                    del pods[model]
                case Stop(model, asleep=asleep):
                    pods[model] = turned(pods[model], "stopping", now_s)
                    pods[model] = replace(pods[model], stage=FALLS_ASLEEP if asleep else "")
                case Start(model, wake):
                    assert wake == (model in pods)
                    size = agents.SIZES[model]
                    pods[model] = Pod(model, "i", "starting", now_s, size, ready_at_s=now_s + 1.5 if wake else 10.0)
                case Wait():
                    pass
            assert claimed_bytes(pods) <= memory
            assert hosted_bytes(pods) <= host
        now_s += for_s + 20.0
        for model, pod in tuple(pods.items()):
            if pod.phase == "stopping" and pod.stage == FALLS_ASLEEP:
                pods[model] = turned(pod, "sleeping", now_s)
            elif pod.phase == "stopping":
                del pods[model]
            elif pod.phase == "starting":
                pods[model] = replace(turned(pod, "ready", now_s), ready_at_s=now_s)
    assert {"b", "c"} <= {model for model, pod in pods.items() if pod.phase == "ready"}


# --- decisions

HOSTS = at.cluster(
    [at.node(name).model_copy(update={"host_memory_bytes": 20 * at.GB}) for name in ("n1", "n2")],
    [at.model("m1", 5.0), at.model("m2", 5.0), at.model("m3", 5.0)],
)


def test_a_start_is_a_wake_where_the_pod_sleeps() -> None:
    """1.5 s; and to let a pod fall asleep costs that and 0.15 of its start."""
    i = at.slot_input(HOSTS, [at.view("n1", at.pod("m1", "sleeping")), at.view("n2", at.pod("m2"))])
    found = board(i, dict.fromkeys(("m1", "m2", "m3"), 0.0))
    assert found.begin_s.tolist() == [[1.5, 20.0, 20.0], [20.0, 20.0, 20.0]]
    assert np.unique(found.again_s).tolist() == [4.5]
    assert found.pods.resident.tolist() == [[False, False, False], [False, True, False]]


def test_a_node_without_so_much_host_memory_pays_the_whole_start() -> None:
    """As everywhere before."""
    shape = at.cluster([at.node("n1")], HOSTS.models)
    found = board(at.slot_input(shape, [at.view("n1")]), dict.fromkeys(("m1", "m2", "m3"), 0.0))
    assert np.unique(found.again_s).tolist() == np.unique(found.begin_s).tolist() == [20.0]


def test_a_model_that_is_missed_wakes_where_it_sleeps() -> None:
    """Though the other node is as free; both have an idle pod in the way."""
    for where in ("n1", "n2"):
        views = [
            at.view(name, at.pod(idle), *([at.pod("m3", "sleeping")] if name == where else []))
            for name, idle in (("n1", "m1"), ("n2", "m2"))
        ]
        i = at.slot_input(HOSTS, views, [at.asked("m3", held=1, oldest_s=1.0, ago_s=1.0)])
        assert at.placed(decide_slot(i))[where].awake == ("m3",)


def test_a_row_names_a_pod_that_wakes_in_time() -> None:
    """Its start would take longer than the deadline, its wake does not."""
    slow = at.cluster(HOSTS.nodes, [at.model("m1", 5.0, start_s=70.0)])
    for phase, named in (("sleeping", True), ("off", False)):
        there = at.pod("m1", "sleeping") if phase == "sleeping" else at.pod("m1", "off")
        i = at.slot_input(slow, [at.view("n1", there)], [at.asked("m1", held=1, oldest_s=1.0, ago_s=1.0)])
        decision = decide_slot(i)
        assert decision.table is not None
        assert [row.model for row in decision.table.rows] == (["m1"] if named else [])
        begun = {"n1": frozenset(("m1",))}
        assert check_rows(decision.table.rows, slow, i.snapshot, begun) == ()


def test_one_that_sleeps_is_woken_for_a_short_wait() -> None:
    """Of 8 s, where a start of 20 s would not pay; the other node's pod is idle."""
    busy = at.view("n1", at.pod("m3", count=2))
    for asleep in (False, True):
        there = at.view("n2", at.pod("m1"), *([at.pod("m3", "sleeping")] if asleep else []))
        i = at.slot_input(HOSTS, [busy, there], [at.asked("m3", ago_s=1.0)])
        decision = decide_slot(i)
        assert bool(at.rules(decision, "rule1-wait")) == asleep


def test_a_model_that_sleeps_somewhere_is_less_worth_a_second_place() -> None:
    """Without pods it costs 4.5 s when it is asked for, not 20 s."""
    views = [at.view("n1", at.pod("m1", "sleeping")), at.view("n2")]
    found = board(at.slot_input(HOSTS, views), dict.fromkeys(("m1", "m2", "m3"), 0.0))
    assert found.soonest_s.tolist() == [1.5, 20.0, 20.0]
    assert found.absent_s.tolist() == [4.5, 20.0, 20.0]
