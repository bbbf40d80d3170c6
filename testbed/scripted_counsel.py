"""The rule that stands in for a language model, without a server: for runs of the twin and for tests.

Never to be counted as a language model: it reads a prompt's tables and answers by a fixed rule, or badly on purpose.
"""

from fairlead.contracts.dialogue import Answer, AnswerCode, Ask
from fairlead.twin.talking import Asker
from fairlead.twin.voices.reading import Unreadable, read
from fairlead.twin.voices.speaking import CHARS_PER_TOKEN, answered
from testbed.scripted_behaviours import WIRE, drawn, mix_of, said

NAME = "scripted"


def scripted(mix: str, seed: int, took_s: float) -> Asker:
    """Return who answers with the behaviours of `mix` (`good=0.8,bad=0.2`), each after `took_s` of virtual time.

    Raises `ValueError` for a mix that is none.
    """
    behaviours = mix_of(mix)

    def ask(question: Ask, name: str, deadline_s: float) -> Answer:
        behaviour, chance = drawn(behaviours, seed, name, 1)
        try:
            text = said(behaviour, read(question.user), chance).text
        except Unreadable as error:
            return answered(question, NAME, "server-error", took_s, detail=str(error))
        if behaviour in WIRE or took_s > deadline_s:
            code = _failed(behaviour) if behaviour in WIRE else "late"
            return answered(question, NAME, code, deadline_s if code == "late" else took_s)
        if not text:
            return answered(question, NAME, "empty", took_s)
        if len(text) > CHARS_PER_TOKEN * question.sampling.reply_tokens:
            return answered(question, NAME, "too-long", took_s)
        return answered(question, NAME, "ok", took_s, text)

    return ask


def _failed(behaviour: str) -> AnswerCode:
    codes: dict[str, AnswerCode] = {
        "busy": "busy",
        "error": "server-error",
        "reset": "reset",
        "content-type": "not-openai",
    }
    return codes.get(behaviour, "late")
