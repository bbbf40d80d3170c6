"""What an agent and the process of its twin say to each other: lines of text, over its standard input and output.

A question is three lines: its number and what was asked about, the input, the proposal. An answer is one line.
"""

from typing import Annotated, Literal

from pydantic import Field

from fairlead.contracts.base import Count, Message, Text
from fairlead.contracts.decisions import EpochInput, SlotInput
from fairlead.contracts.dialogue import Judge, Judgement

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
    twin: Text
    """Which engine and version."""
    memory_bytes: Count


def question(number: int, asked: SlotInput | EpochInput, judge: Judge) -> bytes:
    """Return the lines that ask for a judgement."""
    what = "slot" if isinstance(asked, SlotInput) else "epoch"
    return f"{number} {what}\n{asked.to_json()}\n{judge.to_json()}\n".encode()


def read_question(head: bytes, asked: bytes, judge: bytes) -> tuple[int, SlotInput | EpochInput, Judge]:
    """Return what three lines ask. Raises `ValueError` for what is no question."""
    number, _, what = head.decode().strip().partition(" ")
    kind: Literal["slot", "epoch"] = "slot" if what == "slot" else "epoch"
    given = SlotInput.from_json(asked) if kind == "slot" else EpochInput.from_json(asked)
    return int(number), given, Judge.from_json(judge)
