"""Reconcile: what is done when, and the numbered laws over any course of events."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from fairlead.contracts.cluster import Launch, ModelSpec
from fairlead.contracts.plans import NodePlacement, Placement
from fairlead.contracts.readings import Phase
from fairlead.contracts.tickets import PodUse, PodUses
from fairlead.policy.reconcile import (
    FORCE_AFTER_S,
    Action,
    Drain,
    Limits,
    Pod,
    Start,
    Stop,
    Undrain,
    Wait,
    claimed_bytes,
    crashed,
    newer,
    part,
    reconcile,
    remembered,
    turned,
    used,
    wakes_at_s,
)

LIMITS = Limits(drain_limit_s=600.0, backoff_first_s=5.0, backoff_most_s=300.0)
NOW_S = 1000.0
SIZES = {"a": 1, "b": 2, "c": 3, "d": 5}


def spec(model: str) -> ModelSpec:
    """Return a model of its size."""
    return ModelSpec(
        id=model,
        kind="text",
        memory_bytes=SIZES[model],
        work_s=1.0,
        start_delay_s=10.0,
        launch=Launch(launcher="exec", command=("serve",)),
    )


MODELS = {m: spec(m) for m in SIZES}


def pod(model: str, phase: Phase = "ready", **more: object) -> Pod:
    """Return a pod that began its phase at 900."""
    memory = 0 if phase == "off" else SIZES[model]
    return replace(Pod(model, f"{model}-1", phase, 900.0, memory, ready_at_s=910.0), **more)  # type: ignore[arg-type]


def wanted(*awake: str, stoppable: tuple[str, ...] = (), forced: tuple[str, ...] = ()) -> NodePlacement:
    """Return what a placement says of the node."""
    return NodePlacement(node="n", awake=awake, stoppable=stoppable, forced=forced)


def placement(generation: int, *nodes: NodePlacement, expires_at_s: float = 2000.0) -> Placement:
    """Return a placement in force until `expires_at_s`."""
    return Placement(
        generation=generation,
        plan_generation=0,
        slot=0,
        created_at_s=0.0,
        expires_at_s=expires_at_s,
        decision="slot-1",
        nodes=nodes,
    )


def decided(
    mine: NodePlacement | None, *pods: Pod, memory: int = 6, in_force: bool = True, now_s: float = NOW_S
) -> tuple[Action, ...]:
    """Return the actions."""
    return reconcile(mine, in_force, {p.model: p for p in pods}, MODELS, memory, now_s, LIMITS)


def test_what_is_missing_is_started_while_memory_lasts() -> None:
    """In the order of the placement; what does not fit waits and says why."""
    assert decided(wanted("a", "d", "b"), memory=5) == (Start("a"), Wait("d", "memory"), Start("b"))


def test_a_swap_drains_then_stops_then_starts() -> None:
    """Each step waits for the one before."""
    mine = wanted("d", stoppable=("c",))
    assert decided(mine, pod("c")) == (Drain("c"), Wait("d", "memory"))
    assert decided(mine, pod("c", "draining")) == (Wait("d", "memory"),)
    assert decided(mine, pod("c", "draining", waiting=0, running=1)) == (Wait("d", "memory"),)
    done = pod("c", "draining", waiting=0, running=0)
    assert decided(mine, done) == (Stop("c", forced=False, lost=0), Wait("d", "memory"))
    assert decided(mine, pod("c", "stopping")) == (Wait("d", "memory"),)
    assert decided(mine) == (Start("d"),)


def test_a_pod_wanted_again_serves_again() -> None:
    """A drain that is no longer ordered is taken back; a stop cannot be."""
    assert decided(wanted("c"), pod("c", "draining")) == (Undrain("c"),)
    assert decided(wanted(), pod("c", "draining")) == (Undrain("c"),)
    assert decided(wanted("c"), pod("c", "stopping")) == (Wait("c", "stopping"),)


def test_what_is_in_neither_list_stays_as_it_is() -> None:
    """Neither awake nor stoppable: nothing happens to it."""
    assert decided(wanted("a"), pod("a"), pod("b"), pod("c", "starting")) == ()


def test_a_drain_that_lasts_too_long_is_forced_and_counts_its_loss() -> None:
    """A keeper that says nothing does not end a drain; the limit does."""
    mine = wanted(stoppable=("c",))
    waits = pod("c", "draining", waiting=0, running=2)
    assert decided(mine, waits, now_s=900.0 + 599.9) == ()
    assert decided(mine, waits, now_s=900.0 + 600.0) == (Stop("c", forced=True, lost=2),)
    assert decided(mine, pod("c", "draining"), now_s=1500.0) == (Stop("c", forced=True, lost=0),)


def test_an_operators_force_waits_only_for_tickets_to_be_given_back() -> None:
    """A second, not the drain limit."""
    mine = wanted(stoppable=("c",), forced=("c",))
    waits = pod("c", "draining", waiting=0, running=2)
    assert decided(mine, waits, now_s=900.5) == ()
    assert decided(mine, waits, now_s=900.0 + FORCE_AFTER_S) == (Stop("c", forced=True, lost=2),)


def test_a_crashed_pod_waits_out_its_back_off() -> None:
    """And starts again also from a placement that has expired."""
    off = pod("a", "off", backoff_until_s=NOW_S + 1)
    assert decided(wanted("a"), off) == (Wait("a", "backoff"),)
    assert decided(wanted("a"), off, now_s=NOW_S + 1, in_force=False) == (Start("a"),)
    assert decided(wanted("a"), pod("a", "off")) == (Start("a"),)


def test_an_unknown_model_is_not_started() -> None:
    """The cluster's definition is older than the placement."""
    assert decided(wanted("new")) == (Wait("new", "unknown-model"),)


