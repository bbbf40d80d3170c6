"""What an agent and the process of its twin say to each other: lines of text, over its standard input and output.

A question is three lines: its number, what was asked about and for how long an answer is of use; the input; the
proposal. An answer is one line.
"""

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from fairlead.contracts.base import Count, Message, Text
from fairlead.contracts.decisions import EpochInput, SlotInput
from fairlead.contracts.dialogue import Judge, Judgement

HUNG_S = 60.0
"""Wall seconds after which a child that still judges is ended: sixty times what 16 candidates take (CONTROL §3)."""

LINE_MOST = 64_000_000
"""Bytes: an input of 1000 nodes and 100 models takes some ten million."""


class Verdict(Message):
    """A line of the twin's process: first that it is ready, then one for each question."""

    number: Annotated[int, Field(ge=0)]
    """Of the question; 0 says that it is ready."""
    judgement: Judgement | None = None
    """None where judging failed, and when it is ready."""
    fault: Text = ""
    """Why judging failed."""
    late: bool = False
    """Whether it was given up because its deadline had passed."""
    twin: Text
    """Which engine and version."""
    memory_bytes: Count


@dataclass(frozen=True, slots=True)
class Question:
    """What is to be judged."""

    number: int
    asked: SlotInput | EpochInput
    judge: Judge
    deadline_s: float
    """Wall seconds; a judgement that takes longer is given up."""

    def lines(self) -> bytes:
        """Return it as lines."""
        what = "slot" if isinstance(self.asked, SlotInput) else "epoch"
        head = f"{self.number} {what} {self.deadline_s!r}"
        return f"{head}\n{self.asked.to_json()}\n{self.judge.to_json()}\n".encode()


def read_question(head: bytes, asked: bytes, judge: bytes) -> Question:
    """Return what three lines ask. Raises `ValueError` for what is no question."""
    number, what, deadline_s = head.decode().split()
    given = SlotInput.from_json(asked) if what == "slot" else EpochInput.from_json(asked)
    return Question(int(number), given, Judge.from_json(judge), float(deadline_s))
