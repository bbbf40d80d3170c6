"""What an ingress makes of a node's word: an honest one stays as it is, a queue is not hidden, a boast not believed."""

import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from fairlead.contracts.readings import KeeperState, PodLoad
from fairlead.policy.backlog import Backlog
from fairlead.policy.believing import FASTER_MOST, Bounds, believed, believed_speed, bounds_of
from fairlead.policy.choice import NodeLoad, PodQueue, price
from tests.twin.scene import cluster, model

SHAPE = cluster((model("a"), model("b", work_s=2.0, concurrency=4)), speeds=(0.5, 1.0))
BOUNDS = bounds_of(SHAPE)
WORK = {"a": 4.0, "b": 2.0}

Course = Sequence[tuple[str, str, float]]
"""What happens to which pod, and after how many seconds."""

COURSES = st.lists(
    st.tuples(st.sampled_from(("comes", "ends")), st.sampled_from(("a", "b")), st.floats(0.0, 20.0)), max_size=60
)


def said(work_s: float, count: int, speed: float = 1.0, phase: str = "ready") -> NodeLoad:
    """Return a word about one pod of a."""
    return NodeLoad(speed, 0.0, (PodQueue("a", phase, 0.0, work_s, count),))  # type: ignore[arg-type]


def played(course: Course) -> tuple[NodeLoad, dict[str, int]]:
    """Return what an honest keeper says after a course, and how many requests its pods have."""
    keeper, now_s = Backlog(1.0, 0.0), 0.0
    inside = {m.id: m.concurrency for m in SHAPE.models}
    waiting, running = {"a": 0, "b": 0}, {"a": list[int](), "b": list[int]()}
    for name, work_s in WORK.items():
        keeper.declare(name, work_s)
    for number, (what, pod, for_s) in enumerate(course):
        now_s += for_s
        if what == "comes":
            waiting[pod] += 1
            keeper.enqueue(pod)
        elif running[pod]:
            keeper.end(pod, running[pod].pop(0), now_s, finished=False)
        if waiting[pod] and len(running[pod]) < inside[pod]:
            waiting[pod] -= 1
            keeper.leave(pod)
            keeper.start(pod, number, now_s)
            running[pod].append(number)
    accounts = {name: keeper.account(name, now_s) for name in WORK}
    pods = tuple(PodQueue(name, "ready", 0.0, one.work_s, one.count) for name, one in accounts.items())
    return NodeLoad(keeper.speed, now_s, pods), {name: one.count for name, one in accounts.items()}


@given(course=COURSES)
def test_the_word_of_an_honest_node_stays_as_it_is(course: Course) -> None:
    """Also to an ingress all of whose tickets are there, and to which an answer of each pod is still on its way."""
    load, counts = played(course)
    found = believed(load, "n2", {name: count + 1 for name, count in counts.items()}, BOUNDS)
    assert [p.count for p in found.pods] == [p.count for p in load.pods]
    assert [p.work_s for p in found.pods] == pytest.approx([p.work_s for p in load.pods])
    assert found.speed == load.speed


@pytest.mark.parametrize(
    ("own", "work_s", "count", "expected"),
    [
        (0, 0.0, 0, (0.0, 0)),
        (1, 0.0, 0, (0.0, 0)),
        (2, 0.0, 0, (0.4, 1)),
        (5, 0.0, 0, (12.4, 4)),
        (5, 0.0, 9, (12.4, 9)),
        (5, 30.0, 2, (30.0, 4)),
        (5, 30.0, 9, (30.0, 9)),
    ],
)
def test_own_tickets_wait_where_they_were_sent(
    own: int, work_s: float, count: int, expected: tuple[float, int]
) -> None:
    """One may have been answered, one of the others may be nearly done; what is said beyond that counts."""
    [pod] = believed(said(work_s, count), "n1", {"a": own}, BOUNDS).pods
    assert (pod.work_s, pod.count) == pytest.approx(expected)


def test_of_what_is_not_known_everything_is_believed() -> None:
    """A node or a model that is not in the definition any more."""
    load = said(0.0, 0, speed=5000.0)
    assert believed(load, "n9", {"a": 9}, Bounds()) == load


@given(speed=st.floats(1e-3, 1e300), work_s=st.floats(0.0, 1e9), count=st.integers(0, 10**9), own=st.integers(2, 99))
def test_no_word_makes_a_node_cheaper_than_its_bounds(speed: float, work_s: float, count: int, own: int) -> None:
    """A request is never expected earlier than behind the ingress's own ones, at so many times the declared speed."""
    load = believed(said(work_s, count, speed), "n1", {"a": own}, BOUNDS)
    least_s = ((own - 2) * 4.0 + 0.1 * 4.0 + 4.0) / (FASTER_MOST * 0.5)
    assert price("n1", load, load.pods[0], WORK, 0.0).delay_s >= least_s * (1.0 - 1e-12)
    assert load.speed == believed_speed(speed, 0.5) <= FASTER_MOST * 0.5


@pytest.mark.parametrize(
    ("field", "value"),
    [("speed", 0.0), ("speed", -1.0), ("speed", math.inf), ("speed", math.nan), ("observed_at_s", -1.0)],
)
def test_a_word_that_no_node_could_say_is_refused(field: str, value: float) -> None:
    """Before anybody reads it."""
    word = {"node": "n1", "instance": "k", "sequence": 1, "observed_at_s": 1.0, "speed": 1.0, "pods": ()}
    KeeperState.model_validate(word)
    with pytest.raises(ValidationError, match=field):
        KeeperState.model_validate(word | {field: value})


@pytest.mark.parametrize(("field", "value"), [("work_s", -0.1), ("work_s", math.inf), ("count", -1), ("running", -1)])
def test_a_queue_that_cannot_be_is_refused(field: str, value: float) -> None:
    """Less than none, or without end."""
    queue = {
        "model": "a",
        "phase": "ready",
        "ready_in_s": 0.0,
        "work_s": 0.0,
        "count": 0,
        "running": 0,
        "used_at_s": None,
    }
    PodLoad.model_validate(queue)
    with pytest.raises(ValidationError, match=field):
        PodLoad.model_validate(queue | {field: value})
