"""What a run makes of its language model: modes set before it, dialogues counted from the journal after it."""

import pytest

from fairlead.adapters.memory_store import MemoryStore
from fairlead.contracts.decisions import DecisionSummary, Step
from fairlead.contracts.settings import LlmEndpoint, LlmSettings
from testbed.llm_use import accepted, asked, endpoint_words, modes, set_modes


def summary(name: str, asks: int, *steps: Step) -> DecisionSummary:
    """Return a decision for which so many questions were asked."""
    return DecisionSummary(
        id=name, agent="slot-agent", kind="advice", number=1, made_at_s=1.0, took_s=0.0, source="llm", version="0",
        plan=0, placement=0, table=1, steps=steps, asks=asks,
    )  # fmt: skip


async def test_both_agents_begin_in_the_mode_that_was_asked_for() -> None:
    """Also where somebody has set one before; who did is told."""
    store = MemoryStore()
    assert dict(await modes(store)) == {"planner": "shadow", "slot-agent": "shadow"}
    await set_modes(store, "auto", 5.0)
    await set_modes(store, "off", 6.0)
    assert dict(await modes(store)) == {"planner": "off", "slot-agent": "off"}
    found = await store.mode("planner")
    assert (found.by, found.at_s) == ("fairlead up --mode", 6.0)


def test_dialogues_are_those_that_asked_and_accepted_those_past_all_gates() -> None:
    """A later decision of the slot that follows the same advice counts for neither."""
    call, gate = Step(name="call", ok=True, code="ok", text=""), Step(name="twin", ok=True, code="no-worse", text="")
    worse = gate.model_copy(update={"ok": False, "code": "worse"})
    decisions = (
        summary("a", 1, call, gate),
        summary("b", 2, call, worse),
        summary("c", 1, call),
        summary("d", 0, gate),
    )
    assert asked(decisions) == ("a", "b", "c")
    assert accepted(decisions) == 1


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (LlmSettings(), "none"),
        (LlmSettings(replay="/r.jsonl"), "replay:/r.jsonl"),
        (
            LlmSettings(endpoints=(LlmEndpoint(url="http://a/v1"), LlmEndpoint(url="http://b/v1"))),
            "http://a/v1, http://b/v1",
        ),
    ],
)
def test_what_is_asked_is_told_in_words(settings: LlmSettings, words: str) -> None:
    """Addresses in their order, a file, or none."""
    assert endpoint_words(settings) == words
