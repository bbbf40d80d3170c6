"""What a run has made of its language model: modes set before it, dialogues counted from the journal after it."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, get_args

from fairlead.contracts.decisions import DecisionRecord, DecisionSummary
from fairlead.contracts.dialogue import AgentName, Answer, ModeName
from fairlead.contracts.events import Mode
from fairlead.contracts.ports import Store
from fairlead.contracts.settings import LlmSettings

AGENTS: tuple[AgentName, ...] = get_args(AgentName)

ACCEPTED_STEP = "twin"
"""The last gate: a dialogue in which it held has a proposal that passed all."""


@dataclass(frozen=True, slots=True)
class LlmUse:
    """Figures of a run's dialogues."""

    endpoint: str
    """What was configured, without credentials; `none` if nothing was."""
    modes: tuple[tuple[AgentName, ModeName], ...]
    """At the end of the run."""
    dialogues: int
    accepted: int
    """Dialogues whose proposal passed all gates, whether it acted or not."""
    answers: tuple[Answer, ...]
    """To each question, in no order."""

    def to_document(self) -> dict[str, Any]:
        """Return the figures as JSON values."""
        codes = Counter(one.code for one in self.answers)
        return {
            "endpoint": self.endpoint,
            "mode": dict(self.modes),
            "dialogues": self.dialogues,
            "asks": len(self.answers),
            "by_code": dict(sorted(codes.items())),
            "accepted": self.accepted,
            "prompt_tokens": sum(one.prompt_tokens for one in self.answers),
            "reply_tokens": sum(one.reply_tokens for one in self.answers),
            "money": round(sum(one.money for one in self.answers), 9),
            "seconds": round(sum(one.took_s for one in self.answers), 6),
        }


def endpoint_words(settings: LlmSettings) -> str:
    """Return what is asked, in words; addresses carry no credentials."""
    if settings.replay is not None:
        return f"replay:{settings.replay}"
    return ", ".join(one.url for one in settings.endpoints) or "none"


async def set_modes(store: Store, mode: ModeName, at_s: float) -> None:
    """Let both agents begin in `mode`; `at_s` is the domain instant."""
    for agent in AGENTS:
        found = await store.mode(agent)
        new = Mode(agent=agent, mode=mode, by="fairlead up --mode", at_s=at_s, revision=found.revision)
        await store.put_mode(new, if_revision=found.revision)


async def modes(store: Store) -> tuple[tuple[AgentName, ModeName], ...]:
    """Return the mode of each agent."""
    return tuple([(agent, (await store.mode(agent)).mode) for agent in AGENTS])


def asked(decisions: Iterable[DecisionSummary]) -> tuple[str, ...]:
    """Return the ids of decisions for which a language model was asked."""
    return tuple(one.id for one in decisions if one.asks)


def accepted(decisions: Iterable[DecisionSummary]) -> int:
    """Return for how many decisions a proposal passed all gates."""
    held = (any(step.name == ACCEPTED_STEP and step.ok for step in one.steps) for one in decisions if one.asks)
    return sum(held)


def answers(record: DecisionRecord) -> tuple[Answer, ...]:
    """Return what a language model answered for a decision, failures included."""
    return tuple(one.answer for one in record.dialogue.exchanges) if record.dialogue is not None else ()