def test_back_off_doubles_and_ends() -> None:
    """5, 10, 20 … 300 s; a pod that served for longer than that begins anew."""
    waits = []
    one = pod("a", "starting", ready_at_s=1100.0)
    for _ in range(9):
        one = crashed(one, "", NOW_S, LIMITS)
        waits.append((one.backoff_until_s or 0.0) - NOW_S)
        one = replace(one, phase="starting")
    assert waits == [5, 10, 20, 40, 80, 160, 300, 300, 300]
    assert (one.crashes, one.memory_bytes, one.reason) == (9, 0, "ended")
    assert crashed(pod("a", crashes=4), "bang", 910.0 + 299.0, LIMITS).crashes == 5
    again = crashed(pod("a", crashes=4), "bang", 910.0 + 300.0, LIMITS)
    assert (again.crashes, again.reason) == (1, "bang")


def test_old_crashes_are_forgotten() -> None:
    """Once the longest wait has passed after the back-off."""
    off = pod("a", "off", backoff_until_s=1000.0)
    assert remembered({"a": off, "b": pod("b")}, 1299.0, LIMITS) == {"a": off, "b": pod("b")}
    assert remembered({"a": off, "b": pod("b")}, 1300.0, LIMITS) == {"b": pod("b")}
    assert remembered({"a": pod("a", "off")}, 9e9, LIMITS) == {"a": pod("a", "off")}


def test_the_keepers_word_counts_only_since_it_knew_of_the_drain() -> None:
    """An answer to a declaration from before the drain says nothing about it."""

    def said(instance: str = "c-1") -> PodUses:
        use = PodUse(model="c", instance=instance, waiting=0, running=3, used_at_s=None)
        return PodUses(node="n", pods=(use,), table_generation=0)

    drains = pod("c", "draining")
    known = {"c": drains}
    assert used(known, known, said())["c"].running == 3
    assert used(known, {"c": pod("c")}, said()) == known
    assert used(known, {"c": replace(drains, since_at_s=800.0)}, said()) == known
    assert used(known, {}, said()) == known
    assert used(known, known, said("c-0")) == known
    assert used({"c": pod("c")}, known, said()) == {"c": pod("c")}


