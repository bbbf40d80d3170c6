"""The scripted server's log joined with the journal, ask by ask: what the ladder said, and what it should have."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from fairlead.contracts.decisions import DecisionRecord, Step
from testbed.scripted_behaviours import LATE, PASSED, TRIED_AGAIN
from testbed.scripted_llm import Line

RUNGS = ("call", "parse", "schema", "feasibility", "trust")
"""Of the ladder, those that a reply passes by itself."""


def read_log(file: Path) -> dict[str, list[Line]]:
    """Return the requests in a log by the question that they were for, in the order of their attempts."""
    found: dict[str, list[Line]] = defaultdict(list)
    for text in file.read_text(encoding="utf-8").splitlines():
        document = json.loads(text)
        line = Line(**document | {"expected": tuple(document["expected"])})
        found[line.ask].append(line)
    return {ask: sorted(lines, key=lambda one: one.attempt) for ask, lines in found.items()}


def verdicts(steps: Sequence[Step]) -> tuple[str, ...]:
    """Return for each question of a dialogue the first rung that did not hold, or `passed`.

    What stands behind the twin is not about the reply any more, but about what it has become since.
    """
    found: list[str] = []
    for step in steps:
        if step.name == "twin":
            break
        if step.name == "call":
            found.append(PASSED)
        if step.name in RUNGS and found and found[-1] == PASSED and not step.ok:
            found[-1] = f"{step.name}:{step.code}"
    return tuple(found)


def allowed(lines: Sequence[Line]) -> frozenset[str]:
    """Return what the ladder may say of a question after these requests for it, in the order of their attempts."""
    last = lines[-1]
    if last.outcome == "left":
        return frozenset({LATE})
    again = {LATE} if last.behaviour in TRIED_AGAIN else set()
    return frozenset({*last.expected, *again})


def differences(records: Iterable[DecisionRecord], log: Mapping[str, Sequence[Line]]) -> list[str]:
    """Return where the journal and a log do not agree, in words; each question that was sent is looked at.

    Of one that was late an attempt may be missing: the deadline can pass while the server is asked for its models.
    """
    found = []
    for record in records:
        if record.dialogue is None:
            continue
        said = verdicts(record.output.steps)
        exchanges = record.dialogue.exchanges
        if len(said) != len(exchanges):
            found.append(f"{record.id}: {len(said)} calls on the ladder, {len(exchanges)} exchanges")
            continue
        for exchange, verdict in zip(exchanges, said, strict=True):
            lines, attempts = log.get(exchange.id, ()), exchange.answer.attempts
            if len(lines) != attempts and not (len(lines) < attempts and verdict == LATE):
                found.append(f"{exchange.id}: {attempts} attempts, {len(lines)} in the log, {verdict}")
            elif lines and verdict not in allowed(lines):
                behaved = ", ".join(f"{one.behaviour} {one.outcome}" for one in lines)
                found.append(f"{exchange.id}: {verdict} after {behaved}, not {sorted(allowed(lines))}")
    return found
