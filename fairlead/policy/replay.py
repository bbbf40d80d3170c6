"""Executes a journaled decision again, from its record alone, and compares."""

import itertools
import json

from fairlead.contracts.base import Message
from fairlead.contracts.decisions import DecisionRecord, Replayed, SlotInput
from fairlead.contracts.errors import foreign
from fairlead.policy.epoch import decide_epoch
from fairlead.policy.registry import decide_slot

_ABSENT = "(nothing)"


def again(record: DecisionRecord) -> Replayed:
    """Return whether deciding on the record's input gives the record's output, byte for byte, and if not where.

    Outputs are compared as JSON with one value a line, fields in the order of their declaration.
    """
    given = record.input
    try:
        output: Message = decide_slot(given) if isinstance(given, SlotInput) else decide_epoch(given)
    except (ValueError, LookupError, ArithmeticError) as error:
        return _different(record, f"recorded: a decision\nreplayed: {type(error).__name__}: {foreign(error)}")
    if output.to_json() == record.output.to_json():
        return Replayed(id=record.id, identical=True, difference="")
    return _different(record, _first_difference(_lines(record.output), _lines(output)))


def _different(record: DecisionRecord, difference: str) -> Replayed:
    return Replayed(id=record.id, identical=False, difference=difference[:4096])


def _lines(output: Message) -> list[str]:
    return json.dumps(output.to_document(), indent=1).splitlines()


def _first_difference(recorded: list[str], replayed: list[str]) -> str:
    """Return the first line that differs, with the names of the fields above it, recorded then replayed."""
    pairs = itertools.zip_longest(recorded, replayed, fillvalue=_ABSENT)
    number, (old, new) = next((n, p) for n, p in enumerate(pairs) if p[0] != p[1])
    return f"line {number + 1} ({_path(recorded[: number + 1])})\nrecorded: {old.strip()}\nreplayed: {new.strip()}"


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