def test_a_new_phase_forgets_what_the_keeper_said() -> None:
    """Counts belong to one drain."""
    fresh = turned(pod("c", "draining", waiting=0, running=0, stage="load"), "ready", 5.0)
    assert (fresh.phase, fresh.since_at_s, fresh.waiting, fresh.running, fresh.stage) == ("ready", 5.0, None, None, "")


def test_time_alone_matters_at_back_offs_drain_limits_and_expiry() -> None:
    """The next of them that is still to come."""
    pods = {"a": pod("a", "off", backoff_until_s=1010.0), "b": pod("b", "draining"), "c": pod("c")}
    assert wakes_at_s(None, "n", {}, NOW_S, LIMITS) is None
    assert wakes_at_s(None, "n", {"a": pod("a", "off")}, NOW_S, LIMITS) is None
    assert wakes_at_s(placement(1), "n", pods, NOW_S, LIMITS) == 1010.0
    assert wakes_at_s(placement(1), "n", pods, 1010.0, LIMITS) == 1500.0
    assert wakes_at_s(placement(1), "n", pods, 1500.0, LIMITS) == 2000.0
    forced = placement(1, wanted(stoppable=("b",), forced=("b",)))
    assert wakes_at_s(forced, "n", pods, 900.5, LIMITS) == 901.0


def test_part_finds_the_node() -> None:
    """None where the placement or its node is absent."""
    mine = wanted("a")
    assert part(None, "n") is None
    assert part(placement(1), "n") is None
    assert part(placement(1, mine), "n") is mine


# --- laws

PHASES: tuple[Phase, ...] = ("off", "starting", "ready", "sleeping", "draining", "stopping")


@st.composite
def nodes(draw: st.DrawFn) -> dict[str, Pod]:
    """Return pods that fit in the memory of 11 units."""
    found = {}
    for model in draw(st.sets(st.sampled_from(sorted(SIZES)))):
        counts = st.one_of(st.none(), st.integers(0, 2))
        found[model] = pod(
            model,
            draw(st.sampled_from(PHASES)),
            waiting=draw(counts),
            running=draw(counts),
            since_at_s=draw(st.sampled_from([10.0, 900.0, 999.5])),
            backoff_until_s=draw(st.sampled_from([None, 900.0, 1100.0])),
        )
    return found


@st.composite
def wishes(draw: st.DrawFn) -> NodePlacement | None:
    """Return any part of a placement, or none."""
    if draw(st.booleans()) and draw(st.booleans()):
        return None
    lists: dict[str, list[str]] = {"awake": [], "stoppable": [], "neither": []}
    for model in draw(st.permutations(sorted(SIZES))):
        lists[draw(st.sampled_from(sorted(lists)))].append(model)
    forced = tuple(m for m in lists["stoppable"] if draw(st.booleans()))
    return wanted(*lists["awake"], stoppable=tuple(lists["stoppable"]), forced=forced)


@given(nodes(), wishes(), st.booleans(), st.integers(5, 12))
def test_invariant_02_starts_never_exceed_the_memory(
    pods: dict[str, Pod], mine: NodePlacement | None, in_force: bool, memory: int
) -> None:
    """Counting starting, draining and stopping pods."""
    claimed = claimed_bytes(pods)
    starts = [a.model for a in reconcile(mine, in_force, pods, MODELS, memory, NOW_S, LIMITS) if isinstance(a, Start)]
    assert not starts or claimed + sum(SIZES[m] for m in starts) <= memory


@given(nodes(), wishes(), st.booleans())
def test_invariant_04_nothing_is_ended_that_is_not_stoppable_now(
    pods: dict[str, Pod], mine: NodePlacement | None, in_force: bool
) -> None:
    """Without a placement in force nothing is drained or stopped, and what drains serves again."""
    actions = reconcile(mine, in_force, pods, MODELS, 11, NOW_S, LIMITS)
    may = set(mine.stoppable) if mine is not None and in_force else set()
    ended = {a.model for a in actions if isinstance(a, Drain | Stop)}
    assert ended <= may
    undrained = {a.model for a in actions if isinstance(a, Undrain)}
    assert undrained == {m for m, p in pods.items() if p.phase == "draining"} - may


