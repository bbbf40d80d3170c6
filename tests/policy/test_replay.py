"""Replay: a journaled decision executed again gives the same bytes, over whole runs and under any hash seed."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairlead.adapters.prompt_files import prompt_texts
from fairlead.contracts.decisions import DecisionRecord, SlotDecision, SlotInput
from fairlead.contracts.tuning import PolicyName
from fairlead.policy.registry import decide_slot
from fairlead.policy.replay import again
from tests.hash_seeds import run_under
from tests.slot_agent.scripted_run import Act, record_run

RUN = "tests.slot_agent.scripted_run"

PROMPTS = prompt_texts()
POLICIES: tuple[PolicyName, ...] = (
    "marginal-dpp",
    "random-static",
    "round-robin",
    "least-loaded-slot",
    "sed-static",
    "lru",
    "random-dynamic",
    "dpp",
    "bmw-dpp",
)
MODELS = st.sampled_from(["m1", "m2", "m3", "m4"])
NODES = st.sampled_from(["n1", "n2", "n3"])
ACTS: st.SearchStrategy[Act] = st.one_of(
    st.tuples(st.just("ask"), MODELS),
    st.tuples(st.just("miss"), MODELS),
    st.tuples(st.just("lose"), NODES),
    st.tuples(st.just("return"), NODES),
    st.tuples(st.just("wait"), st.just("")),
)


@given(acts=st.lists(ACTS, max_size=24), policy=st.sampled_from(POLICIES), seed=st.integers(0, 3))
@settings(max_examples=25)
def test_invariant_07_every_decision_of_a_run_is_identical_at_replay(
    acts: list[Act], policy: PolicyName, seed: int
) -> None:
    """Whatever happens at the edge, the journal alone gives every decision again."""
    records = asyncio.run(record_run(acts, policy, seed))
    assert records
    for record in records:
        replayed = again(DecisionRecord.from_json(record.to_json()), PROMPTS)
        assert replayed.identical, replayed.difference


@given(acts=st.lists(ACTS, max_size=24), policy=st.sampled_from(("marginal-dpp", "lru")))
@settings(max_examples=20)
def test_invariant_12_a_model_that_nobody_asks_for_is_not_started(acts: list[Act], policy: PolicyName) -> None:
    """`m4` has no pod at first; without a request for it none is started."""
    quiet = [a for a in acts if a[1] != "m4"]
    for record in asyncio.run(record_run(quiet, policy, 0)):
        assert isinstance(record.output, SlotDecision)
        if record.output.placement is not None:
            assert all("m4" not in n.awake for n in record.output.placement.nodes)


@given(acts=st.lists(ACTS, max_size=24), policy=st.sampled_from(POLICIES))
@settings(max_examples=15)
def test_invariant_09_generations_of_a_run_rise_by_one(acts: list[Act], policy: PolicyName) -> None:
    """No generation is left out or given twice, and each table belongs to its placement."""
    outputs = [r.output for r in asyncio.run(record_run(acts, policy, 1)) if isinstance(r.output, SlotDecision)]
    placements = [o.placement.generation for o in outputs if o.placement is not None]
    tables = [o.table.generation for o in outputs if o.table is not None]
    assert placements == list(range(1, len(placements) + 1))
    assert tables == list(range(1, len(tables) + 1))


def recorded() -> DecisionRecord:
    """Return a slot decision of a short run."""
    records = asyncio.run(record_run([("ask", "m1"), ("miss", "m4"), ("wait", "")], "marginal-dpp", 0))
    return records[-1]


def test_a_corrupted_output_is_reported_with_the_first_line_that_differs() -> None:
    """Recorded and replayed stand beside each other, with the field that holds them."""
    record = recorded()
    assert isinstance(record.output, SlotDecision)
    assert record.output.placement is not None
    placement = record.output.placement.model_copy(update={"expires_at_s": 1.5})
    broken = record.model_copy(update={"output": record.output.model_copy(update={"placement": placement})})
    replayed = again(broken, PROMPTS)
    assert not replayed.identical
    first, old, new = replayed.difference.splitlines()
    assert first.startswith("line ")
    assert first.endswith("(placement/expires_at_s)")
    assert old == 'recorded: "expires_at_s": 1.5,'
    assert new.startswith('replayed: "expires_at_s": 10000')


def test_a_corrupted_input_is_reported_too() -> None:
    """Another slot makes another decision."""
    record = recorded()
    broken = record.model_copy(update={"input": record.input.model_copy(update={"slot": 77})})
    replayed = again(broken, PROMPTS)
    assert "(placement/slot)" in replayed.difference
    assert 'replayed: "slot": 77,' in replayed.difference


def test_an_output_that_ends_early_is_reported_against_nothing() -> None:
    """What is not there has no line."""
    record = recorded()
    assert isinstance(record.output, SlotDecision)
    broken = record.model_copy(
        update={"output": record.output.model_copy(update={"steps": (), "prices": (), "reasons": ()})}
    )
    assert "(steps)" in again(broken, PROMPTS).difference


def test_an_input_that_cannot_be_decided_on_is_reported_not_raised() -> None:
    """A record whose snapshot names a model that its cluster does not have."""
    record = recorded()
    given = record.input
    assert isinstance(given, SlotInput)
    broken = given.model_copy(update={"next_table": 0})
    replayed = again(record.model_copy(update={"input": broken}), PROMPTS)
    assert not replayed.identical
    assert replayed.difference.startswith("recorded: a decision\nreplayed: ValidationError")


def test_a_decision_of_the_wrong_agent_differs_from_its_first_line() -> None:
    """An epoch's output under a slot's input."""
    record = recorded()
    given = record.input
    assert isinstance(given, SlotInput)
    other = decide_slot(given.model_copy(update={"policy": "round-robin"}))
    assert not again(record.model_copy(update={"output": other}), PROMPTS).identical


@pytest.mark.parametrize("policy", ["marginal-dpp", "lru"])
def test_invariant_07_a_run_gives_the_same_bytes_under_two_hash_seeds(policy: str) -> None:
    """And the journal of the one is identical when replayed under the other."""
    first, second = run_under("1", "-m", RUN, "record", policy), run_under("2", "-m", RUN, "record", policy)
    assert first.count(b"\n") >= 8
    assert first == second
    assert run_under("3", "-m", RUN, "replay", stdin=first) == b"identical\n" * first.count(b"\n")
