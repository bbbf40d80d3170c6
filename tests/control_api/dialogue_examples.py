"""A dialogue, what an agent says of itself, and a proposal, for the tests of the control API and of the command."""

from typing import Any

from fairlead.adapters.memory_llm import MemoryLlm
from fairlead.adapters.prompt_files import prompt_texts
from fairlead.contracts.decisions import (
    DecisionRecord,
    Dialogue,
    NodeView,
    PodView,
    ShadowPrice,
    SlotInput,
    Snapshot,
    Step,
)
from fairlead.contracts.dialogue import (
    AgentStatus,
    Answer,
    Ask,
    CaseShown,
    DialogueSettings,
    EndpointStatus,
    Exchange,
    Judgement,
    Proposal,
    Sampling,
    Trial,
)
from fairlead.contracts.plans import Guide, GuideRow, Rate, Share
from fairlead.policy.dialogue import Briefing, advise, hold, settled
from fairlead.policy.registry import decide_slot
from tests.adapters import store_examples as some
from tests.policy.dialogues import agreeing

REPLY = '{"routes":{"*":{"m01":{"n01":0.7}}},"hold":{},"why":"n01 is idle"}'

STEPS = (
    Step(name="call", ok=True, code="ok", text=""),
    Step(name="parse", ok=True, code="ok", text=""),
    Step(name="schema", ok=True, code="ok", text=""),
    Step(name="feasibility", ok=False, code="row-sum", text="row (*, m01) sums to 0.7"),
    Step(name="repair", ok=True, code="asked", text=""),
    Step(name="call", ok=False, code="late", text="no answer within 7.5 s"),
    Step(name="fallback", ok=True, code="ok", text=""),
)


def answer(text: str | None = REPLY, **more: Any) -> Answer:
    """Return a reply, or what came of a question without one."""
    values: dict[str, Any] = {
        "code": "ok" if text is not None else "late",
        "text": text,
        "endpoint": "http://127.0.0.1:9000/v1",
        "model": "some-model",
        "style": "schema",
        "attempts": 1,
        "took_s": 3.25,
        "prompt_tokens": 1203,
        "reply_tokens": 48,
        "money": 0.0125,
        **more,
    }
    return Answer(**values)


def exchange(number: int, said: Answer, user: str = "n01 memory 8\nm01 rate 0.4") -> Exchange:
    """Return a question and its answer."""
    ask = Ask(
        agent="slot-agent",
        prompt="slot/1",
        turn="first" if number == 1 else "repair",
        system="You route requests.",
        user=user,
        reply="SlotReply",
        reply_schema='{"type":"object"}',
        sampling=Sampling(reply_tokens=700),
    )
    return Exchange(id=f"slot-agent-7-1.{number}", ask=ask, answer=said)


def dialogue(*exchanges: Exchange, **more: Any) -> Dialogue:
    """Return a dialogue of these questions and answers; of a faulty first and a late second one without."""
    asked = some.slot_record(7).input
    values: dict[str, Any] = {
        "asked": asked,
        "settings": DialogueSettings(deadline_s=18.0, sampling=Sampling(reply_tokens=700), llm="http://127.0.0.1:9000"),
        "cases": (),
        "shown": (CaseShown(alias="c1", case="abc-5-3", similarity=0.83),),
        "judgements": (Judgement(code="not-judged", text="the twin does not judge yet"),),
        "mode": "shadow",
        "approval": None,
        "in_time": True,
        **more,
    }
    given = exchanges or (exchange(1, answer()), exchange(2, answer(None)))
    return Dialogue(id="slot-agent-7-1", prompt="slot/1", exchanges=given, **values)


def judgement() -> Judgement:
    """Return what the twin said of three candidates, of which one expects another demand."""

    def trial(name: str, gain: float, *, believed: bool = False, latency_s: float | None = 9.5) -> Trial:
        return Trial(
            name=name,
            believed=believed,
            scenarios=8,
            objective=0.4 - gain,
            fallback=0.4,
            gain=gain,
            low=gain - 0.01,
            high=gain + 0.01,
            latency_s=latency_s,
            fallback_latency_s=None if latency_s is None else 11.0,
        )

    return Judgement(
        code="no-worse",
        text="other-1: it surely gains",
        chosen="other-1",
        trials=(
            trial("other-1", 0.02),
            trial("other-1", 0.06, believed=True),
            trial("proposal", 0.01, latency_s=None),
        ),
        horizon_s=120.0,
        took_s=0.25,
        twin="compiled 0.1.0",
    )


def advice_record(held: Dialogue | None = None) -> DecisionRecord:
    """Return the journal's line of the decision after a dialogue: a table alone, by the fallback."""
    record = some.slot_record(7)
    assert isinstance(record.input, SlotInput)
    given = record.input.model_copy(
        update={"trigger": "advice", "ladder": STEPS, "llm": "answered", "decision": "slot-table-7"}
    )
    output = record.output.model_copy(update={"placement": None, "table": None, "steps": STEPS})
    return record.model_copy(
        update={
            "id": "slot-table-7",
            "kind": "advice",
            "input": given,
            "output": output,
            "dialogue": held or dialogue(),
        }
    )


