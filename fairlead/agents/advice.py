"""What a loop and its advisor say to each other: a question, a dialogue that has ended, what may act of it.

Kept free of the policy's arrays, so that a planner without a language model does not load them.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from fairlead.contracts.cases import Case
from fairlead.contracts.decisions import Dialogue, EpochInput, SlotInput, Step
from fairlead.contracts.dialogue import ModeName
from fairlead.contracts.plans import Guide, PlanDraft, Source

Asked = SlotInput | EpochInput
Recalled = tuple[tuple[Case, ...], tuple[float, ...]]
"""Remembered cases and how similar each is, 0 to 1."""
Recall = Callable[[EpochInput], Awaitable[Recalled]]

Stance = Literal["no-llm", "baseline", "off", "busy", "asked"]
"""Whether a language model is asked now: there is none; the policy takes no advice; its mode is off; the question
before is not answered yet; it is asked."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is to be asked, and for how long an answer is of use."""

    asked: Asked
    deadline_s: float
    """Wall seconds for all answers together."""
    ends_at_s: float
    """End of the slot or epoch that it is about; an assisted proposal waits for a person until then."""


@dataclass(frozen=True, slots=True)
class Settled:
    """What may act of a dialogue, and the dialogue as the journal keeps it."""

    proposal: Guide | PlanDraft | None
    steps: tuple[Step, ...]
    dialogue: Dialogue
    passed: bool
    """Whether the proposal has passed all gates, whoever acts."""
    cited: tuple[str, ...] = ()
    """Cases that what was proposed says it rests on."""


@dataclass(frozen=True, slots=True)
class Talk:
    """A dialogue that has ended; what may act of it is settled when it is decided, by whether there is still time."""

    id: str
    question: Question
    settle: Callable[[bool], Settled]
    """Takes whether its slot or epoch is not over yet."""


class Advising(Protocol):
    """An advisor as a loop sees it; nothing here raises but cancellation, unless it says so."""

    async def stance(self) -> Stance:
        """Return whether a model would be asked now. Raises `StoreUnavailable`."""

    async def mode(self) -> ModeName:
        """Return who may act now; `off` where there is no model, `shadow` while the watchdog lets nothing act.

        Raises `StoreUnavailable`.
        """

    def held_back(self) -> str:
        """Return why the watchdog lets nothing act now; empty where it does not hold."""

    def heed(self, bell: Callable[[], None]) -> None:
        """Ring this when the watchdog begins or ends to hold."""

    async def hold(self, question: Question, recall: Recall) -> Talk | None:
        """Hold a dialogue and wait for whatever has to be waited for; None if that failed, which was counted."""

    def concluded(self, ended: Settled, source: Source, steps: tuple[Step, ...]) -> None:
        """Count a dialogue once what came of it is journaled: whose decision that was, and its whole ladder."""

    def noticed(self) -> None:
        """Look again: a mode or a proposal has changed, or may have."""

    async def run(self) -> None:
        """Keep the agent's status in the store until cancelled."""


async def nothing(_: EpochInput) -> Recalled:
    """Recall no case: what an agent without a memory does."""
    return (), ()