@given(nodes(), wishes(), st.booleans())
def test_invariant_05_stops_come_before_starts(
    pods: dict[str, Pod], mine: NodePlacement | None, in_force: bool
) -> None:
    """In the order of the actions; and each model has one action at most."""
    actions = reconcile(mine, in_force, pods, MODELS, 11, NOW_S, LIMITS)
    kinds = [isinstance(a, Start | Wait) for a in actions]
    assert kinds == sorted(kinds)
    models = [a.model for a in actions]
    assert len(models) == len(set(models))


@given(nodes(), wishes(), st.booleans())
def test_invariant_06_a_stop_drains_first(pods: dict[str, Pod], mine: NodePlacement | None, in_force: bool) -> None:
    """Only a draining pod is stopped: an empty one, or by force, which says what is lost."""
    for action in reconcile(mine, in_force, pods, MODELS, 11, NOW_S, LIMITS):
        if isinstance(action, Stop):
            one = pods[action.model]
            assert one.phase == "draining"
            assert action.forced or (one.running, one.waiting) == (0, 0)
            assert action.lost == ((one.running or 0) if action.forced else 0)


@given(st.lists(st.integers(1, 20), min_size=1))
def test_invariant_09_an_older_placement_never_replaces_a_newer(generations: list[int]) -> None:
    """In whatever order they arrive, the newest stays in force."""
    known: Placement | None = None
    for count, generation in enumerate(generations, start=1):
        known = newer(known, placement(generation))
        assert known.generation == max(generations[:count])


@given(nodes(), wishes(), st.booleans())
def test_invariant_12_only_what_is_wanted_awake_is_started(
    pods: dict[str, Pod], mine: NodePlacement | None, in_force: bool
) -> None:
    """Nothing else, and nothing that has a pod."""
    for action in reconcile(mine, in_force, pods, MODELS, 11, NOW_S, LIMITS):
        if isinstance(action, Start):
            assert mine is not None
            assert action.model in mine.awake
            assert action.model not in pods or pods[action.model].phase in ("off", "sleeping")


@given(st.lists(st.tuples(wishes(), st.booleans(), st.floats(0, 200)), min_size=1, max_size=30), st.integers(5, 11))
def test_invariant_02_over_any_course_the_memory_holds_and_wishes_come_true(
    course: list[tuple[NodePlacement | None, bool, float]], memory: int
) -> None:
    """Whatever placements follow one another: claims stay within the memory; the last one that fits is reached."""
    pods: dict[str, Pod] = {}
    now_s = NOW_S
    for mine, in_force, for_s in [*course, *[(wanted("b", "c", stoppable=("a", "d")), True, 50.0)] * 8]:
        for action in reconcile(mine, in_force, pods, MODELS, memory, now_s, LIMITS):
            match action:
                case Drain(model):
                    pods[model] = replace(turned(pods[model], "draining", now_s), waiting=0, running=0)
                case Undrain(model):
                    pods[model] = turned(pods[model], "ready", now_s)
                case Stop(model):
                    pods[model] = turned(pods[model], "stopping", now_s)
                case Start(model):
                    pods[model] = Pod(model, "i", "starting", now_s, SIZES[model])
                case Wait():
                    pass
        assert claimed_bytes(pods) <= memory
        now_s += for_s
        for model, one in list(pods.items()):
            if one.phase == "stopping" and for_s > 1:
                del pods[model]
            elif one.phase == "starting" and for_s > 10:
                pods[model] = turned(one, "ready", now_s)
    assert {m for m, p in pods.items() if p.phase == "ready"} == {"b", "c"}