def whole_slot() -> tuple[DecisionRecord, ...]:
    """Return what was decided in slot 33, from 990 s to 1020 s: a late word about slot 32, its own, two more.

    A plan of a language model is in force; the proposal about slot 33 acts, and a start on an event follows it.
    """
    plan = some.plan(3).model_copy(update={"source": "llm"})

    def made(record: DecisionRecord, name: str, at_s: float, **more: Any) -> DecisionRecord:
        given = record.input.model_copy(update={"slot": 33, "plan": plan, "now_s": at_s, "decision": name})
        return record.model_copy(update={"id": name, "made_at_s": at_s, "input": given, **more})

    def about(slot: int, **more: Any) -> Dialogue:
        asked = some.slot_record(7).input.model_copy(update={"slot": slot, "now_s": 30.0 * slot})
        return dialogue(exchange(1, answer()), asked=asked, judgements=(judgement(),), **more)

    gates = (
        *STEPS[:3],
        Step(name="trust", ok=True, code="ok", text="rows are at most 0.12 away from the fallback's, 0.30 is trusted"),
        Step(name="twin", ok=True, code="no-worse", text="other-1: gain 0.0200 (0.0100 to 0.0300) of F 0.4000"),
        Step(name="mode", ok=True, code="auto", text=""),
    )
    own = some.slot_record(7)
    prices = (
        ShadowPrice(model="image", node=None, worth_s=9.0),
        ShadowPrice(model="text", node="node-1", worth_s=1.5),
        ShadowPrice(model="large-text", node="node-2", worth_s=3.25),
    )
    own = own.model_copy(update={"output": own.output.model_copy(update={"prices": prices})})
    advised = advice_record(about(33, mode="auto"))
    advised = advised.model_copy(update={"output": advised.output.model_copy(update={"steps": gates})})
    return (
        made(advice_record(about(32, in_time=False)), "slot-table-6", 991.0),
        made(own, "slot-7", 992.0),
        made(advised, "slot-table-8", 999.0, source="llm"),
        made(some.slot_record(8), "slot-8", 1010.0, kind="event", source="llm"),
    )


async def held_record(*replies: str) -> DecisionRecord:
    """Return the journal's line of a decision after a dialogue that really was held, in which this was replied."""
    plain = some.slot_record(7)
    pod = PodView(
        model="text", phase="ready", since_at_s=900.0, ready_in_s=0.0, work_s=0.0, count=0, running=0,
        used_at_s=None, blocked=False,
    )  # fmt: skip
    node = NodeView(node="node-1", up=True, observed_at_s=1006.0, speed=1.0, pods=(pod,))
    seen = Snapshot(taken_at_s=1007.0, nodes=(node,), models=(), stale=())
    assert isinstance(plain.input, SlotInput)
    asked = plain.input.model_copy(
        update={
            "trigger": "advice",
            "snapshot": seen,
            "placement": some.placement(6),
            "state": plain.input.state.model_copy(update={"rates": (Rate(model="text", per_s=0.2),)}),
            "llm": "answered",
        }
    )
    briefing = Briefing(
        asked=asked,
        prompt=prompt_texts()["slot-agent"],
        settings=DialogueSettings(deadline_s=18.0, sampling=Sampling(reply_tokens=700), llm="memory:"),
        cases=(),
        similarities=(),
    )
    held = await hold("slot-agent-7-1", advise(briefing), MemoryLlm(replies), 18.0, agreeing)
    guide, ladder = settled(held.advice, "auto", None, True)
    given = asked.model_copy(update={"guide": guide, "ladder": ladder})
    kept = Dialogue(
        id="slot-agent-7-1", asked=asked, settings=briefing.settings, prompt="slot/1", cases=(),
        shown=held.advice.shown, exchanges=held.exchanges, judgements=held.judgements, mode="auto", approval=None,
        in_time=True,
    )  # fmt: skip
    return advice_record(kept).model_copy(update={"input": given, "output": decide_slot(given)})


def asked_otherwise(record: DecisionRecord) -> DecisionRecord:
    """Return the line as if the first question had had another second line."""
    assert record.dialogue is not None
    first, *rest = record.dialogue.exchanges
    lines = first.ask.user.split("\n")
    user = "\n".join((lines[0], "asked otherwise", *lines[2:]))
    other = first.model_copy(update={"ask": first.ask.model_copy(update={"user": user})})
    return record.model_copy(
        update={"id": "slot-table-8", "dialogue": record.dialogue.model_copy(update={"exchanges": (other, *rest)})}
    )


def status(agent: str = "slot-agent", **more: Any) -> AgentStatus:
    """Return what an agent says of itself."""
    endpoint = EndpointStatus(
        url="http://127.0.0.1:9000/v1", model="some-model", style="schema", breaker="closed", last_code="ok"
    )
    values: dict[str, Any] = {
        "mode": "shadow",
        "at_s": 1000.0,
        "llm": "http://127.0.0.1:9000/v1",
        "endpoints": (endpoint,),
        "asks": 12,
        "dialogues": 10,
        "accepted": 4,
        "fallbacks": 10,
        "prompt_tokens": 12030,
        "reply_tokens": 480,
        "money": 0.125,
        "seconds": 32.5,
        "acting": "fallback",
        "why": "mode is shadow",
        **more,
    }
    return AgentStatus.model_validate({"agent": agent, **values})


def proposal(number: int = 1, *, created_at_s: float = 1000.0, expires_at_s: float = 1030.0) -> Proposal:
    """Return a proposal that nobody has answered."""
    shares = (Share(node="node-1", probability=1.0),)
    guide = Guide(slot=7, rows=(GuideRow(zone="*", model="text", shares=shares),), why="n01 is idle")
    return Proposal(
        id=f"slot-agent-7-{number}",
        agent="slot-agent",
        created_at_s=created_at_s,
        expires_at_s=expires_at_s,
        content=guide.to_json(),
        why=guide.why,
        changes=("text: node-1 0.60 → 1.00",),
    )
