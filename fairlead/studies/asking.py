"""A language model asked by the agents of a run of the twin: an endpoint or a recorded file, one question at a time."""

import asyncio
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from fairlead.adapters.memory_store import MemoryStore
from fairlead.adapters.openai_llm import connected
from fairlead.adapters.prompt_files import prompt_texts
from fairlead.contracts.dialogue import AgentName, Answer, Ask, Sampling
from fairlead.contracts.settings import LlmSettings
from fairlead.twin.arbiters import arbiter
from fairlead.twin.talking import Arbiter, Asker, Counsel

ModeAt = Literal["auto", "shadow"]
"""What passes the gates acts, or is judged only."""


@dataclass(frozen=True, slots=True)
class LlmAt:
    """The language model that is asked in a run, as a value."""

    settings: str
    """Canonical JSON of `LlmSettings`; keys stay in the environment."""
    name: str
    """For the journal."""
    mode: ModeAt
    seconds: float | None = None
    """What every answer takes on the virtual clock; as measured without."""


AGENTS: tuple[AgentName, ...] = ("planner", "slot-agent")

NEVER = 1_000_000
"""Failures in a row before an endpoint is left alone, in place of `llm.breaker_failures`: from one question of an agent
to its next a slot of virtual time passes, after which it would be tried again, and next to no wall time."""

PATIENCE_S = 600.0
"""Wall seconds that an answer may take where its virtual seconds are not the wall's: a machine may be slow, or busy."""


@contextmanager
def asking(settings: LlmSettings, environ: Mapping[str, str]) -> Generator[Asker]:
    """Give what puts a question to the model of these settings and waits for its answer.

    The budget's windows are those of the wall clock. Raises `ConfigError` for a key or a file that cannot be used.
    """
    store = MemoryStore()
    patient = settings.model_copy(update={"breaker_failures": NEVER})
    with asyncio.Runner() as runner:
        models = {agent: connected(patient, agent, store, environ) for agent in AGENTS}

        def ask(question: Ask, name: str, deadline_s: float) -> Answer:
            return runner.run(models[question.agent].ask(question, id=name, deadline_s=deadline_s))

        try:
            yield ask
        finally:
            for model in models.values():
                runner.run(model.close())


@contextmanager
def counselled(at: LlmAt, environ: Mapping[str, str]) -> Generator[Counsel]:
    """Give the counsel of a run. Raises `ConfigError` as `asking` does."""
    settings = LlmSettings.from_json(at.settings)
    with asking(settings, environ) as ask:
        yield counsel_of(settings, ask if at.seconds is None else taking(ask, at.seconds), at.mode, at.name)


def taking(ask: Asker, seconds: float) -> Asker:
    """Return a model whose every answer takes so long on the virtual clock; `late` where that is past its deadline."""

    def slow(question: Ask, name: str, deadline_s: float) -> Answer:
        return _taken(ask(question, name, max(deadline_s, PATIENCE_S)), seconds, deadline_s)

    return slow


def clocked(ask: Asker, clock: Callable[[], float]) -> Asker:
    """Return a model whose answers take on the virtual clock what passes on another one than the wall's meanwhile.

    Where that goes back, as the time of a process does that has ended, nothing passes.
    """

    def slow(question: Ask, name: str, deadline_s: float) -> Answer:
        began_s = clock()
        answer = ask(question, name, max(deadline_s, PATIENCE_S))
        return _taken(answer, max(0.0, clock() - began_s), deadline_s)

    return slow


def _taken(answer: Answer, seconds: float, deadline_s: float) -> Answer:
    if seconds > deadline_s:
        return answer.model_copy(update={"code": "late", "text": None, "took_s": deadline_s})
    return answer.model_copy(update={"took_s": seconds})


def counsel_of(settings: LlmSettings, ask: Asker, mode: ModeAt, llm: str, judge: Arbiter | None = None) -> Counsel:
    """Return how agents ask a model, by the settings that they have live; `llm` names it in the journal.

    The twin judges, in the compiled core where it can, unless somebody else is given.
    """
    limits = {"planner": settings.planner_reply_tokens, "slot-agent": settings.slot_reply_tokens}
    return Counsel(
        ask=ask,
        prompts=prompt_texts(),
        sampling={one: Sampling(temperature=settings.temperature, reply_tokens=limits[one]) for one in AGENTS},
        deadline_slots={"planner": settings.planner_deadline_slots, "slot-agent": settings.slot_deadline_ratio},
        mode=mode,
        llm=llm,
        arbiter=judge or arbiter("auto"),
        proposals=settings.planner_proposals,
    )
