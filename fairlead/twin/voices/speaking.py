"""Who can be asked in place of a language model, by name: `agents:stand-in` and the harm policies (CONTROL §6)."""

import json
from typing import Literal, get_args

import numpy as np

from fairlead.contracts.dialogue import AgentName, Answer, AnswerCode, Ask
from fairlead.twin.streams import stream
from fairlead.twin.talking import Asker
from fairlead.twin.voices.reading import PlannerPrompt, SlotPrompt, Unreadable, read
from fairlead.twin.voices.replying import Reply
from fairlead.twin.voices.rules import (
    believing,
    hostile_plan,
    hostile_rows,
    misread,
    mistaken,
    random_plan,
    random_rows,
    stand_in,
    steady,
)

VoiceName = Literal[
    "stand-in", "newcomer", "router", "placebo", "hostile", "random", "stale", "poisoned", "misread", "forged"
]
"""`stand-in`: a planner by rule that tells what it is told will be; `newcomer`: the same, without anything that was
learned before the run; `router`: a slot agent by rule, and no planner; `placebo`: a stand-in that tells the rates of
another regime at the same times; `hostile`: valid and as bad as the vocabulary allows; `random`: any words of it;
`stale`: each answer is the one to the question before; `poisoned`: it believes a remembered case that lies; `misread`:
it takes what its prompts show for the contrary, inside plausible bounds; `forged`: a stand-in and a router who read
well, while a node lies about itself."""

VOICES: tuple[VoiceName, ...] = get_args(VoiceName)

TOOK_S = 2.0
"""What an answer takes on the virtual clock: a small model on an edge GPU, our own choice."""

CHARS_PER_TOKEN = 4
"""A token of English text is about so long: OpenAI's rule of thumb."""


def agents_of(voice: VoiceName) -> tuple[AgentName, ...]:
    """Return which agents ask a voice; those that know of demand alone have nothing to say about rows."""
    if voice == "router":
        return ("slot-agent",)
    return ("planner",) if voice in ("stand-in", "newcomer", "placebo", "poisoned") else ("planner", "slot-agent")


def speaking(voice: VoiceName, seed: int) -> Asker:
    """Return who answers as a voice does; what it draws depends on the seed and the question's id alone."""
    before: dict[AgentName, str] = {}

    def ask(question: Ask, name: str, deadline_s: float) -> Answer:
        try:
            prompt = read(question.user)
        except Unreadable as error:
            return answered(question, voice, "server-error", TOOK_S, detail=str(error))
        text = json.dumps(said(voice, prompt, stream(seed, "voice", name)))
        if voice == "stale":
            text, before[question.agent] = before.get(question.agent, text), text
        return answered(question, voice, "ok", TOOK_S, text)

    return ask


def said(voice: VoiceName, prompt: PlannerPrompt | SlotPrompt, chance: np.random.Generator) -> Reply:
    """Return what a voice says to a prompt, as JSON values."""
    shown = misread(prompt) if voice == "misread" else prompt
    if isinstance(shown, SlotPrompt):
        if voice == "hostile":
            return hostile_rows(shown)
        return random_rows(shown, chance) if voice == "random" else steady(shown)
    match voice:
        case "hostile":
            return hostile_plan(shown)
        case "random":
            return random_plan(shown, chance)
        case "placebo":
            return mistaken(shown)
        case "poisoned":
            return believing(shown)
        case _:
            return stand_in(shown)


def answered(
    question: Ask, model: str, code: AnswerCode, took_s: float, text: str | None = None, detail: str = ""
) -> Answer:
    """Return an answer that no server gave; tokens are counted by length."""
    return Answer(
        code=code,
        text=text,
        endpoint="",
        model=model,
        style=None,
        attempts=1,
        took_s=took_s,
        prompt_tokens=(len(question.system) + len(question.user)) // CHARS_PER_TOKEN,
        reply_tokens=0 if text is None else len(text) // CHARS_PER_TOKEN,
        money=0.0,
        detail=detail[:256],
    )
