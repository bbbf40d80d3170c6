"""The compiled core is the reference engine: each request ends in the same way at the same instant, to the bit."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairlead.contracts.errors import InputError
from fairlead.contracts.plans import Override
from fairlead.policy.measuring import Window
from fairlead.twin.calendar import NodeBack, NodeLost, SpeedTurned
from fairlead.twin.compiled.native import installed
from fairlead.twin.compiled.setting import ROOM
from fairlead.twin.compiled.world import FAILED, FINISHED, REFUSED
from fairlead.twin.engines import player, supported
from fairlead.twin.play import Game, engine_of, policy_at
from fairlead.twin.play import play as reference
from fairlead.twin.requests import Arrival, Network, Request, at_once
from fairlead.twin.scenarios import scenario
from fairlead.twin.subjects import Subject, subject_of
from tests.twin.scene import GB, asks, cluster, model, placed

pytestmark = pytest.mark.skipif(not installed(), reason="numba is not installed: the reference engine serves")

MODELS = (
    model("a", work_s=2.0, gb=1, start_s=5.0),
    model("b", work_s=6.0, gb=2, start_s=8.0, concurrency=2),
    model("c", work_s=4.0, gb=3, start_s=12.0),
    model("d", work_s=1.5, gb=2, start_s=3.0),
)
SITES, NODES = ("s1", "s2", "s3"), ("n1", "n2", "n3", "n4")
POLICIES = ("marginal-dpp", "lru", "sed-static", "random-static", "round-robin", "least-loaded-slot")
CHANGES = ("", "[moving=false]", "[explore=0.3]", "[hold_timeout_s=25]", "[refresh_s=7,slot_s=20]", "[uniform_share=0]")
END_S = 260.0


def quiet(_: float) -> None:
    """Hear how far a game is and say nothing."""


def works(mean_s: float) -> st.SearchStrategy[float]:
    """Return work around a mean, often the mean itself: equal prices and equal instants are the hard cases."""
    return st.one_of(st.just(mean_s), st.floats(0.25, 20))


arrivals = st.lists(
    st.sampled_from(MODELS).flatmap(
        lambda m: st.builds(
            Arrival,
            at_s=st.one_of(st.floats(0, 200), st.integers(0, 40).map(lambda k: 5.0 * k)),
            site=st.sampled_from(SITES),
            model=st.just(m.id),
            work_s=works(m.work_s),
        )
    ),
    max_size=60,
)
mishaps = st.lists(
    st.tuples(
        st.one_of(st.floats(0, 200), st.integers(0, 40).map(lambda k: 5.0 * k)),
        st.one_of(
            st.builds(NodeLost, st.sampled_from(NODES)),
            st.builds(NodeBack, st.sampled_from(NODES)),
            st.builds(SpeedTurned, st.sampled_from(NODES), st.floats(0.1, 3)),
        ),
    ),
    max_size=6,
)
distances = st.lists(
    st.lists(st.sampled_from((0.0, 0.01, 0.25)), min_size=len(NODES), max_size=len(NODES)),
    min_size=len(SITES),
    max_size=len(SITES),
)


overrides = st.lists(
    st.builds(
        Override,
        id=st.sampled_from(("o1", "o2")),
        node=st.sampled_from(NODES),
        model=st.sampled_from([m.id for m in MODELS]),
        action=st.sampled_from(("pin", "ban")),
        created_at_s=st.sampled_from((0.0, 31.0, 90.0, 120.0)),
        expires_at_s=st.sampled_from((None, 60.0, 150.0)),
        by=st.just("someone"),
        why=st.just(""),
    ),
    max_size=4,
)


@st.composite
def games(draw: st.DrawFn) -> Game:
    """Return a small game of any policy, with lost, slow, hosting and pausing nodes and operators who fix pods."""
    speeds = draw(st.lists(st.sampled_from((0.5, 1.0, 1.0, 2.0)), min_size=len(NODES), max_size=len(NODES)))
    shape = cluster(MODELS, speeds=speeds, gb=draw(st.sampled_from((3, 4, 6))), sites=len(SITES))
    special = {"host_memory_bytes": GB * draw(st.sampled_from((0, 0, 2, 5))), "pausing": draw(st.booleans())}
    some = draw(st.sets(st.sampled_from(NODES)))
    nodes = tuple(n.model_copy(update=special) if n.id in some else n for n in shape.nodes)
    shape = shape.model_copy(update={"nodes": nodes})
    far = draw(distances)
    network = Network(
        {s: dict(zip(NODES, row, strict=True)) for s, row in zip(SITES, far, strict=True)},
        {"a": 0.1, "b": 0.0, "c": 0.3, "d": 0.0},
        {"a": 0.0, "b": 0.2, "c": 0.1, "d": 0.0},
    )
    demand = sorted(draw(arrivals), key=lambda one: one.at_s)
    policy = draw(st.sampled_from(POLICIES)) + draw(st.sampled_from(CHANGES)) + draw(st.sampled_from(("@fresh", "@5s")))
    subject = Subject("small", shape, network, lambda: iter(demand), Window(20.0, END_S), tuple(draw(mishaps)))
    static = placed((("a", "b"), ("c",), ("a", "d"), ("b",))) if draw(st.booleans()) else ()
    subject = replace(subject, overrides=tuple(draw(overrides)))
    return Game(subject, policy_at(policy), draw(st.integers(0, 2**40)), static)


def by_reference(game: Game) -> tuple[list[tuple[object, ...]], list[float], list[float], int]:
    """Return what became of each request in the reference engine, and when pods were started and stopped."""
    engine = engine_of(game)
    engine.run(END_S)
    everything: list[Request] = sorted((*engine.ended, *engine.books.open.values()), key=lambda one: one.number)
    ends = [(one.fate, one.ended_at_s, one.node, one.attempts) for one in everything]
    return list(ends), list(engine.starts), list(engine.stops), engine.decisions


def by_compiled(game: Game) -> tuple[list[tuple[object, ...]], list[float], list[float], int]:
    """Return the same by the compiled core."""
    from fairlead.twin.compiled.play import FATES, begun, played
    from fairlead.twin.compiled.setting import crowd

    requests = crowd(game.subject)
    ran = played(begun(game, requests), END_S)
    now, names = ran.world[0], [n.id for n in game.subject.cluster.nodes]
    ends: list[tuple[object, ...]] = []
    for one in ran.tables["requests"]:
        over = one["fate"] in (FINISHED, FAILED, REFUSED) and one["ended_at_s"] < END_S
        node = names[one["node"]] if one["node"] >= 0 else ""
        ended = (FATES[int(one["fate"])], float(one["ended_at_s"])) if over else (None, None)
        ends.append((*ended, node, int(one["attempts"])))
    starts = ran.tables["starts"]["at_s"][: now["starts"]].tolist()
    stops = ran.tables["stops"]["at_s"][: now["stops"]].tolist()
    return ends, starts, stops, int(now["decisions"])


@settings(max_examples=60, deadline=None)
@given(games())
def test_the_compiled_core_ends_each_request_as_the_reference_at_the_same_instant(game: Game) -> None:
    """Fate, instant to the last bit, node and tickets of each request; starts, stops, decisions: all equal."""
    assert by_compiled(game) == by_reference(game)


@pytest.mark.parametrize(
    ("name", "policy", "load"),
    [
        ("city7-rotating", "marginal-dpp@fresh", 0.9),
        ("city7-node-loss", "marginal-dpp@5s", 0.9),
        ("city7-maintenance", "marginal-dpp@fresh", 0.8),
        ("catalogue-crowded", "lru@fresh", 0.6),
        ("city7-burst", "random-static@5s", 0.9),
        ("catalogue-crowded-sleeping", "marginal-dpp@fresh", 0.6),
        ("city7-rotating-pausing", "marginal-dpp@5s", 0.8),
    ],
)
def test_the_compiled_core_measures_what_the_reference_measures(name: str, policy: str, load: float) -> None:
    """Figures of a scenario are equal in every digit, and say which engine served."""
    game = Game(subject_of(scenario(name), load, 3, 120.0, 480.0), policy_at(policy), 3)
    told: list[float] = []
    compiled, by_hand = player("compiled")(game, told.append), reference(game, quiet)
    assert (compiled.engine, by_hand.engine) == ("compiled", "reference")
    assert compiled.figures == by_hand.figures
    assert (compiled.requests, compiled.decisions) == (by_hand.requests, by_hand.decisions)
    assert told == sorted(told)
    assert told[-1] == 1.0


def test_room_is_made_where_a_run_turns_out_to_need_more_than_was_laid_out() -> None:
    """More requests at one instant than there is room for, all on their way at once: it grows, nothing is lost."""
    demand = asks(*((1.0, "a", 0.01) for _ in range(ROOM + 300)))
    shape = cluster(MODELS[:1], gb=4)
    subject = Subject("crowd", shape, at_once(shape), lambda: iter(demand), Window(0.0, END_S))
    game = Game(subject, policy_at("sed-static@fresh"), 1, placed((("a",),)))
    assert by_compiled(game) == by_reference(game)


def small(policy: str) -> Game:
    """Return a game without requests."""
    nobody: Iterator[Arrival] = iter(())
    shape = cluster(MODELS, gb=6)
    return Game(Subject("small", shape, at_once(shape), lambda: nobody, Window(0.0, 60.0)), policy_at(policy), 1)


def test_what_the_compiled_core_does_not_know_the_reference_plays_and_says_so() -> None:
    """`auto` falls back, `compiled` is refused with the reason."""
    game = small("dpp@fresh")
    assert supported(game) == "the compiled core does not play dpp"
    assert player("auto")(game, quiet).engine == "reference"
    with pytest.raises(InputError, match="does not play dpp; ask for the engine auto or reference"):
        player("compiled")(game, quiet)
    assert player("auto")(small("sed-static@fresh"), quiet).engine == "compiled"
    assert player("reference")(small("sed-static@fresh"), quiet).engine == "reference"
