"""A journal of decisions after dialogues, for replay in another process.

`python -m tests.policy.held_dialogues record` prints a record a line; `… replay` reads records from standard input,
executes each again and says whether it is identical.
"""

import asyncio
import json
import sys
from collections.abc import Iterator, Sequence

from fairlead.adapters.memory_llm import MemoryLlm, Saying
from fairlead.contracts.cases import Case
from fairlead.contracts.decisions import DecisionRecord, Dialogue, EpochInput, SlotInput
from fairlead.contracts.dialogue import Approval, ModeName
from fairlead.contracts.plans import Guide, PlanDraft
from fairlead.policy.dialogue import advise, hold, settled
from fairlead.policy.epoch import decide_epoch
from fairlead.policy.registry import decide_slot
from fairlead.policy.replay import again
from tests.policy.dialogues import (
    DEADLINE_S,
    PROMPTS,
    RATES,
    agreeing,
    briefing,
    case,
    epoch_asked,
    large_slot_asked,
    opening,
    planner_reply,
    slot_asked,
    slot_reply,
    text_of,
)

APPROVED = Approval(answer="approved", by="somebody", at_s=10_010.0)


def record(
    asked: SlotInput | EpochInput,
    script: Sequence[str | Saying],
    mode: ModeName = "auto",
    cases: tuple[Case, ...] = (),
    in_time: bool = True,
) -> DecisionRecord:
    """Hold a dialogue with a model that answers by `script`, decide, and return the journal's line of it."""
    brief = briefing(asked, cases)
    agent = "planner" if isinstance(asked, EpochInput) else "slot-agent"
    name = f"{agent}-8-1"
    held = asyncio.run(hold(name, advise(brief), MemoryLlm(script), DEADLINE_S, agreeing))
    approval = APPROVED if mode == "assist" else None
    proposal, ladder = settled(held.advice, mode, approval, in_time)
    dialogue = Dialogue(
        id=name,
        asked=asked,
        settings=brief.settings,
        prompt=f"{brief.prompt.id}/{brief.prompt.version}",
        cases=cases,
        shown=held.advice.shown,
        exchanges=held.exchanges,
        judgements=held.judgements,
        mode=mode,
        approval=approval,
        in_time=in_time,
    )
    return _decided(asked, proposal, dialogue, {"ladder": ladder, "llm": "answered"})


def _decided(
    asked: SlotInput | EpochInput, proposal: Guide | PlanDraft | None, dialogue: Dialogue, changes: dict[str, object]
) -> DecisionRecord:
    if isinstance(asked, SlotInput):
        given = asked.model_copy(update={**changes, "trigger": "advice", "guide": proposal, "now_s": asked.now_s + 5.0})
        output = decide_slot(given)
        assert output.table is not None
        return DecisionRecord(
            id="slot-table-5",
            agent="slot-agent",
            kind="advice",
            made_at_s=given.now_s,
            took_s=0.1,
            source=output.table.source,
            version="0",
            input=given,
            output=output,
            dialogue=dialogue,
        )
    plan = asked.model_copy(update={**changes, "draft": proposal, "now_s": asked.begins_at_s or asked.now_s})
    made = decide_epoch(plan)
    return DecisionRecord(
        id="epoch-3",
        agent="planner",
        kind="epoch",
        made_at_s=plan.now_s,
        took_s=0.1,
        source=made.plan.source if made.plan is not None else "fallback",
        version="0",
        input=plan,
        output=made,
        dialogue=dialogue,
    )


def journal() -> Iterator[DecisionRecord]:
    """Yield decisions after dialogues of all sorts."""
    slot, large = slot_asked(), large_slot_asked(26, 26)
    good = text_of(slot_reply(opening(slot), 0.2))
    yield record(slot, [good])
    yield record(slot, [good], "shadow")
    yield record(slot, [good], "assist")
    yield record(slot, [good], in_time=False)
    yield record(slot, ["no", good])
    yield record(slot, ["no", Saying(code="late", took_s=9.0)])
    yield record(slot, [Saying(code="busy", took_s=0.2)])
    yield record(slot, [Saying("{}", took_s=12.0)])
    yield record(large, [text_of(slot_reply(opening(large), 0.1))])
    for base in (slot, large):
        epoch = epoch_asked(base)
        rates = RATES if base is slot else {m.id: 0.02 for m in base.cluster.models}
        cases = (case(1, epoch, rates), case(2, epoch, {}))
        plan = planner_reply(opening(epoch, cases))
        yield record(epoch, [text_of(plan)], "auto", cases)
        yield record(epoch, [text_of({**plan, "nodes": plan["nodes"][1:]}), text_of(plan)], "auto", cases)
        yield record(epoch, ["<html>", json.dumps(plan)[:-40]], "auto", cases)


def main(arguments: list[str]) -> None:
    """Record or replay."""
    match arguments:
        case ["record"]:
            for one in journal():
                print(one.to_json())
        case ["replay"]:
            for line in sys.stdin:
                replayed = again(DecisionRecord.from_json(line), PROMPTS)
                print("identical" if replayed.identical else replayed.difference)
        case _:
            raise SystemExit(2)


if __name__ == "__main__":
    main(sys.argv[1:])
