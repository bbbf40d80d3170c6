"""Why a decision is made, and what it has of a language model."""

from dataclasses import dataclass
from typing import Literal

from fairlead.agents.advice import Talk
from fairlead.contracts.decisions import Dialogue, Step
from fairlead.contracts.dialogue import ModeName
from fairlead.contracts.plans import Guide, NodePlacement
from fairlead.contracts.settings import Settings
from fairlead.policy.ladder import FALLBACK, barred

Trigger = Literal["slot", "event", "advice"]


@dataclass(frozen=True, slots=True)
class Case:
    """What the process was started with: all that stays the same from decision to decision."""

    settings: Settings
    static: tuple[NodePlacement, ...]
    version: str


@dataclass(frozen=True, slots=True)
class Occasion:
    """Why it is decided."""

    trigger: Trigger
    slot: int
    forced: bool = True
    """Also where nothing seems to have changed."""
    patient: bool = True
    """Not while no node at all is heard any more."""
    talk: Talk | None = None
    """The dialogue that `advice` follows; without one it takes back what an earlier one has brought."""
    ladder: tuple[Step, ...] = ()
    """Why it is taken back."""


@dataclass(frozen=True, slots=True)
class Counselled:
    """What a decision has of a language model."""

    llm: str
    """Why no reply is in it; see `SlotInput.llm`."""
    guide: Guide | None = None
    ladder: tuple[Step, ...] = ()
    dialogue: Dialogue | None = None


def taken_back(mode: ModeName, held_back: str) -> tuple[Step, ...]:
    """Return the ladder of a decision that takes a proposal back because of the watchdog, or of the mode."""
    if held_back:
        return (barred(held_back), FALLBACK)
    text = f"the mode is {mode} now: what was accepted before acts no longer"
    return (Step(name="mode", ok=False, code=mode, text=text), FALLBACK)
