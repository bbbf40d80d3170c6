"""Executes a journaled decision again, from its record alone, and compares."""

import itertools
import json
from collections.abc import Mapping

from fairlead.contracts.base import Message
from fairlead.contracts.decisions import DecisionRecord, Dialogue, EpochInput, Replayed, SlotInput
from fairlead.contracts.dialogue import AgentName, Ask, Judge, PromptText
from fairlead.contracts.errors import Diverged, foreign
from fairlead.policy.dialogue import Advice, Briefing, advise, said_next, settled
from fairlead.policy.epoch import decide_epoch
from fairlead.policy.registry import decide_slot

_ABSENT = "(nothing)"

WIDTH = 200
"""Characters of a line that are shown, two lines of a wide terminal."""

BEFORE = 60
"""Of these, how many may stand before the first difference."""


def again(record: DecisionRecord, prompts: Mapping[AgentName, PromptText]) -> Replayed:
    """Return whether deciding on the record's input gives the record's output, byte for byte, and if not where.

    A dialogue before it is held again first: the recorded answers are weighed anew, with the prompts of today, and
    must bring what the decision was given. Outputs are compared as JSON with one value a line, fields in the order of
    their declaration. Raises `Diverged` where a question would be another one today.
    """
    given = record.input
    try:
        brought = given if record.dialogue is None else _brought(given, record.dialogue, prompts[record.agent])
        output: Message = decide_slot(given) if isinstance(given, SlotInput) else decide_epoch(given)
    except (ValueError, LookupError, ArithmeticError) as error:
        return _different(record, f"recorded: a decision\nreplayed: {type(error).__name__}: {foreign(error)}")
    if brought.to_json() != given.to_json():
        where = _first_difference(_lines(given), _lines(brought))
        return _different(record, f"the dialogue before it brings something else: {where}")
    if output.to_json() == record.output.to_json():
        return Replayed(id=record.id, identical=True, difference="")
    return _different(record, _first_difference(_lines(record.output), _lines(output)))


def _brought(given: SlotInput | EpochInput, dialogue: Dialogue, prompt: PromptText) -> SlotInput | EpochInput:
    """Return the input with what the dialogue brings when its recorded answers are weighed again."""
    proposal, ladder = settled(
        reheld(dialogue, prompt), dialogue.mode, dialogue.approval, dialogue.in_time, dialogue.held_back
    )
    if given.ladder[-1:] and given.ladder[-1].name == "operator":  # somebody's plan was in force
        proposal, ladder = None, (*ladder, given.ladder[-1])
    name = "guide" if isinstance(given, SlotInput) else "draft"
    return given.model_copy(update={name: proposal, "ladder": ladder})


def reheld(dialogue: Dialogue, prompt: PromptText) -> Advice:
    """Return what comes of a journaled dialogue that is held again. Raises `Diverged` where it goes another way."""
    similarity = {shown.case: shown.similarity for shown in dialogue.shown}
    briefing = Briefing(
        asked=dialogue.asked,
        prompt=prompt,
        settings=dialogue.settings,
        cases=dialogue.cases,
        similarities=tuple(similarity.get(case.id, 0.0) for case in dialogue.cases),
    )
    talk = advise(briefing)
    exchanges, judgements = list(dialogue.exchanges), list(dialogue.judgements)
    said = said_next(talk, None)
    while not isinstance(said, Advice):
        if isinstance(said, Judge):
            if not judgements:
                raise Diverged(f"dialogue {dialogue.id}: a proposal passes the gates that was not judged then")
            said = said_next(talk, judgements.pop(0))
            continue
        if not exchanges:
            raise Diverged(f"dialogue {dialogue.id}: one question more is asked than was then")
        recorded = exchanges.pop(0)
        if said != recorded.ask:
            where = _first_difference(_ask_lines(recorded.ask), _ask_lines(said))
            raise Diverged(f"dialogue {dialogue.id}, {recorded.ask.turn} question: {where}")
        said = said_next(talk, recorded.answer)
    if exchanges or judgements:
        fewer = f"{len(exchanges)} questions and {len(judgements)} judgements fewer than then"
        raise Diverged(f"dialogue {dialogue.id} ends early, with {fewer}")
    return said


def _ask_lines(ask: Ask) -> list[str]:
    """Return a question with each line of its texts, and each item of its schema, as a line of its own."""
    document = ask.to_document()
    texts = {part: document[part].split("\n") for part in ("system", "user")}
    return _pretty({**document, **texts, "reply_schema": ask.reply_schema.replace(",", ",\n").split("\n")})


def _different(record: DecisionRecord, difference: str) -> Replayed:
    return Replayed(id=record.id, identical=False, difference=difference[:4096])


def _lines(output: Message) -> list[str]:
    return _pretty(output.to_document())


def _pretty(document: Mapping[str, object]) -> list[str]:
    return json.dumps(document, indent=1).splitlines()


def _first_difference(recorded: list[str], replayed: list[str]) -> str:
    """Return the first line that differs, with the names of the fields above it, recorded then replayed."""
    pairs = itertools.zip_longest(recorded, replayed, fillvalue=_ABSENT)
    number, (old, new) = next((n, p) for n, p in enumerate(pairs) if p[0] != p[1])
    old, new = _around(old.strip(), new.strip())
    return f"line {number + 1} ({_path(recorded[: number + 1])})\nrecorded: {old}\nreplayed: {new}"


def _around(old: str, new: str) -> tuple[str, str]:
    """Return two lines that differ; of long ones what stands around the first difference."""
    same = next((k for k, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))
    begin = max(0, same - BEFORE) if max(len(old), len(new)) > WIDTH else 0
    dots = "…" if begin else ""
    return dots + old[begin : begin + WIDTH], dots + new[begin : begin + WIDTH]


def _path(lines: list[str]) -> str:
    """Return the fields that enclose the last of `lines`, outermost first, such as `table/rows/shares`."""
    names: list[str] = []
    depth = len(lines[-1]) - len(lines[-1].lstrip())
    for line in reversed(lines):
        indent = len(line) - len(line.lstrip())
        named = line.lstrip().startswith('"') and '": ' in line
        if indent < depth or line is lines[-1]:
            depth = indent
            if named:
                names.append(line.lstrip().split('"', 2)[1])
    return "/".join(reversed(names)) or "top"
