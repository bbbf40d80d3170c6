"""Decisions executed again from their records alone, and how many came out the same."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from fairlead.contracts.decisions import DecisionRecord
from fairlead.contracts.dialogue import AgentName, PromptText
from fairlead.contracts.errors import Diverged
from fairlead.policy.replay import again

Outcome = Literal["identical", "different", "diverged"]

DIFFERENCE_CHARS = 4096
"""Of a difference that are shown, as `Replayed.difference` keeps them: a line of a question can be a whole schema."""


@dataclass(frozen=True, slots=True)
class Again:
    """What came of a decision executed again."""

    id: str
    outcome: Outcome
    """`different`: another decision on the same input and answers; `diverged`: another question to the model."""
    difference: str


@dataclass(slots=True)
class Tally:
    """What came of many; the first that was not identical is kept."""

    counts: dict[Outcome, int] = field(default_factory=lambda: {"identical": 0, "different": 0, "diverged": 0})
    first: Again | None = None

    def add(self, one: Again) -> None:
        """Count one."""
        self.counts[one.outcome] += 1
        if self.first is None and one.outcome != "identical":
            self.first = one

    @property
    def replayed(self) -> int:
        """How many there were."""
        return sum(self.counts.values())

    @property
    def holds(self) -> bool:
        """Whether there were any, and all were identical."""
        return 0 < self.replayed == self.counts["identical"]

    def document(self) -> dict[str, Any]:
        """Return the tally as JSON values."""
        first = self.first
        told = {"id": first.id, "outcome": first.outcome, "difference": first.difference} if first else None
        return {
            "replayed": self.replayed,
            "identical": self.counts["identical"],
            "different": self.counts["different"],
            "diverged": self.counts["diverged"],
            "first": told,
        }


def replayer(prompts: Mapping[AgentName, PromptText]) -> Callable[[DecisionRecord], Again]:
    """Return what executes a record again with these prompts, and compares byte for byte."""

    def replayed(record: DecisionRecord) -> Again:
        try:
            made = again(record, prompts)
        except Diverged as diverged:
            return Again(record.id, "diverged", str(diverged)[:DIFFERENCE_CHARS])
        return Again(record.id, "identical" if made.identical else "different", made.difference)

    return replayed
